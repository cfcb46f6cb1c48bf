/**
 * The objective of a head: sequences of any lengths side by side, a label each.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import { EncodeInputs, type EncodeSequence } from "../engine/encode_inputs.ts";
import type { EncoderModel } from "../models/model.ts";
import { type Tensor, tensor } from "../tensor.ts";
import { head, type HeadTask } from "./head.ts";
import type { HeadNumbers } from "./head_parameters.ts";
import type { LearntBatch, Objective, ObjectiveIo } from "./objective.ts";
import { reversiblePlans } from "./reversible.ts";
import { Working } from "./working.ts";

/** Sequences with a label each: a class's number, or a number. */
export interface HeadBatch extends LearntBatch {
  readonly sequences: readonly EncodeSequence[];
  readonly targets: readonly number[];
}

/** What the objective is made for. */
export interface HeadObjectiveOptions {
  readonly task: HeadTask;
  readonly numbers: HeadNumbers;
  /** Rows of the largest batch, and sequences of every batch that is trained on. */
  readonly maxRows: number;
  readonly sequences: number;
  readonly layersPerSegment: number;
}

/** Plans are made for few numbers of rows: of a batch's next one the rest are rows that take no part. */
const sizes = 16;

/** The number of rows of the plan for a batch of so many. */
function sizeOf(rows: number, maxRows: number): number {
  const step = 64 * Math.ceil(maxRows / sizes / 64);
  return Math.min(maxRows, step * Math.ceil(rows / step));
}

const rowsIn = ({ sequences }: HeadBatch): number =>
  sequences.reduce((sum, { tokens }) => sum + tokens.length, 0);

/** Numbers of a patch, where rows are patches. */
function patchWidthOf({ config: { encoder: { image } } }: EncoderModel): number | undefined {
  return image && image.channels * image.patch ** 2;
}

/** See the module's documentation. */
export function headObjective(
  device: Device,
  model: EncoderModel,
  options: HeadObjectiveOptions & ObjectiveIo,
): Objective<HeadBatch> {
  const { task, numbers, maxRows, sequences, ownAt, ...setup } = options;
  const inputs = new EncodeInputs(device, {
    ...{ maxBanks: 0, maxRows, maxOutputs: sequences, patchWidth: patchWidthOf(model) },
  });
  const working = new Working(device, maxRows);
  const ones = device.upload(tensor(new Float32Array(sequences).fill(1)));
  const goal = head({
    ...{ task, sequences, ones, params: setup.params, gradients: setup.gradients },
    hiddenSize: model.config.hiddenSize,
    pooled: model.graph.states.pooled,
    outputs: inputs.tensors.outputs,
    linears: numbers.linears,
    at: numbers.at.map(({ weight, bias }) => ({ weight: ownAt + weight, bias: ownAt + bias })),
    alloc: (shape, dtype) => working.alloc(shape, dtype),
  });
  const plans = reversiblePlans({ device, model, working, inputs: inputs.tensors, goal, ...setup });
  const targets = task === "classify" ? new Uint32Array(sequences) : new Float32Array(sequences);
  return {
    sizes: [],
    rowsOf: (batch) => sizeOf(rowsIn(batch), maxRows),
    feed(batch, purpose) {
      const count = batch.sequences.length;
      if (count > sequences || rowsIn(batch) > maxRows) {
        throw new RangeError(
          `Cannot run a batch of ${count} sequences and ${rowsIn(batch)} rows: ` +
            `the trainer was made for ${sequences} and ${maxRows}`,
        );
      }
      // Places of a plan that have no sequence would count as examples: their scores have gradients, too.
      if (purpose === "train" && count < sequences) {
        throw new RangeError(
          `Cannot train on a batch of ${count} sequences: the trainer takes ${sequences} at once`,
        );
      }
      inputs.write(batch.sequences, { rows: this.rowsOf(batch), outputs: sequences, banks: [] });
      targets.fill(0).set(batch.targets);
      device.write(goal.targets as Tensor, targets);
    },
    losses: goal.losses,
    lossCount: ({ sequences: own }) => own.length,
    logits: goal.logits,
    evaluate: (rows) => plans.evaluate(rows),
    train: (rows) => plans.train(rows),
    release() {
      plans.release();
      working.release();
      inputs.release();
      device.release(ones);
    },
  };
}
