/**
 * What a trainer learns: how batches of some kind become losses, and losses gradients.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import type { Model } from "../models/model.ts";
import type { Plan } from "../plan.ts";
import type { HostTensor, Tensor } from "../tensor.ts";
import type { TrainingBatch } from "./batch.ts";
import { trainingPlans, type TrainingSetup } from "./plans.ts";
import type { TrainedSetup } from "./working.ts";

/** What every batch says. */
export interface LearntBatch {
  /** How many losses it has: gradients are those of their mean. */
  readonly targetCount: number;
}

/** What a batch is run for. */
export type Purpose = "train" | "evaluate";

/** See the module's documentation. */
export interface Objective<B extends LearntBatch> {
  /** Numbers of rows to prepare plans for before the first batch. */
  readonly sizes: readonly number[];
  /** Rows of the plan that a batch is run by. */
  rowsOf(batch: B): number;
  /** Writes a batch to the tensors that the plans read. Throws RangeError for a batch that the plans do not take. */
  feed(batch: B, purpose: Purpose): void;
  /** Float32, natural logarithms: one for each of the batch's first `lossCount` rows or sequences. */
  readonly losses: Tensor;
  lossCount(batch: B): number;
  /** (sequences, labels): scores, where there are labels. */
  readonly logits?: Tensor;
  /** Losses, and logits, of a batch of so many rows. */
  evaluate(rows: number): Plan;
  /** Also adds to the gradients, of the sum of the losses. */
  train(rows: number): Plan;
  release(): void;
}

/** Numbers that are trained beside an adapter's modules, such as a head's. */
export interface OwnNumbers {
  /** As they are at the start; its parts begin at multiples of 64. */
  readonly values: Float32Array;
  /** Numbers among them. */
  readonly parameters: number;
  /** Tensors by their names in the adapter's file. */
  tensors(values: Float32Array): ReadonlyMap<string, HostTensor>;
}

/** What an objective is made of: where numbers are, and where the own ones start. */
export interface ObjectiveIo extends TrainedSetup {
  readonly ownAt: number;
}

/** The next token of each row that has a target. */
export function nextTokenObjective(
  device: Device,
  model: Model,
  { rows, ...setup }: Omit<TrainingSetup, "device" | "model">,
): Objective<TrainingBatch> {
  const plans = trainingPlans({ device, model, rows, ...setup }), { state } = plans;
  return {
    sizes: [rows],
    rowsOf: () => rows,
    feed: (batch) => plans.feed(batch),
    losses: state.losses,
    lossCount: () => rows,
    evaluate: () => plans.evaluate,
    train: () => plans.train(),
    release: () => plans.release(),
  };
}
