/**
 * AdaLoRA (Zhang et al. 2023, arXiv 2303.10512) as PEFT writes it: dW = lora_alpha / init_r B diag(E) A. Ranks that training
 * took away are in no file.
 *
 * @module
 */
import { ConfigError } from "../../errors.ts";
import { numberField, refuseUnknown } from "../fields.ts";
import type { Method } from "../method.ts";
import { checkScale } from "../numbers.ts";
import { foldedModules, scaled } from "./folded.ts";
import { factorsStep, sumOfFactors } from "./lora.ts";
import { tensorsByModule } from "./module_tensors.ts";

const known = [
  "lora_alpha",
  "init_r",
  "rank_pattern",
  ...["r", "target_r", "beta1", "beta2", "deltaT", "orth_reg_weight", "tfinal", "tinit", "total_step"], // training only
  "lora_dropout",
  "init_lora_weights", // AdaLoRA has one initialisation
  "fan_in_fan_out", // only turns a stored weight at a merge
  "megatron_core",
  "qalora_group_size", // read with use_qalora alone
];

const names = { method: "AdaLoRA", own: { lora_A: ["r", "in"], lora_E: ["r", 1], lora_B: ["out", "r"] } };

/** What dW is multiplied by. PEFT adds 1e-5 to the rank, which may be 0 in other layers, and takes the rank for no alpha. */
function scaleOf(config: Readonly<Record<string, unknown>>): number {
  const alpha = numberField(config, "lora_alpha", 8), rank = numberField(config, "init_r", 12);
  if (rank <= 0) {
    throw new ConfigError(`Cannot read adapter_config.json field "init_r" = ${rank}: the rule is above 0`);
  }
  const scale = (alpha > 0 ? alpha : rank) / (rank + 1e-5);
  checkScale(scale, { field: "lora_alpha", value: alpha });
  return scale;
}

/** PEFT makes a module by the ranks that its pattern keeps, and cannot load other tensors. */
function checkKept(config: Readonly<Record<string, unknown>>, path: string, rank: number): void {
  const kept = (config.rank_pattern as Readonly<Record<string, unknown>> | undefined | null)
    ?.[`${path}.lora_E`];
  if (kept === undefined) return;
  const count = Array.isArray(kept) ? kept.filter(Boolean).length : kept;
  if (count === rank) return;
  throw new ConfigError(
    `Cannot read adapter_config.json field "rank_pattern": it keeps ${count} ranks of module "${path}", lora_E has ${rank}`,
  );
}

/** See the module's documentation. */
export const adalora: Method = {
  name: "AdaLoRA",
  peftType: "ADALORA",
  facts: {
    tensors: ["lora_A (r, in)", "lora_E (r, 1)", "lora_B (out, r)"],
    formula: "dW = alpha / init_r B diag(E) A",
    cost: "r (in + out)",
    numbers: "r (in + out)",
  },
  checkConfig(config) {
    refuseUnknown(config, { known });
    scaleOf(config);
  },
  read(files) {
    this.checkConfig(files.config);
    const scale = scaleOf(files.config);
    return foldedModules(
      tensorsByModule(files, names).map((tensors) => {
        const { path } = tensors,
          [a, e, b] = ["lora_A", "lora_E", "lora_B"].map((name) => tensors.floats(name));
        const rank = tensors.size("r", "lora_A"), inSize = tensors.size("in", "lora_A");
        checkKept(files.config, path, rank);
        return {
          path,
          parameters: a.length + e.length + b.length,
          summary: `r = ${rank}, scale ${scale}`,
          // A module that lost every rank adds nothing.
          rank: Math.max(1, rank),
          scale,
          shape: { out: tensors.size("out", "lora_B"), in: inSize },
          fold: (shape) =>
            rank === 0
              ? { a: new Float32Array(shape.in), b: new Float32Array(shape.out) }
              : { a: scaled(a, { rows: e }, inSize), b },
        };
      }),
    );
  },
  sum: sumOfFactors,
  beside: factorsStep,
};
