/**
 * One micro-step of training a Llama's adapters as a plan: forward, loss, backward.
 *
 * Activations are kept for one segment of layers at a time; others keep only the hidden state at their start and are run
 * again before their backward. With segments of sqrt(layers) memory grows with the square root of the depth.
 *
 * @module
 */
import { causalAttention } from "../../kernels/causal_attention.ts";
import { copy } from "../../kernels/copy.ts";
import { crossEntropyHead } from "../../kernels/cross_entropy_head.ts";
import { crossEntropyLoss } from "../../kernels/cross_entropy_loss.ts";
import { embedding } from "../../kernels/embedding.ts";
import { quantizedCrossEntropyHead } from "../../kernels/quantized_cross_entropy_head.ts";
import { quantizedCrossEntropyLoss } from "../../kernels/quantized_cross_entropy_loss.ts";
import { rmsNorm } from "../../kernels/rms_norm.ts";
import { rope } from "../../kernels/rope.ts";
import { siluGate } from "../../kernels/silu_gate.ts";
import type { Device } from "../device/device.ts";
import { linearWeights, type LlamaModel } from "../models/llama.ts";
import { isQuantized } from "../models/weights.ts";
import { type Plan, type Step, step } from "../plan.ts";
import { elements, type Tensor, tensor, type TypedArray } from "../tensor.ts";
import type { TrainingBatch } from "./batch.ts";
import { backward, Tape, type TrainStep } from "./backward.ts";
import { projectionSteps, type Trained } from "./projection.ts";

/** Tensors of a micro-step's input and result; `rows` tokens. */
export interface TrainingState {
  readonly rows: number;
  readonly tokens: Tensor;
  readonly targets: Tensor;
  readonly positions: Tensor;
  readonly first: Tensor;
  readonly last: Tensor;
  /** (rows) float32, natural logarithms; 0 where there is no target. */
  readonly losses: Tensor;
}

/** What training plans are built from. */
export interface TrainingSetup {
  readonly device: Device;
  readonly model: LlamaModel;
  /** By the linear's number in `model.linears`. */
  readonly trained: ReadonlyMap<number, Trained>;
  /** All trained numbers and their gradients, float32. */
  readonly params: Tensor;
  readonly gradients: Tensor;
  readonly rows: number;
  /** Layers whose activations are kept at once; all of them: nothing is computed twice. */
  readonly layersPerSegment: number;
}

/** Plans of one batch. */
export interface TrainingPlans {
  readonly state: TrainingState;
  /** Only gives losses. */
  readonly evaluate: Plan;
  /** Also adds to the gradients, of the sum of the losses; made once, for it allocates the activations' gradients. */
  train(): Plan;
  /** Frees activations, gradients and state. */
  release(): void;
}

/** A layer's activations. */
interface Activations {
  readonly normed: Tensor;
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  readonly attended: Tensor;
  readonly logsumexp: Tensor;
  readonly middle: Tensor;
  readonly middleNormed: Tensor;
  readonly gate: Tensor;
  readonly up: Tensor;
  readonly gated: Tensor;
  readonly output: Tensor;
}

/** The steps from the last hidden state to losses: alone, and with that state's gradient. */
function headSteps(
  { config: { hiddenSize: dim, vocabSize: vocab }, head: { weight } }: LlamaModel,
  { hidden, state: { rows, targets, losses } }: { readonly hidden: Tensor; readonly state: TrainingState },
): { readonly evaluate: Step; train(dhidden: Tensor): Step } {
  const io = { hidden, targets, losses };
  const words = { rows, dim, vocab, scale: 1 };
  if (isQuantized(weight)) {
    const { bits, ...weights } = weight;
    return {
      evaluate: step(quantizedCrossEntropyLoss, { ...io, ...weights }, { ...words, bits }),
      train: (dhidden) => step(quantizedCrossEntropyHead, { ...io, ...weights, dhidden }, { ...words, bits }),
    };
  }
  return {
    evaluate: step(crossEntropyLoss, { ...io, weight }, words),
    train: (dhidden) => step(crossEntropyHead, { ...io, weight, dhidden }, words),
  };
}

/** Writes a batch to the tensors that the plans read. */
export function feed(device: Device, state: TrainingState, batch: TrainingBatch): void {
  if (batch.tokens.length !== state.rows) {
    throw new RangeError(
      `Cannot train on a batch of ${batch.tokens.length} tokens: the trainer was made for ${state.rows}`,
    );
  }
  for (const name of ["tokens", "targets", "positions", "first", "last"] as const) {
    device.write(state[name], batch[name]);
  }
}

/** Sum in float64 of the rows' losses. */
export function sumOfLosses(losses: TypedArray): number {
  let sum = 0;
  for (const loss of losses) sum += loss;
  return sum;
}

