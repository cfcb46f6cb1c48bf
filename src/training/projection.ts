/**
 * A linear in a training plan: its product, and its adapter where it has one, with their gradients.
 *
 * @module
 */
import { add } from "../../kernels/add.ts";
import { addBias } from "../../kernels/add_bias.ts";
import { copy } from "../../kernels/copy.ts";
import type { LinearShape } from "../adapters/method.ts";
import type { TrainableModule, TrainBeforeIo, TrainIo } from "../adapters/training.ts";
import { linearBackwardStep, linearStep, type LinearWeights } from "../models/weights.ts";
import { type Step, step } from "../plan.ts";
import type { Tensor } from "../tensor.ts";
import type { Tape, TrainStep } from "./backward.ts";

/** A linear that is trained: its module, and where its numbers start in the flat parameters. */
export interface Trained {
  readonly module: TrainableModule;
  readonly at: number;
  /** Where the numbers start that the module shares; 0 where it shares none. */
  readonly sharedAt: number;
  /** Whether the bias is part of what the module's `after` changes. */
  readonly changesBias: boolean;
}

/** Tensors that all trained modules share. */
export interface TrainedTensors {
  /** (rows), uint32 zeros: every row has the one adapter. */
  readonly slots: Tensor;
  /** All trained numbers and their gradients, float32. */
  readonly params: Tensor;
  readonly gradients: Tensor;
  /** A tensor to work in, float32: the same for each name and number of elements. */
  readonly scratch: (name: string, shape: readonly number[]) => Tensor;
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

/** The linear's own weight, for any rows: its product without the bias, and that product's gradient. */
function products({ weights: { weight }, shape }: Run): Pick<TrainIo, "product" | "productBackward"> {
  return {
    product: ({ rows, ...io }) => linearStep({ weight }, io, { rows, ...shape, accumulate: 0 }),
    productBackward: ({ rows, ...io }) => linearBackwardStep(weight, io, { rows, ...shape, accumulate: 1 }),
  };
}

/** Steps whose gradients, if they have any, pass by `backward`. */
function stepsOf(forward: readonly Step[], backward: (tape: Tape) => readonly Step[]): TrainStep[] {
  return forward.map((one, i) => ({
    forward: one,
    backward: i === forward.length - 1 ? backward : () => [],
  }));
}

const forwardOf = (steps: readonly TrainStep[]): Step[] => steps.map(({ forward }) => forward);

/** `changed` = x, changed by the adapter: linears that share x read it as it was. */
function beforeSteps({ before }: TrainableModule, io: TrainBeforeIo, changed: Tensor, count: number) {
  const { x } = io;
  if (!before) return [];
  const forward = [
    step(copy, { x, y: changed }, { count }),
    ...before.forward({ ...io, x: changed }),
  ];
  return stepsOf(forward, (tape) => {
    const { gradient: dchanged } = tape.target(changed), { gradient: dx, fresh } = tape.target(x);
    tape.end(changed);
    return [
      ...before.backward({ ...io, dx: dchanged }),
      step(fresh ? copy : add, { x: dchanged, y: dx }, { count }),
    ];
  });
}

/** y += x dW^T; `again` are the steps that make x anew, where no one kept it. */
function besideSteps({ beside }: TrainableModule, io: TrainIo, again: readonly Step[]): TrainStep[] {
  if (!beside) return [];
  return stepsOf(beside.forward(io), (tape) => {
    const { gradient: dx, steps } = tape.sum(io.x);
    return [...steps, ...again, ...beside.backward({ ...io, dy: tape.target(io.y).gradient, dx })];
  });
}

/**
 * A product that an adapter changes: t = x W^T and what is beside it, t in place, then the residual. The bias comes last, or
 * before the change where the method changes it. The backward makes t anew, for no one kept it.
 */
function changedSteps(
  { x, y, rows, accumulate, shape: { out }, weights: { bias } }: Run,
  { module, changesBias }: Trained,
  { io, again }: { readonly io: TrainIo; readonly again: readonly Step[] },
): TrainStep[] {
  const t = io.y, after = module.after!;
  const biasSteps = stepsOf(bias ? [step(addBias, { bias, y: t }, { rows, out, column: 0 })] : [], () => []);
  const made = [
    { forward: io.product({ x, y: t, rows }) },
    ...besideSteps(module, io, again),
    ...changesBias ? biasSteps : [],
  ];
  const last = accumulate ? [step(add, { x: t, y }, { count: rows * out })] : [];
  return [
    ...made,
    ...stepsOf(after.forward(io), (tape) => {
      const { gradient: dy } = tape.target(t);
      return [...again, ...forwardOf(made), ...after.backward({ ...io, dy })];
    }),
    ...changesBias ? [] : biasSteps,
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
  tensors: TrainedTensors,
): TrainStep[] {
  const plain: TrainStep = { forward: linearStep(weights, { x, y }, sizesOf({ rows, shape, accumulate })) };
  if (!trained) return [plain];
  const { module, at, sharedAt } = trained, { scratch } = tensors;
  const read = module.before ? scratch("x", [rows, shape.in]) : x;
  const before = beforeSteps(module, { x, rows, ...tensors, at, sharedAt }, read, rows * shape.in);
  const run = { weights, shape, x: read, y, rows, accumulate }, again = forwardOf(before);
  const io = { x: read, y, rows, ...tensors, ...products(run), at, sharedAt };
  if (module.after) {
    const t = accumulate ? scratch("t", [rows, shape.out]) : y;
    return [...before, ...changedSteps(run, trained, { io: { ...io, y: t }, again })];
  }
  const product = { forward: linearStep(weights, { x: read, y }, sizesOf(run)) };
  return [...before, product, ...besideSteps(module, io, again)];
}

function sizesOf({ rows, shape, accumulate }: Pick<Run, "rows" | "shape" | "accumulate">) {
  return { rows, ...shape, accumulate: Number(accumulate) };
}
