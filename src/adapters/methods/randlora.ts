/**
 * RandLoRA (Albert et al. 2025, arXiv 2502.00987) as PEFT writes it: dW = alpha / r (sum of n products of random bases of rank r,
 * each scaled by trained numbers). With n r at min(out, in) or above, dW has full rank.
 *
 * Big is (max, n r) and Small (n r, min) of a linear's sizes; dW = alpha / r Big Small, transposed where in is above out. All
 * linears take Big from B, and Small = diag(lambda) A * gamma from A: so a bank keeps A and B once, and an adapter its lambda
 * and gamma.
 *
 * Without `save_projection` A and B are in no file: they are drawn from `projection_prng_key` as PyTorch draws them.
 *
 * @module
 */
import { randloraLinear } from "../../../kernels/randlora_linear.ts";
import { CombinationError, ConfigError } from "../../errors.ts";
import { step } from "../../plan.ts";
import { type HostTensor, tensor } from "../../tensor.ts";
import { flagField, integerField, numberField, refuseUnknown } from "../fields.ts";
import type { AdapterFiles, AdapterModule, CombinedFiles, Method, Summand } from "../method.ts";
import { takingScales } from "../scaled.ts";
import { checkReach, checkScale, greatestSize } from "../numbers.ts";
import { piecesByPath, prefix } from "./combined.ts";
import { joined } from "./low_rank.ts";
import { type Bases, basesOf } from "./randlora_bases.ts";
import { type ModuleTensors, tensorsByModule } from "./module_tensors.ts";

const known = [
  "fan_in_fan_out", // only turns a stored weight at a merge
  "init_weights",
  "projection_prng_key",
  "r", // the tensors say it
  "randlora_alpha",
  "randlora_dropout", // training only
  "save_projection",
  "sparse",
];

const bases = { randlora_A: ["r", 1, "columns"], randlora_B: ["rows", "pieces", "r"] };
const names = {
  method: "RandLoRA",
  own: { randlora_lambda: ["r", "n"], randlora_gamma: ["n", "min"], ...bases },
  shared: bases,
};

/** A module, and its numbers for scaled files. */
interface RandloraModule extends AdapterModule {
  readonly randlora: { readonly lambda: HostTensor; readonly gamma: HostTensor; readonly bases: Bases };
}

/** @param drawn The bases as they were drawn, where a base's dtype changes them: the module is made ready with it. */
function moduleOf(
  tensors: ModuleTensors,
  files: AdapterFiles,
  { bases, drawn }: { readonly bases: Bases; readonly drawn?: Bases },
): RandloraModule {
  const { config } = files;
  const { key, rank, columns, rows, pieces, words } = bases;
  const { path } = tensors;
  const lambda = tensors.floats("randlora_lambda"), gamma = tensors.floats("randlora_gamma");
  const n = tensors.size("n", "randlora_lambda"), min = tensors.size("min", "randlora_gamma");
  if (tensors.size("r", "randlora_lambda") !== rank) {
    throw new ConfigError(`Cannot use adapter module "${path}": its rank is not the bases', ${rank}`);
  }
  if (n !== Math.ceil(min / rank) || rank > min || min > columns || n > pieces) {
    throw new ConfigError(
      `Cannot use adapter module "${path}": ${n} bases of rank ${rank} for ${min} numbers, the rule is ceil(min / r) of a ` +
        `rank up to min, with (${rank}, ${columns}) and (${rows}, ${pieces}, ${rank}) shared`,
    );
  }
  const alpha = numberField(config, "randlora_alpha", 640), scale = alpha / rank;
  checkScale(scale, { field: "randlora_alpha", value: alpha });
  const most = n * rank * greatestSize(lambda) * greatestSize(gamma) * bases.reach;
  const reach = most * Math.max(1, Math.abs(scale));
  checkReach(reach, `module "${path}": an element of its dW`);
  return takingScales({
    randlora: { lambda: tensor(lambda, [rank, n]), gamma: tensor(gamma, [n, min]), bases },
    parameters: lambda.length + gamma.length,
    summary: `r = ${rank}, ${n} bases shared`,
    check(own, { out, in: inSize }) {
      if (Math.min(out, inSize) === min && Math.max(out, inSize) <= rows) return;
      throw new RangeError(
        `Cannot use module "${own}": it scales ${min} numbers, and the shared bases have ${rows}; the weight is (${out}, ${inSize})`,
      );
    },
    ...(drawn?.as
      ? {
        ready: ({ base: { dtype = "float32" } }) =>
          Promise.resolve(moduleOf(tensors, files, { bases: drawn.as!(dtype), drawn })),
      }
      : {}),
    pack() {
      if (bases === drawn) {
        throw new TypeError(
          "Cannot use a RandLoRA module of drawn bases before it was made ready with its base",
        );
      }
      return {
        values: joined(lambda, gamma),
        table: { key, words },
        count: lambda.length + gamma.length,
        scale,
      };
    },
  }, () => reach);
}

