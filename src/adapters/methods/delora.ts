/**
 * DeLoRA (Bini et al. 2025, arXiv 2503.18225) as PEFT writes it: each rank's outer product is made a unit one, times lambda / r.
 * Columns of dW are multiplied by the norms that the columns of W had when the adapter was made; the file has the norms.
 *
 * @module
 */
import { refuseUnknown } from "../fields.ts";
import type { Method } from "../method.ts";
import { foldedModules, scaled } from "./folded.ts";
import { factorsStep, sumOfFactors } from "./lora.ts";
import { tensorsByModule } from "./module_tensors.ts";

/** The tensors say ranks and lambdas. */
const known = [
  "r",
  "rank_pattern",
  "delora_lambda",
  "lambda_pattern",
  "init_weights",
  "module_dropout", // training only
];

const names = {
  method: "DeLoRA",
  own: {
    delora_A: ["r", "in"],
    delora_B: ["out", "r"],
    delora_lambda: [1],
    delora_w_norm: ["in"],
  },
};

/** PEFT takes shorter vectors for this long. */
const shortest = 1e-4;

/** The norms of `count` vectors: number i of vector j is at i * step + j * next. */
function norms(
  values: Float32Array,
  count: number,
  { step, next }: Readonly<Record<"step" | "next", number>>,
): number[] {
  return Array.from({ length: count }, (_, j) => {
    let sum = 0;
    for (let i = 0; i < values.length / count; i++) sum += values[i * step + j * next] ** 2;
    return Math.max(Math.sqrt(sum), shortest);
  });
}

/** See the module's documentation. */
export const delora: Method = {
  name: "DeLoRA",
  peftType: "DELORA",
  facts: {
    tensors: ["delora_A (r, in)", "delora_B (out, r)", "delora_lambda (1)", "delora_w_norm (in)"],
    formula: "dW = lambda / r (sum of b_i a_i^T / (|b_i| |a_i|)) diag(w_norm)",
    cost: "r (in + out)",
    numbers: "r (in + out)",
  },
  checkConfig: (config) => refuseUnknown(config, { known }),
  read(files) {
    this.checkConfig(files.config);
    return foldedModules(
      tensorsByModule(files, names).map((tensors) => {
        const a = tensors.floats("delora_A"), b = tensors.floats("delora_B");
        const [lambda] = tensors.floats("delora_lambda"), columns = tensors.floats("delora_w_norm");
        const rank = tensors.size("r", "delora_A"), inSize = tensors.size("in", "delora_A");
        return {
          path: tensors.path,
          parameters: a.length + b.length + 1,
          summary: `r = ${rank}, lambda ${lambda}`,
          rank,
          shape: { out: tensors.size("out", "delora_B"), in: inSize },
          fold() {
            const normsA = norms(a, rank, { step: 1, next: inSize }),
              normsB = norms(b, rank, { step: rank, next: 1 });
            return {
              a: scaled(a, { rows: normsA.map((norm) => 1 / norm), columns }, inSize),
              b: scaled(b, { columns: normsB.map((norm) => lambda / rank / norm) }, rank),
            };
          },
        };
      }),
    );
  },
  sum: sumOfFactors,
  beside: factorsStep,
};
