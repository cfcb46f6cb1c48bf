/**
 * `fourierft train`: an adapter from a text file, on this machine.
 *
 * @module
 */
import process from "node:process";
import { defineCommand } from "citty";
import { Presets, SingleBar } from "cli-progress";
import type { AdapterModule, Method, TrainingConfig } from "../adapters/method.ts";
import { methods } from "../adapters/methods/mod.ts";
import { loadAdapter } from "../adapters/peft.ts";
import type { Device } from "../device/device.ts";
import { uniforms } from "../engine/random.ts";
import { ConfigError } from "../errors.ts";
import { openCheckpoint } from "../models/checkpoint.ts";
import { type LlamaModel, loadLlama } from "../models/llama.ts";
import { openTokenizer } from "../models/tokenizer.ts";
import { readConfig } from "../open.ts";
import { openCheckpoints } from "../runtime/checkpoints.ts";
import { openFile, openFolder } from "../runtime/file.ts";
import { adapterFiles, checkpointToFiles, numbersFromFiles } from "../training/checkpoint.ts";
import {
  formatOf,
  type LossOn,
  type Packing,
  readTrainingSet,
  streamOf,
  type TrainingSet,
} from "../training/data.ts";
import { learningRateFactor, type ScheduleName, scheduleNames } from "../training/schedule.ts";
import { train as runTraining, type TrainEvent } from "../training/train.ts";
import { Trainer } from "../training/trainer.ts";
import { deviceArgs, log, openNamedDevice, parseCount, progressBar } from "./open.ts";

const targets = "q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj";

const text = (description: string, fallback?: string) =>
  ({ type: "string", description, default: fallback, valueHint: "X" }) as const;

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
  "target-modules": text("Names of the linears to adapt", targets),
  "n-frequency": text("FourierFT: coefficients a linear", "1000"),
  scaling: text("FourierFT: scaling", "150"),
  "random-loc-seed": text("FourierFT: seed of the frequencies", "777"),
  r: text("LoRA: rank", "8"),
  "lora-alpha": text("LoRA: alpha", "16"),
  steps: text("Optimizer steps", "100"),
  "batch-size": text("Sequences of a micro-batch", "8"),
  "context-length": text("Tokens of a sequence; default: the model's, at most 512"),
  "gradient-accumulation": text("Micro-batches of a step", "1"),
  lr: text("Learning rate; default 0.05 for fourierft, 0.001 for lora"),
  schedule: text("constant, linear or cosine", "cosine"),
  "warmup-steps": text("Steps in which the rate rises", "0"),
  "weight-decay": text("AdamW's weight decay", "0"),
  "max-norm": text("Global norm gradients are clipped to; 0 for none", "1"),
  "held-out": text("Part of the documents kept for evaluation", "0"),
  "eval-data": text("File for evaluation, in place of held-out documents"),
  "evaluate-every": text("Steps between evaluations; 0: at the end", "0"),
  "checkpoint-every": text("Steps between checkpoints; 0: at the end", "100"),
  "loss-on": text("all or completion", "all"),
  packing: text("concatenate or documents", "concatenate"),
  seed: text("Seed of order, split and first values", "0"),
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

/** The method, its modules and its config: of `--init`'s adapter, or new ones. */
async function adapterOf(
  a: Args,
  model: LlamaModel,
): Promise<
  { method: Method; modules: ReadonlyMap<string, AdapterModule>; config: Readonly<Record<string, unknown>> }
