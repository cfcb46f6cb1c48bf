/**
 * MiSS (Kang and Yin 2024, arXiv 2409.15371) as PEFT writes it: x is cut into pieces of r numbers, the last filled up with
 * zeros, and y += (sum of the pieces) D for a trained block D (r, out). So A has a 1 where a number of x goes to a sum.
 *
 * With `init_weights` "mini" the block is narrower and repeats along the outputs.
 *
 * @module
 */
import { ConfigError } from "../../errors.ts";
import { refuseUnknown } from "../fields.ts";
import type { Method } from "../method.ts";
import { foldedModules } from "./folded.ts";
import { factorsStep, sumOfFactors } from "./lora.ts";
import { tensorsByModule } from "./module_tensors.ts";

const known = [
  "r", // the tensors say both
  "mini_r",
  "init_weights",
  "miss_dropout", // training only
];

const names = { method: "MiSS", own: { miss_block: ["r", "width"] } };

/** See the module's documentation. */
export const miss: Method = {
  name: "MiSS",
  peftType: "MISS",
  facts: {
    tensors: ["miss_block (r, out)"],
    formula: "y += D^T (sum of x's pieces of r numbers)",
    cost: "r (in + out)",
    numbers: "r (in + out)",
  },
  checkConfig(config) {
    refuseUnknown(config, { known });
    const { init_weights: kind = true } = config;
    if (typeof kind === "boolean" || kind === "mini") return;
    throw new ConfigError(
      `Cannot read adapter_config.json field "init_weights" = ${
        JSON.stringify(kind)
      }: supported are true, false, "mini" and "bat"`,
    );
  },
  read(files) {
    this.checkConfig(files.config);
    const isMini = files.config.init_weights === "mini";
    return foldedModules(
      tensorsByModule(files, names).map((tensors) => {
        const block = tensors.floats("miss_block");
        const rank = tensors.size("r", "miss_block"), width = tensors.size("width", "miss_block");
        return {
          path: tensors.path,
          parameters: block.length,
          summary: `r = ${rank}${isMini ? `, mini_r ${width}` : ""}`,
          rank,
          shape: isMini ? {} : { out: width },
          checkShape(path, { out, in: inSize }) {
            if (out % width !== 0) {
              throw new RangeError(
                `Cannot use module "${path}": its block of ${width} outputs repeats, the weight has ${out} outputs`,
              );
            }
            if (rank <= inSize) return;
            throw new RangeError(
              `Cannot use module "${path}": its rank ${rank} is more than the weight's ${inSize} inputs`,
            );
          },
          fold({ out, in: inSize }) {
            const a = new Float32Array(rank * inSize);
            for (let q = 0; q < inSize; q++) a[q % rank * inSize + q] = 1;
            const b = Float32Array.from({ length: out * rank }, (_, at) => {
              const o = Math.floor(at / rank);
              return block[at % rank * width + o % width];
            });
            return { a, b };
          },
        };
      }),
    );
  },
  sum: sumOfFactors,
  beside: factorsStep,
};
