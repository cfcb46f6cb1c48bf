/**
 * HiRA (Huang et al. 2025) as PEFT writes it: W' = W * (1 + B A), element by element. So dW = W * (B A) has W's full rank, and
 * depends on W.
 *
 * A row would need r products with W, as sum of b_k * W (a_k * x), for every row of a batch. So dW is made once,
 * when an adapter is put on a device, and kept there whole: it takes as much room and work as W in float32.
 *
 * @module
 */
import { linearTransposed } from "../../../kernels/linear_transposed.ts";
import { multiply } from "../../../kernels/multiply.ts";
import { step } from "../../plan.ts";
import { type HostTensor, tensor } from "../../tensor.ts";
import { refuseUnknown } from "../fields.ts";
import type { AdapterModule, CombinedFiles, LinearShape, Method, ReadyIo, Summand } from "../method.ts";
import { takingScales } from "../scaled.ts";
import { checkReach, greatestSize } from "../numbers.ts";
import { changeByRows } from "./base_rows.ts";
import { piecesByPath, prefix } from "./combined.ts";
import { mostNumbers } from "./folded.ts";
import { kroneckerModule, kroneckerStep, type Matrix, whole } from "./kronecker.ts";
import { checkFactors, stackedFactors } from "./low_rank.ts";
import { type ModuleTensors, tensorsByModule } from "./module_tensors.ts";

const known = [
  "fan_in_fan_out", // only turns a stored weight at a merge
  "hira_dropout", // training only
  "init_weights",
  "r", // the tensors say it
  "rank_pattern", // PEFT 0.21 builds its layers without a look at this
];

const names = { method: "HiRA", own: { hira_A: ["r", "in"], hira_B: ["out", "r"] } };

interface Factors extends LinearShape {
  readonly a: Float32Array;
  readonly b: Float32Array;
  readonly rank: number;
}

/** W * (B A). */
function changeOf({ a, b, rank, in: inSize }: Factors, io: ReadyIo): Promise<Matrix> {
  const { upload } = io.workspace, weight = upload(tensor(a, [rank, inSize]));
  return changeByRows(io, ({ w, scratch, y, first, count }) => {
    const dy = upload(tensor(b.subarray(first * rank, (first + count) * rank), [count, rank]));
    const sizes = { rows: count, in: inSize, out: rank, accumulate: 0 };
    return [
      step(linearTransposed, { dy, weight, dx: scratch }, sizes),
      step(multiply, { a: w, b: scratch, y }, { count: count * inSize }),
    ];
  });
}

/** A module, and its factors for sums. */
interface HiraModule extends AdapterModule {
  readonly hira: Factors;
}

/** A module; its dW is there once it was made ready. */
function hiraModule(factors: Factors, change?: Matrix): HiraModule {
  const { a, b, rank } = factors;
  const module: HiraModule = {
    hira: factors,
    parameters: a.length + b.length,
    summary: `r = ${rank}, dW whole`,
    shape: { out: factors.out, in: factors.in },
    check(path, shape) {
      checkFactors(factors, path, shape);
      if (shape.out * shape.in <= mostNumbers) return;
      throw new RangeError(
        `Cannot use module "${path}" as HiRA: its dW is kept whole and has ${
          shape.out * shape.in
        } numbers, ` +
          `at most ${mostNumbers} are accepted`,
      );
    },
    ready: async (io) => hiraModule(factors, await changeOf(factors, io)),
    ...(change ? kroneckerModule(whole(change)) : {
      pack() {
        throw new TypeError("Cannot use a HiRA module before it was made ready with its base's weight");
      },
    }),
  };
  return change ? takingScales(module, () => greatestSize(change.values)) : module;
}

/** W * (B A) is linear in B A: factors stand side by side. PEFT's layers have one rank, so zeros fill up the others. */
function combined(adapters: readonly Summand[]): CombinedFiles {
  const stacked = new Map<string, ReturnType<typeof stackedFactors>>();
  for (const [path, pieces] of piecesByPath<HiraModule>(adapters)) {
    const parts = pieces.map(({ module: { hira }, summand: { weight } }) => ({ ...hira, scale: weight }));
    for (const part of parts) checkFactors(part, path, parts[0]);
    stacked.set(path, stackedFactors(parts, parts[0], 1));
  }
  const r = Math.max(...[...stacked.values()].map(({ rank }) => rank)),
    tensors = new Map<string, HostTensor>();
  for (const [path, { a, b, rank, out, in: inSize }] of stacked) {
    const wholeA = new Float32Array(r * inSize), wholeB = new Float32Array(out * r);
    wholeA.set(a);
    for (let o = 0; o < out; o++) wholeB.set(b.subarray(o * rank, (o + 1) * rank), o * r);
    checkReach(greatestSize(wholeB), `the sum of modules "${path}"`);
    tensors.set(`${prefix}${path}.hira_A`, tensor(wholeA, [r, inSize]));
    tensors.set(`${prefix}${path}.hira_B`, tensor(wholeB, [out, r]));
  }
  return { config: { r, init_weights: true }, tensors };
}

function factorsOf(tensors: ModuleTensors): Factors {
  const rank = tensors.size("r", "hira_A");
  return {
    a: tensors.floats("hira_A"),
    b: tensors.floats("hira_B"),
    rank,
    out: tensors.size("out", "hira_B"),
    in: tensors.size("in", "hira_A"),
  };
}

/** See the module's documentation. */
export const hira: Method = {
  name: "HiRA",
  peftType: "HIRA",
  facts: {
    tensors: ["hira_A (r, in)", "hira_B (out, r)"],
    formula: "W' = W * (1 + B A), element by element",
    cost: "out in",
    ofBase: "1",
    numbers: "out in: dW is kept whole",
    refused: "weights of more than 2^26 numbers",
  },
  checkConfig: (config) => refuseUnknown(config, { known }),
  read(files) {
    this.checkConfig(files.config);
    return new Map(
      tensorsByModule(files, names).map((one) => [one.path, hiraModule(factorsOf(one))]),
    );
  },
  takesScale: true,
  combined,
  beside: kroneckerStep,
};
