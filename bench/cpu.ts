/**
 * The CPU device with WASM, here and in a thread of its own, beside the same device without relaxed SIMD and in
 * TypeScript. Timed are the demo model's decoding with and without an adapter, and an adapter's forward at d = 4096. In
 * SmolLM2-135M's shape (random weights) decoding and reading a prompt are timed.
 *
 *     deno task bench:cpu [--rounds N]
 *
 * bench/peers/decode_demo.py and decode_shape.py are the same by transformers and PEFT.
 *
 * @module
 */
import { fourierLinearCases } from "../kernels/cases/fourier_linear.ts";
import process from "node:process";
import { anyKernel, fourierLinear } from "../kernels/mod.ts";
import { wasmBytes } from "../kernels/wasm_bytes.ts";
import { AdapterRegistry } from "../src/adapters/registry.ts";
import { cpuDevice } from "../src/device/cpu.ts";
import type { Device } from "../src/device/device.ts";
import { BatchEngine } from "../src/engine/batch_engine.ts";
import { loadModel } from "../src/models/model.ts";
import type { QuantizeTo } from "../src/models/quantization.ts";
import { openModel } from "../src/open.ts";
import { openAdapterStore } from "../src/runtime/adapter_store.ts";
import { openFolder } from "../src/runtime/file.ts";
import { openCpuDevice } from "../src/runtime/open_cpu.ts";
import { tensor } from "../src/tensor.ts";
import { randomSource } from "../test/kernel_contract.ts";
import { median } from "./measurement.ts";
import { randomAdapters, randomWeights, smol135m } from "./random_model.ts";

const at = process.argv.indexOf("--rounds");
const rounds = at > 0 ? Number(process.argv[at + 1]) : 5;

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

/** The measurements by name: a figure each time one is called. */
async function measures(device: Device): Promise<Record<string, () => Promise<number> | number>> {
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
    "fourier_linear, d = 4096, one row (us)": await adapterRow(device),
  };
}

const devices = [
  cpuDevice(),
  await openCpuDevice(),
  cpuDevice({ wasm: new WebAssembly.Module(wasmBytes()) }),
  cpuDevice({ wasm: false }),
];
const measured = [];
for (const device of devices) measured.push(await measures(device));
console.log(
  `median of ${rounds} (least to most)`.padEnd(58),
  ...devices.map((d) => d.description.padEnd(40)),
);
for (const name of Object.keys(measured[0])) {
  const results: number[][] = devices.map(() => []);
  for (const run of measured) await run[name]();
  // In turn, so that a slow moment of the machine hits both alike.
  for (let round = 0; round < rounds; round++) {
    for (const [i, run] of measured.entries()) results[i].push(await run[name]());
  }
  const cells = results.map((values) =>
    `${median(values).toFixed(1)} (${Math.min(...values).toFixed(1)} to ${Math.max(...values).toFixed(1)})`
      .padEnd(40)
  );
  console.log(name.padEnd(58), ...cells);
}
process.exit(0);
