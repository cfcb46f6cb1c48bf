/**
 * The key-value cache in each of its formats: a decode step at long contexts, and the demo model's perplexity.
 *
 * @module
 */
import { existsSync, readFileSync } from "node:fs";
import { cacheFormats, kvCacheDtypes } from "../kernels/caches/mod.ts";
import type { CacheFormat } from "../kernels/caches/format.ts";
import type { Lease } from "../src/adapters/registry.ts";
import type { Device } from "../src/device/device.ts";
import { Runner } from "../src/engine/runner.ts";
import type { BlockTable } from "../src/engine/step_inputs.ts";
import type { LlamaConfig } from "../src/models/llama/config.ts";
import { loadModel, type Model } from "../src/models/model.ts";
import { openModel } from "../src/open.ts";
import { openAdapterStore } from "../src/runtime/adapter_store.ts";
import { openFolder } from "../src/runtime/file.ts";
import { fileOf } from "../src/training/content.ts";
import { noTarget, type TrainingBatch } from "../src/training/batch.ts";
import { readEvaluationSet } from "../src/training/data.ts";
import { elements, newArray, type Tensor } from "../src/tensor.ts";
import { type Bench, type BenchContext, type Measurement, median } from "./measurement.ts";
import { llama1b, randomWeights, smol135m, tiny } from "./random_model.ts";

const table = "kv-cache";

/** A model's shape, sequences of a step, and the tokens that each has before it. */
interface Size {
  readonly config: LlamaConfig;
  readonly name: string;
  readonly batch: number;
  readonly contexts: readonly number[];
  readonly rounds: number;
  readonly steps: number;
}

const gpuSize: Size = {
  ...{ config: llama1b, name: "Llama-3.2-1B's shape", batch: 16, contexts: [2048, 8192] },
  ...{ rounds: 7, steps: 16 },
};
const cpuSize: Size = {
  config: { ...smol135m, maxPositions: 4096 },
  ...{ name: "SmolLM2-135M's shape", batch: 1, contexts: [512, 2048], rounds: 7, steps: 8 },
};
const quickSize: Size = {
  ...{ config: tiny, name: "a tiny shape", batch: 2, contexts: [64], rounds: 1, steps: 2 },
};

const blockSize = 16;

const greedy = { temperature: 0, topP: 1, topK: 0, uniform: 0 };

/** Milliseconds of a step in which each sequence takes its next token; a step is submitted before the last has ended. */
async function stepMs(runner: Runner, { batch, steps }: Size, context: number): Promise<number> {
  const ofSequence = Math.ceil((context + steps + 1) / blockSize);
  const blocks: readonly BlockTable[] = Array.from(
    { length: batch },
    (_, s) => Array.from({ length: ofSequence }, (_, i) => s * ofSequence + i),
  );
  const submit = async (i: number): Promise<Promise<Uint32Array>> => {
    const rows = blocks.map((blocks, s) => ({
      ...(i === 0 ? { token: 3 + s } : { from: s }),
      ...{ position: context + i, blocks },
    }));
    return (await runner.submit(rows, blocks.map((_, row) => ({ row, ...greedy })))).sampled;
  };
  await await submit(0);
  const begin = performance.now();
  let last: Promise<Uint32Array> | undefined;
  for (let i = 1; i <= steps; i++) {
    const next = submit(i);
    await last;
    last = (async () => await await next)();
  }
  await last;
  return (performance.now() - begin) / steps;
}

/** Writes to caches: an operating system has one page for all that was never written, and reads that page from a near cache. */
function materialise(
  device: Device,
  caches: Iterable<{ readonly keys: Tensor; readonly values: Tensor }>,
): void {
  for (const { keys, values } of caches) {
    for (const t of [keys, values]) device.write(t, newArray(t.dtype, elements(t.shape)));
  }
}

/** What a token takes of the caches of all layers. */
const tokenBytes = ({ graph }: Model, format: CacheFormat): number =>
  graph.operations.reduce(
    (sum, { cacheHeads }) => sum + (cacheHeads ? 8 * format.rowElements(cacheHeads) : 0),
    0,
  );

