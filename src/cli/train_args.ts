/**
 * The arguments of `fourierft train`, and what they say.
 *
 * @module
 */
import type { OptionSpec, OptionValue } from "../adapters/training.ts";
import { methods } from "../adapters/methods/mod.ts";
import { camelCase, type TrainableMethod, trainableMethods } from "../adapters/options.ts";
import type { TrainOptions } from "../train.ts";
import type { TrainEncoderOptions } from "../train/encoder.ts";
import { encoderDefaults } from "../train/encoder_settings.ts";
import { lossOnNames, packingNames, trainDefaults, type TrainSettings } from "../training/options.ts";
import { scheduleNames } from "../training/schedule.ts";
import { UsageError } from "./arguments.ts";
import { openNamedFolder } from "./folder.ts";
import { deviceArgs, jsonArgs, parseCount, parseNumber } from "./open.ts";

const text = (description: string, fallback?: unknown, valueHint = "X") =>
  ({
    type: "string",
    description,
    default: fallback === undefined ? undefined : String(fallback),
    valueHint,
  }) as const;

/** Words as the hint of a value that is one of them. */
const oneOf = (words: readonly string[]): string => words.join("|");

const trainable = trainableMethods(methods);

/** A method's name on the command line. */
const wordOf = ({ name }: TrainableMethod): string => name.toLowerCase();

/** Words as a sentence has them: `a, b or c`. */
const anyOf = (words: readonly string[]): string => words.join(", ").replace(/, ([^,]*)$/, " or $1");

const flagOf = (field: string): string => field.replaceAll("_", "-");

/** The options of a method by their flags. */
const flagsOf = ({ training }: TrainableMethod): [flag: string, field: string, spec: OptionSpec][] =>
  Object.entries(training.options).map(([field, spec]) => [flagOf(field), field, spec]);

/** An option's default as the command line has it. */
const wordOfDefault = ({ default: usual }: OptionSpec): string => String(usual);

/** A value's name in help: the words that it may be, where it is one of some. */
function hintOf(spec: OptionSpec): string {
  if (spec.kind === "choice") return oneOf(spec.choices);
  return spec.kind === "flag" ? "true|false" : "X";
}

/** Methods whose option of one name is the same. */
interface Owners {
  readonly names: string[];
  readonly spec: OptionSpec;
}

/**
 * The flags of all methods' options; methods with an option of one name share its flag. Where their defaults differ, the
 * flag has none of its own.
 */
function methodArgs() {
  const flags = new Map<string, Owners[]>();
  for (const method of trainable) {
    for (const [flag, , spec] of flagsOf(method)) {
      const known = flags.get(flag) ?? [];
      const same = known.find((one) => JSON.stringify(one.spec) === JSON.stringify(spec));
      if (same) same.names.push(method.name);
      else known.push({ names: [method.name], spec });
      flags.set(flag, known);
    }
  }
  return Object.fromEntries(
    [...flags].map(([flag, owners]) => {
      const told = owners.map(({ names, spec }) => `${names.join(", ")}: ${spec.doc}`);
      if (owners.length === 1) {
        const [{ spec }] = owners;
        return [flag, text(told[0], wordOfDefault(spec), hintOf(spec))];
      }
      const each = told.map((one, i) => `${one}, default ${wordOfDefault(owners[i].spec)}`);
      return [flag, text(each.join("; "))];
    }),
  );
}

/** The methods' learning rates, those of one rate together. */
function rates(): string {
  const wordOfRate = ({ training: { learningRate: rate } }: TrainableMethod): string =>
    typeof rate === "number" ? `${rate}` : rate.doc;
  const each = [...new Set(trainable.map(wordOfRate))].map((rate) => {
    const words = trainable.filter((method) => wordOfRate(method) === rate).map(wordOf);
    return `${rate} for ${words.join(", ").replace(/, ([^,]*)$/, " and $1")}`;
  });
  return each.join(", ");
}

/** What `fourierft train` can learn. */
export const taskNames = ["lm", "classify", "regress", "images"] as const;

/** A task's name. */
export type TaskName = typeof taskNames[number];

