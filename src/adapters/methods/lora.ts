/**
 * LoRA (Hu et al. 2021, arXiv 2106.09685) on linear layers, as PEFT writes it: dW = scale * B A.
 *
 * @module
 */
import { linear } from "../../../kernels/linear.ts";
import { loraBackward } from "../../../kernels/lora_backward.ts";
import { loraLinear } from "../../../kernels/lora_linear.ts";
import { loraProduct } from "../../../kernels/lora_product.ts";
import { ConfigError } from "../../errors.ts";
import { step } from "../../plan.ts";
import { tensor } from "../../tensor.ts";
import { flagField, numberField, patternField, refuseUnknown } from "../fields.ts";
import type { AdapterFiles, AdapterModule, Method, TrainableModule } from "../method.ts";
import { checkReach, checkScale, toFloat32 } from "../numbers.ts";

const prefix = "base_model.model.";

const known = [
  "alpha_pattern",
  "fan_in_fan_out", // only turns a stored weight at a merge
  "init_lora_weights",
  "lora_alpha",
  "lora_dropout", // training only
  "megatron_core",
  "qalora_group_size", // read with use_qalora alone
  "r", // the tensors say it
  "rank_pattern",
  "use_rslora",
  "ensure_weight_tying",
  "eva_config", // a way to choose the first A
  "loftq_config", // read with init_lora_weights "loftq" alone, which is refused
];

const reasons = {
  use_dora: "DoRA is not supported yet",
  lora_bias: "biases of B are not supported",
  bias: "trained biases are not supported",
  modules_to_save: "whole saved modules are not supported, only linear layers' A and B",
  alora_invocation_tokens: "activated LoRA is not supported",
  trainable_token_indices: "trained token embeddings are not supported",
};

/** Initialisations that leave the base weights as they are. */
const plainInits: readonly unknown[] = [true, false, null, undefined, "gaussian", "eva", "orthogonal"];

/** The number a config has for a module, and the field that says it. */
interface Setting {
  readonly field: string;
  readonly value: number;
}

const isModuleName = (key: string): boolean => /^[A-Za-z0-9_.]+$/.test(key);
const fits = (key: string, path: string): boolean => path === key || path.endsWith(`.${key}`);

/**
 * PEFT's pattern keys are regular expressions; literal module names are all that is accepted from a file. All keys are
 * looked at, and the first that fits is taken.
 */
function patternValue(pattern: ReadonlyMap<string, number>, path: string): Setting | undefined {
  let found: Setting | undefined;
  for (const [key, value] of pattern) {
    if (!isModuleName(key)) {
      throw new ConfigError(
        `Cannot read adapter_config.json field "alpha_pattern" key "${key}": only module names are accepted, not regular expressions`,
      );
    }
    if (fits(key, path)) found ??= { field: `alpha_pattern.${key}`, value };
  }
  return found;
}

/**
 * The tensors say a module's rank. PEFT builds the layer by the first key that fits, and then cannot load other tensors.
 * A regular expression may fit any module: from there on the tensors alone are asked.
 */
function checkRank(pattern: ReadonlyMap<string, number>, path: string, rank: number): void {
  for (const [key, value] of pattern) {
    if (!isModuleName(key)) return;
    if (!fits(key, path)) continue;
    if (value === rank) return;
    throw new ConfigError(
      `Cannot read adapter_config.json field "rank_pattern.${key}" = ${value}: the factors of module "${path}" have rank ${rank}`,
    );
  }
}

interface Factors {
  /** (rank, in), row-major. */
  readonly a: Float32Array;
  /** (out, rank), row-major. */
  readonly b: Float32Array;
  readonly rank: number;
  readonly in: number;
  readonly out: number;
  readonly scale: number;
}

/** No element of B A, or of scale B A, is greater. */
function reachOf({ a, b, rank, in: inFeatures, scale }: Factors): number {
  const most = Float64Array.from(
    { length: rank },
    (_, r) =>
      a.subarray(r * inFeatures, (r + 1) * inFeatures).reduce(
        (so, value) => Math.max(so, Math.abs(value)),
        0,
      ),
  );
  let reach = 0;
  for (let at = 0; at < b.length; at += rank) {
    let sum = 0;
    for (let r = 0; r < rank; r++) sum += Math.abs(b[at + r]) * most[r];
    reach = Math.max(reach, sum);
  }
  return reach * Math.max(1, Math.abs(scale));
}

function transposed(a: Float32Array, { rank, in: inFeatures }: Factors): Float32Array {
  const result = new Float32Array(a.length);
  for (let r = 0; r < rank; r++) {
    for (let q = 0; q < inFeatures; q++) result[q * rank + r] = a[r * inFeatures + q];
  }
  return result;
}

function loraModule(factors: Factors): AdapterModule {
  const { a, b, rank, scale } = factors;
  return {
    parameters: a.length + b.length,
    summary: `r = ${rank}, scale ${scale}`,
    shape: { out: factors.out, in: factors.in },
    check(path, shape) {
      if (factors.in !== shape.in || factors.out !== shape.out) {
        throw new RangeError(
          `Cannot use module "${path}": its factors make a (${factors.out}, ${factors.in}) update, the weight is ` +
            `(${shape.out}, ${shape.in})`,
        );
      }
    },
    pack() {
      const values = new Float32Array(a.length + b.length);
      values.set(a);
      values.set(b, a.length);
      return { values, count: rank, scale };
    },
    trainable: () => trainableLora(factors),
    deltaStep(shape, { upload, weight, mode, rows: { first, count } }) {
      const factor = mode === "subtract" ? -scale : scale;
      const rows = new Float32Array(count * rank);
      for (let i = 0; i < rows.length; i++) rows[i] = factor * b[(first * rank + i) % b.length];
      return step(
        linear,
        {
          x: upload(tensor(rows, [count, rank])),
          weight: upload(tensor(transposed(a, factors), [shape.in, rank])),
          y: weight,
        },
        { rows: count, in: rank, out: shape.in, accumulate: Number(mode !== "write") },
      );
    },
  };
}

