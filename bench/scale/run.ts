/**
 * What a thousand machines with a million adapters need: hit rates and waits by affinity and slots. The costs of an
 * adapter are those of this machine. `deno task bench:scale [REQUESTS]`.
 *
 * Measured: reading and checking an adapter from the host's memory, and putting it on the device. Assumed: 20 ms for a
 * store, 16 places of 400 ms a machine, half of the places busy. A simulation; no machine but this takes part.
 *
 * @module
 */
import process from "node:process";
import { openCpuDevice, openFolder, openObjectStore } from "../../src/runtime/mod.ts";
import { openModel } from "../../src/open.ts";
import { median } from "../measurement.ts";
import { type ScaleOptions, simulate } from "./simulation.ts";

const requests = Number(process.argv[2] ?? 200_000), rounds = 15, assumedStoreMs = 20;

/** Milliseconds to read, check and place one of the demo's adapters whose bytes are in memory. */
async function measuredHostMs(): Promise<number> {
  const device = await openCpuDevice(), store = await openObjectStore("memory:");
  await store.publish("one", await openFolder("examples/demo/adapters/fourierft-kjv"));
  const { registry } = await openModel(device, {
    folder: await openFolder("examples/demo/base"),
    adapters: store,
  });
  const times: number[] = [];
  for (let i = 0; i < rounds; i++) {
    const begin = performance.now();
    (await registry.acquire("one")).release();
    times.push(performance.now() - begin);
    await registry.unload("one");
  }
  device.destroy();
  return median(times);
}

const hostMs = await measuredHostMs();
console.log(
  `an adapter from the host to the device: ${
    hostMs.toFixed(2)
  } ms, median of ${rounds}; store: ${assumedStoreMs} ms`,
);
const base: ScaleOptions = {
  ...{ machines: 1000, adapters: 1_000_000, exponent: 1, requests, load: 0.5, places: 16, serviceMs: 400 },
  ...{
    hostMs,
    storeMs: hostMs + assumedStoreMs,
    deviceSlots: 256,
    hostSlots: 1000,
    affinity: "hash",
    seed: 1,
  },
};
const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;
console.log(
  "| Zipf | affinity | slots | host | device hits | host hits | store reads | p50 ms | p99 ms | most/mean |",
);
console.log("| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
for (const exponent of [1, 0.8]) {
  for (const affinity of ["any", "hash"] as const) {
    for (const [deviceSlots, hostSlots] of [[25, 100], [256, 1000], [1000, 4000]]) {
      const { device, host, store, ...rest } = simulate({
        ...base,
        exponent,
        affinity,
        deviceSlots,
        hostSlots,
      });
      const cells = [
        ...[exponent, affinity, deviceSlots, hostSlots, percent(device), percent(host), percent(store)],
        ...[rest.p50Ms.toFixed(1), rest.p99Ms.toFixed(1), rest.imbalance.toFixed(2)],
      ];
      console.log(`| ${cells.join(" | ")} |`);
    }
  }
}
process.exit(0);
