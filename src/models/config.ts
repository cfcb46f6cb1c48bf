/**
 * A Hugging Face config.json of the Llama family, checked: every value that shapes the forward is read or refused.
 *
 * @module
 */
import { ConfigError } from "../errors.ts";
import { parseQuantization, type Quantization } from "./quantization.ts";

/** How rotary frequencies are stretched for long contexts. */
export type RopeScaling =
  | { readonly type: "default" }
  | { readonly type: "linear"; readonly factor: number }
  | {
    readonly type: "llama3";
    readonly factor: number;
    readonly lowFreqFactor: number;
    readonly highFreqFactor: number;
    readonly originalMaxPositions: number;
  };

/** What a Llama-family decoder is built from. */
export interface LlamaConfig {
  readonly modelType: "llama" | "mistral" | "qwen2";
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly rmsNormEps: number;
  /** Longest sequence: `max_position_embeddings`, or a smaller sliding window, within which full attention is the same. */
  readonly maxPositions: number;
  readonly ropeTheta: number;
  readonly ropeScaling: RopeScaling;
  readonly tieWordEmbeddings: boolean;
  /** Biases of q, k and v. */
  readonly qkvBias: boolean;
  /** Bias of o. */
  readonly outputBias: boolean;
  readonly mlpBias: boolean;
  /** Absent where the folder's weights are floats. */
  readonly quantization?: Quantization;
}

type Fields = Readonly<Record<string, unknown>>;

function fail(field: string, value: unknown, rule: string): never {
  throw new ConfigError(`Cannot read config.json field "${field}" = ${JSON.stringify(value)}: ${rule}`);
}

function count(fields: Fields, field: string, fallback?: number): number {
  const value = fields[field] ?? fallback;
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 1) {
    fail(field, fields[field], "it must be a positive integer");
  }
  return value;
}

function positive(fields: Fields, field: string, fallback?: number): number {
  const value = fields[field] ?? fallback;
  if (typeof value !== "number" || !(value > 0) || !Number.isFinite(value)) {
    fail(field, fields[field], "it must be a positive number");
  }
  return value;
}

function flag(fields: Fields, field: string, fallback: boolean): boolean {
  const value = fields[field] ?? fallback;
  if (typeof value !== "boolean") fail(field, value, "it must be true or false");
  return value;
}

/** transformers 5 writes `rope_parameters`; older files have `rope_theta` and `rope_scaling`. */
function rope(fields: Fields): { theta: number; scaling: RopeScaling } {
  const own = (fields.rope_parameters ?? fields.rope_scaling ?? {}) as Fields;
  if (typeof own !== "object" || Array.isArray(own)) fail("rope_parameters", own, "it must be an object");
  const theta = positive({ rope_theta: own.rope_theta ?? fields.rope_theta }, "rope_theta", 10000);
  const type = own.rope_type ?? own.type ?? "default";
  if (type === "default") return { theta, scaling: { type } };
  if (type === "linear") return { theta, scaling: { type, factor: positive(own, "factor") } };
  if (type !== "llama3") fail("rope_parameters.rope_type", type, "supported are default, linear and llama3");
  return {
    theta,
    scaling: {
      type,
      factor: positive(own, "factor"),
      lowFreqFactor: positive(own, "low_freq_factor"),
      highFreqFactor: positive(own, "high_freq_factor"),
      originalMaxPositions: count(own, "original_max_position_embeddings"),
    },
  };
}

/** Fields that would change the forward when set, and are not supported. */
function refuseOthers(fields: Fields): void {
  if ((fields.hidden_act ?? "silu") !== "silu") fail("hidden_act", fields.hidden_act, "supported is silu");
  if (fields.use_sliding_window === true) {
    fail("use_sliding_window", true, "layers with sliding windows are not supported");
  }
}

/**
 * Checks a parsed config.json.
 *
 * @throws ConfigError that names the field, its value and the rule.
 */
export function parseLlamaConfig(fields: Fields): LlamaConfig {
  const modelType = fields.model_type;
  if (modelType !== "llama" && modelType !== "mistral" && modelType !== "qwen2") {
    fail("model_type", modelType, "supported are llama, mistral and qwen2");
  }
  refuseOthers(fields);
  const heads = count(fields, "num_attention_heads");
  const kvHeads = count(fields, "num_key_value_heads", heads);
  if (heads % kvHeads !== 0) {
    fail("num_key_value_heads", kvHeads, `it must divide num_attention_heads = ${heads}`);
  }
  const hiddenSize = count(fields, "hidden_size");
  const headDim = count(fields, "head_dim", hiddenSize / heads);
  if (headDim % 2 !== 0) fail("head_dim", headDim, "rotary positions need an even size");
  const { theta, scaling } = rope(fields);
  const maxPositions = count(fields, "max_position_embeddings", 2048);
  const window = modelType === "mistral" ? count(fields, "sliding_window", maxPositions) : maxPositions;
  const attentionBias = flag(fields, "attention_bias", false);
  return {
    modelType,
    vocabSize: count(fields, "vocab_size"),
    hiddenSize,
    intermediateSize: count(fields, "intermediate_size"),
    layers: count(fields, "num_hidden_layers"),
    heads,
    kvHeads,
    headDim,
    rmsNormEps: positive(fields, "rms_norm_eps", 1e-6),
    maxPositions: Math.min(maxPositions, window),
    ropeTheta: theta,
    ropeScaling: scaling,
    tieWordEmbeddings: flag(fields, "tie_word_embeddings", false),
    qkvBias: modelType === "qwen2" || attentionBias,
    outputBias: modelType !== "qwen2" && attentionBias,
    mlpBias: flag(fields, "mlp_bias", false),
    quantization: parseQuantization(fields.quantization_config, fail),
  };
}

/** Rotary frequencies (radians a position), headDim / 2 of them; as transformers' modeling_rope_utils computes them. */
export function ropeFrequencies({ headDim, ropeTheta, ropeScaling }: LlamaConfig): Float64Array {
  const plain = Float64Array.from({ length: headDim / 2 }, (_, i) => ropeTheta ** (-2 * i / headDim));
  if (ropeScaling.type === "default") return plain;
  if (ropeScaling.type === "linear") return plain.map((f) => f / ropeScaling.factor);
  const { factor, lowFreqFactor, highFreqFactor, originalMaxPositions } = ropeScaling;
  return plain.map((f) => {
    const wavelength = 2 * Math.PI / f;
    if (wavelength < originalMaxPositions / highFreqFactor) return f;
    if (wavelength > originalMaxPositions / lowFreqFactor) return f / factor;
    const smooth = (originalMaxPositions / wavelength - lowFreqFactor) / (highFreqFactor - lowFreqFactor);
    return (1 - smooth) * f / factor + smooth * f;
  });
}

/** The table `rope` reads: (positions, headDim / 2, 2) of cosine and sine, from float64. */
export function ropeTable(config: LlamaConfig, positions: number): Float32Array {
  const frequencies = ropeFrequencies(config);
  const half = frequencies.length;
  const table = new Float32Array(positions * half * 2);
  for (let p = 0; p < positions; p++) {
    for (let i = 0; i < half; i++) {
      table[2 * (p * half + i)] = Math.cos(p * frequencies[i]);
      table[2 * (p * half + i) + 1] = Math.sin(p * frequencies[i]);
    }
  }
  return table;
}
