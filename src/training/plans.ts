/**
 * One micro-step of training a model's adapters as a plan: forward, loss, backward.
 *
 * Activations are kept for one segment of layers at a time; others keep only what enters them and are run again before
 * their backward. With segments of sqrt(layers) memory grows with the square root of the depth.
 *
 * @module
 */
import { crossEntropyHead } from "../../kernels/cross_entropy_head.ts";
import { crossEntropyLoss } from "../../kernels/cross_entropy_loss.ts";
import type { Device } from "../device/device.ts";
import type { OwnSteps, ProjectionIo, Value } from "../models/graph.ts";
import type { Model } from "../models/model.ts";
import { placeValues } from "../models/placing.ts";
import { partOf, type Projection } from "../models/projection.ts";
import type { Weight } from "../models/weights.ts";
import { wholeSteps, type WholeTensors } from "../models/whole_plan.ts";
import { type Plan, type Step, step } from "../plan.ts";
import { elements, type Tensor, tensor, type TypedArray } from "../tensor.ts";
import { placeActivations, segmentsOf } from "./activations.ts";
import type { TrainingBatch } from "./batch.ts";
import { backward, Tape, type TrainStep } from "./backward.ts";
import { projectionSteps, type Trained } from "./projection.ts";

/** Tensors of a micro-step's input and result; `rows` tokens. */
export interface TrainingState extends WholeTensors {
  readonly rows: number;
  readonly targets: Tensor;
  /** (rows) float32, natural logarithms; 0 where there is no target. */
  readonly losses: Tensor;
}

/** What plans of whole sequences are built from. */
interface WholeSetup {
  readonly device: Device;
  readonly model: Model;
  readonly rows: number;
}

/** What plans that only give losses are built from. */
export interface LossSetup extends WholeSetup {
  /** One linear of a projection, with its adapter where it has one. */
  project(projection: Projection, index: number, io: ProjectionIo): Plan;
  /** The adapter's own parameters, and its head or the model's. */
  readonly own?: OwnSteps;
  readonly head?: Weight;
}

/** What training plans are built from. */
export interface TrainingSetup extends WholeSetup {
  /** By the linear's number in `model.linears`. */
  readonly trained: ReadonlyMap<number, Trained>;
  /** All trained numbers and their gradients, float32. */
  readonly params: Tensor;
  readonly gradients: Tensor;
  /** Layers whose activations are kept at once; all of them: nothing is computed twice. */
  readonly layersPerSegment: number;
}

/** A plan that only gives losses. */
export interface LossPlan {
  readonly state: TrainingState;
  readonly evaluate: Plan;
  /** Frees activations, gradients and state. */
  release(): void;
}

/** Plans of one batch. */
export interface TrainingPlans extends LossPlan {
  /** Also adds to the gradients, of the sum of the losses; made once, for it allocates the activations' gradients. */
  train(): Plan;
}

