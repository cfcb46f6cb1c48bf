/**
 * VeRA while it is trained: y += lambda_b * (B (lambda_d * (A x))), with the gradients of both vectors. A and B are frozen, so
 * their gradients are never made.
 *
 * @module
 */
import { add } from "../../../kernels/add.ts";
import { copy } from "../../../kernels/copy.ts";
import { linear } from "../../../kernels/linear.ts";
import { linearTransposed } from "../../../kernels/linear_transposed.ts";
import { scaleColumns } from "../../../kernels/scale_columns.ts";
import { scaleColumnsBackward } from "../../../kernels/scale_columns_backward.ts";
import { type Step, step } from "../../plan.ts";
import { type HostTensor, slice, type Tensor, tensor } from "../../tensor.ts";
import type { LinearShape } from "../method.ts";
import type { SharedNumbers, TrainableModule, TrainIo } from "../training.ts";
import { joined } from "./low_rank.ts";

/** The factors that all modules share: A (rank, columns) and B (rows, rank). */
export interface Projections {
  readonly a: Float32Array;
  readonly b: Float32Array;
  readonly rank: number;
  readonly columns: number;
  readonly rows: number;
}

/** The host tensors of each input size's A, and of B: modules of one size give the same ones. */
const tensorsOf = new WeakMap<Projections, Map<number, HostTensor>>();

/** B of all modules, and the first columns of A for an input size, each made once. */
function factorsFor(
  projections: Projections,
  inSize: number,
): { readonly a: HostTensor; readonly b: HostTensor } {
  const { a, b, rank, columns, rows } = projections;
  const made = tensorsOf.get(projections) ?? new Map<number, HostTensor>([[0, tensor(b, [rows, rank])]]);
  tensorsOf.set(projections, made);
  const known = made.get(inSize);
  if (known) return { a: known, b: made.get(0)! };
  const own = new Float32Array(rank * inSize);
  for (let i = 0; i < rank; i++) own.set(a.subarray(i * columns, i * columns + inSize), i * inSize);
  made.set(inSize, tensor(own, [rank, inSize]));
  return factorsFor(projections, inSize);
}

/** What a module is trained with. */
export interface VeraToTrain {
  readonly lambdaD: Float32Array;
  readonly lambdaB: Float32Array;
  readonly projections: Projections;
  readonly shared: SharedNumbers;
  readonly shape: LinearShape;
}

/** A module's numbers are lambda_d, then lambda_b. */
export function trainableVera(
  { lambdaD, lambdaB, projections, shared, shape: { out, in: inSize } }: VeraToTrain,
  upload: (t: HostTensor) => Tensor,
): TrainableModule {
  const { rank } = projections, host = factorsFor(projections, inSize);
  const a = upload(host.a), b = slice(upload(host.b), 0, [out, rank]);
  const offsets = (at: number) => ({ d: at, b: at + rank });
  /** down = A x, scaled = lambda_d * down, up = B scaled. */
  function products({ x, rows, params, at, scratch }: TrainIo) {
    const down = scratch("down", [rows, rank]), scaled = scratch("scaled", [rows, rank]);
    const up = scratch("up", [rows, out]);
    const steps: Step[] = [
      step(linear, { x, weight: a, y: down }, { rows, in: inSize, out: rank, accumulate: 0 }),
      step(copy, { x: down, y: scaled }, { count: rows * rank }),
      step(scaleColumns, { values: params, y: scaled }, { rows, out: rank, offset: offsets(at).d }),
      step(linear, { x: scaled, weight: b, y: up }, { rows, in: rank, out, accumulate: 0 }),
    ];
    return { down, up, steps };
  }
  return {
    values: joined(lambdaD, lambdaB),
    shared,
    beside: {
      forward(io) {
        const { y, rows, params, at } = io, { up, steps } = products(io);
        return [
          ...steps,
          step(scaleColumns, { values: params, y: up }, { rows, out, offset: offsets(at).b }),
          step(add, { x: up, y }, { count: rows * out }),
        ];
      },
      backward({ dy, dx, ...io }) {
        const { rows, params: values, gradients: gradient, at, scratch } = io,
          { down, up, steps } = products(io);
        const dup = scratch("dup", [rows, out]), ddown = scratch("ddown", [rows, rank]);
        const words = { rows, accumulate: 0 };
        return [
          ...steps,
          step(copy, { x: dy, y: dup }, { count: rows * out }),
          step(scaleColumnsBackward, { t: up, values, gradient, dy: dup }, {
            rows,
            out,
            offset: offsets(at).b,
          }),
          step(linearTransposed, { dy: dup, weight: b, dx: ddown }, { ...words, in: rank, out }),
          step(scaleColumnsBackward, { t: down, values, gradient, dy: ddown }, {
            ...{ rows, out: rank, offset: offsets(at).d },
          }),
          step(linearTransposed, { dy: ddown, weight: a, dx }, {
            rows,
            in: inSize,
            out: rank,
            accumulate: 1,
          }),
        ];
      },
    },
    tensors: (values) =>
      new Map([
        [".vera_lambda_b", tensor(values.slice(rank, rank + out))],
        [".vera_lambda_d", tensor(values.slice(0, rank))],
      ]),
  };
}
