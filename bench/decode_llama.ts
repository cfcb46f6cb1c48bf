/**
 * Decoding with Llama-3.2-1B's shape and random weights: batch 1 and 64, with more and more resident adapters.
 *
 * @module
 */
import { AdapterRegistry } from "../src/adapters/registry.ts";
import type { Device } from "../src/device/device.ts";
import { BatchEngine } from "../src/engine/batch_engine.ts";
import { loadModel } from "../src/models/model.ts";
import { traceCells } from "./decode_trace.ts";
import { HostMeter } from "./host_meter.ts";
import { type Bench, type BenchContext, type Measurement, median } from "./measurement.ts";
import { adapterName, llama1b, randomAdapters, randomWeights, tiny } from "./random_model.ts";

const table = "decode-llama-1b";
const fullSize = { config: llama1b, name: "Llama-3.2-1B's shape", batch: 64, tokens: 64, rounds: 5 };
const quickSize = { config: tiny, name: "a tiny shape", batch: 4, tokens: 8, rounds: 1 };

const prompt = Array.from({ length: 16 }, (_, i) => 3 + 7 * i);
const maxModelLen = 256;

interface Opened {
  readonly meter: HostMeter;
  readonly engine: BatchEngine;
  readonly registry: AdapterRegistry;
}

async function open(base: Device, size: typeof fullSize, capacity: number): Promise<Opened> {
  const { config, batch } = size;
  const meter = new HostMeter(base);
  const { device } = meter;
  const source = randomWeights(config, device.kind === "cpu" ? "float32" : "float16");
  const model = await loadModel(device, { config, source, maxModelLen });
  const registry = new AdapterRegistry(device, randomAdapters(config), { linears: model.linears, capacity });
  // No end-of-text token: every sequence runs to its length.
  const options = { eosTokenIds: [], maxSequences: batch };
  return { meter, registry, engine: new BatchEngine(device, model, { registry, options }) };
}

/** Milliseconds of each step, from the first in which every sequence has had a token, to the last. */
export async function stepTimes(
  { engine }: { readonly engine: BatchEngine },
  { adapters, tokens, now = () => performance.now() }: {
    readonly adapters: readonly (string | undefined)[];
    readonly tokens: number;
    /** Milliseconds of a clock; of wall time unless told. */
    readonly now?: () => number;
  },
): Promise<number[]> {
  const ends: number[] = [];
  const arrived = new Array<number>(tokens).fill(0);
  const sampling = { temperature: 0, topP: 1, topK: 0 };
  await Promise.all(adapters.map(async (adapter) => {
    let count = 0;
    const request = { promptTokenIds: prompt, adapter, maxTokens: tokens, sampling };
    for await (const { kind } of engine.generate(request)) {
      if (kind === "token" && ++arrived[count++] === adapters.length) ends.push(now());
    }
  }));
  return ends.slice(1).map((end, i) => end - ends[i]);
}

/** Makes adapters 0 to `count - 1` resident; milliseconds that each of the new ones took, if there were any. */
async function makeResident({ registry }: Opened, count: number): Promise<number | undefined> {
  const resident = (): number => registry.banks.reduce((sum, { size }) => sum + size, 0);
  const from = resident();
  if (from >= count) return undefined;
  const begin = performance.now();
  for (let i = from; i < count; i++) (await registry.acquire(adapterName(i))).release();
  if (resident() < count) throw new RangeError(`the device has room for ${resident()}`);
  return (performance.now() - begin) / (count - from);
}

/** One case: how many sequences, and how many adapters are resident, which the sequences have as many of as they can. */
interface Case {
  readonly row: string;
  readonly batch: number;
  readonly resident: number;
  /** Whether its launches are shown, too. */
  readonly traced?: boolean;
}

