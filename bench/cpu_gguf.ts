/**
 * Our weights as GGUF files for llama.cpp, in `dist/bench/gguf/`. They are the demo model, its LoRA adapter and SmolLM2-135M's
 * shape, the models in F32, F16, Q8_0 and Q4_0. Files that are there stay.
 *
 *     deno run -A bench/cpu_gguf.ts
 *
 * Q4_0 files have their embedding, which is the head, too, in Q8_0: so has our 4-bit format.
 *
 * @module
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { float32ToFloat16, widen } from "../kernels/half.ts";
import { openCheckpoint } from "../src/models/checkpoint.ts";
import { readConfig } from "../src/models/families.ts";
import type { LlamaConfig } from "../src/models/llama/config.ts";
import type { WeightSource } from "../src/models/model.ts";
import { openFolder } from "../src/runtime/file.ts";
import { parseSafetensors, toTensor } from "../src/safetensors/mod.ts";
import { type HostTensor, tensor } from "../src/tensor.ts";
import { interleaved, storedName, tokenizerEntries } from "../test/gguf_folders.ts";
import { type Entry, type StoredTensor, writeGguf } from "../test/gguf_writer.ts";
import { randomWeights, smol135m } from "./random_model.ts";

/** Formats by their names in file names. */
export type GgufFormat = "f32" | "f16" | "q8_0" | "q4_0";

const folder = join(import.meta.dirname!, "..", "dist", "bench", "gguf");

/** Where a model's file is. */
export const ggufFile = (model: "demo" | "smol", format: GgufFormat): string =>
  join(folder, `${model}-${format}.gguf`);

/** Where the demo's LoRA adapter is. */
export const ggufAdapter = join(folder, "lora-kjv.gguf");

const uint = (value: number): Entry => ({ kind: "uint32", value });
const float = (value: number): Entry => ({ kind: "float32", value });
const text = (value: string): Entry => ({ kind: "string", value });

/** Numbers of a block of Q8_0 and Q4_0. */
const blockSize = 32;

/** Blocks of a float16 scale and 32 numbers of 8 bits. */
function q8(values: Float32Array): Uint8Array {
  const count = values.length / blockSize, bytes = new Uint8Array(34 * count);
  const scales = new Float32Array(count);
  for (let b = 0; b < count; b++) {
    const block = values.subarray(b * blockSize, (b + 1) * blockSize);
    scales[b] = block.reduce((most, value) => Math.max(most, Math.abs(value)), 0) / 127;
    for (let i = 0; i < blockSize; i++) {
      bytes[34 * b + 2 + i] = scales[b] > 0 ? Math.round(block[i] / scales[b]) : 0;
    }
  }
  return withScales(bytes, scales, 34);
}

/** Blocks of a float16 scale and 32 numbers of 4 bits, less 8: number i is in byte i mod 16. */
function q4(values: Float32Array): Uint8Array {
  const count = values.length / blockSize, bytes = new Uint8Array(18 * count);
  const scales = new Float32Array(count);
  for (let b = 0; b < count; b++) {
    const block = values.subarray(b * blockSize, (b + 1) * blockSize);
    // The largest of either sign becomes -8.
    scales[b] = block.reduce((most, value) => Math.abs(value) > Math.abs(most) ? value : most, 0) / -8;
    for (let i = 0; i < blockSize; i++) {
      const four = scales[b] === 0 ? 8 : Math.min(15, Math.floor(block[i] / scales[b] + 8.5));
      bytes[18 * b + 2 + i % 16] |= four << (i < 16 ? 0 : 4);
    }
  }
  return withScales(bytes, scales, 18);
}

function withScales(bytes: Uint8Array, scales: Float32Array, blockBytes: number): Uint8Array {
  const halves = new Uint8Array(float32ToFloat16(scales).buffer);
  for (let b = 0; b < scales.length; b++) bytes.set(halves.subarray(2 * b, 2 * b + 2), b * blockBytes);
  return bytes;
}

/** A type's number in files, and the bytes of a tensor. */
const encodings: Readonly<Record<GgufFormat, readonly [number, (values: Float32Array) => Uint8Array]>> = {
  f32: [0, (values) => new Uint8Array(values.buffer, values.byteOffset, values.byteLength)],
  f16: [1, (values) => new Uint8Array(float32ToFloat16(values).buffer)],
  q8_0: [8, q8],
  q4_0: [2, q4],
};

