/**
 * TinyLoRA (Morris et al., Learning to Reason in 13 Parameters) as PEFT writes it: frozen factors B and A of W's own singular vectors, and between them a sum
 * of fixed matrices P_i (r, r) with trained weights v_i. dW = B (sum of v_i P_i) A. Groups of modules share v.
 *
 * Without `save_projection` each module's P is drawn from `projection_seed` and the module's number, as PyTorch draws it.
 *
 * @module
 */
import { torchGenerator, torchNormal } from "../../../kernels/torch_draws.ts";
import { ConfigError } from "../../errors.ts";
import { flagField, integerField, numberField, refuseUnknown } from "../fields.ts";
import type { AdapterFiles, Method, ReadOptions } from "../method.ts";
import { foldedModules, matrixProduct } from "./folded.ts";
import { factorsStep, sumOfFactors } from "./lora.ts";
import { type ModuleTensors, tensorsByModule } from "./module_tensors.ts";

const known = [
  "r", // the tensors say both
  "u",
  "projection_seed",
  "save_projection",
  "weight_tying",
  "tinylora_dropout", // training only
  "init_v_bound",
  "init_weights",
  "fan_in_fan_out", // only turns a stored weight at a merge
];

const own = { tinylora_A: ["r", "in"], tinylora_B: ["out", "r"], tinylora_P: ["u", "r", "r"] };

/** The number of groups, which have v's of numbers from 0 on. */
function groupsOf({ tensors, config }: AdapterFiles, modules: number): number {
  const groups = [...tensors.keys()].filter((name) => /^base_model\.tinylora_v\.\d+$/.test(name)).length;
  const tying = numberField(config, "weight_tying", 0), wanted = Math.max(1, modules * (1 - tying));
  // Python rounds a half to the even number.
  if (Math.abs(groups - wanted) <= 0.5 + 1e-9) return groups;
  throw new ConfigError(
    `Cannot read adapter_config.json field "weight_tying" = ${tying}: ${modules} modules then have ${wanted} groups, ` +
      `the adapter has ${groups} tensors base_model.tinylora_v`,
  );
}

/**
 * The number of each module, in the model's order.
 *
 * @throws ConfigError where no model is known, and for a module that the model lacks.
 */
function numbersOf(paths: readonly string[], { placeOf }: ReadOptions): Map<string, number> {
  if (!placeOf) {
    throw new ConfigError(
      "Cannot number the modules of a TinyLoRA: groups and drawn P go by the model's order; give loadAdapter's placeOf, " +
        "or --model DIR",
    );
  }
  const places = paths.map((path) => {
    const place = placeOf(path);
    if (place !== undefined) return { path, place };
    throw new ConfigError(`Cannot use adapter module "${path}": the base model has no such linear layer`);
  });
  places.sort((one, other) => one.place - other.place);
  return new Map(places.map(({ path }, number) => [path, number]));
}

function drawnP(config: AdapterFiles["config"], { path, number, u, rank }: {
  readonly path: string;
  readonly number: number;
  readonly u: number;
  readonly rank: number;
}): Float32Array {
  const count = u * rank * rank;
  if (count < 16) {
    throw new ConfigError(
      `Cannot draw tinylora_P of module "${path}", which the adapter does not save: u r r is ${count}, the rule is 16 or more`,
    );
  }
  const seed = BigInt(integerField(config, "projection_seed", 42)) + BigInt(number);
  return torchNormal(torchGenerator(seed), count, 1 / Math.sqrt(rank));
}

/** The sum of v_i P_i, in float64. */
function sumOf(v: Float32Array, p: Float32Array): Float64Array {
  const size = p.length / v.length, sum = new Float64Array(size);
  v.forEach((weight, i) => sum.forEach((_, at) => sum[at] += weight * p[i * size + at]));
  return sum;
}

/** See the module's documentation. */
export const tinylora: Method = {
  name: "TinyLoRA",
  peftType: "TINYLORA",
  facts: {
    tensors: [
      "tinylora_A (r, in)",
      "tinylora_B (out, r)",
      "tinylora_P (u, r, r), or its seed",
      "tinylora_v (u), of a group of modules",
    ],
    formula: "dW = B (sum of v_i P_i) A",
    cost: "r (in + out)",
    numbers: "r (in + out)",
    refused: "groups of modules and drawn P, where no model tells the order of its linears",
  },
  checkConfig(config) {
    refuseUnknown(config, { known });
    flagField(config, "save_projection");
    integerField(config, "projection_seed", 42);
    const tying = numberField(config, "weight_tying", 0);
    if (tying >= 0 && tying <= 1) return;
    throw new ConfigError(
      `Cannot read adapter_config.json field "weight_tying" = ${tying}: the rule is 0 to 1`,
    );
  },
  read(files) {
    this.checkConfig(files.config);
    const { config, tensors: all } = files;
    const shared = Object.fromEntries(
      [...all.keys()].flatMap((name) => /^base_model\.(tinylora_v\.\d+)$/.exec(name)?.[1] ?? []).map((
        name,
      ) => [name, ["u"]]),
    );
    const modules = tensorsByModule(files, { method: "TinyLoRA", own, shared });
    const groups = groupsOf(files, modules.length), isSaved = config.save_projection ?? true;
    // Only groups and draws go by a module's number.
    const isNumbered = groups > 1 || modules.some((one) => !one.has("tinylora_P"));
    const numbers = isNumbered ? numbersOf(modules.map(({ path }) => path), files.options) : undefined;
    const seen = new Set<number>();
    const foldingOf = (tensors: ModuleTensors, number: number) => {
      const group = Math.min(Math.floor(number / Math.floor(modules.length / groups)), groups - 1);
      const a = tensors.floats("tinylora_A"), b = tensors.floats("tinylora_B");
      const v = tensors.floats(`tinylora_v.${group}`), rank = tensors.size("r", "tinylora_A");
      const p = isSaved || tensors.has("tinylora_P")
        ? tensors.floats("tinylora_P")
        : drawnP(config, { path: tensors.path, number, u: v.length, rank });
      const isFirst = !seen.has(group);
      seen.add(group);
      return {
        path: tensors.path,
        parameters: isFirst ? v.length : 0,
        summary: `r = ${rank}, u = ${v.length}`,
        rank,
        shape: { out: tensors.size("out", "tinylora_B"), in: tensors.size("in", "tinylora_A") },
        fold: () => ({ a: matrixProduct(sumOf(v, p), a, { rows: rank, columns: a.length / rank }), b }),
      };
    };
    return foldedModules(modules.map((tensors) => foldingOf(tensors, numbers?.get(tensors.path) ?? 0)));
  },
  sum: sumOfFactors,
  beside: factorsStep,
};
