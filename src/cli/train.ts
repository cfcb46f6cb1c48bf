/**
 * `fourierft train`: an adapter from a text file, on this machine.
 *
 * @module
 */
import process from "node:process";
import { defineCommand } from "citty";
import { Presets, SingleBar } from "cli-progress";
import { type NewAdapter, trainableTypes } from "../adapters/create.ts";
import { ConfigError } from "../errors.ts";
import { type CheckpointFolder, openCheckpoints } from "../runtime/checkpoints.ts";
import { openFile, openFolder } from "../runtime/file.ts";
import { train as runTrain, type TrainEvent, type TrainOptions } from "../train.ts";
import type { CheckpointStore } from "../training/checkpoint.ts";
import type { TrainingText } from "../training/content.ts";
import { formatOf, streamOf } from "../training/data.ts";
import {
  adapterDefaults,
  lossOnNames,
  packingNames,
  trainDefaults,
  type TrainSettings,
} from "../training/options.ts";
import { scheduleNames } from "../training/schedule.ts";
import { deviceArgs, log, openNamedDevice, parseCount, progressBar } from "./open.ts";

const text = (description: string, fallback?: unknown) =>
  ({
    type: "string",
    description,
    default: fallback === undefined ? undefined : String(fallback),
    valueHint: "X",
  }) as const;

const args = {
  model: { type: "string", required: true, description: "Hugging Face model folder", valueHint: "DIR" },
  data: {
    type: "string",
    required: true,
    description: "Text (.txt) or JSON lines (.jsonl)",
    valueHint: "FILE",
  },
  out: { type: "string", required: true, description: "Adapter folder to write", valueHint: "DIR" },
  method: text("fourierft or lora", "fourierft"),
  init: text("Adapter folder to go on training, in place of a new adapter"),
  "target-modules": text("Names of the linears to adapt", adapterDefaults.targetModules),
  "n-frequency": text("FourierFT: coefficients a linear", adapterDefaults.nFrequency),
  scaling: text("FourierFT: scaling", adapterDefaults.scaling),
  "random-loc-seed": text("FourierFT: seed of the frequencies", adapterDefaults.randomLocSeed),
  r: text("LoRA: rank", adapterDefaults.r),
  "lora-alpha": text("LoRA: alpha", adapterDefaults.loraAlpha),
  steps: text("Optimizer steps", trainDefaults.steps),
  "batch-size": text("Sequences of a micro-batch", trainDefaults.batchSize),
  "context-length": text("Tokens of a sequence; default: the model's, at most 512"),
  "gradient-accumulation": text("Micro-batches of a step", trainDefaults.gradientAccumulation),
  lr: text("Learning rate; default 0.05 for fourierft, 0.001 for lora"),
  schedule: text("constant, linear or cosine", trainDefaults.schedule),
  "warmup-steps": text("Steps in which the rate rises", trainDefaults.warmupSteps),
  "weight-decay": text("AdamW's weight decay", trainDefaults.weightDecay),
  "max-norm": text("Global norm gradients are clipped to; 0 for none", trainDefaults.maxNorm),
  "layers-per-segment": text("Layers whose activations are kept at once; default: by memory"),
  "held-out": text("Part of the documents kept for evaluation", "0"),
  "eval-data": text("File for evaluation, in place of held-out documents"),
  "evaluate-every": text("Steps between evaluations; 0: at the end", trainDefaults.evaluateEvery),
  "checkpoint-every": text("Steps between checkpoints; 0: at the end", trainDefaults.checkpointEvery),
  "loss-on": text("all or completion", trainDefaults.lossOn),
  packing: text("concatenate or documents", trainDefaults.packing),
  seed: text("Seed of order, split and first values", trainDefaults.seed),
  resume: { type: "boolean", default: false, description: "Go on from the newest checkpoint in --out" },
  ...deviceArgs,
} as const;

type Args = { readonly [Name in keyof typeof args]?: string | boolean };

function named<T extends string>(name: string, value: string, known: readonly T[]): T {
  const found = known.find((one) => one === value);
  if (!found) throw new RangeError(`Cannot read --${name} "${value}": it must be ${known.join(" or ")}`);
  return found;
}

function positive(name: string, value: string): number {
  const number = Number(value);
  if (value.trim() === "" || !Number.isFinite(number) || number < 0) {
    throw new RangeError(`Cannot read --${name} "${value}": it must be a number of 0 or more`);
  }
  return number;
}

/** The adapter that the arguments ask for. */
async function adapterOf(a: Args): Promise<TrainOptions["adapter"]> {
  if (typeof a.init === "string") return { init: await openFolder(a.init) };
  const peftType = trainableTypes().find((type) => type === String(a.method).toUpperCase());
  if (!peftType) {
    const known = trainableTypes().map((type) => type.toLowerCase());
    throw new RangeError(`Cannot train method "${a.method}": it must be ${known.join(" or ")}`);
  }
  return {
    peftType,
    targetModules: String(a["target-modules"]).split(",").map((name) => name.trim()),
    nFrequency: parseCount("n-frequency", String(a["n-frequency"])),
    scaling: positive("scaling", String(a.scaling)),
    randomLocSeed: parseCount("random-loc-seed", String(a["random-loc-seed"])),
    r: parseCount("r", String(a.r)),
    loraAlpha: positive("lora-alpha", String(a["lora-alpha"])),
  } as NewAdapter;
}

function settingsOf(a: Args) {
  const count = (name: keyof Args): number => parseCount(name, String(a[name]));
  const measure = (name: keyof Args): number => positive(name, String(a[name]));
  return {
    steps: count("steps"),
    batchSize: count("batch-size"),
    contextLength: a["context-length"] === undefined ? undefined : count("context-length"),
    gradientAccumulation: count("gradient-accumulation"),
    lr: a.lr === undefined ? undefined : measure("lr"),
    schedule: named("schedule", String(a.schedule), scheduleNames),
    warmupSteps: count("warmup-steps"),
    weightDecay: measure("weight-decay"),
    maxNorm: measure("max-norm"),
    layersPerSegment: a["layers-per-segment"] === undefined ? undefined : count("layers-per-segment"),
    packing: named("packing", String(a.packing), packingNames),
    lossOn: named("loss-on", String(a["loss-on"]), lossOnNames),
    seed: count("seed"),
    evaluateEvery: count("evaluate-every"),
    checkpointEvery: count("checkpoint-every"),
  } satisfies TrainSettings;
}

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
  args,
  async run({ args: given }) {
    const a = given as Args;
    const out = String(a.out);
    const settings = settingsOf(a);
    const heldOut = positive("held-out", String(a["held-out"]));
    const adapter = await adapterOf(a);
    const device = await openNamedDevice(String(a.device));
    const report = reporter(settings.steps);
    try {
      const folder = await openFolder(String(a.model));
      const data = await textOf(String(a.data));
      const evaluation = typeof a["eval-data"] === "string" ? await textOf(a["eval-data"]) : heldOut;
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
          ? `${out}: trained ${step} steps`
          : `${out}: stopped after step ${step}; go on with --resume`,
      );
    } finally {
      report.stop();
      device.destroy();
    }
    process.exit(0);
  },
});