/** Builds the plans, and allocates what they work in. */
export function trainingPlans(setup: TrainingSetup): TrainingPlans {
  const { device, model, rows } = setup;
  const { config } = model;
  const { hiddenSize, heads, kvHeads, headDim, intermediateSize, layers, rmsNormEps, vocabSize } = config;
  const made: Tensor[] = [];
  const alloc = (shape: readonly number[], dtype: "float32" | "uint32" = "float32"): Tensor => {
    const t = device.alloc(shape, dtype);
    made.push(t);
    return t;
  };
  const hidden = (): Tensor => alloc([rows, hiddenSize]);
  const activations = (): Activations => ({
    normed: hidden(),
    q: alloc([rows, heads * headDim]),
    k: alloc([rows, kvHeads * headDim]),
    v: alloc([rows, kvHeads * headDim]),
    attended: alloc([rows, heads * headDim]),
    logsumexp: alloc([rows, heads]),
    middle: hidden(),
    middleNormed: hidden(),
    gate: alloc([rows, intermediateSize]),
    up: alloc([rows, intermediateSize]),
    gated: alloc([rows, intermediateSize]),
    output: hidden(),
  });
  const words = (): Tensor => alloc([rows], "uint32");
  const state: TrainingState = {
    rows,
    tokens: words(),
    targets: words(),
    positions: words(),
    first: words(),
    last: words(),
    losses: alloc([rows]),
  };
  const slots = device.upload(tensor(new Uint32Array(rows)));
  made.push(slots);
  const scratches = new Map<number, Tensor>();
  const scratch = (shape: readonly number[]): Tensor => {
    const count = elements(shape);
    let t = scratches.get(count);
    if (!t) scratches.set(count, t = alloc(shape));
    return t;
  };
  const perSegment = Math.min(setup.layersPerSegment, layers);
  const sets = Array.from({ length: perSegment }, activations);
  const starts = Array.from({ length: Math.ceil(layers / perSegment) }, hidden);
  const final = hidden();
  const finalNormed = hidden();

  const project = (index: number, io: { x: Tensor; y: Tensor; accumulate?: boolean }): TrainStep[] =>
    projectionSteps(
      { weights: linearWeights(model, index), shape: model.linears[index].shape },
      { rows, accumulate: false, ...io },
      setup.trained.get(index),
      { slots, params: setup.params, gradients: setup.gradients, scratch },
    );

  const norm = (x: Tensor, weight: Tensor, y: Tensor): TrainStep => ({
    forward: step(rmsNorm, { x, weight, y }, { rows, dim: hiddenSize, eps: rmsNormEps }),
  });
  const turn = (x: Tensor, count: number): TrainStep => ({
    forward: step(rope, { x, table: model.ropeTable, positions: state.positions }, {
      rows,
      heads: count,
      headDim,
    }),
  });
  const copied = (x: Tensor, y: Tensor): TrainStep => ({
    forward: step(copy, { x, y }, { count: rows * hiddenSize }),
  });

  function layerSteps(i: number, a: Activations, io: { input: Tensor; output: Tensor }): TrainStep[] {
    const { inputNorm, postNorm } = model.layers[i];
    const at = 7 * i;
    return [
      norm(io.input, inputNorm, a.normed),
      ...project(at, { x: a.normed, y: a.q }),
      ...project(at + 1, { x: a.normed, y: a.k }),
      ...project(at + 2, { x: a.normed, y: a.v }),
      turn(a.q, heads),
      turn(a.k, kvHeads),
      {
        forward: step(
          causalAttention,
          { q: a.q, k: a.k, v: a.v, first: state.first, y: a.attended, logsumexp: a.logsumexp },
          { rows, heads, kvHeads, headDim, scale: 1 / Math.sqrt(headDim) },
        ),
        also: { last: state.last },
      },
      copied(io.input, a.middle),
      ...project(at + 3, { x: a.attended, y: a.middle, accumulate: true }),
      norm(a.middle, postNorm, a.middleNormed),
      ...project(at + 4, { x: a.middleNormed, y: a.gate }),
      ...project(at + 5, { x: a.middleNormed, y: a.up }),
      { forward: step(siluGate, { gate: a.gate, up: a.up, y: a.gated }, { count: rows * intermediateSize }) },
      copied(a.middle, io.output),
      ...project(at + 6, { x: a.gated, y: io.output, accumulate: true }),
    ];
  }

  /** Layers of segment s; its last output is the next segment's start, or the final hidden state. */
  const segments = starts.map((start, s) => {
    const count = Math.min(perSegment, layers - s * perSegment);
    const end = starts[s + 1] ?? final;
    return Array.from({ length: count }, (_, j) => {
      const input = j === 0 ? start : sets[j - 1].output;
      return layerSteps(s * perSegment + j, sets[j], {
        input,
        output: j === count - 1 ? end : sets[j].output,
      });
    }).flat();
  });

  const embed = step(embedding, { ids: state.tokens, weight: model.embedding, y: starts[0] }, {
    rows,
    dim: hiddenSize,
    vocab: vocabSize,
  });
  const finalNorm = norm(final, model.norm, finalNormed);
  const forward: Step[] = [
    embed,
    ...segments.flat().map((s) => s.forward),
    finalNorm.forward,
  ];
  const head = headSteps(model, { hidden: finalNormed, state });
  const tape = new Tape(device);
  function train(): Plan {
    const steps: Step[] = [
      ...forward,
      head.train(tape.target(finalNormed).gradient),
      ...backward([finalNorm], tape),
    ];
    for (let s = segments.length - 1; s >= 0; s--) {
      const again = s === segments.length - 1 ? [] : segments[s].map(({ forward }) => forward);
      steps.push(...again, ...backward(segments[s], tape));
    }
    return steps;
  }
  return {
    state,
    evaluate: [...forward, head.evaluate],
    train,
    release() {
      tape.release();
      for (const t of made) device.release(t);
    },
  };
}
