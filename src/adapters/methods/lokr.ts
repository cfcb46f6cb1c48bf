/**
 * LoKr (Yeh et al. 2023, arXiv 2309.14859) as PEFT writes it: dW = alpha / r kron(W1, W2), where each of W1 and W2 may be a
 * product of two factors. Those are multiplied once, in float64.
 *
 * @module
 */
import { CombinationError, ConfigError } from "../../errors.ts";
import { numberField, patternField, refuseUnknown } from "../fields.ts";
import { type HostTensor, tensor } from "../../tensor.ts";
import type { AdapterFiles, AdapterModule, CombinedFiles, Method, Summand } from "../method.ts";
import { checkReach, checkScale, greatestSize } from "../numbers.ts";
import { takingScales } from "../scaled.ts";
import { piecesByPath, prefix } from "./combined.ts";
import { matrixProduct, mostNumbers } from "./folded.ts";
import { deltaRows, type Kronecker, kroneckerModule, kroneckerStep, type Matrix } from "./kronecker.ts";
import { settingOf } from "./patterns.ts";
import { type ModuleTensors, tensorsByModule } from "./module_tensors.ts";

const known = [
  "alpha",
  "alpha_pattern",
  "decompose_both", // the tensors say what is decomposed, and how
  "decompose_factor",
  "init_weights",
  "module_dropout", // training only
  "r",
  "rank_dropout", // training only
  "rank_dropout_scale",
  "rank_pattern",
  "use_effective_conv2d", // convolutions only
];

const names = {
  method: "LoKr",
  own: {
    lokr_w1: ["o", "i"],
    lokr_w1_a: ["o", "r1"],
    lokr_w1_b: ["r1", "i"],
    lokr_w2: ["p", "q"],
    lokr_w2_a: ["p", "r2"],
    lokr_w2_b: ["r2", "q"],
  },
};

/** W1 or W2. */
function factorOf(tensors: ModuleTensors, name: "lokr_w1" | "lokr_w2"): Matrix {
  const [a, b] = [`${name}_a`, `${name}_b`], isWhole = tensors.has(name);
  const [rows, columns] = names.own[name];
  const out = tensors.size(rows, isWhole ? name : a), inSize = tensors.size(columns, isWhole ? name : b);
  if (isWhole && (tensors.has(a) || tensors.has(b))) {
    throw new ConfigError(
      `Cannot use adapter module "${tensors.path}": it has ${name}, and a factor of it besides`,
    );
  }
  if (out * inSize < 1 || out * inSize > mostNumbers) {
    throw new ConfigError(
      `Cannot use adapter module "${tensors.path}": its ${name} is (${out}, ${inSize}), the rule is 1 to ${mostNumbers} numbers`,
    );
  }
  const values = isWhole ? tensors.floats(name) : matrixProduct(tensors.floats(a), tensors.floats(b), {
    rows: out,
    columns: inSize,
  });
  return { out, in: inSize, values };
}

/** A module, and its factors for sums. */
interface LokrModule extends AdapterModule {
  readonly kronecker: Kronecker;
}

function moduleOf(tensors: ModuleTensors, { config }: AdapterFiles): LokrModule {
  const { path } = tensors;
  const alpha = settingOf(config, { field: "alpha", pattern: "alpha_pattern", fallback: 8 }, path);
  // No tensor needs to show the rank, which divides alpha all the same.
  const { field, value: rank } = settingOf(
    config,
    { field: "r", pattern: "rank_pattern", fallback: 8 },
    path,
  );
  if (!(rank > 0)) {
    throw new ConfigError(`Cannot read adapter_config.json field "${field}" = ${rank}: it must be above 0`);
  }
  const scale = alpha.value / rank;
  checkScale(scale, alpha);
  const left = factorOf(tensors, "lokr_w1"), right = factorOf(tensors, "lokr_w2");
  const reach = greatestSize(left.values) * greatestSize(right.values) * Math.max(1, Math.abs(scale));
  checkReach(reach, `module "${path}": an element of its dW`);
  const out = left.out * right.out, inSize = left.in * right.in, kronecker = { left, right, scale };
  return takingScales({
    kronecker,
    ...kroneckerModule(kronecker),
    parameters: tensors.count,
    summary: `(${left.out}, ${left.in}) and (${right.out}, ${right.in}), scale ${scale}`,
    shape: { out, in: inSize },
    check(own, shape) {
      if (shape.out === out && shape.in === inSize) return;
      throw new RangeError(
        `Cannot use module "${own}": its factors make a (${out}, ${inSize}) update, the weight is (${shape.out}, ${shape.in})`,
      );
    },
  }, () => reach);
}

/**
 * A sum of Kronecker products is none: the file has W2 = dW whole beside W1 = 1, as PEFT makes its layers with
 * `decompose_factor` 1 and half of dW's larger size as rank.
 */
function combined(adapters: readonly Summand[]): CombinedFiles {
  const tensors = new Map<string, HostTensor>();
  let r = 1;
  for (const [path, pieces] of piecesByPath<LokrModule>(adapters)) {
    const [{ out, in: inSize }] = pieces.map(({ module }) => module.shape!), numbers = out * inSize;
    if (numbers > mostNumbers) {
      throw new CombinationError(
        `Cannot write module "${path}" as a sum: a LoKr file has its dW whole, and it has ${numbers} numbers, at most ` +
          `${mostNumbers} are accepted`,
      );
    }
    const sums = new Float64Array(numbers);
    for (const { module: { kronecker, shape }, summand: { name, weight } } of pieces) {
      if (shape!.out !== out || shape!.in !== inSize) {
        throw new CombinationError(
          `Cannot write module "${path}" of adapter "${name}" into a sum: it is for a (${shape!.out}, ${
            shape!.in
          }) weight, ` +
            `another for (${out}, ${inSize})`,
        );
      }
      deltaRows(kronecker, { first: 0, count: out, factor: weight }, (at, value) => sums[at] += value);
    }
    const w2 = Float32Array.from(sums);
    checkReach(greatestSize(w2), `the sum of modules "${path}"`);
    tensors.set(`${prefix}${path}.lokr_w1`, tensor(Float32Array.of(1), [1, 1]));
    tensors.set(`${prefix}${path}.lokr_w2`, tensor(w2, [out, inSize]));
    r = Math.max(r, Math.ceil(Math.max(out, inSize) / 2));
  }
  const fields = {
    r,
    alpha: r,
    rank_pattern: {},
    alpha_pattern: {},
    decompose_both: false,
    decompose_factor: 1,
  };
  return { config: { ...fields, use_effective_conv2d: false, init_weights: true }, tensors };
}

/** See the module's documentation. */
export const lokr: Method = {
  name: "LoKr",
  peftType: "LOKR",
  facts: {
    tensors: [
      "lokr_w1 (o, i), or lokr_w1_a (o, r) and lokr_w1_b (r, i)",
      "lokr_w2 (out / o, in / i), or lokr_w2_a and lokr_w2_b",
    ],
    formula: "dW = alpha / r kron(W1, W2)",
    cost: "in out / o + i out",
    numbers: "o i + (out / o) (in / i)",
    refused: "convolutions; regular expressions as pattern keys",
  },
  checkConfig(config) {
    refuseUnknown(config, { known });
    for (const field of ["alpha", "r"]) numberField(config, field, 8);
    for (const field of ["alpha_pattern", "rank_pattern"]) patternField(config, field);
  },
  read(files) {
    this.checkConfig(files.config);
    return new Map(tensorsByModule(files, names).map((one) => [one.path, moduleOf(one, files)]));
  },
  takesScale: true,
  combined,
  beside: kroneckerStep,
};
