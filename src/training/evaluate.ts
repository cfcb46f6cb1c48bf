/**
 * The loss of a model, with an adapter or without, on batches: nothing is trained.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import { type AdapterAlone, soleAdapter } from "../engine/sole_adapter.ts";
import type { Model } from "../models/model.ts";
import type { TrainingBatch } from "./batch.ts";
import { feed, lossPlan, sumOfLosses } from "./plans.ts";

/** A mean loss. */
export interface Evaluation {
  /** Natural logarithm, over all targets. */
  readonly loss: number;
  readonly targetCount: number;
}

/** What is evaluated on what. */
export interface EvaluateOptions {
  /** Absent for the model alone. */
  readonly adapter?: AdapterAlone;
  readonly batches: Iterable<TrainingBatch>;
  /** Rows of each batch. */
  readonly rows: number;
  /** Called after each batch. */
  readonly onBatch?: (done: number) => void;
}

/** Activations are kept only while they are used, whatever the model's size. */
export async function evaluate(
  device: Device,
  model: Model,
  { adapter, batches, rows, onBatch = () => {} }: EvaluateOptions,
): Promise<Evaluation> {
  const sole = await soleAdapter(device, model, { adapter, rows });
  const plans = lossPlan({ device, model, rows, ...sole });
  const program = await device.prepare(plans.evaluate);
  let sum = 0, targetCount = 0, done = 0;
  try {
    for (const batch of batches) {
      feed(device, plans.state, batch);
      device.run(program);
      sum += sumOfLosses(await device.read(plans.state.losses));
      targetCount += batch.targetCount;
      onBatch(++done);
    }
  } finally {
    program.release();
    plans.release();
    sole.release();
  }
  return { loss: sum / targetCount, targetCount };
}
