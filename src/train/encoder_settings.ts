/**
 * The settings of an encoder's training run, checked.
 *
 * @module
 */
import { defaultContextLength, settingsOf } from "../training/options.ts";
import type { TrainEncoderOptions } from "./encoder.ts";

/** What holds unless told, beside what holds for every run. */
export const encoderDefaults = { headLr: 0.002, shuffle: true, head: "new" } as const;

/** The settings, each with a value but `lr` and `layersPerSegment`, whose defaults the method and the model decide. */
export type EncoderSettings =
  & ReturnType<typeof settingsOf>
  & Required<Pick<TrainEncoderOptions, "task" | "headLr" | "shuffle" | "head" | "contextLength">>;

/**
 * A run's settings.
 *
 * @throws RangeError that names the field and the rule it breaks.
 */
export function encoderSettings(options: TrainEncoderOptions): EncoderSettings {
  const { task, headLr = encoderDefaults.headLr, shuffle = encoderDefaults.shuffle } = options;
  const { head = encoderDefaults.head, contextLength = defaultContextLength } = options;
  if (task !== "classify" && task !== "regress") {
    throw new RangeError(`Cannot use task "${task}": it must be classify or regress`);
  }
  if (head !== "new" && head !== "base") {
    throw new RangeError(`Cannot use head "${head}": it must be new or base`);
  }
  if (!(Number.isFinite(headLr) && headLr >= 0)) {
    throw new RangeError(`Cannot use headLr ${headLr}: it must be a number of 0 or more`);
  }
  const names = [
    ...["steps", "batchSize", "gradientAccumulation", "lr", "schedule", "warmupSteps", "weightDecay"],
    ...["maxNorm", "seed", "layersPerSegment", "evaluateEvery", "checkpointEvery"],
  ] as const;
  const given = Object.fromEntries(names.map((name) => [name, options[name as keyof TrainEncoderOptions]]));
  return { ...settingsOf({ ...given, contextLength }), task, headLr, shuffle, head, contextLength };
}