/** One adapter at another alpha. Its lambda and gamma are no sums of others': their products are added up. */
function combined(adapters: readonly Summand[]): CombinedFiles {
  const [{ config, weight, name }, ...others] = adapters;
  if (others.length > 0) {
    throw new CombinationError(
      `Cannot write adapters "${name}" and "${
        others[0].name
      }" as one: a RandLoRA file has one lambda and gamma for each ` +
        'base, and no sum of their products. A server adds them up by "adapters" of a request',
    );
  }
  const tensors = new Map<string, HostTensor>(), modules = [...piecesByPath<RandloraModule>(adapters)];
  for (const [path, [{ module: { randlora: { lambda, gamma } } }]] of modules) {
    const own = `${prefix}${path}.randlora_`;
    tensors.set(`${own}lambda`, lambda).set(`${own}gamma`, gamma);
  }
  const [[, [{ module: { randlora: { bases } } }]]] = modules, { a, b, rank, columns, rows, pieces } = bases;
  if (config.save_projection ?? true) {
    tensors.set("base_model.randlora_A", tensor(a, [rank, 1, columns]));
    tensors.set("base_model.randlora_B", tensor(b, [rows, pieces, rank]));
  }
  const alpha = weight * numberField(config, "randlora_alpha", 640);
  const kept = Object.fromEntries(known.flatMap((field) => field in config ? [[field, config[field]]] : []));
  return { config: { ...kept, r: rank, randlora_alpha: alpha, randlora_dropout: 0 }, tensors };
}

/** See the module's documentation. */
export const randlora: Method = {
  name: "RandLoRA",
  peftType: "RANDLORA",
  facts: {
    tensors: [
      "randlora_lambda (r, n)",
      "randlora_gamma (n, min)",
      "randlora_A (r, 1, min) and randlora_B (max, n, r), of all modules, or their seed",
    ],
    formula:
      "dW = alpha / r B (lambda A gamma) with n = ceil(min / r) bases; transposed where in is above out",
    cost: "about min (in + out)",
    ofBase: "1 to 2",
    numbers: "n (r + min), and A and B once for all linears of equal bases",
    refused: "`very_sparse`; a rank above min; A and B of more than 2^26 numbers",
  },
  checkConfig(config) {
    refuseUnknown(config, { known });
    for (const field of ["save_projection", "sparse"]) flagField(config, field);
    integerField(config, "projection_prng_key", 0);
    numberField(config, "randlora_alpha", 640);
  },
  read(files) {
    this.checkConfig(files.config);
    const modules = tensorsByModule(files, names);
    if (modules.length === 0) return new Map();
    const made = basesOf(modules, files);
    return new Map(
      modules.map((one) => [one.path, moduleOf(one, files, { bases: made, drawn: made.as && made })]),
    );
  },
  takesScale: true,
  combined,
  beside({ x, y, slots, records, tables, values, rows, in: inSize, outs, linear, capacity }) {
    const [out0, out1, out2] = outs;
    return step(randloraLinear, { x, slots, records, tables, values, y }, {
      ...{ rows, in: inSize, out0, out1, out2, linear, capacity },
    });
  },
};