function stored(name: string, { data, shape, dtype }: HostTensor, format: GgufFormat): StoredTensor {
  // Vectors stay float32: llama.cpp has it so.
  const own = shape.length === 1
    ? "f32"
    : format === "q4_0" && name === "token_embd.weight"
    ? "q8_0"
    : format;
  const [type, encode] = encodings[own], values = widen(data, dtype);
  return { name, sizes: shape.slice().reverse(), type, bytes: encode(values as Float32Array) };
}

/** The metadata of a model; tokens that the demo has not are fillers. */
function metadata(config: LlamaConfig): Record<string, Entry> {
  const own: Record<string, Entry> = {
    block_count: uint(config.layers),
    context_length: uint(config.maxPositions),
    embedding_length: uint(config.hiddenSize),
    feed_forward_length: uint(config.intermediateSize),
    "attention.head_count": uint(config.heads),
    "attention.head_count_kv": uint(config.kvHeads),
    "attention.layer_norm_rms_epsilon": float(config.rmsNormEps),
    "attention.key_length": uint(config.headDim),
    "rope.freq_base": float(10000),
    vocab_size: uint(config.vocabSize),
  };
  const tokenizer = JSON.parse(readFileSync("examples/demo/base/tokenizer.json", "utf8"));
  return {
    "general.architecture": text("llama"),
    ...Object.fromEntries(Object.entries(own).map(([key, entry]) => [`llama.${key}`, entry])),
    ...tokenizerEntries(tokenizer, config.vocabSize),
  };
}

/** Heads of a weight whose rows llama.cpp has in another order. */
function headsOf(name: string, { heads, kvHeads }: LlamaConfig): number | undefined {
  return name.includes(".q_proj.") ? heads : name.includes(".k_proj.") ? kvHeads : undefined;
}

async function writeModel(
  file: string,
  { config, source, format }: {
    readonly config: LlamaConfig;
    readonly source: Pick<WeightSource, "names" | "read">;
    readonly format: GgufFormat;
  },
): Promise<void> {
  const tensors: StoredTensor[] = [];
  for (const name of source.names) {
    const read = await source.read(name), heads = headsOf(name, config);
    tensors.push(
      stored(storedName(name, "llama"), heads === undefined ? read : interleaved(read, heads), format),
    );
  }
  writeFileSync(file, writeGguf({ metadata: metadata(config), tensors }));
}

/** The demo's LoRA adapter: rows of B in the order of the weight's. */
function writeAdapter(config: LlamaConfig): void {
  const from = "examples/demo/adapters/lora-kjv";
  const { lora_alpha: alpha } = JSON.parse(readFileSync(`${from}/adapter_config.json`, "utf8"));
  const file = parseSafetensors(new Uint8Array(readFileSync(`${from}/adapter_model.safetensors`)));
  const tensors = [...file.tensors.keys()].map((name) => {
    const read = toTensor(file.read(name)), heads = headsOf(name, config);
    const [, path, letter] = /^base_model\.model\.(.+)\.lora_([AB])\.weight$/.exec(name)!;
    const own = `${storedName(`${path}.weight`, "llama")}.lora_${letter.toLowerCase()}`;
    const turned = letter === "B" && heads !== undefined ? interleaved(read, heads) : read;
    return stored(own, tensor(widen(turned.data, turned.dtype), turned.shape), "f32");
  });
  writeFileSync(
    ggufAdapter,
    writeGguf({
      metadata: {
        "general.type": text("adapter"),
        "general.architecture": text("llama"),
        "adapter.type": text("lora"),
        "adapter.lora.alpha": float(alpha),
      },
      tensors,
    }),
  );
}

/** Writes the files that are not there. */
export async function makeGguf(): Promise<void> {
  mkdirSync(folder, { recursive: true });
  const base = await openFolder("examples/demo/base");
  const config = await readConfig(base) as LlamaConfig;
  if (!existsSync(ggufAdapter)) writeAdapter(config);
  for (const format of ["f32", "f16", "q8_0", "q4_0"] as const) {
    if (!existsSync(ggufFile("demo", format))) {
      const source = await openCheckpoint(base);
      await writeModel(ggufFile("demo", format), { config, source, format });
      await source.close();
    }
    if (existsSync(ggufFile("smol", format))) continue;
    const source = randomWeights(smol135m, "float32");
    await writeModel(ggufFile("smol", format), { config: smol135m, source, format });
  }
}

if (import.meta.main) await makeGguf();
