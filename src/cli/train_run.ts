/**
 * One training run of the command line, whatever is learnt: its device, checkpoints, signals and progress.
 *
 * @module
 */
import process from "node:process";
import { ConfigError } from "../errors.ts";
import { type CheckpointFolder, openCheckpoints } from "../runtime/checkpoints.ts";
import type { Device } from "../device/device.ts";
import type { CheckpointStore, Files } from "../training/checkpoint.ts";
import type { RunEvent } from "../training/run.ts";
import { canDraw, tellsEvents } from "./log.ts";
import { emit, log, type NamedDevice, openNamedDevice, progress } from "./open.ts";
import { drawnProgress, lineEveryMs } from "./progress.ts";
import type { TrainArgs } from "./train_args.ts";

/** What a run reports: weights, its start, then steps and evaluations. */
type Event<Start, E extends object> =
  | { readonly kind: "weight"; readonly done: number; readonly total: number }
  | ({ readonly kind: "start"; readonly step: number } & Start)
  | RunEvent<E>;

/** Shows a run. */
export interface Reporter<Start, E extends object> {
  onEvent(event: Event<Start, E>): void;
  stop(): void;
}

/** How a run ended. */
export interface RunEnd {
  readonly files: Files;
  readonly step: number;
  readonly finished: boolean;
}

/** What every run is told. */
interface RunOptions<Start, E extends object> {
  readonly checkpoints: CheckpointStore;
  readonly resume: boolean;
  readonly signal: AbortSignal;
  onEvent(event: Event<Start, E>): void;
}

/**
 * A bar with loss and speed on a terminal, and each step as an event with `--json`. A pipe has the first and the last step,
 * and between them a line every ten seconds.
 */
export function reporter<Start, E extends object>(
  steps: number,
  { unit, started, evaluated, now = () => performance.now() }: {
    /** What a second has some of. */
    readonly unit: string;
    started(start: Start): readonly string[];
    evaluated(evaluation: E): readonly string[];
    /** Milliseconds; by default the process's clock. */
    now?(): number;
  },
): Reporter<Start, E> {
  const weights = progress({ unit: "weights" });
  const bar = canDraw() ? drawnProgress({ unit: "steps" }) : undefined;
  let toldMs = -Infinity;
  const isDue = (step: number): boolean => step === steps || now() - toldMs >= lineEveryMs;
  function onStep({ step, loss: of, lr, tokensPerSecond: perSecond }: RunEvent<E> & { kind: "step" }): void {
    const loss = of.toFixed(4), speed = `${perSecond.toFixed(0)} ${unit}/s`;
    emit("step", { step, steps, loss: of, lr, [`${unit}_per_second`]: perSecond });
    if (bar) bar.update(step, steps, `loss ${loss}, ${speed}`);
    else if (!tellsEvents() && isDue(step)) {
      toldMs = now();
      log(`step ${step}/${steps}: loss ${loss}, lr ${lr.toPrecision(3)}, ${speed}`);
    }
  }
  function onStart(start: Event<Start, E> & { kind: "start" }): void {
    weights.stop();
    if (tellsEvents()) {
      const { kind: _kind, ...fields } = start;
      return emit("start", { steps, ...fields });
    }
    for (const line of started(start)) log(line);
    if (start.step > 0) log(`resuming after step ${start.step}`);
    bar?.update(start.step, steps);
  }
  function onEvaluation(found: Event<Start, E> & { kind: "evaluation" }): void {
    if (tellsEvents()) {
      const { kind: _kind, ...fields } = found;
      return emit("evaluation", fields);
    }
    const [first, ...rest] = evaluated(found);
    for (const line of [`step ${found.step}: ${first}`, ...rest]) log(line);
  }
  return {
    onEvent(event) {
      if (event.kind === "weight") weights.update(event.done, event.total);
      else if (event.kind === "start") onStart(event);
      else if (event.kind === "step") onStep(event);
      else if (event.kind === "evaluation") onEvaluation(event);
      else emit("checkpoint", { step: event.step });
    },
    stop() {
      weights.stop();
      bar?.stop();
    },
  };
}

/** The run's checkpoints; where one is missing the error names the folder. */
function storeOf(checkpoints: CheckpointFolder, path: string): CheckpointStore {
  return {
    save: checkpoints.save,
    async latest() {
      const files = await checkpoints.latest();
      if (!files) throw new ConfigError(`Cannot resume: "${path}" holds no checkpoint`);
      return files;
    },
  };
}

function abortOnSignals(stop: AbortController): void {
  const onSignal = (): void => {
    // A step may take half a minute: silence would look like a signal that is ignored.
    if (!stop.signal.aborted) log("stopping when the running step has ended");
    stop.abort();
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, onSignal);
}

/** The device that arguments name. */
export function namedDevice({ device, threads }: TrainArgs): NamedDevice {
  return { device: String(device), threads: threads === undefined ? undefined : String(threads) };
}

/** Runs a training on the named device; the adapter's files go to `--out`. */
export async function runIn<Start, E extends object>(
  a: TrainArgs,
  report: Reporter<Start, E>,
  train: (device: Device, options: RunOptions<Start, E>) => Promise<RunEnd>,
): Promise<RunEnd> {
  const out = String(a.out), device = await openNamedDevice(namedDevice(a));
  try {
    const checkpoints = await openCheckpoints(out);
    const stop = new AbortController();
    const end = await train(device, {
      checkpoints: storeOf(checkpoints, out),
      resume: a.resume === true,
      signal: stop.signal,
      onEvent(event) {
        // Before the first step there is nothing to save: a signal then ends the process, as it does any.
        if (event.kind === "start") abortOnSignals(stop);
        report.onEvent(event);
      },
    });
    await checkpoints.publish(end.files);
    return end;
  } finally {
    report.stop();
    device.destroy();
  }
}