async function* speed(device: Device, size: Size): AsyncGenerator<Measurement> {
  const { config, name, batch, contexts, rounds, steps } = size;
  const source = randomWeights(config, device.kind === "cpu" ? "float32" : "float16");
  const model = await loadModel(device, { config, source });
  const longest = Math.max(...contexts) + steps + 1;
  // Side by side, so that a slow moment of the machine hits each alike.
  const runners = kvCacheDtypes.map((dtype) =>
    new Runner(device, model, {
      ...{ banks: [], maxRows: batch, maxOutputs: batch, blockSize, kvCacheDtype: dtype },
      cacheRows: batch * blockSize * Math.ceil(longest / blockSize),
    })
  );
  if (device.kind === "cpu") { for (const { state } of runners) materialise(device, state.caches.values()); }
  const note = `${name}, random weights, caches of zeros; a step takes a token of each sequence.`;
  for (const context of contexts) {
    const row = `batch ${batch}, context ${context}`;
    const times = kvCacheDtypes.map((): number[] => []);
    for (const runner of runners) await stepMs(runner, size, context);
    for (let round = 0; round < rounds; round++) {
      for (const [i, runner] of runners.entries()) times[i].push(await stepMs(runner, size, context));
    }
    for (const [i, dtype] of kvCacheDtypes.entries()) {
      const ms = { minimum: Math.min(...times[i]), slowest: Math.max(...times[i]), runs: rounds * steps };
      yield { table, row, column: dtype, unit: "ms", median: median(times[i]), ...ms, note };
    }
  }
  for (const dtype of kvCacheDtypes) {
    const kib = tokenBytes(model, cacheFormats[dtype]) / 1024;
    yield { table, row: "KiB of a token in all layers", column: dtype, unit: "", median: kib };
  }
}

/** Made by examples/demo/prepare_kjv.ts; see RESULTS.md. */
const textFile = "kjv/chapters.txt";

const contextLength = 512, batchSize = 4, rowsOfStep = 256;

/** The sum of a batch's losses, by steps over a cache. */
async function lossOf(runner: Runner, batch: TrainingBatch, lease: Lease | undefined): Promise<number> {
  const { tokens, targets, positions, first } = batch;
  const blocksFrom = new Map<number, BlockTable>();
  for (const begin of new Set(first)) {
    blocksFrom.set(begin, Array.from({ length: contextLength }, (_, i) => begin + i));
  }
  let sum = 0;
  for (let begin = 0; begin < tokens.length; begin += rowsOfStep) {
    const taken = Array.from({ length: rowsOfStep }, (_, i) => begin + i);
    const scored = taken.filter((row) => targets[row] !== noTarget);
    const { sampled, scores } = await runner.submit(
      taken.map((row) => ({
        ...{ token: tokens[row], position: positions[row], blocks: blocksFrom.get(first[row])! },
        ...{ adapters: lease?.placed, own: lease?.own },
      })),
      scored.map((row) => ({ row: row - begin, ...greedy, wanted: { token: targets[row], count: 0 } })),
    );
    await sampled;
    const known = await scores;
    scored.forEach((_, i) => sum -= known!(i).logprob);
  }
  return sum;
}

async function* perplexities({ device, log }: BenchContext): AsyncGenerator<Measurement> {
  if (!existsSync(textFile)) return log(`left out: perplexities: there is no ${textFile}`);
  const { model, registry, tokenizer } = await openModel(device, {
    folder: await openFolder("examples/demo/base"),
    adapters: await openAdapterStore("examples/demo/adapters"),
    engine: { cacheBytes: 1, maxSequences: 1 },
  });
  const set = await readEvaluationSet(
    fileOf({ content: readFileSync(textFile, "utf8"), format: "text" }),
    { tokenizer, contextLength, batchSize, vocabSize: model.config.vocabSize },
  );
  for (const dtype of kvCacheDtypes) {
    const runner = new Runner(device, model, {
      ...{ banks: registry.banks, own: registry.own, maxRows: rowsOfStep, maxOutputs: rowsOfStep },
      ...{ kvCacheDtype: dtype, cacheRows: batchSize * contextLength, blockSize: 1 },
      merging: "never",
    });
    for (const adapter of [undefined, "fourierft-kjv"]) {
      const lease = adapter === undefined ? undefined : await registry.acquire(adapter);
      let sum = 0, count = 0;
      for (const batch of set.batches()) {
        sum += await lossOf(runner, batch, lease);
        count += batch.targetCount;
      }
      lease?.release();
      yield {
        ...{
          table: "kv-cache-perplexity",
          row: adapter ? `with ${adapter}` : "base",
          column: dtype,
          unit: "",
        },
        ...{ median: Math.exp(sum / count), note: `The demo model; ${count} predicted tokens.` },
      };
    }
  }
}

/** See the module's documentation. */
export const kvCacheBench: Bench = {
  name: "kv-cache",
  doc: "decode steps at long contexts, and the demo model's perplexity, by the format of the key-value cache",
  async *measure(context) {
    const { device, quick } = context;
    yield* speed(device, quick ? quickSize : device.kind === "cpu" ? cpuSize : gpuSize);
    if (!quick) yield* perplexities(context);
  },
};
