/**
 * LoHa (Hyeon-Woo et al. 2021, arXiv 2108.06098) as PEFT writes it: dW = alpha / r (B1 A1) * (B2 A2), element by element.
 *
 * The product of two matrices of rank r is one of rank r^2. Its factors are the products of each column of B1 with each of B2,
 * and of each row of A1 with each of A2. LoRA's kernels serve those: exact, for r^2 times the work and room of rank 1.
 *
 * @module
 */
import { numberField, patternField, refuseUnknown } from "../fields.ts";
import type { AdapterFiles, Method } from "../method.ts";
import { checkScale } from "../numbers.ts";
import { foldedModules, type Folding } from "./folded.ts";
import { factorsStep, sumOfFactors } from "./lora.ts";
import { checkRank, settingOf } from "./patterns.ts";
import { type ModuleTensors, tensorsByModule } from "./module_tensors.ts";

const known = [
  "alpha",
  "alpha_pattern",
  "init_weights",
  "module_dropout", // training only
  "r", // the tensors say it
  "rank_dropout", // training only
  "rank_pattern",
  "use_effective_conv2d", // convolutions only
];

const names = {
  method: "LoHa",
  own: {
    hada_w1_a: ["out", "r"],
    hada_w1_b: ["r", "in"],
    hada_w2_a: ["out", "r"],
    hada_w2_b: ["r", "in"],
  },
};

/** Row k rank + l of the result is row k of one times row l of the other, element by element. */
function rowsTimesRows(one: Float32Array, other: Float32Array, rank: number): Float32Array {
  const width = one.length / rank, result = new Float32Array(rank * rank * width);
  for (let k = 0, at = 0; k < rank; k++) {
    for (let l = 0; l < rank; l++) {
      for (let q = 0; q < width; q++, at++) result[at] = one[k * width + q] * other[l * width + q];
    }
  }
  return result;
}

/** The same of columns, in rows of `rank`. */
function columnsTimesColumns(one: Float32Array, other: Float32Array, rank: number): Float32Array {
  const result = new Float32Array(one.length * rank);
  for (let row = 0, at = 0; row < one.length; row += rank) {
    for (let k = 0; k < rank; k++) {
      for (let l = 0; l < rank; l++, at++) result[at] = one[row + k] * other[row + l];
    }
  }
  return result;
}

function foldingOf(tensors: ModuleTensors, { config }: AdapterFiles): Folding {
  const { path } = tensors, rank = tensors.size("r", "hada_w1_a");
  checkRank(config, path, rank);
  const alpha = settingOf(config, { field: "alpha", pattern: "alpha_pattern", fallback: 8 }, path);
  const [a1, b1, a2, b2] = ["hada_w1_b", "hada_w1_a", "hada_w2_b", "hada_w2_a"].map((name) =>
    tensors.floats(name)
  );
  const scale = rank > 0 ? alpha.value / rank : 1;
  checkScale(scale, alpha);
  return {
    path,
    parameters: tensors.count,
    summary: `r = ${rank}, served as rank ${rank * rank}, scale ${scale}`,
    rank: rank * rank,
    scale,
    shape: { out: tensors.size("out", "hada_w1_a"), in: tensors.size("in", "hada_w1_b") },
    fold: () => ({ a: rowsTimesRows(a1, a2, rank), b: columnsTimesColumns(b1, b2, rank) }),
  };
}

/** See the module's documentation. */
export const loha: Method = {
  name: "LoHa",
  peftType: "LOHA",
  facts: {
    tensors: ["hada_w1_a (out, r)", "hada_w1_b (r, in)", "hada_w2_a (out, r)", "hada_w2_b (r, in)"],
    formula: "dW = alpha / r (w1_a w1_b) * (w2_a w2_b), element by element",
    cost: "r^2 (in + out)",
    numbers: "r^2 (in + out)",
    refused: "r^2 (in + out) above 2^26; convolutions; regular expressions as pattern keys",
  },
  checkConfig(config) {
    refuseUnknown(config, { known });
    numberField(config, "alpha", 8);
    for (const field of ["alpha_pattern", "rank_pattern"]) patternField(config, field);
  },
  read(files) {
    this.checkConfig(files.config);
    return foldedModules(tensorsByModule(files, names).map((one) => foldingOf(one, files)));
  },
  sum: sumOfFactors,
  beside: factorsStep,
};
