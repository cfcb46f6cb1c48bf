/**
 * Matrices of a weight's size that are made of the weight itself, on the device: for methods whose dW depends on W and has no
 * shorter form.
 *
 * @module
 */
import type { Step } from "../../plan.ts";
import { breathe } from "../../breathe.ts";
import type { Tensor } from "../../tensor.ts";
import type { ReadyIo } from "../method.ts";
import { checkReach, greatestSize } from "../numbers.ts";
import type { Matrix } from "./kronecker.ts";

/** Numbers of a matrix that are made at once. */
const mostNumbers = 2 ** 22;

/** Some rows of the weight, and where the same rows of the matrix go; all are (count, in), float32. */
export interface BaseRows {
  readonly w: Tensor;
  readonly scratch: Tensor;
  readonly y: Tensor;
  readonly first: number;
  readonly count: number;
}

/**
 * dW (out, in), some rows at a time.
 *
 * @param stepsOf Gives the steps that make rows of it.
 * @throws ConfigError where a number is past float32.
 */
export async function changeByRows(
  { base, workspace, path, multiple = 1, most = Infinity }: ReadyIo & {
    /** Of rows that are made together; it divides `out`. */
    readonly multiple?: number;
    /** Rows at once, at most; a multiple of `multiple`. */
    readonly most?: number;
  },
  stepsOf: (rows: BaseRows) => readonly Step[],
): Promise<Matrix> {
  const { out, in: inSize } = base.shapes[base.index];
  const fitting = multiple * Math.max(1, Math.floor(mostNumbers / inSize / multiple));
  const size = Math.min(out, fitting, most), values = new Float32Array(out * inSize);
  const [w, scratch, y] = Array.from({ length: 3 }, () => workspace.alloc([size, inSize]));
  for (let first = 0; first < out; first += size) {
    const count = Math.min(size, out - first), rows = base.rows({ ...workspace, y: w, first, count });
    const made = await workspace.read([rows, ...stepsOf({ w, scratch, y, first, count })], y);
    values.set(made.subarray(0, count * inSize), first * inSize);
    await breathe();
  }
  checkReach(greatestSize(values), `module "${path}": an element of its dW`);
  return { out, in: inSize, values };
}
