/**
 * The cost of a decode step in JavaScript. Dawn's null backend takes every call and computes nothing: packing,
 * encoding, submitting and reading are left.
 *
 *     deno task bench:host [--steps N]
 *
 * @module
 */
import process from "node:process";
import { parseArgs } from "node:util";
import { create } from "webgpu";
import { Bank } from "../src/adapters/bank.ts";
import type { Method } from "../src/adapters/method.ts";
import { methods } from "../src/adapters/methods/mod.ts";
import { newModule } from "../test/new_module.ts";
import type { Device } from "../src/device/device.ts";
import { cpuDevice } from "../src/device/cpu.ts";
import { type WebGpuDevice, webgpuDevice } from "../src/device/webgpu.ts";
import { uniforms } from "../src/engine/random.ts";
import { readyFor } from "../src/engine/base.ts";
import { Runner } from "../src/engine/runner.ts";
import { type LlamaConfig, parseLlamaConfig } from "../src/models/llama/config.ts";
import { loadModel, type Model } from "../src/models/model.ts";
import { median } from "./measurement.ts";
import { randomWeights } from "./random_model.ts";

const { values: args } = parseArgs({ options: { steps: { type: "string", default: "2000" } } });
const steps = Number(args.steps);

/** Options of methods that have them: sizes that every linear allows. */
const options = { n_frequency: 100, block_size: 64, vector_length: 64 };

/** Sequences of 64 tokens, in blocks; more rows than sequences share them. */
const sequences = 32, cacheRows = 64 * sequences, blockSize = 16;
const blocks = Array.from({ length: sequences }, (_, s) => Array.from({ length: 4 }, (_, i) => 4 * s + i));

/** Sizes of tensors do not matter here, the number of layers does: both models are as wide as the demo. */
const layersOf = { "demo (8 layers)": 8, "Llama-3.2-1B (16 layers)": 16 };

function config(layers: number): LlamaConfig {
  return parseLlamaConfig({
    model_type: "llama",
    vocab_size: 4096,
    hidden_size: 256,
    intermediate_size: 768,
    num_hidden_layers: layers,
    num_attention_heads: 8,
    num_key_value_heads: 4,
    head_dim: 32,
    rms_norm_eps: 1e-5,
    max_position_embeddings: 512,
    rope_theta: 10000,
    hidden_act: "silu",
    tie_word_embeddings: true,
  });
}

async function model(device: Device, layers: number): Promise<Model> {
  const shape = config(layers);
  return await loadModel(device, { config: shape, source: randomWeights(shape, "float16") });
}

async function time(count: number, body: (i: number) => Promise<unknown>): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < count; i++) {
    const begin = performance.now();
    await body(i);
    times.push(1000 * (performance.now() - begin));
  }
  return median(times);
}

// Kept for the life of the process: collected while a device lives, it takes the process with it.
const nullBackend = create(["backend=null"]);

/** Each on a device of its own: the null backend holds 256 MiB at most. */
async function openDevice(): Promise<WebGpuDevice> {
  const adapter = await nullBackend.requestAdapter();
  if (!adapter) throw new Error("Cannot open Dawn's null backend: it found no adapter");
  const gpu = await adapter.requestDevice();
  return webgpuDevice(gpu, { destroy: () => gpu.destroy() });
}

async function report(name: string, layers: number, method?: Method): Promise<void> {
  const gpu = await openDevice();
  let writes = 0;
  let launches = 0;
  const device: Device = {
    ...gpu,
    // Every number of rows is a size of its own.
    prefersFewSizes: false,
    write(...args) {
      writes++;
      gpu.write(...args);
    },
    async prepare(plan) {
      const program = await gpu.prepare(plan);
      launches = program.launches;
      return program;
    },
  };
  const loaded = await model(device, layers);
  const banks = method ? [new Bank(device, method, { linears: loaded.linears, capacity: 64 })] : [];
  const random = uniforms(1);
  const linears = loaded.linears.slice(0, -1);
  // The null backend reads zeros: what modules need to know of the base is worked out on a CPU.
  const cpu = cpuDevice(), base = method && await model(cpu, layers);
  const adapterOf = async (bank: Bank): Promise<{ readonly bank: Bank; readonly slot: number }> => {
    const modules = new Map(
      linears.map(({ path, shape }) => [path, newModule(bank.method, shape, options, random)] as const),
    );
    const adapter = await readyFor(cpu, base!, { method: bank.method, modules });
    return { bank, slot: bank.load(adapter.modules)! };
  };
  const adapters = await Promise.all(banks.map(adapterOf));
  const runner = new Runner(device, loaded, {
    banks,
    ...{ maxRows: 256, maxOutputs: 256, cacheRows, blockSize },
    // Whether it pays is timed, and nothing takes time here.
    merging: "never",
  });
  const batch = (rows: number, step: number): Promise<unknown> =>
    runner.step(
      Array.from(
        { length: rows },
        (_, r) => ({ token: 7, position: step % 64, blocks: blocks[r % sequences], adapters }),
      ),
      Array.from({ length: rows }, (_, row) => ({ row, temperature: 1, topP: 1, topK: 0, uniform: 0.5 })),
    );
  for (const rows of [1, 16, 64, 256]) {
    await time(200, (i) => batch(rows, i));
    writes = 0;
    const us = await time(steps, (i) => batch(rows, i));
    console.log(
      `${name.padEnd(26)} ${(method?.name ?? "no adapter").padEnd(11)} ${`${rows} rows`.padEnd(8)} ` +
        `${us.toFixed(0).padStart(5)} us a step; ${launches} dispatches, ${writes / steps} writes`,
    );
  }
  // Sizes not met before, all of one choice of kernels: what a change of the batch's size costs.
  await time(1, () => batch(17, 0));
  const fresh = await time(7, (i) => batch(18 + i, 0));
  console.log(`${" ".repeat(46)} ${fresh.toFixed(0).padStart(6)} us for the first step of another size`);
  device.destroy();
}

for (const [name, layers] of Object.entries(layersOf)) {
  for (const method of [undefined, ...methods.filter(({ training }) => training)]) {
    await report(name, layers, method);
  }
}
process.exit(0);