/** Arguments of heads alone, and of the language model alone. */
const headFlags = ["labels", "head", "head-lr", "shuffle"],
  lmFlags = ["packing", "loss-on", "modules-to-save", "trainable-token-indices"];

/** See the module's documentation. */
export const trainArgs = {
  model: { type: "string", required: true, description: "Hugging Face model folder", valueHint: "DIR" },
  task: text(
    "lm: the next token; classify or regress: labels of texts; images: classes of images, a folder each",
    "lm",
    oneOf(taskNames),
  ),
  data: {
    type: "string",
    required: true,
    description:
      "Text (.txt) or JSON lines (.jsonl); of labelled texts JSON lines or .csv; a folder of images",
    valueHint: "PATH",
  },
  out: { type: "string", required: true, description: "Adapter folder to write", valueHint: "DIR" },
  method: text(
    "The adapter's method; head, of an encoder alone, has no adapter",
    "fourierft",
    oneOf([...trainable.map(wordOf), "head"]),
  ),
  init: text("Adapter folder to go on training, in place of a new adapter", undefined, "DIR"),
  "target-modules": text("Names of the linears to adapt; default: PEFT's"),
  "modules-to-save": text("Norms, embeddings and head to train whole, as lm_head,embed_tokens,norm"),
  "trainable-token-indices": text("LoRA, DoRA: ids of tokens whose rows of the embedding are trained"),
  ...methodArgs(),
  steps: text("Optimizer steps", trainDefaults.steps),
  "batch-size": text("Sequences of a micro-batch", trainDefaults.batchSize),
  "context-length": text("Tokens of a sequence; default: the model's, at most 512"),
  "gradient-accumulation": text("Micro-batches of a step", trainDefaults.gradientAccumulation),
  lr: text(`Learning rate; default ${rates()}`),
  "head-lr": text("Learning rate of an encoder's head", encoderDefaults.headLr),
  head: text(
    "Where a head starts: new, or base for the folder's classifier",
    encoderDefaults.head,
    "new|base",
  ),
  labels: text("Names of the classes, in order; default: those of the data, sorted"),
  shuffle: text(
    "Whether each epoch has the examples in another order",
    encoderDefaults.shuffle,
    "true|false",
  ),
  schedule: text("How the learning rate goes after its rise", trainDefaults.schedule, oneOf(scheduleNames)),
  "warmup-steps": text("Steps in which the rate rises", trainDefaults.warmupSteps),
  "weight-decay": text("AdamW's weight decay", trainDefaults.weightDecay),
  "max-norm": text("Global norm gradients are clipped to; 0 for none", trainDefaults.maxNorm),
  "layers-per-segment": text("Layers whose activations are kept at once; default: by memory"),
  "held-out": text("Part of the documents or examples kept for evaluation", "0"),
  "eval-data": text("File or folder for evaluation, in place of held-out data", undefined, "PATH"),
  "evaluate-every": text("Steps between evaluations; 0: at the end", trainDefaults.evaluateEvery),
  "checkpoint-every": text("Steps between checkpoints; 0: at the end", trainDefaults.checkpointEvery),
  "loss-on": text("Tokens whose prediction counts", trainDefaults.lossOn, oneOf(lossOnNames)),
  packing: text("How documents become sequences", trainDefaults.packing, oneOf(packingNames)),
  seed: text("Seed of order, split and first values", trainDefaults.seed),
  resume: { type: "boolean", default: false, description: "Go on from the newest checkpoint in --out" },
  overwrite: {
    type: "boolean",
    default: false,
    description: "Replace the adapter and the checkpoints in --out",
  },
  ...deviceArgs,
  ...jsonArgs,
} as const;

/** The values of {@linkcode trainArgs}. */
export type TrainArgs = Readonly<Record<string, string | boolean | undefined>>;

function named<T extends string>(name: string, value: string, known: readonly T[]): T {
  const found = known.find((one) => one === value);
  if (!found) throw new UsageError(`Cannot read --${name} "${value}": it must be ${known.join(" or ")}`);
  return found;
}

