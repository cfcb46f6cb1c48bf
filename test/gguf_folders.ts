/**
 * Models of Hugging Face folders as GGUF files, named and ordered as llama.cpp's converter does.
 *
 * @module
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { widen } from "../kernels/half.ts";
import type { ReadableFolder } from "../src/folder.ts";
import { families } from "../src/models/families.ts";
import type { Architecture } from "../src/models/gguf/architecture.ts";
import { openGguf } from "../src/models/gguf/folder.ts";
import { parseSafetensors, toTensor } from "../src/safetensors/mod.ts";
import { type HostTensor, newArray, tensor } from "../src/tensor.ts";
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

/** A weight's numbers, those of 16 bits widened. */
export const numbersOf = ({ data, dtype }: HostTensor): Float32Array => widen(data, dtype);

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

/** Architectures that a decoder's file may have. */
export type DecoderArchitecture =
  | "llama"
  | "qwen2"
  | "qwen3"
  | "phi3"
  | "smollm3"
  | "granite"
  | "olmo2"
  | "gemma"
  | "gemma2"
  | "gemma3";

/** Those whose rows of q and k are in another order. */
const interleaving: readonly string[] = ["llama", "smollm3", "granite"];

// deno-lint-ignore no-explicit-any
type Config = any;

/** Keys beside those of all, without the architecture's name. */
function ownEntries(architecture: DecoderArchitecture, config: Config): Record<string, Entry> {
  const window: Record<string, Entry> = { "attention.sliding_window": uint(config.sliding_window ?? 0) };
  switch (architecture) {
    case "phi3": {
      const { max_position_embeddings: length, original_max_position_embeddings: original } = config;
      const { partial_rotary_factor: part = 1 } = config.rope_parameters ?? config;
      const factor = Math.sqrt(1 + Math.log(length / original) / Math.log(original));
      return {
        ...window,
        "rope.dimension_count": uint(Math.floor(part * config.hidden_size / config.num_attention_heads)),
        "rope.scaling.original_context_length": uint(original),
        ...(ropeFactors(config).length > 0 ? { "rope.scaling.attn_factor": float(factor) } : {}),
      };
    }
    case "granite":
      return {
        "attention.scale": float(config.attention_multiplier),
        embedding_scale: float(config.embedding_multiplier),
        residual_scale: float(config.residual_multiplier),
        logit_scale: float(config.logits_scaling),
      };
    case "gemma2":
      return {
        ...window,
        attn_logit_softcapping: float(config.attn_logit_softcapping),
        final_logit_softcapping: float(config.final_logit_softcapping),
      };
    case "gemma3": {
      const { rope_type: type, factor } = config.rope_parameters.full_attention;
      const scaling: Record<string, Entry> = {
        "rope.scaling.type": text("linear"),
        "rope.scaling.factor": float(factor),
      };
      return { ...window, ...(type === "linear" ? scaling : {}) };
    }
    default:
      return {};
  }
}

/** The tensors of longrope's divisors. */
function ropeFactors({ rope_parameters: rope, rope_scaling: scaling }: Config): StoredTensor[] {
  const { short_factor: short, long_factor: long } = rope ?? scaling ?? {};
  if (!short) return [];
  return Object.entries({ short, long }).map(([name, numbers]) =>
    stored(`rope_factors_${name}.weight`, tensor(Float32Array.from(numbers as number[])))
  );
}

/** The parts of a decoder's file. */
export function decoderParts(path: string, architecture: DecoderArchitecture = "llama"): GgufParts & {
  readonly metadata: Record<string, Entry>;
  readonly tensors: StoredTensor[];
} {
  const config = fixtureJson(`${path}/config.json`), { rope_parameters: rope = config } = config;
  const { full_attention: { rope_theta: theta } = rope } = rope;
  const heads: Readonly<Record<string, number>> = interleaving.includes(architecture)
    ? { q_proj: config.num_attention_heads, k_proj: config.num_key_value_heads }
    : {};
  const offset = architecture.startsWith("gemma") ? 1 : 0;
  const own: Record<string, Entry> = {
    block_count: uint(config.num_hidden_layers),
    context_length: uint(config.max_position_embeddings),
    embedding_length: uint(config.hidden_size),
    feed_forward_length: uint(config.intermediate_size),
    "attention.head_count": uint(config.num_attention_heads),
    "attention.head_count_kv": uint(config.num_key_value_heads),
    "attention.layer_norm_rms_epsilon": float(config.rms_norm_eps),
    "attention.key_length": uint(config.head_dim ?? config.hidden_size / config.num_attention_heads),
    "rope.freq_base": float(theta),
    ...ownEntries(architecture, config),
  };
  return {
    metadata: {
      "general.architecture": text(architecture),
      ...Object.fromEntries(Object.entries(own).map(([key, entry]) => [`${architecture}.${key}`, entry])),
      ...(typeof config.eos_token_id === "number"
        ? { "tokenizer.ggml.eos_token_id": uint(config.eos_token_id) }
        : {}),
      ...tokenizerEntries(fixtureJson(`${path}/tokenizer.json`), config.vocab_size),
    },
    tensors: [
      ...ropeFactors(config),
      ...Object.entries(weightsOf(path)).map(([name, t]) => {
        const turned = heads[name.split(".").at(-2)!];
        const kept = offset && name.endsWith("norm.weight")
          ? tensor(Float32Array.from(numbersOf(t), (value) => value + offset), t.shape)
          : t;
        return stored(
          storedName(name, architecture),
          turned === undefined ? kept : interleaved(kept, turned),
        );
      }),
    ],
  };
}

/** A file as a model folder. */
export function ggufFolder(parts: GgufParts): Promise<ReadableFolder> {
  return openGguf(memoryFolder({ "model.gguf": writeGguf(parts) }), "model.gguf");
}
