/**
 * One training run of the command line, whatever is learnt: its device, checkpoints, signals and progress.
 *
 * @module
 */
import process from "node:process";
import { Presets, SingleBar } from "cli-progress";
import { ConfigError } from "../errors.ts";
import { type CheckpointFolder, openCheckpoints } from "../runtime/checkpoints.ts";
import type { Device } from "../device/device.ts";
import type { CheckpointStore, Files } from "../training/checkpoint.ts";
import type { RunEvent } from "../training/run.ts";
import { log, type NamedDevice, openNamedDevice, progressBar } from "./open.ts";
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

/** A bar with loss and speed where standard error is a terminal, a line now and then where it is not. */
export function reporter<Start, E extends object>(
  steps: number,
  { unit, started, evaluated }: {
    /** What a second has some of. */
    readonly unit: string;
    started(start: Start): readonly string[];
    evaluated(evaluation: E): readonly string[];
  },
): Reporter<Start, E> {
  const terminal = process.stderr.isTTY === true;
  const weights = progressBar("weights");
  const bar = new SingleBar({
    format: `{bar} {value}/{total} steps, loss {loss}, {speed} ${unit}/s, {eta_formatted} left`,
    stream: process.stderr,
    hideCursor: true,
  }, Presets.shades_classic);
  const every = Math.max(1, Math.floor(steps / 20));
  function onEvent(event: Event<Start, E>): void {
    switch (event.kind) {
      case "weight":
        return weights.update(event.done, event.total);
      case "start":
        weights.stop();
        for (const line of started(event)) log(line);
        if (event.step > 0) log(`resuming after step ${event.step}`);
        if (terminal) bar.start(steps, event.step, { loss: "-", speed: "-" });
        return;
      case "step": {
        const loss = event.loss.toFixed(4), speed = event.tokensPerSecond.toFixed(0);
        if (terminal) bar.update(event.step, { loss, speed });
        else if (event.step % every === 0 || event.step === 1) {
          log(`step ${event.step}/${steps}: loss ${loss}, lr ${event.lr.toPrecision(3)}, ${speed} ${unit}/s`);
        }
        return;
      }
      case "evaluation": {
        const [first, ...rest] = evaluated(event);
        log(`${terminal ? "\n" : ""}step ${event.step}: ${first}`);
        for (const line of rest) log(line);
      }
    }
  }
  return {
    onEvent,
    stop() {
      weights.stop();
      if (terminal) bar.stop();
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
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.abort());
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