/** The steps from the last hidden state to losses: alone, and with that state's gradient. */
function headSteps(
  { config: { hiddenSize: dim, vocabSize: vocab }, graph: { ending: { softcap = 0 } } }: Model,
  { hidden, weight, state: { rows, targets, losses } }: {
    readonly hidden: Tensor;
    readonly weight: Weight;
    readonly state: TrainingState;
  },
): { readonly evaluate: Step; train(dhidden: Tensor): Step } {
  const { format, tensors } = weight;
  const io = { hidden, targets, losses, ...tensors }, words = { rows, dim, vocab, scale: 1, softcap };
  return {
    evaluate: step(crossEntropyLoss.of(format), io, words),
    train: (dhidden) => step(crossEntropyHead.of(format), { ...io, dhidden }, words),
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

/** What both kinds of plans work in. */
class Working {
  readonly state: TrainingState;
  readonly #made: Tensor[] = [];
  readonly #slots: Tensor;
  readonly #scratches = new Map<string, Tensor>();

  constructor(private readonly setup: Pick<WholeSetup, "device" | "rows">) {
    const { device, rows } = setup;
    const words = (): Tensor => this.#alloc([rows], "uint32");
    this.state = {
      rows,
      tokens: words(),
      targets: words(),
      positions: words(),
      first: words(),
      last: words(),
      losses: this.#alloc([rows], "float32"),
    };
    this.#slots = device.upload(tensor(new Uint32Array(rows)));
    this.#made.push(this.#slots);
  }

  #alloc(shape: readonly number[], dtype: "float32" | "uint32"): Tensor {
    const made = this.setup.device.alloc(shape, dtype);
    this.#made.push(made);
    return made;
  }

  /** The same tensor for each name and number of elements: what linears that are trained work in. */
  #scratch(name: string, shape: readonly number[]): Tensor {
    const key = `${name} ${elements(shape)}`, known = this.#scratches.get(key);
    const made = known ?? this.#alloc(shape, "float32");
    this.#scratches.set(key, made);
    return made;
  }

  /** (rows, width), float32. */
  activation(width: number): Tensor {
    return this.#alloc([this.setup.rows, width], "float32");
  }

  /** What `wholeSteps` is told, for training. */
  options(
    tensorOf: (value: Value) => Tensor,
    { trained, params, gradients }: Pick<TrainingSetup, "trained" | "params" | "gradients">,
  ) {
    const { rows } = this.setup;
    return {
      rows,
      inputs: this.state,
      tensor: tensorOf,
      project: (projection: Projection, index: number, { accumulate, ...io }: ProjectionIo): TrainStep[] => {
        const { shape: { in: inSize }, outs, linears: { first } } = projection;
        return projectionSteps(
          { weights: partOf(projection, index), shape: { out: outs[index], in: inSize } },
          { ...io, accumulate: accumulate !== 0 },
          trained.get(first + index),
          { slots: this.#slots, params, gradients, scratch: (name, shape) => this.#scratch(name, shape) },
        );
      },
    };
  }

  release(): void {
    for (const t of this.#made) this.setup.device.release(t);
  }
}

/** Builds a plan that only gives losses: its activations share few tensors. */
export function lossPlan(
  { device, model, rows, project, own, head: weight = model.head.weight }: LossSetup,
): LossPlan {
  const { graph } = model;
  const working = new Working({ device, rows });
  const { buffers, places } = placeValues(graph, "whole");
  const tensors = buffers.map(({ width }) => working.activation(width));
  const tensorOf = (value: Value): Tensor => tensors[places.get(value)!.buffer];
  const { state } = working;
  const steps = wholeSteps(graph.operations, {
    rows,
    inputs: state,
    tensor: tensorOf,
    own,
    project: (projection, index, io) => project(projection, index, io).map((forward) => ({ forward })),
  }).map(({ forward }) => forward);
  const head = headSteps(model, { hidden: tensorOf(graph.ending.hidden), state, weight });
  return { state, evaluate: [...steps, head.evaluate], release: () => working.release() };
}

/** Builds the plans, and allocates what they work in. */
export function trainingPlans(setup: TrainingSetup): TrainingPlans {
  const { device, model, layersPerSegment } = setup;
  const { config, graph } = model;
  const working = new Working(setup);
  const { state } = working;
  const parts = segmentsOf(graph, Math.min(layersPerSegment, config.layers));
  const tensors = placeActivations(parts, (width) => working.activation(width));
  const options = working.options((value) => tensors.get(value)!, setup);
  const before = wholeSteps(parts.before, options);
  const segments = parts.segments.map((operations) => wholeSteps(operations, options));
  const forward = [before, ...segments].flatMap((steps) => steps.map(({ forward }) => forward));
  const hidden = tensors.get(graph.ending.hidden)!;
  const head = headSteps(model, { hidden, state, weight: model.head.weight });
  const tape = new Tape(device);
  function train(): Plan {
    const steps: Step[] = [...forward, head.train(tape.target(hidden).gradient)];
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
      working.release();
    },
  };
}