> {
  if (typeof a.init === "string") return await loadAdapter(await openFolder(a.init));
  const peftType = String(a.method).toUpperCase();
  const method = methods.find((one) => one.peftType === peftType && one.create);
  if (!method) {
    const known = methods.filter((one) => one.create).map((one) => one.peftType.toLowerCase());
    throw new RangeError(`Cannot train method "${a.method}": it must be ${known.join(" or ")}`);
  }
  const options: TrainingConfig = {
    nFrequency: parseCount("n-frequency", String(a["n-frequency"])),
    scaling: positive("scaling", String(a.scaling)),
    randomLocSeed: parseCount("random-loc-seed", String(a["random-loc-seed"])),
    r: parseCount("r", String(a.r)),
    loraAlpha: positive("lora-alpha", String(a["lora-alpha"])),
    random: uniforms(parseCount("seed", String(a.seed))),
  };
  const names = String(a["target-modules"]).split(",").map((name) => name.trim());
  const linears = model.linears.slice(0, -1);
  for (const name of names) {
    if (!linears.some(({ path }) => path === name || path.endsWith(`.${name}`))) {
      throw new ConfigError(
        `Cannot train target module "${name}": no linear of the model's layers has that name`,
      );
    }
  }
  const chosen = linears.filter(({ path }) =>
    names.some((name) => path === name || path.endsWith(`.${name}`))
  );
  return {
    method,
    modules: new Map(chosen.map(({ path, shape }) => [path, method.create!(shape, options)])),
    config: {
      peft_type: method.peftType,
      task_type: "CAUSAL_LM",
      base_model_name_or_path: null,
      inference_mode: true,
      target_modules: names,
      modules_to_save: null,
      layers_to_transform: null,
      layers_pattern: null,
      exclude_modules: null,
      ...method.configFields!(options),
    },
  };
}

async function dataOf(
  a: Args,
  model: LlamaModel,
  folder: Awaited<ReturnType<typeof openFolder>>,
): Promise<TrainingSet> {
  const contextLength = parseCount(
    "context-length",
    String(a["context-length"] ?? Math.min(512, model.maxModelLen)),
  );
  if (contextLength > model.maxModelLen) {
    throw new RangeError(
      `Cannot train on sequences of ${contextLength} tokens: the model has positions for ${model.maxModelLen}`,
    );
  }
  const file = async (path: string) => ({ bytes: streamOf(await openFile(path)), format: formatOf(path) });
  const fraction = positive("held-out", String(a["held-out"]));
  return await readTrainingSet(await file(String(a.data)), {
    tokenizer: await openTokenizer(folder),
    contextLength,
    batchSize: parseCount("batch-size", String(a["batch-size"])),
    packing: named<Packing>("packing", String(a.packing), ["concatenate", "documents"]),
    lossOn: named<LossOn>("loss-on", String(a["loss-on"]), ["all", "completion"]),
    seed: parseCount("seed", String(a.seed)),
    heldOut: typeof a["eval-data"] === "string"
      ? await file(a["eval-data"])
      : fraction > 0
      ? fraction
      : undefined,
    vocabSize: model.config.vocabSize,
  });
}

function* heldOutOf(set: TrainingSet) {
  for (let i = 0; i < set.heldOutBatches; i++) yield set.heldOutBatch(i);
}

/** A bar with loss and speed where standard error is a terminal, a line now and then where it is not. */
function reporter(steps: number): { onEvent(event: TrainEvent): void; stop(): void } {
  const terminal = process.stderr.isTTY === true;
  const bar = new SingleBar({
    format: "{bar} {value}/{total} steps, loss {loss}, {speed} tokens/s, {eta_formatted} left",
    stream: process.stderr,
    hideCursor: true,
  }, Presets.shades_classic);
  if (terminal) bar.start(steps, 0, { loss: "-", speed: "-" });
  const every = Math.max(1, Math.floor(steps / 20));
  return {
    onEvent(event) {
      if (event.kind === "step") {
        const loss = event.loss.toFixed(4);
        const speed = event.tokensPerSecond.toFixed(0);
        if (terminal) bar.update(event.step, { loss, speed });
        else if (event.step % every === 0 || event.step === 1) {
          log(`step ${event.step}/${steps}: loss ${loss}, lr ${event.lr.toPrecision(3)}, ${speed} tokens/s`);
        }
      } else if (event.kind === "evaluation") {
        log(
          `${terminal ? "\n" : ""}step ${event.step}: held-out loss ${event.loss.toFixed(4)}, perplexity ${
            event.perplexity.toFixed(2)
          }`,
        );
      }
    },
    stop() {
      if (terminal) bar.stop();
    },
  };
}

