/**
 * What `bench:cpu` measures of the CPU device: decoding, prompts, batches, training and dW.
 *
 * @module
 */
import { fourierLinearCases } from "../kernels/cases/fourier_linear.ts";
import { anyKernel, fourierLinear } from "../kernels/mod.ts";
import { deltaOf } from "../src/adapters/apply.ts";
import type { Method } from "../src/adapters/method.ts";
import { fourierft } from "../src/adapters/methods/fourierft.ts";
import { lora } from "../src/adapters/methods/lora.ts";
import { AdapterRegistry } from "../src/adapters/registry.ts";
import type { Device } from "../src/device/device.ts";
import { BatchEngine } from "../src/engine/batch_engine.ts";
import { uniforms } from "../src/engine/random.ts";
import { openCheckpoint } from "../src/models/checkpoint.ts";
import { readConfig } from "../src/models/families.ts";
import { loadModel } from "../src/models/model.ts";
import type { QuantizeTo } from "../src/models/quantization.ts";
import { openModel } from "../src/open.ts";
import { openAdapterStore } from "../src/runtime/adapter_store.ts";
import { openFolder } from "../src/runtime/file.ts";
import { type DType, tensor } from "../src/tensor.ts";
import type { TrainingBatch } from "../src/training/batch.ts";
import { Trainer } from "../src/training/trainer.ts";
import { randomSource } from "../test/kernel_contract.ts";
import { newModule } from "../test/new_module.ts";
import { randomAdapters, randomWeights, smol135m } from "./random_model.ts";

/** Measurements by name, which ends with the unit: a figure each time one is called. */
export type Measures = Readonly<Record<string, () => Promise<number> | number>>;

/** Sequences of a batch. */
const batchSize = 8;

interface Request {
  readonly prompt: readonly number[];
  readonly adapter?: string;
  readonly maxTokens: number;
}

const sampling = { temperature: 0, topP: 1, topK: 0 };

/** Decoding ends after so long, for peers whose threads wait for each other on a busy machine. */
const mostMs = 3000;

/** Tokens of a prompt, each another. */
export const numbered = (count: number): number[] => Array.from({ length: count }, (_, i) => i + 1);

/** Tokens a second after the first new one. */
export async function decode(engine: BatchEngine, { prompt, adapter, maxTokens }: Request): Promise<number> {
  let begin = 0, counted = -1;
  for await (const { kind } of engine.generate({ promptTokenIds: prompt, adapter, maxTokens, sampling })) {
    if (kind !== "token") continue;
    if (++counted === 0) begin = performance.now();
    else if (performance.now() - begin > mostMs) break;
  }
  return 1000 * counted / (performance.now() - begin);
}

/** Tokens of a prompt that are read in a second: until the first new one. */
export async function read(engine: BatchEngine, count: number, adapter?: string): Promise<number> {
  const begin = performance.now();
  const request = { promptTokenIds: numbered(count), adapter, maxTokens: 1, sampling };
  for await (const _ of engine.generate(request));
  return 1000 * count / (performance.now() - begin);
}

/** Tokens a second of sequences side by side, once each has its first. */
export async function decodeBatch(engine: BatchEngine, maxTokens: number): Promise<number> {
  let begin = 0, waiting = batchSize, counted = 0;
  await Promise.all(Array.from({ length: batchSize }, async (_, i) => {
    let isFirst = true;
    const request = { promptTokenIds: [i + 1, 2, 3, 4, 5], maxTokens, sampling };
    for await (const { kind } of engine.generate(request)) {
      if (kind !== "token") continue;
      if (isFirst && --waiting === 0) begin = performance.now();
      else if (waiting === 0) counted++;
      isFirst = false;
      if (waiting === 0 && performance.now() - begin > mostMs) break;
    }
  }));
  return 1000 * counted / (performance.now() - begin);
}

/** An adapter's forward of one row, n = 1000, in microseconds. */
async function adapterRow(device: Device): Promise<() => Promise<number>> {
  const { make, uniforms } = fourierLinearCases.benches[0];
  const buffers = Object.fromEntries(
    Object.entries(make(randomSource(1))).map(([name, data]) => [name, device.upload(tensor(data))]),
  );
  const program = await device.prepare([{ kernel: anyKernel(fourierLinear), buffers, uniforms }]);
  return async () => {
    const begin = performance.now();
    for (let i = 0; i < 200; i++) device.run(program);
    await device.read(buffers.y, { at: 0, count: 1 });
    return 1000 * (performance.now() - begin) / 200;
  };
}

/** dW of a FourierFT adapter with n = 1000, on the host, in milliseconds. */
function delta(device: Device, size: number): () => Promise<number> {
  const shape = { out: size, in: size }, module = newModule(fourierft, shape, {}, uniforms(3));
  return async () => {
    const begin = performance.now();
    await deltaOf(device, { path: "linear", method: fourierft, module, shape });
    return performance.now() - begin;
  };
}

