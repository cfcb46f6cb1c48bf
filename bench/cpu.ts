/**
 * The CPU device with WASM beside the same device in TypeScript: decoding the demo model with and without an adapter,
 * decoding and reading a prompt in SmolLM2-135M's shape (random weights), and an adapter's forward at d = 4096.
 *
 *     deno task bench:cpu [--rounds N]
 *
 * bench/peers/decode_demo.py and decode_shape.py are the same by transformers and PEFT.
 *
 * @module
 */
import process from "node:process";
import { anyKernel, fourierLinear } from "../kernels/mod.ts";
import { AdapterRegistry } from "../src/adapters/registry.ts";
import { cpuDevice } from "../src/device/cpu.ts";
import type { Device } from "../src/device/device.ts";
import { BatchEngine } from "../src/engine/batch_engine.ts";
import { parseLlamaConfig } from "../src/models/config.ts";
import { llamaLinears, type LlamaModel, loadLlama, type WeightSource } from "../src/models/llama.ts";
import { openModel } from "../src/open.ts";
import { openAdapterStore } from "../src/runtime/adapter_store.ts";
import { openFolder } from "../src/runtime/file.ts";
import { elements, tensor } from "../src/tensor.ts";
import { randomSource } from "../test/kernel_contract.ts";

const at = process.argv.indexOf("--rounds");
const rounds = at > 0 ? Number(process.argv[at + 1]) : 5;

/** SmolLM2-135M's config.json, as far as it matters. */
const shape = parseLlamaConfig({
  model_type: "llama",
  hidden_size: 576,
  intermediate_size: 1536,
  num_hidden_layers: 30,
  num_attention_heads: 9,
  num_key_value_heads: 3,
  vocab_size: 49152,
  max_position_embeddings: 512,
  tie_word_embeddings: true,
});

/** Random weights of the shape, from a seed: a block of numbers as often as they are needed. */
function randomWeights(): WeightSource {
  const random = randomSource(7);
  const block = Float32Array.from({ length: 2 ** 20 }, () => (random() - 0.5) * 0.07);
  const shapes = new Map<string, readonly number[]>([
    ["model.embed_tokens.weight", [shape.vocabSize, shape.hiddenSize]],
    ["model.norm.weight", [shape.hiddenSize]],
    ...llamaLinears(shape).slice(0, -1).map(({ path, shape: { out, in: inSize } }) =>
      [`${path}.weight`, [out, inSize]] as const
    ),
  ]);
  for (let i = 0; i < shape.layers; i++) {
    shapes.set(`model.layers.${i}.input_layernorm.weight`, [shape.hiddenSize]);
    shapes.set(`model.layers.${i}.post_attention_layernorm.weight`, [shape.hiddenSize]);
  }
  return {
    names: [...shapes.keys()],
    info: (name) => ({ shape: shapes.get(name)! }),
    read(name) {
      const size = shapes.get(name)!;
      const data = new Float32Array(elements(size));
      for (let i = 0; i < data.length; i += block.length) {
        data.set(block.subarray(0, Math.min(block.length, data.length - i)), i);
      }
      return Promise.resolve(tensor(data, size));
    },
  };
}

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
async function adapterRow(device: Device): Promise<() => number> {
  const { make, uniforms } = fourierLinear.benches[0];
  const buffers = Object.fromEntries(
    Object.entries(make(randomSource(1))).map(([name, data]) => [name, device.upload(tensor(data))]),
  );
  const program = await device.prepare([{ kernel: anyKernel(fourierLinear), buffers, uniforms }]);
  return () => {
    const begin = performance.now();
    for (let i = 0; i < 200; i++) device.run(program);
    return 1000 * (performance.now() - begin) / 200;
  };
}

function randomModel(device: Device): Promise<LlamaModel> {
  return loadLlama(device, { config: shape, source: randomWeights() });
}

/** What is measured, by name: a figure each time it is called. */
async function measures(device: Device): Promise<Record<string, () => Promise<number> | number>> {
  const { engine: demo, tokenizer } = await openModel(device, {
    folder: await openFolder("examples/demo/base"),
    adapters: await openAdapterStore("examples/demo/adapters"),
  });
  const model = await randomModel(device);
  const store = { list: () => Promise.resolve([]), open: () => Promise.resolve(undefined) };
  const large = new BatchEngine(device, model, {
    registry: new AdapterRegistry(device, store, { linears: model.linears }),
    options: { eosTokenIds: [], maxSequences: 1 },
  });
  const prompt = tokenizer.encode("In the beginning");
  const long = Array.from({ length: 128 }, (_, i) => i + 1);
  return {
    "demo model, base (tokens/s)": () => speed(demo, { prompt, maxTokens: 200 }),
    "demo model, FourierFT on seven linears (tokens/s)": () =>
      speed(demo, { prompt, adapter: "fourierft-kjv", maxTokens: 200 }),
    "demo model, LoRA r = 8 (tokens/s)": () => speed(demo, { prompt, adapter: "lora-kjv", maxTokens: 200 }),
    "SmolLM2-135M's shape (tokens/s)": () => speed(large, { prompt: [1, 2, 3, 4, 5], maxTokens: 30 }),
    "SmolLM2-135M's shape, a prompt of 128 (tokens/s)": () => speed(large, { prompt: long, maxTokens: 1 }),
    "fourier_linear, d = 4096, one row (us)": await adapterRow(device),
  };
}

const median = (values: number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1];

const devices = [cpuDevice(), cpuDevice({ wasm: false })];
const measured = [];
for (const device of devices) measured.push(await measures(device));
console.log(
  `median of ${rounds} (least to most)`.padEnd(52),
  ...devices.map((d) => d.description.padEnd(30)),
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
      .padEnd(30)
  );
  console.log(name.padEnd(52), ...cells);
}
process.exit(0);
