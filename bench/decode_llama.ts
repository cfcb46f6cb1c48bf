/**
 * Decoding with Llama-3.2-1B's shape and random weights: batch 1 and 64, with more and more resident adapters.
 *
 * @module
 */
import { AdapterRegistry } from "../src/adapters/registry.ts";
import type { Device } from "../src/device/device.ts";
import { BatchEngine } from "../src/engine/batch_engine.ts";
import { loadLlama } from "../src/models/llama.ts";
import { type Bench, type BenchContext, type Measurement, median } from "./measurement.ts";
import { adapterName, llama1b, randomAdapters, randomWeights, tiny } from "./random_model.ts";

const table = "decode-llama-1b";
const fullSize = { config: llama1b, name: "Llama-3.2-1B's shape", batch: 64, tokens: 64, rounds: 5 };
const quickSize = { config: tiny, name: "a tiny shape", batch: 4, tokens: 8, rounds: 1 };

const prompt = Array.from({ length: 16 }, (_, i) => 3 + 7 * i);
const maxModelLen = 256;

interface Opened {
  readonly engine: BatchEngine;
  readonly registry: AdapterRegistry;
}

async function open(device: Device, size: typeof fullSize, capacity: number): Promise<Opened> {
  const { config, batch } = size;
  const source = randomWeights(config, device.kind === "cpu" ? "float32" : "float16");
  const model = await loadLlama(device, { config, source, maxModelLen });
  const registry = new AdapterRegistry(device, randomAdapters(config), { linears: model.linears, capacity });
  // No end-of-text token: every sequence runs to its length.
  const options = { eosTokenIds: [], maxSequences: batch };
  return { registry, engine: new BatchEngine(device, model, { registry, options }) };
}

/** Milliseconds of each step, from the first in which every sequence has had a token, to the last. */
async function stepTimes(
  { engine }: Opened,
  { adapters, tokens }: { adapters: readonly (string | undefined)[]; tokens: number },
): Promise<number[]> {
  const ends: number[] = [];
  const arrived = new Array<number>(tokens).fill(0);
  const sampling = { temperature: 0, topP: 1, topK: 0 };
  await Promise.all(adapters.map(async (adapter) => {
    let count = 0;
    const request = { promptTokenIds: prompt, adapter, maxTokens: tokens, sampling };
    for await (const { kind } of engine.generate(request)) {
      if (kind === "token" && ++arrived[count++] === adapters.length) ends.push(performance.now());
    }
  }));
  return ends.slice(1).map((end, i) => end - ends[i]);
}

/** Makes adapters `from` to `to` resident. */
async function load({ registry }: Opened, from: number, to: number): Promise<void> {
  for (let i = from; i < to; i++) (await registry.acquire(adapterName(i))).release();
}

/** One case: how many sequences, and how many adapters are resident, which the sequences have as many of as they can. */
interface Case {
  readonly row: string;
  readonly batch: number;
  readonly resident: number;
}

async function* timeCase(
  opened: Opened,
  { row, batch, resident }: Case,
  { tokens, rounds, name }: typeof fullSize,
): AsyncGenerator<Measurement> {
  const spread = Math.max(1, resident / batch);
  const adapters = Array.from(
    { length: batch },
    (_, i) => resident === 0 ? undefined : adapterName(Math.floor(i * spread) % resident),
  );
  await stepTimes(opened, { adapters, tokens: 8 });
  const attempts: number[] = [];
  for (let round = 0; round < rounds; round++) {
    attempts.push(median(await stepTimes(opened, { adapters, tokens })));
  }
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
}

/** See the module's documentation. */
export const decodeLlamaBench: Bench = {
  name: "decode-llama",
  doc: "tokens a second with Llama-3.2-1B's shape and random weights (quick: a tiny shape)",
  peers: ["decode_llama.py"],
  async *measure(context: BenchContext) {
    const { device, log } = context;
    if (device.kind === "cpu" && !context.quick) {
      return log(
        "left out: decode-llama: a billion weights are too many for the CPU device; --quick is small",
      );
    }
    const size = context.quick ? quickSize : fullSize;
    const { batch } = size;
    const residents = context.quick ? [1, 4, 8] : [1, 64, 1024, 10000];
    const opened = await open(device, size, residents.at(-1)!);
    for (const one of [1, batch]) {
      yield* timeCase(opened, { row: `batch ${one}, base`, batch: one, resident: 0 }, size);
    }
    let loaded = 0;
    for (const resident of residents) {
      try {
        await load(opened, loaded, resident);
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        log(`left out: ${resident} resident adapters: ${error.message}`);
        return;
      }
      loaded = resident;
      if (resident === 1) yield* timeCase(opened, { row: "batch 1, an adapter", batch: 1, resident }, size);
      yield* timeCase(
        opened,
        { row: `batch ${batch}, ${resident} resident adapters`, batch, resident },
        size,
      );
    }
  },
};
