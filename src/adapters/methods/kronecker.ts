/**
 * Modules whose dW is a Kronecker product, scale kron(W1, W2), with W1 (o, i) and W2 (out / o, in / i). A row takes the product
 * apart: in (out / o) multiplications by W2, then i out by W1.
 *
 * A whole matrix is the product of the one number 1 and itself: so dW's that have no shorter form are served, too.
 *
 * @module
 */
import { add } from "../../../kernels/add.ts";
import { copy } from "../../../kernels/copy.ts";
import { kronLinear } from "../../../kernels/kron_linear.ts";
import { type Step, step } from "../../plan.ts";
import { tensor } from "../../tensor.ts";
import type { AdapterModule, BesideStep, LinearShape } from "../method.ts";
import { joined } from "./low_rank.ts";

/** Numbers in rows. */
export interface Matrix extends LinearShape {
  /** (out, in), row-major. */
  readonly values: Float32Array;
}

/** dW = scale kron(left, right). */
export interface Kronecker {
  readonly left: Matrix;
  readonly right: Matrix;
  readonly scale: number;
}

/** A matrix as a product. */
export function whole(right: Matrix): Kronecker {
  return { left: { out: 1, in: 1, values: Float32Array.of(1) }, right, scale: 1 };
}

/** Gives the numbers of rows of dW times a factor, from row `first` on, row 0 after the last; each in float64. */
export function deltaRows(
  { left, right, scale }: Kronecker,
  { first, count, factor }: { readonly first: number; readonly count: number; readonly factor: number },
  use: (at: number, value: number) => void,
): void {
  for (let r = 0, at = 0; r < count; r++) {
    const row = (first + r) % (left.out * right.out);
    const i = Math.floor(row / right.out) * left.in, p = row % right.out * right.in;
    for (let j = 0; j < left.in; j++) {
      const own = factor * scale * left.values[i + j];
      for (let q = 0; q < right.in; q++, at++) use(at, own * right.values[p + q]);
    }
  }
}

/** What any module of a Kronecker product does, however its factors came to be. */
export function kroneckerModule(
  kronecker: Kronecker,
): Pick<AdapterModule, "pack"> & Required<Pick<AdapterModule, "deltaStep">> {
  const { left, right, scale } = kronecker;
  return {
    pack() {
      const values = joined(left.values, right.values);
      const key = `${left.out}x${left.in}`, words = () => Uint32Array.of(left.out, left.in);
      return { values, table: { key, words }, count: values.length, scale };
    },
    deltaStep(shape, { upload, weight, mode, rows: { first, count } }) {
      const rows = new Float32Array(count * shape.in), factor = mode === "subtract" ? -1 : 1;
      deltaRows(kronecker, { first, count, factor }, (at, value) => rows[at] = value);
      return step(mode === "write" ? copy : add, {
        x: upload(tensor(rows, [count, shape.in])),
        y: weight,
      }, { count: rows.length });
    },
  };
}

/** The step of a bank of Kronecker products. */
export function kroneckerStep(
  { x, y, slots, records, tables, values, rows, in: inSize, outs, linear, capacity }: BesideStep,
): Step {
  const [out0, out1, out2] = outs;
  return step(kronLinear, { x, slots, records, tables, values, y }, {
    ...{ rows, in: inSize, out0, out1, out2, linear, capacity },
  });
}
