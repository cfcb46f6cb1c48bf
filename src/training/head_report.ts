/**
 * The evaluation of a head on held-out batches.
 *
 * @module
 */
import type { HeadTask } from "./head.ts";
import type { HeadBatch } from "./head_objective.ts";
import {
  type ClassMetrics,
  classMetrics,
  confusionOf,
  type RegressionMetrics,
  regressionMetrics,
} from "./metrics.ts";
import { sumOfLosses } from "./plans.ts";
import type { Trainer } from "./trainer.ts";

/** What an evaluation of a head tells. */
export interface HeadReport {
  /** Mean cross-entropy (natural logarithm) of classes, mean squared error of numbers. */
  readonly loss: number;
  readonly metrics:
    | ({ readonly task: "classify" } & ClassMetrics)
    | ({ readonly task: "regress" } & RegressionMetrics);
}

/** The number of the largest score. */
function largest(scores: Float32Array): number {
  let best = 0;
  for (let i = 1; i < scores.length; i++) if (scores[i] > scores[best]) best = i;
  return best;
}

/** Runs a head on batches, of so many labels. */
export async function evaluateHead(
  trainer: Trainer<HeadBatch>,
  batches: Iterable<HeadBatch>,
  { task, labels: width }: { readonly task: HeadTask; readonly labels: number },
): Promise<HeadReport> {
  const targets: number[] = [], predictions: number[] = [];
  let sum = 0;
  for (const batch of batches) {
    const { losses, logits } = await trainer.outcome(batch);
    sum += sumOfLosses(losses);
    batch.targets.forEach((target, i) => {
      targets.push(target);
      predictions.push(
        task === "classify" ? largest(logits!.subarray(i * width, (i + 1) * width)) : logits![i],
      );
    });
  }
  return {
    loss: sum / targets.length,
    metrics: task === "classify"
      ? { task, ...classMetrics(confusionOf(targets, predictions, width)) }
      : { task, ...regressionMetrics(targets, predictions) },
  };
}