function trainableLora({ a, b, rank, in: inFeatures, out, scale }: Factors): TrainableModule {
  return {
    forward: ({ x, y, rows, params, at }) =>
      step(loraProduct, { x, values: params, y }, {
        rows,
        in: inFeatures,
        out,
        rank,
        offset: at,
        scale,
      }),
    backward: ({ x, dy, dx, rows, params, gradients, at }) => [
      step(loraBackward, { x, dy, values: params, gradient: gradients, dx }, {
        rows,
        in: inFeatures,
        out,
        rank,
        offset: at,
        scale,
      }),
    ],
    tensors: (values) =>
      new Map([
        [".lora_A.weight", tensor(values.slice(0, a.length), [rank, inFeatures])],
        [".lora_B.weight", tensor(values.slice(a.length, a.length + b.length), [out, rank])],
      ]),
  };
}

/** See the module's documentation. */
export const lora: Method = {
  peftType: "LORA",
  checkConfig(config) {
    refuseUnknown(config, { known, reasons });
    if (!plainInits.includes(config.init_lora_weights)) {
      throw new ConfigError(
        `Cannot read adapter_config.json field "init_lora_weights" = ${
          JSON.stringify(config.init_lora_weights)
        }: ` +
          "it changed the base weights; convert the adapter to plain LoRA first (PEFT: path_initial_model_for_weight_conversion)",
      );
    }
    numberField(config, "lora_alpha", 8);
    patternField(config, "alpha_pattern");
    patternField(config, "rank_pattern");
    flagField(config, "use_rslora");
  },
  read({ config, tensors }: AdapterFiles) {
    this.checkConfig(config);
    const alpha = numberField(config, "lora_alpha", 8);
    const alphas = patternField(config, "alpha_pattern"), ranks = patternField(config, "rank_pattern");
    const rslora = flagField(config, "use_rslora");
    const modules = new Map<string, AdapterModule>();
    for (const name of tensors.keys()) {
      const match = /^base_model\.model\.(.+)\.lora_([AB])\.weight$/.exec(name);
      if (!match) {
        throw new ConfigError(
          `Cannot read adapter tensor "${name}" as LORA: only ${prefix}<module>.lora_A.weight and .lora_B.weight are supported`,
        );
      }
      const path = match[1];
      if (modules.has(path)) continue;
      const nameA = `${prefix}${path}.lora_A.weight`;
      const nameB = `${prefix}${path}.lora_B.weight`;
      const a = tensors.get(nameA);
      const b = tensors.get(nameB);
      if (!a || !b) {
        throw new ConfigError(`Cannot find adapter tensor "${a ? nameB : nameA}": "${name}" needs it`);
      }
      if (a.shape.length !== 2 || b.shape.length !== 2 || a.shape[0] !== b.shape[1] || a.shape[0] === 0) {
        throw new ConfigError(
          `Cannot use adapter tensors of module "${path}": lora_A must be (r, in) and lora_B (out, r) with one r > 0, ` +
            `they are (${a.shape}) and (${b.shape})`,
        );
      }
      const rank = a.shape[0];
      checkRank(ranks, path, rank);
      const from = patternValue(alphas, path) ?? { field: "lora_alpha", value: alpha };
      const scale = from.value / (rslora ? Math.sqrt(rank) : rank);
      checkScale(scale, from);
      const factors: Factors = {
        a: toFloat32(nameA, a),
        b: toFloat32(nameB, b),
        rank,
        in: a.shape[1],
        out: b.shape[0],
        scale,
      };
      checkReach(reachOf(factors), `the product of adapter tensors "${nameB}" and "${nameA}"`);
      modules.set(path, loraModule(factors));
    }
    return modules;
  },
  create(shape, { r = 8, loraAlpha = 8, random }) {
    // A as torch's kaiming_uniform_(a = sqrt(5)), B zeros: the model starts as its base.
    const bound = 1 / Math.sqrt(shape.in);
    const a = Float32Array.from({ length: r * shape.in }, () => bound * (2 * random() - 1));
    return loraModule({
      a,
      b: new Float32Array(shape.out * r),
      rank: r,
      in: shape.in,
      out: shape.out,
      scale: loraAlpha / r,
    });
  },
  configFields: ({ r = 8, loraAlpha = 8 }) => ({
    r,
    lora_alpha: loraAlpha,
    lora_dropout: 0,
    use_rslora: false,
    use_dora: false,
    init_lora_weights: true,
    fan_in_fan_out: false,
    bias: "none",
  }),
  step({ x, y, slots, records, values, rows, in: inFeatures, outs, layer, capacity }) {
    const [out0, out1, out2] = outs;
    return step(loraLinear, { x, slots, records, values, y }, {
      rows,
      in: inFeatures,
      out0,
      out1,
      out2,
      layer,
      capacity,
    });
  },
};