/** Milliseconds of a step in JavaScript: in calls of the device, and what is left where those do nothing. */
async function* javaScript(
  opened: Opened,
  { row, ...sequences }: { row: string; adapters: readonly (string | undefined)[]; tokens: number },
): AsyncGenerator<Measurement> {
  const { meter } = opened;
  const cell = { table, row, unit: "ms" };
  meter.forget();
  await stepTimes(opened, sequences);
  yield { ...cell, column: "calls of the device", median: meter.callsMs / meter.runs };
  meter.idle = true;
  const times = await stepTimes(opened, sequences);
  meter.idle = false;
  yield { ...cell, column: "the rest of JavaScript", median: median(times) };
}

async function* timeCase(
  opened: Opened,
  { row, batch, resident, traced }: Case,
  { tokens, rounds, name }: typeof fullSize,
): AsyncGenerator<Measurement> {
  const spread = Math.max(1, resident / batch);
  const adapters = Array.from(
    { length: batch },
    (_, i) => resident === 0 ? undefined : adapterName(Math.floor(i * spread) % resident),
  );
  await stepTimes(opened, { adapters, tokens: 8 });
  opened.meter.forget();
  const attempts: number[] = [];
  for (let round = 0; round < rounds; round++) {
    attempts.push(median(await stepTimes(opened, { adapters, tokens })));
  }
  const { usual } = opened.meter;
  const cell = { table, row, runs: rounds * tokens };
  const note = `${name}, random weights; an adapter is FourierFT, n = 1000, on all seven linears.`;
  const ms = { median: median(attempts), minimum: Math.min(...attempts), slowest: Math.max(...attempts) };
  yield { ...cell, column: "a step", unit: "ms", ...ms, note };
  const rate = { ...cell, column: "fourierft", unit: "tokens/s" };
  yield { ...rate, median: 1000 * batch / ms.median };
  if (batch > 1 && resident > 0) {
    const place = { table: "sweep-residents", row: `resident adapters = ${resident}`, x: resident };
    const what = `${name}, batch of ${batch}, as many adapters at a time as it has sequences or there are.`;
    yield { ...rate, ...place, median: 1000 * batch / ms.median, note: what };
  }
  if (!traced) return;
  yield* javaScript(opened, { row, adapters, tokens });
  yield* traceCells(opened.meter.base, usual, { table: "decode-llama-trace", of: row });
}

/** The most important figures come first: a call may be cut off. */
function cases({ batch }: typeof fullSize, residents: readonly number[]): Case[] {
  return [
    { row: "batch 1, base", batch: 1, resident: 0 },
    { row: "batch 1, an adapter", batch: 1, resident: 1, traced: true },
    { row: `batch ${batch}, ${batch} resident adapters`, batch, resident: batch, traced: true },
    { row: `batch ${batch}, base`, batch, resident: 0 },
    ...residents.map((resident) => ({
      row: `batch ${batch}, ${resident} resident adapters`,
      batch,
      resident,
    })),
  ];
}

/** See the module's documentation. */
export const decodeLlamaBench: Bench = {
  name: "decode-llama",
  doc:
    "tokens a second with Llama-3.2-1B's shape and random weights (quick: a tiny shape), and where a step's time goes",
  peers: ["decode_llama.py"],
  async *measure(context: BenchContext) {
    const { device, log } = context;
    if (device.kind === "cpu" && !context.quick) {
      return log(
        "left out: decode-llama: a billion weights are too many for the CPU device; --quick is small",
      );
    }
    const size = context.quick ? quickSize : fullSize;
    const residents = context.quick ? [8] : [1024, 10000];
    const opened = await open(device, size, residents.at(-1)!);
    for (const one of cases(size, residents)) {
      try {
        const loadMs = await makeResident(opened, one.resident);
        if (loadMs !== undefined) {
          yield { table, row: one.row, column: "loading an adapter", unit: "ms", median: loadMs };
        }
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        return log(`left out: ${one.row}: ${error.message}`);
      }
      yield* timeCase(opened, one, size);
    }
  },
};
