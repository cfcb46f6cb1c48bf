/**
 * The CPU device with WASM, on one thread and on all, beside the same device without relaxed SIMD and in TypeScript. Timed are
 * the demo model's decoding with and without an adapter, its training, and an adapter's forward at d = 4096. In
 * SmolLM2-135M's shape (random weights) decoding and reading a prompt are timed.
 *
 *     deno task bench:cpu [--rounds N] [--threads 1,2,...] [--peers PYTHON]
 *
 * `--threads` compares numbers of threads. `--peers` measures the same by transformers and PEFT in the same run, each in
 * its turn: a Python that has torch, transformers and peft.
 *
 * @module
 */
import { availableParallelism, cpus, loadavg } from "node:os";
import process from "node:process";
import { parseArgs } from "node:util";
import { fourierLinearCases } from "../kernels/cases/fourier_linear.ts";
import { anyKernel, fourierLinear } from "../kernels/mod.ts";
import { wasmBytes } from "../kernels/wasm_bytes.ts";
import type { Method } from "../src/adapters/method.ts";
import { fourierft } from "../src/adapters/methods/fourierft.ts";
import { lora } from "../src/adapters/methods/lora.ts";
import { AdapterRegistry } from "../src/adapters/registry.ts";
import { cpuDevice } from "../src/device/cpu.ts";
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
import { openCpuDevice } from "../src/runtime/open_cpu.ts";
import { tensor } from "../src/tensor.ts";
import type { TrainingBatch } from "../src/training/batch.ts";
import { Trainer } from "../src/training/trainer.ts";
import { randomSource } from "../test/kernel_contract.ts";
import { newModule } from "../test/new_module.ts";
import { type Entrant, type Measures, openPeer } from "./cpu_peer.ts";
import { median } from "./measurement.ts";
import { randomAdapters, randomWeights, smol135m } from "./random_model.ts";

const { values: options } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    threads: { type: "string" },
    peers: { type: "string" },
  },
});
const rounds = Number(options.rounds);

interface Request {
  readonly prompt: readonly number[];
  readonly adapter?: string;
  readonly maxTokens: number;
}

/** Tokens a second after the first new one, or of the prompt where only one new token is asked for. */
async function speed(engine: BatchEngine, { prompt, adapter, maxTokens }: Request): Promise<number> {
  const sampling = { temperature: 0, topP: 1, topK: 0 };
  let begin = performance.now(), counted = maxTokens === 1 ? prompt.length : -1;
  for await (const { kind } of engine.generate({ promptTokenIds: prompt, adapter, maxTokens, sampling })) {
    if (kind !== "token" || maxTokens === 1) continue;
    if (counted < 0) begin = performance.now();
    counted++;
  }
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

/** An engine of SmolLM2-135M's shape with random weights, as they are or quantised. */
async function smol(device: Device, quantize?: QuantizeTo): Promise<BatchEngine> {
  const source = randomWeights(smol135m, "float32");
  const model = await loadModel(device, { config: smol135m, source, quantize });
  return new BatchEngine(device, model, {
    registry: new AdapterRegistry(device, randomAdapters(smol135m), { linears: model.linears }),
    options: { eosTokenIds: [], maxSequences: 1 },
  });
}

/** An optimizer step of the demo model, 8 sequences of 128 tokens, by how many there are in a minute. */
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
    return 60_000 / (performance.now() - begin);
  };
}

/** The measurements by name: a figure each time one is called. */
async function measures(device: Device): Promise<Measures> {
  const { engine: demo, tokenizer } = await openModel(device, {
    folder: await openFolder("examples/demo/base"),
    adapters: await openAdapterStore("examples/demo/adapters"),
  });
  const large = await smol(device), int8 = await smol(device, "int8"), int4 = await smol(device, "int4");
  const prompt = tokenizer.encode("In the beginning");
  const short = [1, 2, 3, 4, 5];
  const long = Array.from({ length: 128 }, (_, i) => i + 1);
  return {
    "demo model, base (tokens/s)": () => speed(demo, { prompt, maxTokens: 200 }),
    "demo model, FourierFT on seven linears (tokens/s)": () =>
      speed(demo, { prompt, adapter: "fourierft-kjv", maxTokens: 200 }),
    "demo model, LoRA r = 8 (tokens/s)": () => speed(demo, { prompt, adapter: "lora-kjv", maxTokens: 200 }),
    "SmolLM2-135M's shape (tokens/s)": () => speed(large, { prompt: short, maxTokens: 30 }),
    "SmolLM2-135M's shape, 8 bits (tokens/s)": () => speed(int8, { prompt: short, maxTokens: 30 }),
    "SmolLM2-135M's shape, 4 bits (tokens/s)": () => speed(int4, { prompt: short, maxTokens: 30 }),
    "SmolLM2-135M's shape, a prompt of 128 (tokens/s)": () => speed(large, { prompt: long, maxTokens: 1 }),
    "SmolLM2-135M's shape, 8 bits, a prompt of 128 (tokens/s)": () =>
      speed(int8, { prompt: long, maxTokens: 1 }),
    "training the demo model, FourierFT, 8 x 128 (steps/min)": await trainingStep(device, fourierft),
    "training the demo model, LoRA r = 8, 8 x 128 (steps/min)": await trainingStep(device, lora),
    "fourier_linear, d = 4096, one row (us)": await adapterRow(device),
  };
}

/** Every kind of CPU device, or those of so many threads where numbers are given. */
async function openDevices(threads: readonly number[] | undefined): Promise<Device[]> {
  if (threads) return await Promise.all(threads.map((count) => openCpuDevice({ threads: count })));
  return [
    cpuDevice(),
    await openCpuDevice({ threads: 1 }),
    await openCpuDevice(),
    cpuDevice({ wasm: new WebAssembly.Module(wasmBytes()) }),
    cpuDevice({ wasm: false }),
  ];
}

const load = (): string => loadavg()[0].toFixed(1);

const threads = options.threads?.split(",").map(Number);
const entrants: Entrant[] = [];
for (const device of await openDevices(threads)) {
  entrants.push({ description: device.description, measures: await measures(device) });
}
if (options.peers) {
  for (const count of threads ?? [1, availableParallelism()]) {
    entrants.push(await openPeer(options.peers, count));
  }
}
console.log(`${cpus()[0].model}, ${availableParallelism()} processors; load ${load()} before`);
for (const [i, { description }] of entrants.entries()) console.log(`[${i + 1}] ${description}`);
console.log(
  `median of ${rounds} (least to most)`.padEnd(58),
  ...entrants.map((_, i) => `[${i + 1}]`.padEnd(28)),
);
for (const name of Object.keys(entrants[0].measures)) {
  const results = new Map(
    entrants.filter(({ measures }) => measures[name]).map((one) => [one, [] as number[]]),
  );
  for (const { measures } of results.keys()) await measures[name]();
  // In turn, so that a slow moment of the machine hits all alike.
  for (let round = 0; round < rounds; round++) {
    for (const [{ measures }, values] of results) values.push(await measures[name]());
  }
  const cells = entrants.map((one) => {
    const values = results.get(one);
    if (!values) return "-".padEnd(28);
    const [least, most] = [Math.min(...values), Math.max(...values)].map((value) => value.toFixed(1));
    return `${median(values).toFixed(1)} (${least} to ${most})`.padEnd(28);
  });
  console.log(name.padEnd(58), ...cells);
}
console.log(`load ${load()} after`);
process.exit(0);
