/**
 * A head that is trained: the linears that make scores of an encoder's pooled rows, and the loss of these scores.
 *
 * @module
 */
import { embedding } from "../../kernels/embedding.ts";
import { fill } from "../../kernels/fill.ts";
import { softmaxCrossEntropy } from "../../kernels/softmax_cross_entropy.ts";
import { scatterRows } from "../../kernels/scatter_rows.ts";
import { squaredError } from "../../kernels/squared_error.ts";
import { tanh, tanhBackward } from "../../kernels/tanh.ts";
import { weightGradient } from "../../kernels/weight_gradient.ts";
import type { Value } from "../models/graph.ts";
import { denseWeight, linearBackwardStep, linearStep } from "../models/weights.ts";
import { type Step, step } from "../plan.ts";
import { elements, slice, type Tensor } from "../tensor.ts";
import type { HeadLinear } from "./head_parameters.ts";
import type { Goal, GoalIo } from "./reversible.ts";
import type { Tape } from "./backward.ts";

/** What labels are: a class of each sequence, or a number. */
export type HeadTask = "classify" | "regress";

/** What a head's steps are made with. */
export interface HeadSetup {
  readonly task: HeadTask;
  /** Sequences of a batch, and numbers of a pooled row. */
  readonly sequences: number;
  readonly hiddenSize: number;
  /** The value that heads read. */
  readonly pooled: Value;
  /** (sequences), uint32: the row of each sequence in `pooled`. */
  readonly outputs: Tensor;
  readonly linears: readonly HeadLinear[];
  /** Where each linear's weight and bias start among all numbers that are trained. */
  readonly at: readonly { readonly weight: number; readonly bias: number }[];
  readonly params: Tensor;
  readonly gradients: Tensor;
  alloc(shape: readonly number[], dtype: "float32" | "uint32"): Tensor;
  /** (sequences): ones. */
  readonly ones: Tensor;
}

/** A head as the goal of a forward, and the tensors that it is fed and read by. */
export interface Head extends Goal {
  /** (sequences): classes as uint32, or numbers as float32. */
  readonly targets: Tensor;
  readonly losses: Tensor;
  /** (sequences, labels), float32. */
  readonly logits: Tensor;
}

/** A linear's tensors: its numbers, what it reads and makes, and their gradients. */
interface Layer extends HeadLinear {
  readonly x: Tensor;
  readonly dx: Tensor;
  readonly y: Tensor;
  readonly dy: Tensor;
  /** After the activation; `y` without one. */
  readonly z: Tensor;
  readonly dz: Tensor;
  readonly weight: Tensor;
  readonly bias: Tensor;
  readonly at: HeadSetup["at"][0];
}

function layersOf({ linears, at, params, sequences, hiddenSize, alloc }: HeadSetup): readonly Layer[] {
  const made = (width: number): Tensor => alloc([sequences, width], "float32");
  let x = made(hiddenSize), dx = made(hiddenSize);
  return linears.map((linear, i) => {
    const { out, in: inSize, activation } = linear;
    const y = made(out), dy = made(out);
    const layer = {
      ...linear,
      ...{ x, dx, y, dy, z: activation ? made(out) : y, dz: activation ? made(out) : dy },
      weight: slice(params, at[i].weight, [out, inSize]),
      bias: slice(params, at[i].bias, [out]),
      at: at[i],
    };
    [x, dx] = [layer.z, layer.dz];
    return layer;
  });
}

/** Makes a head of linears; it allocates what its steps work in. */
export function head(setup: HeadSetup): Head {
  const { task, sequences, hiddenSize, pooled, outputs, gradients, ones, alloc } = setup;
  const layers = layersOf(setup), last = layers[layers.length - 1];
  const classify = task === "classify";
  const targets = alloc([sequences], classify ? "uint32" : "float32"), losses = alloc([sequences], "float32");
  const lossStep = classify
    ? step(softmaxCrossEntropy, { logits: last.z, targets, losses, dlogits: last.dz }, {
      rows: sequences,
      classes: last.out,
    })
    : step(squaredError, { predictions: last.z, targets, losses, gradient: last.dz }, { count: sequences });

  const forward = ({ x, y, z, weight, bias, in: inSize, out, activation }: Layer): Step[] => [
    linearStep({ weight: denseWeight(weight), bias }, { x, y }, {
      ...{ rows: sequences, in: inSize, out, accumulate: 0 },
    }),
    ...activation ? [step(tanh, { x: y, y: z }, { count: sequences * out })] : [],
  ];
  const evaluate = ({ rows, tensor }: GoalIo): Step[] => [
    step(embedding, { ids: outputs, weight: tensor(pooled), y: layers[0].x }, {
      ...{ rows: sequences, dim: hiddenSize, vocab: rows },
    }),
    ...layers.flatMap(forward),
    lossStep,
  ];
  const backward = ({ x, dx, y: _, dy, z, dz, weight, at, in: inSize, out, activation }: Layer): Step[] => {
    const sizes = { rows: sequences, out, scale: 1 };
    return [
      ...activation ? [step(tanhBackward, { dy: dz, y: z, dx: dy }, { count: sequences * out })] : [],
      step(weightGradient, { dy, x, gradient: gradients }, { ...sizes, in: inSize, offset: at.weight }),
      // A bias is the weight of an input that is 1.
      step(weightGradient, { dy, x: ones, gradient: gradients }, { ...sizes, in: 1, offset: at.bias }),
      linearBackwardStep(denseWeight(weight), { dy, dx }, {
        ...{ rows: sequences, in: inSize, out, accumulate: 0 },
      }),
    ];
  };
  return {
    targets,
    losses,
    logits: last.z,
    evaluate,
    train(io, tape: Tape) {
      const read = io.tensor(pooled), { gradient } = tape.target(read);
      return [
        ...evaluate(io),
        ...layers.toReversed().flatMap(backward),
        step(fill, { y: gradient }, { count: elements(read.shape), value: 0 }),
        step(scatterRows, { x: layers[0].dx, ids: outputs, y: gradient }, {
          ...{ rows: sequences, dim: hiddenSize, entries: io.rows },
        }),
      ];
    },
  };
}
