/**
 * One micro-step of training a language model's adapters as a plan: forward, loss of the next token, backward.
 *
 * @module
 */
import { crossEntropyHead } from "../../kernels/cross_entropy_head.ts";
import { crossEntropyLoss } from "../../kernels/cross_entropy_loss.ts";
import type { Device } from "../device/device.ts";
import type { OwnSteps, ProjectionIo, Value } from "../models/graph.ts";
import type { Model } from "../models/model.ts";
import { placeValues } from "../models/placing.ts";
import type { Projection } from "../models/projection.ts";
import type { Weight } from "../models/weights.ts";
import { wholeSteps, type WholeTensors } from "../models/whole_plan.ts";
import { type Plan, type Step, step } from "../plan.ts";
import { type Tensor, tensor, type TypedArray } from "../tensor.ts";
import type { TrainingBatch } from "./batch.ts";
import { type OwnHead, ownHead } from "./own_head.ts";
import { headRows, type OwnParameters } from "./own_parameters.ts";
import { ownForward, type PlacedOwn } from "./own_steps.ts";
import { type Goal, reversiblePlans } from "./reversible.ts";
import { type TrainedSetup, Working } from "./working.ts";

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
export interface TrainingSetup extends WholeSetup, TrainedSetup {
  /** Layers whose activations are kept at once; all of them: nothing is computed twice. */
  readonly layersPerSegment: number;
  /** Parameters that are trained beside the linears; the first is at `ownAt` of the numbers. */
  readonly own?: OwnParameters;
  readonly ownAt?: number;
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
  /** Writes a batch to the tensors that the plans read. */
  feed(batch: TrainingBatch): void;
  /** Also adds to the gradients, of the sum of the losses. */
  train(): Plan;
}

/** The head as one; throws RangeError where it is in parts. */
function headOf(weight: Weight): Weight {
  if (!weight.parts) return weight;
  throw new RangeError(
    `Cannot compute losses on this device: no buffer of it holds the model's head of (${weight.shape.out}, ` +
      `${weight.shape.in}); take another device, as --device cpu`,
  );
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
  const { format, tensors } = headOf(weight);
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

/** Allocates a state's tensors. */
function stateIn(working: Working, rows: number): TrainingState {
  const words = (): Tensor => working.alloc([rows], "uint32");
  return {
    rows,
    tokens: words(),
    targets: words(),
    positions: words(),
    first: words(),
    last: words(),
    losses: working.alloc([rows], "float32"),
  };
}

/** Builds a plan that only gives losses: its activations share few tensors. */
export function lossPlan(
  { device, model, rows, project, own, head: weight = model.head.weight }: LossSetup,
): LossPlan {
  const { graph } = model;
  const working = new Working(device, rows);
  const { buffers, places } = placeValues(graph, "whole");
  const tensors = buffers.map(({ width }) => working.activation(width));
  const tensorOf = (value: Value): Tensor => tensors[places.get(value)!.buffer];
  const state = stateIn(working, rows);
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

/** The losses as the goal of a forward, by the model's head or one that is trained. */
function goalOf(model: Model, state: TrainingState, own: OwnHead | undefined): Goal {
  const { graph: { ending: { hidden } }, head: { weight } } = model;
  return {
    evaluate({ tensor }) {
      const io = { hidden: tensor(hidden), ...state };
      return own ? own.evaluate(io) : [headSteps(model, { ...io, state, weight }).evaluate];
    },
    train({ tensor }, tape) {
      const io = { hidden: tensor(hidden), ...state }, { gradient } = tape.target(io.hidden);
      return own ? own.train(io, gradient) : [headSteps(model, { ...io, state, weight }).train(gradient)];
    },
  };
}

/** Own parameters with what their steps work in. */
function placedOwn(
  working: Working,
  { device, rows, own, ownAt = 0, params, gradients }: TrainingSetup,
): { readonly placed: PlacedOwn; readonly uploads: readonly Tensor[] } | undefined {
  if (!own) return undefined;
  const ones = device.upload(tensor(new Float32Array(rows).fill(1)));
  return {
    uploads: [ones],
    placed: {
      ...{ own, ownAt, params, gradients, ones },
      places: working.alloc([rows], "uint32"),
      scratch: (name, shape) => working.scratch(name, shape),
      alloc: (shape, dtype) => working.alloc(shape, dtype),
    },
  };
}

/** Builds the plans, and allocates what they work in. */
export function trainingPlans(setup: TrainingSetup): TrainingPlans {
  const { rows, model, device, own: parameters, ownAt: _, ...rest } = setup;
  const working = new Working(device, rows), state = stateIn(working, rows);
  const own = placedOwn(working, setup);
  const head = own && ownHead(device, model, own.placed, rows);
  const plans = reversiblePlans({
    ...{ ...rest, device, model, working, inputs: state },
    goal: goalOf(model, state, head),
    own: own && ownForward(own.placed),
  });
  const ids = parameters && headRows(parameters.parts)?.ids;
  return {
    state,
    evaluate: plans.evaluate(rows),
    train: () => plans.train(rows),
    feed(batch) {
      feed(device, state, batch);
      if (ids) device.write(own!.placed.places, placesOf(batch.tokens, ids));
    },
    release() {
      plans.release();
      head?.release();
      own?.uploads.forEach((t) => device.release(t));
      working.release();
    },
  };
}

/** The place of each token among ascending ids, from 1 on; 0 for others. */
function placesOf(tokens: Uint32Array, ids: Uint32Array): Uint32Array {
  const places = new Map([...ids].map((id, place) => [id, place + 1]));
  return tokens.map((token) => places.get(token) ?? 0);
}
