/**
 * Requests of many adapters on many machines: which are found on the device, on the host or in the store, and how long
 * each waits.
 *
 * Machines are alike, and serve independently of each other. A consistent hash with bounded load sends an adapter's
 * requests to a machine. Arrivals are a Poisson process, and adapters are Zipf's. The time of a request is that of its
 * adapter's way to the device, then the wait for a place, then the service.
 *
 * @module
 */
import { uniforms } from "../../src/engine/random.ts";

/** What is simulated. */
export interface ScaleOptions {
  readonly machines: number;
  readonly adapters: number;
  /** Zipf's exponent: rank r is asked for in proportion to r^-exponent. */
  readonly exponent: number;
  readonly requests: number;
  /** The share of places that are busy in the mean. */
  readonly load: number;
  /** Adapters on a machine's device, and on its host besides. */
  readonly deviceSlots: number;
  readonly hostSlots: number;
  /** Sequences that a machine runs at once, and milliseconds of each. */
  readonly places: number;
  readonly serviceMs: number;
  /** Milliseconds to put an adapter that is on the host onto the device, and to read one from the store. */
  readonly hostMs: number;
  readonly storeMs: number;
  readonly affinity: "hash" | "any";
  readonly seed: number;
}

/** What came of it. */
export interface ScaleOutcome {
  /** Shares of requests whose adapter was on the device, on the host, in the store alone. */
  readonly device: number;
  readonly host: number;
  readonly store: number;
  /** Milliseconds from a request to its start of service. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** The most used machine's requests over the mean. */
  readonly imbalance: number;
}

/** Keys in the order of their last use, at most `size`. */
class Recent {
  readonly #keys = new Set<number>();
  constructor(private readonly size: number) {}

  /** Whether a key is there; in any case it is now, as the newest. What leaves is given. */
  use(key: number): { readonly found: boolean; readonly left?: number } {
    const found = this.#keys.delete(key);
    this.#keys.add(key);
    if (this.#keys.size <= this.size) return { found };
    const [left] = this.#keys;
    this.#keys.delete(left);
    return { found, left };
  }

  take(key: number): boolean {
    return this.#keys.delete(key);
  }
}

/** One machine: its caches, and when each of its places is free. */
class Machine {
  readonly device: Recent;
  readonly host: Recent;
  readonly freeAtMs: Float64Array;
  requests = 0;

  constructor({ deviceSlots, hostSlots, places }: ScaleOptions) {
    this.device = new Recent(deviceSlots);
    this.host = new Recent(hostSlots);
    this.freeAtMs = new Float64Array(places);
  }

  busyAt(ms: number): number {
    return this.freeAtMs.reduce((sum, freeMs) => sum + Number(freeMs > ms), 0);
  }

  /** Takes the place that is free first; gives when the request starts. */
  start(readyMs: number, serviceMs: number): number {
    let first = 0;
    for (let i = 1; i < this.freeAtMs.length; i++) if (this.freeAtMs[i] < this.freeAtMs[first]) first = i;
    const startMs = Math.max(readyMs, this.freeAtMs[first]);
    this.freeAtMs[first] = startMs + serviceMs;
    return startMs;
  }
}

/** Ranks by Zipf's law, from a number in [0, 1). */
export function zipf(count: number, exponent: number): (uniform: number) => number {
  const sums = new Float64Array(count);
  let sum = 0;
  for (let rank = 0; rank < count; rank++) sums[rank] = sum += (rank + 1) ** -exponent;
  return (uniform) => {
    let low = 0, high = count - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (sums[middle] > uniform * sum) high = middle;
      else low = middle + 1;
    }
    return low;
  };
}

/** A machine for an adapter, spread evenly (a finalizer of MurmurHash3). */
function hashOf(key: number, machines: number): number {
  let h = key ^ 0x9e3779b9;
  h = Math.imul(h ^ h >>> 16, 0x85ebca6b);
  h = Math.imul(h ^ h >>> 13, 0xc2b2ae35);
  return ((h ^ h >>> 16) >>> 0) % machines;
}

/** The bound of HAProxy's hash-balance-factor 150. */
const mostOverMean = 1.5;

/** See the module's documentation. */
export function simulate(options: ScaleOptions): ScaleOutcome {
  const { machines: count, requests, load, places, serviceMs, affinity } = options;
  const random = uniforms(options.seed), rank = zipf(options.adapters, options.exponent);
  const machines = Array.from({ length: count }, () => new Machine(options));
  const rate = load * count * places / serviceMs, bound = Math.max(1, mostOverMean * load * places);
  const waits: number[] = [], found = { device: 0, host: 0, store: 0 };
  let nowMs = 0;
  // The first half fills the caches.
  for (let i = 0; i < 2 * requests; i++) {
    nowMs += -Math.log(1 - random()) / rate;
    const adapter = rank(random());
    let at = affinity === "hash" ? hashOf(adapter, count) : Math.floor(random() * count);
    for (let tries = 0; tries < count && machines[at].busyAt(nowMs) >= bound; tries++) at = (at + 1) % count;
    const machine = machines[at];
    machine.requests++;
    const onDevice = machine.device.use(adapter);
    const onHost = !onDevice.found && machine.host.take(adapter);
    if (onDevice.left !== undefined) machine.host.use(onDevice.left);
    const level = onDevice.found ? "device" : onHost ? "host" : "store";
    const loadMs = level === "device" ? 0 : level === "host" ? options.hostMs : options.storeMs;
    const startMs = machine.start(nowMs + loadMs, serviceMs);
    if (i < requests) continue;
    found[level]++;
    waits.push(startMs - nowMs);
  }
  const sorted = Float64Array.from(waits).sort();
  const most = machines.reduce((max, machine) => Math.max(max, machine.requests), 0);
  return {
    device: found.device / requests,
    host: found.host / requests,
    store: found.store / requests,
    p50Ms: sorted[Math.floor(requests * 0.5)],
    p99Ms: sorted[Math.floor(requests * 0.99)],
    imbalance: most / (2 * requests / count),
  };
}
