/**
 * A linear in a training plan: its product, and its adapter where it has one, with their gradients.
 *
 * @module
 */
import type { LinearShape, TrainableModule } from "../adapters/method.ts";
import { linearStep, type LinearWeights } from "../models/weights.ts";
import type { Tensor } from "../tensor.ts";
import type { TrainStep } from "./backward.ts";

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
  tensors: TrainedTensors,
): TrainStep[] {
  const base = linearStep(weights, { x, y }, { rows, ...shape, accumulate: Number(accumulate) });
  if (!trained) return [{ forward: base }];
  const { module, at } = trained;
  const io = { x, y, rows, ...tensors, at };
  return [{ forward: base }, {
    forward: module.forward(io),
    backward(tape) {
      const { gradient: dx, steps } = tape.sum(x);
      return [...steps, ...module.backward({ ...io, dy: tape.target(y).gradient, dx })];
    },
  }];
}
