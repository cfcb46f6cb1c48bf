/**
 * Methods whose dW is a product of two factors that are made of smaller tensors. The factors are folded once, in float64,
 * and each number is rounded once to float32. LoRA's kernels serve them, so that no method needs kernels of its own.
 *
 * A module of rank r takes 4 r (in + out) bytes on the device, however small its file is.
 *
 * @module
 */
import { ConfigError } from "../../errors.ts";
import type { AdapterModule, LinearShape } from "../method.ts";
import { checkReach } from "../numbers.ts";
import { factorsModule } from "./lora.ts";
import { checkFactors, checkMostRank, type Factors, mostNumbers, reachOf } from "./low_rank.ts";

export { mostNumbers } from "./low_rank.ts";

/** A module whose factors are folded for its linear. */
export interface Folding {
  readonly path: string;
  /** Trained numbers; those that modules share count with the first. */
  readonly parameters: number;
  readonly summary: string;
  readonly rank: number;
  /** The factor of dW = scale B A; 1 unless told. */
  readonly scale?: number;
  /** The linear's shape, or the part of it that the file says. */
  readonly shape: Partial<LinearShape>;
  /** Throws RangeError where a shape of the right sizes does not fit all the same. */
  checkShape?(path: string, shape: LinearShape): void;
  /** As of AdapterModule: the numbers that the factors are folded from. */
  trainable?: AdapterModule["trainable"];
  /** A (rank, in) and B (out, rank), each number computed in float64 and rounded once. */
  fold(shape: LinearShape): Pick<Factors, "a" | "b">;
}

const isWhole = (shape: Partial<LinearShape>): shape is LinearShape =>
  shape.out !== undefined && shape.in !== undefined;

/** A module that is served as factors. They are folded when the linear's shape is known, and kept. */
export function foldedModule(folding: Folding): AdapterModule {
  const { path: own, parameters, summary, rank, scale = 1, shape: said } = folding;
  if (rank < 1) {
    throw new ConfigError(`Cannot use adapter module "${own}": its rank is ${rank}, the rule is 1 or more`);
  }
  let made: Factors | undefined;
  const factorsOf = ({ out, in: inSize }: LinearShape): Factors => {
    if (made?.out !== out || made.in !== inSize) {
      made = { ...folding.fold({ out, in: inSize }), rank, out, in: inSize, scale };
    }
    return made;
  };
  return {
    parameters,
    summary,
    ...(isWhole(said) ? { shape: said } : {}),
    check(path, shape) {
      checkFactors({ ...shape, ...said }, path, shape);
      checkMostRank(path, rank);
      folding.checkShape?.(path, shape);
      const numbers = rank * (shape.in + shape.out);
      if (numbers > mostNumbers) {
        throw new RangeError(
          `Cannot use module "${path}": factors of rank ${rank} have ${numbers} numbers, at most ${mostNumbers} are accepted`,
        );
      }
      checkReach(reachOf(factorsOf(shape)), `module "${path}": an element of its dW`);
    },
    factors: (shape) => factorsOf(shape),
    pack: (shape) => factorsModule(factorsOf(shape)).pack(shape),
    deltaStep: (shape, io) => factorsModule(factorsOf(shape)).deltaStep(shape, io),
    ...(folding.trainable ? { trainable: folding.trainable } : {}),
  };
}

/** The path of each module, and its module. */
export function foldedModules(foldings: readonly Folding[]): Map<string, AdapterModule> {
  return new Map(foldings.map((one) => [one.path, foldedModule(one)]));
}

/** One (rows, r) times other (r, columns), each sum in float64 and rounded once. */
export function matrixProduct(
  one: Float32Array | Float64Array,
  other: Float32Array,
  { rows, columns }: Readonly<Record<"rows" | "columns", number>>,
): Float32Array {
  const rank = one.length / rows, result = new Float32Array(rows * columns), sums = new Float64Array(columns);
  for (let i = 0; i < rows; i++) {
    sums.fill(0);
    for (let k = 0; k < rank; k++) {
      const factor = one[i * rank + k];
      for (let q = 0; q < columns; q++) sums[q] += factor * other[k * columns + q];
    }
    result.set(sums, i * columns);
  }
  return result;
}

/** Numbers in rows of `width`, each row and each column times its factor, in float64 and rounded once. */
export function scaled(
  values: Float32Array,
  { rows, columns }: { readonly rows?: ArrayLike<number>; readonly columns?: ArrayLike<number> },
  width: number,
): Float32Array {
  const result = new Float32Array(values.length);
  for (let row = 0, at = 0; at < values.length; row++) {
    const factor = rows ? rows[row] : 1;
    for (let q = 0; q < width; q++, at++) result[at] = values[at] * factor * (columns ? columns[q] : 1);
  }
  return result;
}
