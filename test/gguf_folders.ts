/**
 * Models of Hugging Face folders as GGUF files, named and ordered as llama.cpp's converter does.
 *
 * @module
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { ReadableFolder } from "../src/folder.ts";
import { families } from "../src/models/families.ts";
import type { Architecture } from "../src/models/gguf/architecture.ts";
import { openGguf } from "../src/models/gguf/folder.ts";
import { parseSafetensors, toTensor } from "../src/safetensors/mod.ts";
import { type HostTensor, newArray } from "../src/tensor.ts";
import { type Entry, type GgufParts, type StoredTensor, writeGguf } from "./gguf_writer.ts";
import { memoryFolder } from "./model_folders.ts";

const fixture = (path: string): string => fileURLToPath(new URL(`fixtures/${path}`, import.meta.url));

/** A JSON file of the fixtures. */
// deno-lint-ignore no-explicit-any
export const fixtureJson = (path: string): any => JSON.parse(readFileSync(fixture(path), "utf8"));

/** Weights of a folder's one file. */
export function weightsOf(path: string): Record<string, HostTensor> {
  const file = parseSafetensors(new Uint8Array(readFileSync(fixture(`${path}/model.safetensors`))));
  return Object.fromEntries([...file.tensors.keys()].map((name) => [name, toTensor(file.read(name))]));
}

const uint = (value: number): Entry => ({ kind: "uint32", value });
const float = (value: number): Entry => ({ kind: "float32", value });
const text = (value: string): Entry => ({ kind: "string", value });

interface TokenizerFields {
  readonly added_tokens: readonly { id: number; content: string; special: boolean }[];
  readonly model: {
    readonly vocab: Readonly<Record<string, number>>;
    /** Absent from a tokenizer of another kind, which no file can have: its texts are not looked at. */
    readonly merges?: readonly (string | readonly string[])[];
  };
}

/** The metadata of a byte-level tokenizer. */
export function tokenizerEntries(fields: TokenizerFields, vocabSize: number): Record<string, Entry> {
  const tokens = Array.from({ length: vocabSize }, (_, id) => `[PAD${id}]`), kinds = tokens.map(() => 5);
  for (const [token, id] of Object.entries(fields.model.vocab)) {
    tokens[id] = token;
    kinds[id] = 1;
  }
  for (const { id, content, special } of fields.added_tokens) {
    tokens[id] = content;
    kinds[id] = special ? 3 : 4;
  }
  const merges = (fields.model.merges ?? []).map((merge) =>
    typeof merge === "string" ? merge : merge.join(" ")
  );
  return {
    "tokenizer.ggml.model": text("gpt2"),
    "tokenizer.ggml.pre": text("gpt-2"),
    "tokenizer.ggml.tokens": { kind: "string", list: tokens },
    "tokenizer.ggml.token_type": { kind: "int32", list: kinds },
    "tokenizer.ggml.merges": { kind: "string", list: merges },
    "tokenizer.ggml.add_bos_token": { kind: "bool", value: false },
  };
}

/** Rows in the order of llama.cpp: of each head, first halves and second halves in turn. */
export function interleaved({ data, shape, dtype }: HostTensor, heads: number): HostTensor {
  const rows = shape[0], width = data.length / rows, size = rows / heads;
  const moved = newArray(dtype, data.length);
  for (let h = 0; h < heads; h++) {
    for (let j = 0; j < size / 2; j++) {
      for (const half of [0, 1]) {
        const from = h * size + half * size / 2 + j, to = h * size + 2 * j + half;
        moved.set(data.subarray(from * width, (from + 1) * width), to * width);
      }
    }
  }
  return { data: moved, shape, dtype };
}

const typeNumbers = { float32: 0, float16: 1, bfloat16: 30 } as const;

/** A tensor as files have it. */
export function stored(name: string, { data, shape, dtype }: HostTensor): StoredTensor {
  return {
    name,
    sizes: shape.slice().reverse(),
    type: typeNumbers[dtype as keyof typeof typeNumbers],
    bytes: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
  };
}

const architectures: Readonly<Record<string, Architecture>> = Object.assign(
  {},
  ...families.map(({ names }) => names.gguf),
);

/** The name of a model's weight in a file. */
export function storedName(name: string, architecture: string): string {
  const { tensors, layers, layerTensors } = architectures[architecture];
  const [, path, kind] = /^(.+)\.(weight|bias)$/.exec(name)!;
  const [, layer, module] = path.startsWith(layers) ? /^(\d+)\.(.+)$/.exec(path.slice(layers.length))! : [];
  const found = Object.entries(layer === undefined ? tensors : layerTensors)
    .find(([, own]) => own === (layer === undefined ? path : module));
  if (!found) throw new TypeError(`no file has ${name}`);
  return layer === undefined ? `${found[0]}.${kind}` : `blk.${layer}.${found[0]}.${kind}`;
}

/** The parts of a Llama's or Qwen2's file. */
export function decoderParts(path: string, architecture: "llama" | "qwen2" | "qwen3" = "llama"): GgufParts & {
  readonly metadata: Record<string, Entry>;
  readonly tensors: StoredTensor[];
} {
  const config = fixtureJson(`${path}/config.json`),
    key = (name: string): string => `${architecture}.${name}`;
  const heads: Readonly<Record<string, number>> = architecture === "llama"
    ? { q_proj: config.num_attention_heads, k_proj: config.num_key_value_heads }
    : {};
  return {
    metadata: {
      "general.architecture": text(architecture),
      [key("block_count")]: uint(config.num_hidden_layers),
      [key("context_length")]: uint(config.max_position_embeddings),
      [key("embedding_length")]: uint(config.hidden_size),
      [key("feed_forward_length")]: uint(config.intermediate_size),
      [key("attention.head_count")]: uint(config.num_attention_heads),
      [key("attention.head_count_kv")]: uint(config.num_key_value_heads),
      [key("attention.layer_norm_rms_epsilon")]: float(config.rms_norm_eps),
      [key("attention.key_length")]: uint(config.head_dim ?? config.hidden_size / config.num_attention_heads),
      [key("rope.freq_base")]: float(config.rope_parameters.rope_theta),
      ...(typeof config.eos_token_id === "number"
        ? { "tokenizer.ggml.eos_token_id": uint(config.eos_token_id) }
        : {}),
      ...tokenizerEntries(fixtureJson(`${path}/tokenizer.json`), config.vocab_size),
    },
    tensors: Object.entries(weightsOf(path)).map(([name, t]) => {
      const turned = heads[name.split(".").at(-2)!];
      return stored(storedName(name, architecture), turned === undefined ? t : interleaved(t, turned));
    }),
  };
}

/** A file as a model folder. */
export function ggufFolder(parts: GgufParts): Promise<ReadableFolder> {
  return openGguf(memoryFolder({ "model.gguf": writeGguf(parts) }), "model.gguf");
}
