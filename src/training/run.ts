/**
 * A training run from its first step, or its last checkpoint, to its end.
 *
 * @module
 */
import type { HostTensor } from "../tensor.ts";
import type { TrainingBatch } from "./batch.ts";
import type { LearntBatch } from "./objective.ts";
import type { StepReport, Trainer, TrainerNumbers } from "./trainer.ts";

/** Batches as pure functions of the step, so that a run continues where it stopped. */
export interface TrainingData<B extends LearntBatch = TrainingBatch> {
  batch(step: number): B;
}

/** Where a run's states go. */
export interface CheckpointSink {
  /** Keeps a state; when it resolves, the state is complete and the one before may be gone. */
  save(
    state: { readonly numbers: TrainerNumbers; readonly tensors: ReadonlyMap<string, HostTensor> },
  ): Promise<void>;
}

/** What an evaluation of the next token tells. */
export interface PerplexityReport {
  readonly loss: number;
  readonly perplexity: number;
}

/** What a run reports while it goes on; `E` is what its evaluations tell. */
export type RunEvent<E extends object = PerplexityReport> =
  | {
    readonly kind: "step";
    readonly step: number;
    readonly loss: number;
    readonly lr: number;
    readonly gradientNorm: number;
    /** Targets (tokens, or the labels of sequences) over time since the run began, evaluation and checkpoints left out. */
    readonly tokensPerSecond: number;
  }
  | ({ readonly kind: "evaluation"; readonly step: number } & E)
  | { readonly kind: "checkpoint"; readonly step: number };

/** How a run goes. */
export interface TrainRun<B extends LearntBatch = TrainingBatch, E extends object = PerplexityReport> {
  readonly data: TrainingData<B>;
  /** Evaluates the trainer as it is; absent for a run without evaluation. */
  evaluate?(): Promise<E>;
  /** Optimizer steps in all, those before a resumption included. */
  readonly steps: number;
  /** Learning rate of optimizer step `step`, counted from 0. */
  readonly schedule: (step: number) => number;
  /** The rate of the numbers beside the adapter's modules; the same unless told. */
  readonly ownSchedule?: (step: number) => number;
  /** Micro-batches a step; default 1. */
  readonly gradientAccumulation?: number;
  /** Steps between evaluations, and between checkpoints; 0 (default) for at the end only. */
  readonly evaluateEvery?: number;
  readonly checkpointEvery?: number;
  readonly checkpoints?: CheckpointSink;
  /** Aborting saves a checkpoint and ends the run. */
  readonly signal?: AbortSignal;
  readonly onEvent?: (event: RunEvent<E>) => void;
}

/** How a run ended. */
export interface TrainResult {
  readonly step: number;
  readonly finished: boolean;
  /** The adapter as PEFT's tensors. */
  readonly tensors: ReadonlyMap<string, HostTensor>;
}

/** Training that cannot go on; what was saved before stays. */
export class TrainingError extends Error {
  override readonly name = "TrainingError";
}

/** Lets timers and signals have their turn between steps. */
const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));

/** Evaluates the prediction of next tokens. */
export async function evaluatePerplexity(
  trainer: Trainer,
  heldOut: Iterable<TrainingBatch>,
): Promise<PerplexityReport> {
  const { loss } = await trainer.evaluate(heldOut);
  return { loss, perplexity: Math.exp(loss) };
}

/**
 * Trains until `steps`, the signal, or a loss that is not finite; numbers that are not finite are never saved.
 *
 * While one step is computed the next is submitted: losses are looked at one step late, and always before a checkpoint.
 *
 * @throws TrainingError when a loss or a number to save is NaN or infinite: it names the step; the last checkpoint stays.
 */
export async function runTraining<B extends LearntBatch, E extends object = PerplexityReport>(
  trainer: Trainer<B>,
  run: TrainRun<B, E>,
): Promise<TrainResult> {
  const { data, steps, schedule, gradientAccumulation = 1, onEvent = () => {} } = run;
  const inFlight: { readonly step: number; readonly lr: number; readonly report: Promise<StepReport> }[] = [];
  let saved = trainer.stepsTaken;
  let settledAt = performance.now();
  let tokens = 0;
  let elapsedMs = 0;

  function stop(step: number, what: string): never {
    const kept = saved > 0 && run.checkpoints ? `; the checkpoint of step ${saved} is kept` : "";
    throw new TrainingError(
      `Cannot go on training at step ${step}: ${what}${kept}. Try a smaller learning rate.`,
    );
  }

  /** Looks at reports until at most `most` steps are under way. */
  async function settle(most = 0): Promise<void> {
    while (inFlight.length > most) {
      const { step, lr, report } = inFlight.shift()!;
      const { loss, gradientNorm, targetCount } = await report;
      if (!Number.isFinite(loss)) stop(step, `its loss is ${loss}`);
      const now = performance.now();
      tokens += targetCount;
      elapsedMs += now - settledAt;
      onEvent({
        kind: "step",
        step,
        loss,
        lr,
        gradientNorm,
        tokensPerSecond: 1000 * tokens / elapsedMs,
      });
      settledAt = now;
    }
  }

  async function evaluate(): Promise<void> {
    if (!run.evaluate) return;
    const found = await run.evaluate();
    onEvent({ kind: "evaluation", step: trainer.stepsTaken, ...found });
    settledAt = performance.now();
  }

  async function save(): Promise<ReadonlyMap<string, HostTensor>> {
    await settle();
    const tensors = await trainer.tensors();
    if (run.checkpoints && saved !== trainer.stepsTaken) {
      const numbers = await trainer.numbers();
      // The loss of a step is that before its update: a broken update shows here first.
      for (const part of [numbers.params, numbers.m, numbers.v]) {
        if (!part.every(Number.isFinite)) stop(trainer.stepsTaken, "it made numbers that are not finite");
      }
      await run.checkpoints.save({ numbers, tensors });
      saved = trainer.stepsTaken;
      onEvent({ kind: "checkpoint", step: saved });
      settledAt = performance.now();
    }
    return tensors;
  }

  const due = (every = 0): boolean =>
    every > 0 && trainer.stepsTaken % every === 0 && trainer.stepsTaken < steps;
  while (trainer.stepsTaken < steps && !run.signal?.aborted) {
    const step = trainer.stepsTaken;
    const lr = schedule(step);
    const first = step * gradientAccumulation;
    const batches = Array.from({ length: gradientAccumulation }, (_, i) => data.batch(first + i));
    await trainer.ready(batches);
    const report = trainer.submit(batches, lr, run.ownSchedule?.(step));
    report.catch(() => {}); // looked at in settle()
    inFlight.push({ step: step + 1, lr, report });
    await settle(1);
    if (due(run.evaluateEvery)) {
      await settle();
      await evaluate();
    }
    if (due(run.checkpointEvery)) await save();
    await turn();
  }
  await settle();
  const finished = trainer.stepsTaken >= steps;
  if (finished) await evaluate();
  return { step: trainer.stepsTaken, finished, tensors: await save() };
}
