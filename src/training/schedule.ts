/**
 * Learning rates over a run, as transformers' schedules of the same names give them.
 *
 * @module
 */

/** How the learning rate goes on after it has warmed up. */
export type ScheduleName = "constant" | "linear" | "cosine";

/** A run's length, in optimizer steps. */
export interface ScheduleOptions {
  /** Steps in all; the factor is 0 from there on, but for `constant`. */
  readonly steps: number;
  /** Steps in which the factor rises from 0 to 1; default 0. */
  readonly warmupSteps?: number;
}

/** The factor after the warm-up: `done` and `left` of `length` steps, 1 at least, are over and to come. */
const shapes: Readonly<
  Record<ScheduleName, (run: { done: number; left: number; length: number }) => number>
> = {
  constant: () => 1,
  linear: ({ left, length }) => Math.max(0, left / length),
  cosine: ({ done, length }) => done >= length ? 0 : 0.5 * (1 + Math.cos(Math.PI * done / length)),
};

/** The schedules' names. */
export const scheduleNames: readonly ScheduleName[] = ["constant", "linear", "cosine"];

/**
 * What the base learning rate is multiplied by in a step, counted from 0: `step / warmupSteps` while it warms up, then 1
 * (`constant`), a line to 0 at `steps` (`linear`) or half a cosine's period to there (`cosine`).
 *
 * Those of transformers' get_constant_schedule_with_warmup, get_linear_schedule_with_warmup and
 * get_cosine_schedule_with_warmup; the last rises again beyond `steps`, this one stays at 0.
 *
 * @throws RangeError for a step or a length that is no whole number of 0 or more.
 */
export function learningRateFactor(
  name: ScheduleName,
  { step, steps, warmupSteps = 0 }: ScheduleOptions & { readonly step: number },
): number {
  for (const [field, value] of Object.entries({ step, steps, warmupSteps })) {
    if (Number.isSafeInteger(value) && value >= 0) continue;
    throw new RangeError(`Cannot use ${field} ${value}: it must be a whole number of 0 or more`);
  }
  if (step < warmupSteps) return step / warmupSteps;
  const length = Math.max(1, steps - warmupSteps);
  return shapes[name]({ done: step - warmupSteps, left: steps - step, length });
}