/** Sentences about arguments that were given, and that this run does not read. */
export function unreadArgs(a: TrainArgs, given: (name: string) => boolean): string[] {
  const init = typeof a.init === "string";
  const chosen = trainable.find((method) => !init && wordOf(method) === a.method);
  const read = new Set(chosen && flagsOf(chosen).map(([flag]) => flag));
  const lm = a.task === "lm";
  const unread = [
    ...(lm ? headFlags : lmFlags),
    ...(a.method === "head" ? ["lr", "target-modules"] : []),
    ...Object.keys(methodArgs()).filter((flag) => !read.has(flag)),
    ...(init ? ["method", "target-modules", "modules-to-save", "trainable-token-indices"] : []),
    ...(typeof a["eval-data"] === "string" ? ["held-out"] : []),
  ].filter(given);
  return unread.map((name) => {
    const why = name === "held-out"
      ? "--eval-data is given"
      : [...headFlags, ...lmFlags].includes(name)
      ? `not of the task ${a.task}`
      : init
      ? "--init is given"
      : `not ${a.method}'s`;
    return `--${name} is not read: ${why}`;
  });
}

/** Names in a list with commas. */
const namesOf = (list: string): string[] => list.split(",").map((name) => name.trim());

function valueOf(flag: string, value: string, spec: OptionSpec): OptionValue {
  switch (spec.kind) {
    case "choice":
      return named(flag, value, spec.choices);
    case "flag":
      return named(flag, value, ["true", "false"]) === "true";
    case "names":
      return namesOf(value);
    default: {
      const parse = spec.kind === "count" ? parseCount : parseNumber;
      return parse(flag, value, { least: spec.least });
    }
  }
}

/** A method's options, by their names in `train()`. */
function optionsOf(method: TrainableMethod, a: TrainArgs): Record<string, OptionValue> {
  return Object.fromEntries(
    flagsOf(method).map(([flag, field, spec]) => [
      camelCase(field),
      valueOf(flag, String(a[flag] ?? wordOfDefault(spec)), spec),
    ]),
  );
}

/** The task that the arguments name. */
export function taskOf(a: TrainArgs): TaskName {
  return named("task", String(a.task), taskNames);
}

/** Settings of heads alone. */
export function headSettingsOf(a: TrainArgs) {
  return {
    headLr: parseNumber("head-lr", String(a["head-lr"])),
    head: named("head", String(a.head), ["new", "base"]),
    labels: typeof a.labels === "string" ? namesOf(a.labels) : undefined,
    shuffle: named("shuffle", String(a.shuffle), ["true", "false"]) === "true",
  };
}

/** The adapter of a head that the arguments ask for, or the head alone. */
export async function headAdapterOf(a: TrainArgs): Promise<TrainEncoderOptions["adapter"]> {
  if (typeof a.init === "string" || a.method !== "head") return await adapterOf(a);
  for (const one of trainable) optionsOf(one, a);
  return "head";
}

/** What a language model's adapter trains beside linears. */
function savedOf({ "modules-to-save": modules, "trainable-token-indices": ids }: TrainArgs) {
  return {
    ...typeof modules === "string" ? { modulesToSave: namesOf(modules) } : {},
    ...typeof ids === "string"
      ? {
        trainableTokenIndices: namesOf(ids).map((id) =>
          parseCount("trainable-token-indices", id, { least: 0 })
        ),
      }
      : {},
  };
}

/** The adapter that the arguments ask for. */
export async function adapterOf(a: TrainArgs): Promise<TrainOptions["adapter"]> {
  if (typeof a.init === "string") return { init: await openNamedFolder(a.init) };
  // What is wrong is told of arguments, too, that another method would read.
  for (const one of trainable) optionsOf(one, a);
  const word = String(a.method).toLowerCase();
  const method = trainable.find((one) => wordOf(one) === word);
  if (!method) {
    throw new UsageError(`Cannot train method "${a.method}": it must be ${anyOf(trainable.map(wordOf))}`);
  }
  return {
    method,
    options: optionsOf(method, a),
    targetModules: typeof a["target-modules"] === "string" ? namesOf(a["target-modules"]) : undefined,
    ...a.task === "lm" ? savedOf(a) : {},
  };
}

/** The settings that the arguments say. */
export function settingsOf(a: TrainArgs) {
  const count = (name: string, least = 0): number => parseCount(name, String(a[name]), { least });
  const measure = (name: string): number => parseNumber(name, String(a[name]));
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
