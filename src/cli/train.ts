/**
 * `fourierft train`: an adapter from a text file, on this machine.
 *
 * @module
 */
import process from "node:process";
import { defineCommand } from "citty";
import { Presets, SingleBar } from "cli-progress";
import { ConfigError } from "../errors.ts";
import { type CheckpointFolder, openCheckpoints } from "../runtime/checkpoints.ts";
import { openFile } from "../runtime/file.ts";
import { checkEmpty } from "../runtime/output.ts";
import { train as runTrain, type TrainEvent } from "../train.ts";
import type { CheckpointStore } from "../training/checkpoint.ts";
import type { TrainingText } from "../training/content.ts";
import { formatOf, streamOf } from "../training/data.ts";
import { openNamedFolder } from "./folder.ts";
import { log, openNamedDevice, parseDevice, parseNumber, progressBar } from "./open.ts";
import { adapterOf, settingsOf, type TrainArgs, trainArgs, unreadArgs } from "./train_args.ts";

async function textOf(path: string): Promise<TrainingText> {
  return { content: streamOf(await openFile(path)), format: formatOf(path) };
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

const counted = (start: TrainEvent & { readonly kind: "start" }): string =>
  `${start.peftType}: ${start.parameters} numbers in ${start.modules} modules; data: ${start.training.documents} documents, ` +
  `${start.training.tokens} tokens, ${start.stepsPerEpoch} steps an epoch; held out: ${start.heldOut.tokens} tokens`;

/** A bar with loss and speed where standard error is a terminal, a line now and then where it is not. */
function reporter(steps: number): { onEvent(event: TrainEvent): void; stop(): void } {
  const terminal = process.stderr.isTTY === true;
  const weights = progressBar("weights");
  const bar = new SingleBar({
    format: "{bar} {value}/{total} steps, loss {loss}, {speed} tokens/s, {eta_formatted} left",
    stream: process.stderr,
    hideCursor: true,
  }, Presets.shades_classic);
  const every = Math.max(1, Math.floor(steps / 20));
  const on: { readonly [K in TrainEvent["kind"]]: (event: TrainEvent & { readonly kind: K }) => void } = {
    weight: ({ done, total }) => weights.update(done, total),
    start(event) {
      weights.stop();
      log(counted(event));
      if (event.step > 0) log(`resuming after step ${event.step}`);
      if (terminal) bar.start(steps, event.step, { loss: "-", speed: "-" });
    },
    step(event) {
      const loss = event.loss.toFixed(4);
      const speed = event.tokensPerSecond.toFixed(0);
      if (terminal) bar.update(event.step, { loss, speed });
      else if (event.step % every === 0 || event.step === 1) {
        log(`step ${event.step}/${steps}: loss ${loss}, lr ${event.lr.toPrecision(3)}, ${speed} tokens/s`);
      }
    },
    evaluation({ step, loss, perplexity }) {
      const line = `step ${step}: held-out loss ${loss.toFixed(4)}, perplexity ${perplexity.toFixed(2)}`;
      log(terminal ? `\n${line}` : line);
    },
    checkpoint() {},
  };
  return {
    onEvent: (event) => (on[event.kind] as (event: TrainEvent) => void)(event),
    stop() {
      weights.stop();
      if (terminal) bar.stop();
    },
  };
}

function abortOnSignals(stop: AbortController): void {
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.abort());
}

/** See the module's documentation. */
export const train = defineCommand({
  meta: {
    name: "train",
    description: "Fine-tune an adapter on a text file; the result is a PEFT adapter folder",
  },
  args: trainArgs,
  async run({ args: given, rawArgs }) {
    const a = given as TrainArgs;
    const out = String(a.out);
    const settings = settingsOf(a);
    const heldOut = parseNumber("held-out", String(a["held-out"]), { least: 0, most: 1 });
    const namedDevice = {
      device: String(a.device),
      threads: a.threads === undefined ? undefined : String(a.threads),
    };
    parseDevice(namedDevice);
    const adapter = await adapterOf(a);
    if (!a.resume && !a.overwrite) {
      await checkEmpty(out, "; go on with --resume, or replace them with --overwrite");
    }
    const folder = await openNamedFolder(String(a.model));
    const data = await textOf(String(a.data));
    const evaluation = typeof a["eval-data"] === "string" ? await textOf(a["eval-data"]) : heldOut;
    for (const line of unreadArgs(a, (name) => rawArgs.some((one) => one.startsWith(`--${name}=`)))) {
      log(line);
    }
    const device = await openNamedDevice(namedDevice);
    const report = reporter(settings.steps);
    try {
      const checkpoints = await openCheckpoints(out);
      const stop = new AbortController();
      const { files, step, finished } = await runTrain(device, {
        ...settings,
        folder,
        data,
        evaluation,
        adapter,
        checkpoints: storeOf(checkpoints, out),
        resume: a.resume === true,
        signal: stop.signal,
        onEvent(event) {
          // Before the first step there is nothing to save: a signal then ends the process, as it does any.
          if (event.kind === "start") abortOnSignals(stop);
          report.onEvent(event);
        },
      });
      await checkpoints.publish(files);
      report.stop();
      log(
        finished
          ? `${out}: trained ${step} step${step === 1 ? "" : "s"}`
          : `${out}: stopped after step ${step}; go on with --resume`,
      );
    } finally {
      report.stop();
      device.destroy();
    }
    process.exit(0);
  },
});
