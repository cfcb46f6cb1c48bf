/**
 * LoRA (Hu et al. 2021, arXiv 2106.09685) on linear layers, as PEFT writes it: dW = scale * B A.
 *
 * @module
 */
import { linear } from "../../../kernels/linear.ts";
import { loraBackward } from "../../../kernels/lora_backward.ts";
import { loraLinear } from "../../../kernels/lora_linear.ts";
import { loraProduct } from "../../../kernels/lora_product.ts";
import { type Step, step } from "../../plan.ts";
import { tensor } from "../../tensor.ts";
import { ConfigError } from "../../errors.ts";
import { flagField } from "../fields.ts";
import type { AdapterFiles, AdapterModule, BesideStep, LinearShape, Method, Term } from "../method.ts";
import { checkReach, finiteFloats } from "../numbers.ts";
import type { TrainableModule } from "../training.ts";
import { embeddingFactors, embeddingName } from "./lora_embedding.ts";
import {
  checkFactors,
  checkFactorsConfig,
  checkMostRank,
  factorConfig,
  factorNames,
  factorOptions,
  type Factors,
  factorTensors,
  joined,
  newFactors,
  packedFactors,
  reachOf,
  readFactors,
  stackedFactors,
  turned,
} from "./low_rank.ts";

/** What any module of factors does, however the factors came to be. */
export function factorsModule(
  factors: Factors,
): Pick<AdapterModule, "pack"> & Required<Pick<AdapterModule, "deltaStep">> {
  const { a, b, rank, scale } = factors;
  return {
    pack: () => ({ values: packedFactors(factors), count: rank, scale }),
    deltaStep(shape, { upload, weight, mode, rows: { first, count } }) {
      const factor = mode === "subtract" ? -scale : scale;
      const rows = new Float32Array(count * rank);
      for (let i = 0; i < rows.length; i++) rows[i] = factor * b[(first * rank + i) % b.length];
      return step(
        linear,
        {
          x: upload(tensor(rows, [count, rank])),
          weight: upload(tensor(turned(a, shape.in), [shape.in, rank])),
          y: weight,
        },
        { rows: count, in: rank, out: shape.in, accumulate: Number(mode !== "write") },
      );
    },
  };
}

function loraModule(factors: Factors, bias?: Float32Array): AdapterModule {
  const { a, b, rank, scale } = factors;
  return {
    ...factorsModule(factors),
    factors: () => factors,
    parameters: a.length + b.length + (bias?.length ?? 0),
    summary: `r = ${rank}, scale ${scale}${bias ? ", with bias" : ""}`,
    ...(bias ? { bias } : {}),
    shape: { out: factors.out, in: factors.in },
    check(path, shape) {
      checkFactors(factors, path, shape);
      checkMostRank(path, rank);
    },
    // Biases are not trained.
    ...(bias ? {} : {
      trainable: () => ({
        values: joined(a, b),
        beside: trainableFactors(factors),
        tensors: (values: Float32Array) => new Map(factorTensors(factors, values)),
      }),
    }),
  };
}

/** y += scale B (A x) of factors that stand at the begin of a module's numbers, and its gradients. */
export function trainableFactors(
  { rank, in: inFeatures, out, scale }: Factors,
): Required<TrainableModule>["beside"] {
  const words = (rows: number, at: number) => ({ rows, in: inFeatures, out, rank, offset: at, scale });
  return {
    forward: ({ x, y, rows, params, at }) => [step(loraProduct, { x, values: params, y }, words(rows, at))],
    backward: ({ x, dy, dx, rows, params, gradients, at }) => [
      step(loraBackward, { x, dy, values: params, gradient: gradients, dx }, words(rows, at)),
    ],
  };
}

/** The sum of modules of factors: the factors side by side, each B times its scale. */
export function sumOfFactors(terms: readonly Term[], shape: LinearShape): AdapterModule {
  const factors = stackedFactors(
    terms.map(({ module, scale }) => {
      const own = module.factors!(shape);
      return { ...own, scale: scale * own.scale };
    }),
    shape,
  );
  return {
    ...loraModule(factors),
    check(path) {
      const what = `the sum of modules "${path}"`;
      checkReach(factors.scale, what);
      checkReach(reachOf(factors), what);
      checkMostRank(path, factors.rank);
    },
  };
}

/** The step of a bank whose modules' values begin with those of {@linkcode packedFactors}. */
export function factorsStep({ x, y, slots, records, values, ...words }: BesideStep): Step {
  const { rows, in: inFeatures, outs: [out0, out1, out2], linear, capacity } = words;
  return step(loraLinear, { x, slots, records, values, y }, {
    rows,
    in: inFeatures,
    out0,
    out1,
    out2,
    linear,
    capacity,
  });
}

const biasName = /^base_model\.model\.(.+)\.lora_B\.bias$/;

/** What a module with `lora_bias` adds to each row, beside its product; undefined where it has none. */
function biasOf(
  { config, tensors }: AdapterFiles,
  path: string,
  { out, scale }: Factors,
): Float32Array | undefined {
  const name = `base_model.model.${path}.lora_B.bias`, t = tensors.get(name);
  if (!t) return undefined;
  if (!flagField(config, "lora_bias")) {
    throw new ConfigError(
      `Cannot use adapter tensor "${name}": "lora_bias" of adapter_config.json is not true`,
    );
  }
  if (t.shape.length !== 1 || t.shape[0] !== out) {
    throw new ConfigError(`Cannot use adapter tensor "${name}" of shape (${t.shape}): it must be (${out})`);
  }
  return finiteFloats(name, t).map((value) => {
    checkReach(Math.abs(scale * value), `adapter tensor "${name}" times ${scale}`);
    return scale * value;
  });
}

/** See the module's documentation. */
export const lora: Method = {
  name: "LoRA",
  peftType: "LORA",
  facts: {
    tensors: ["lora_A.weight (r, in)", "lora_B.weight (out, r)"],
    formula: "dW = s B A, s = alpha / r or alpha / sqrt(r)",
    cost: "r (in + out)",
    numbers: "r (in + out)",
    refused: "activated LoRA; starts that change the base (PiSSA, OLoRA, LoftQ)",
  },
  own: factorNames,
  checkConfig(config) {
    checkFactorsConfig(config, ["lora_bias"]);
    flagField(config, "lora_bias");
  },
  read(files) {
    this.checkConfig(files.config);
    const factors = readFactors(files, { method: "LORA", own: biasName, beside: embeddingName });
    return new Map([...factors].map(([path, one]) => [path, loraModule(one, biasOf(files, path, one))]));
  },
  replaces: embeddingFactors,
  training: {
    options: factorOptions,
    learningRate: 0.001,
    create: (shape, options: Readonly<Record<string, number>>, io) =>
      loraModule(newFactors(shape, options, io)),
    configFields: (options) => ({ ...options, ...factorConfig }),
  },
  sum: sumOfFactors,
  beside: factorsStep,
};
