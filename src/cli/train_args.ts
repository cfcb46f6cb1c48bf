/**
 * The arguments of `fourierft train`, and what they say.
 *
 * @module
 */
import { type NewAdapter, trainableTypes } from "../adapters/create.ts";
import { openFolder } from "../runtime/file.ts";
import type { TrainOptions } from "../train.ts";
import {
  adapterDefaults,
  lossOnNames,
  packingNames,
  trainDefaults,
  type TrainSettings,
} from "../training/options.ts";
import { scheduleNames } from "../training/schedule.ts";
import { deviceArgs, parseCount, parseNumber } from "./open.ts";

const text = (description: string, fallback?: unknown) =>
  ({
    type: "string",
    description,
    default: fallback === undefined ? undefined : String(fallback),
    valueHint: "X",
  }) as const;

/** See the module's documentation. */
export const trainArgs = {
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
  "target-modules": text("Names of the linears to adapt; default: all of the layers"),
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

/** The values of {@linkcode trainArgs}. */
export type TrainArgs = { readonly [Name in keyof typeof trainArgs]?: string | boolean };

type Name = keyof TrainArgs & string;

function named<T extends string>(name: string, value: string, known: readonly T[]): T {
  const found = known.find((one) => one === value);
  if (!found) throw new RangeError(`Cannot read --${name} "${value}": it must be ${known.join(" or ")}`);
  return found;
}

/** Arguments that a new adapter of one method is made of, and nothing else reads. */
const methodArgs: Readonly<Record<string, readonly Name[]>> = {
  fourierft: ["n-frequency", "scaling", "random-loc-seed"],
  lora: ["r", "lora-alpha"],
};

/** Sentences about arguments that were given, and that this run does not read. */
export function unreadArgs(a: TrainArgs, given: (name: Name) => boolean): string[] {
  const init = typeof a.init === "string";
  const others = Object.entries(methodArgs).filter(([method]) => init || method !== a.method);
  const unread = [
    ...others.flatMap(([, names]) => names),
    ...(init ? ["method", "target-modules"] as const : []),
    ...(typeof a["eval-data"] === "string" ? ["held-out"] as const : []),
  ].filter(given);
  return unread.map((name) => {
    const why = name === "held-out" ? "--eval-data is given" : init ? "--init is given" : `not ${a.method}'s`;
    return `--${name} is not read: ${why}`;
  });
}

/** The adapter that the arguments ask for. */
export async function adapterOf(a: TrainArgs): Promise<TrainOptions["adapter"]> {
  if (typeof a.init === "string") return { init: await openFolder(a.init) };
  const peftType = trainableTypes().find((type) => type === String(a.method).toUpperCase());
  if (!peftType) {
    const known = trainableTypes().map((type) => type.toLowerCase());
    throw new RangeError(`Cannot train method "${a.method}": it must be ${known.join(" or ")}`);
  }
  return {
    peftType,
    targetModules: typeof a["target-modules"] === "string"
      ? a["target-modules"].split(",").map((name) => name.trim())
      : undefined,
    nFrequency: parseCount("n-frequency", String(a["n-frequency"]), { least: 1 }),
    scaling: parseNumber("scaling", String(a.scaling)),
    randomLocSeed: parseCount("random-loc-seed", String(a["random-loc-seed"])),
    r: parseCount("r", String(a.r), { least: 1 }),
    loraAlpha: parseNumber("lora-alpha", String(a["lora-alpha"])),
  } as NewAdapter;
}

/** The settings that the arguments say. */
export function settingsOf(a: TrainArgs) {
  const count = (name: Name, least = 0): number => parseCount(name, String(a[name]), { least });
  const measure = (name: Name): number => parseNumber(name, String(a[name]));
  return {
    steps: count("steps"),
    batchSize: count("batch-size", 1),
    contextLength: a["context-length"] === undefined ? undefined : count("context-length", 1),
    gradientAccumulation: count("gradient-accumulation", 1),
    lr: a.lr === undefined ? undefined : measure("lr"),
    schedule: named("schedule", String(a.schedule), scheduleNames),
    warmupSteps: count("warmup-steps"),
    weightDecay: measure("weight-decay"),
    maxNorm: measure("max-norm"),
    layersPerSegment: a["layers-per-segment"] === undefined ? undefined : count("layers-per-segment", 1),
    packing: named("packing", String(a.packing), packingNames),
    lossOn: named("loss-on", String(a["loss-on"]), lossOnNames),
    seed: count("seed"),
    evaluateEvery: count("evaluate-every"),
    checkpointEvery: count("checkpoint-every"),
  } satisfies TrainSettings;
}