/** An engine of SmolLM2-135M's shape with random weights, as they are or quantised. */
export async function smol(
  device: Device,
  { dtype = "float32", quantize }: { readonly dtype?: DType; readonly quantize?: QuantizeTo },
): Promise<BatchEngine> {
  const source = randomWeights(smol135m, dtype);
  const model = await loadModel(device, { config: smol135m, source, quantize });
  return new BatchEngine(device, model, {
    registry: new AdapterRegistry(device, randomAdapters(smol135m), { linears: model.linears }),
    options: { eosTokenIds: [], maxSequences: batchSize, prefixCaching: false },
  });
}

/** An engine of the demo model, with its adapters. */
async function demo(device: Device, quantize?: QuantizeTo): Promise<BatchEngine> {
  const { engine } = await openModel(device, {
    folder: await openFolder("examples/demo/base"),
    adapters: await openAdapterStore("examples/demo/adapters"),
    quantize,
    engine: { maxSequences: batchSize, prefixCaching: false },
  });
  return engine;
}

/** An optimizer step of the demo model, 8 sequences of 128 tokens, in seconds. */
async function trainingStep(device: Device, method: Method): Promise<() => Promise<number>> {
  const folder = await openFolder("examples/demo/base"), random = uniforms(2);
  const config = await readConfig(folder), source = await openCheckpoint(folder), context = 128;
  const model = await loadModel(device, { config, source, maxModelLen: context }).finally(() =>
    source.close()
  );
  const modules = new Map(
    model.linears.slice(0, -1).map(({ path, shape }) => [path, newModule(method, shape, {}, random)]),
  );
  const rows = 8 * context, trainer = await Trainer.open(device, model, { method, modules, rows });
  const each = (value: (row: number) => number): Uint32Array =>
    Uint32Array.from({ length: rows }, (_, r) => value(r));
  const token = (): number => Math.floor(random() * config.vocabSize);
  const batch: TrainingBatch = {
    tokens: each(token),
    targets: each(token),
    positions: each((row) => row % context),
    first: each((row) => row - row % context),
    last: each((row) => row - row % context + context),
    targetCount: rows,
  };
  return async () => {
    const begin = performance.now();
    await trainer.submit([batch], 1e-3);
    return (performance.now() - begin) / 1000;
  };
}

/** Every measurement of a device; the models stay loaded. */
export async function measures(device: Device): Promise<Measures> {
  const small = await demo(device), short = numbered(5);
  const demos = { "": small, ", 8 bits": await demo(device, "int8"), ", 4 bits": await demo(device, "int4") };
  const larges = {
    "": await smol(device, {}),
    ", 16 bits": await smol(device, { dtype: "float16" }),
    ", 8 bits": await smol(device, { quantize: "int8" }),
    ", 4 bits": await smol(device, { quantize: "int4" }),
  };
  const of = (
    engines: Readonly<Record<string, BatchEngine>>,
    name: string,
    run: (engine: BatchEngine) => Promise<number>,
  ): Measures =>
    Object.fromEntries(
      Object.entries(engines).map(([format, engine]) => [`${name}${format}, tokens/s`, () => run(engine)]),
    );
  const adapted = (adapter: string) => () => decode(small, { prompt: short, adapter, maxTokens: 200 });
  return {
    ...of(demos, "demo model, decoding", (engine) => decode(engine, { prompt: short, maxTokens: 200 })),
    "demo model, decoding, FourierFT on seven linears, tokens/s": adapted("fourierft-kjv"),
    "demo model, decoding, LoRA r = 8, tokens/s": adapted("lora-kjv"),
    ...of(demos, "demo model, a prompt of 256", (engine) => read(engine, 256)),
    "demo model, a prompt of 256, FourierFT on seven linears, tokens/s": () =>
      read(small, 256, "fourierft-kjv"),
    ...of(demos, "demo model, batch of 8", (engine) => decodeBatch(engine, 50)),
    ...of(
      larges,
      "SmolLM2-135M's shape, decoding",
      (engine) => decode(engine, { prompt: short, maxTokens: 30 }),
    ),
    ...of(larges, "SmolLM2-135M's shape, a prompt of 256", (engine) => read(engine, 256)),
    ...of(larges, "SmolLM2-135M's shape, batch of 8", (engine) => decodeBatch(engine, 10)),
    "demo model, training step of 8 x 128, FourierFT, s": await trainingStep(device, fourierft),
    "demo model, training step of 8 x 128, LoRA r = 8, s": await trainingStep(device, lora),
    "dW of 1024 x 1024, FourierFT n = 1000, ms": delta(device, 1024),
    "dW of 4096 x 4096, FourierFT n = 1000, ms": delta(device, 4096),
    "fourier_linear, d = 4096, one row, us": await adapterRow(device),
  };
}