async function openBase(
  device: Device,
  path: string,
): Promise<{ model: LlamaModel; folder: Awaited<ReturnType<typeof openFolder>> }> {
  const folder = await openFolder(path);
  const config = await readConfig(folder);
  const source = await openCheckpoint(folder);
  const weights = progressBar("weights");
  const maxModelLen = Math.min(config.maxPositions, 8192);
  const model = await loadLlama(device, { config, source, maxModelLen, onWeight: weights.update })
    .finally(() => (weights.stop(), source.close()));
  return { model, folder };
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
    const steps = parseCount("steps", String(a.steps));
    const warmupSteps = parseCount("warmup-steps", String(a["warmup-steps"]));
    const schedule = named<ScheduleName>("schedule", String(a.schedule), scheduleNames);
    const gradientAccumulation = parseCount("gradient-accumulation", String(a["gradient-accumulation"]));
    const device = await openNamedDevice(String(a.device));
    const { model, folder } = await openBase(device, String(a.model));
    const { method, modules, config } = await adapterOf(a, model);
    const set = await dataOf(a, model, folder);
    const lr = a.lr === undefined
      ? (method.peftType === "LORA" ? 0.001 : 0.05)
      : positive("lr", String(a.lr));
    const trainer = await Trainer.open(device, model, {
      method,
      modules,
      rows: set.batch(0).tokens.length,
      weightDecay: positive("weight-decay", String(a["weight-decay"])),
      maxNorm: positive("max-norm", String(a["max-norm"])),
    });
    const checkpoints = await openCheckpoints(String(a.out));
    // What must be the same for a resumption to be the same run.
    const run = {
      config,
      steps,
      schedule,
      warmupSteps,
      gradientAccumulation,
      lr,
      seed: a.seed,
      rows: set.batch(0).tokens.length,
      training: set.training,
    };
    if (a.resume) {
      const files = await checkpoints.latest();
      if (!files) throw new ConfigError(`Cannot resume: "${a.out}" holds no checkpoint`);
      trainer.restore(numbersFromFiles(files, run));
    }
    log(
      `${method.peftType}: ${trainer.parameters} numbers in ${modules.size} modules; data: ${set.training.documents} documents, ` +
        `${set.training.tokens} tokens, ${set.stepsPerEpoch} steps an epoch; held out: ${set.heldOut.tokens} tokens`,
    );
    if (trainer.stepsTaken > 0) log(`resuming after step ${trainer.stepsTaken}`);
    const stop = new AbortController();
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.abort());
    const report = reporter(steps);
    try {
      const result = await runTraining(trainer, {
        data: {
          batch: (step) => set.batch(step),
          heldOut: set.heldOutBatches === 0 ? undefined : { [Symbol.iterator]: () => heldOutOf(set) },
        },
        steps,
        schedule: (step) => lr * learningRateFactor(schedule, { step, steps, warmupSteps }),
        gradientAccumulation,
        evaluateEvery: parseCount("evaluate-every", String(a["evaluate-every"])),
        checkpointEvery: parseCount("checkpoint-every", String(a["checkpoint-every"])),
        checkpoints: {
          save: ({ numbers, tensors }) =>
            checkpoints.save(numbers.step, checkpointToFiles({ numbers, tensors, config, run })),
        },
        signal: stop.signal,
        onEvent: report.onEvent,
      });
      await checkpoints.publish(adapterFiles(config, result.tensors));
      report.stop();
      log(
        result.finished
          ? `${a.out}: trained ${result.step} steps`
          : `${a.out}: stopped after step ${result.step}; go on with --resume`,
      );
    } finally {
      report.stop();
      trainer.release();
      device.destroy();
    }
    process.exit(0);
  },
});
