/**
 * A linear in a training plan: its product, and its adapter where it has one, with their gradients.
 *
 * @module
 */
import { add } from "../../kernels/add.ts";
import { addBias } from "../../kernels/add_bias.ts";
import { copy } from "../../kernels/copy.ts";
import type { LinearShape } from "../adapters/method.ts";
import type { TrainableModule, TrainAfterIo, TrainIo } from "../adapters/training.ts";
import { linearStep, type LinearWeights } from "../models/weights.ts";
import { type Step, step } from "../plan.ts";
import type { Tensor } from "../tensor.ts";
import type { Tape, TrainStep } from "./backward.ts";

/** A linear that is trained: its module and where its numbers start in the flat parameters. */
export interface Trained {
  readonly module: TrainableModule;
  readonly at: number;
}

/** Tensors that all trained modules share. */
export interface TrainedTensors {
  /** (rows), uint32 zeros: every row has the one adapter. */
  readonly slots: Tensor;
  /** All trained numbers and their gradients, float32. */
  readonly params: Tensor;
  readonly gradients: Tensor;
  /** A tensor of a shape to work in, float32: the same for each linear of that shape. */
  readonly scratch: (shape: readonly number[]) => Tensor;
}

/** A linear's frozen part, and what it is run on. */
interface Run {
  readonly weights: LinearWeights;
  readonly shape: LinearShape;
  readonly x: Tensor;
  readonly y: Tensor;
  readonly rows: number;
  readonly accumulate: boolean;
}

function productStep({ weights, shape, rows }: Run, io: { x: Tensor; y: Tensor; accumulate: boolean }): Step {
  return linearStep(weights, io, { rows, ...shape, accumulate: Number(io.accumulate) });
}

/** Steps whose gradients, if they have any, pass by `backward`. */
function stepsOf(forward: readonly Step[], backward: (tape: Tape) => readonly Step[]): TrainStep[] {
  return forward.map((one, i) => ({
    forward: one,
    backward: i === forward.length - 1 ? backward : () => [],
  }));
}

/** y += x dW^T. */
function besideSteps({ beside }: TrainableModule, io: TrainIo): TrainStep[] {
  if (!beside) return [];
  return stepsOf(beside.forward(io), (tape) => {
    const { gradient: dx, steps } = tape.sum(io.x);
    return [...steps, ...beside.backward({ ...io, dy: tape.target(io.y).gradient, dx })];
  });
}

/**
 * A linear whose product an adapter changes: t = x W^T and what is beside it, t in place, then the bias and the residual. The
 * backward makes t anew, for no one kept it.
 */
function changedSteps(run: Run, module: TrainableModule, io: TrainAfterIo): TrainStep[] {
  const { x, y, rows, accumulate, shape: { out }, weights: { bias } } = run;
  const t = io.y, after = module.after!;
  const product: TrainStep = { forward: io.product({ x, y: t, rows }) };
  const beside = besideSteps(module, io);
  const again = [product, ...beside].map(({ forward }) => forward);
  const last = accumulate ? [step(add, { x: t, y }, { count: rows * out })] : [];
  return [
    product,
    ...beside,
    ...stepsOf(after.forward(io), (tape) => {
      const { gradient: dy } = tape.target(t);
      return [...again, ...after.backward({ ...io, dy })];
    }),
    ...stepsOf(bias ? [step(addBias, { bias, y: t }, { rows, out, column: 0 })] : [], () => []),
    ...stepsOf(last, (tape) => [
      step(copy, { x: tape.target(y).gradient, y: tape.target(t).gradient }, { count: rows * out }),
    ]),
  ];
}

/** y = or += x W^T + b, and the linear's adapter where it has one. */
export function projectionSteps(
  { weights, shape }: { readonly weights: LinearWeights; readonly shape: LinearShape },
  { x, y, rows, accumulate }: {
    readonly x: Tensor;
    readonly y: Tensor;
    readonly rows: number;
    readonly accumulate: boolean;
  },
  trained: Trained | undefined,
  { scratch, ...tensors }: TrainedTensors,
): TrainStep[] {
  const run = { weights, shape, x, y, rows, accumulate };
  const base: TrainStep = { forward: productStep(run, { x, y, accumulate }) };
  if (!trained) return [base];
  const { module, at } = trained;
  const product: TrainAfterIo["product"] = (io) =>
    productStep({ ...run, weights: { weight: weights.weight }, rows: io.rows }, { ...io, accumulate: false });
  const io = { x, y, rows, ...tensors, at };
  if (!module.after) return [base, ...besideSteps(module, io)];
  return changedSteps(run, module, { ...io, product, y: accumulate ? scratch([rows, shape.out]) : y });
}
