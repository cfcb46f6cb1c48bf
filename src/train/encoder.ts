/**
 * An encoder's folder and labelled examples to a trained adapter and head, on any device. The model's weights stay as they
 * are; the head is saved as PEFT's `modules_to_save`.
 *
 * @module
 */
import { adapterPlan, type NewAdapter } from "../adapters/create.ts";
import { labelsName } from "../adapters/labels.ts";
import type { Method } from "../adapters/method.ts";
import type { Device } from "../device/device.ts";
import { ConfigError } from "../errors.ts";
import type { ReadableFolder } from "../folder.ts";
import { readClassifier } from "../models/classifier.ts";
import { openWeights, readConfig } from "../models/families.ts";
import type { EncoderConfig, ModelConfig } from "../models/family.ts";
import { type EncoderModel, loadEncoder, releaseModel } from "../models/model.ts";
import { defaultMaxModelLen } from "../open.ts";
import type { HostTensor } from "../tensor.ts";
import { adapterFiles, type CheckpointStore, checkpointToFiles, type Files } from "../training/checkpoint.ts";
import type { Example } from "../training/examples.ts";
import type { HeadTask } from "../training/head.ts";
import type { HeadBatch } from "../training/head_objective.ts";
import { headObjective } from "../training/head_objective.ts";
import type { HeadSet } from "../training/head_data.ts";
import { evaluateHead, type HeadReport } from "../training/head_report.ts";
import type { AdapterToContinue, TrainSettings } from "../training/options.ts";
import { type RunEvent, runTraining } from "../training/run.ts";
import { learningRateFactor } from "../training/schedule.ts";
import { defaultSegment, Trainer } from "../training/trainer.ts";
import { adapterOf, type HeadAdapter } from "./head_adapter.ts";
import { type EncoderSettings, encoderSettings } from "./encoder_settings.ts";
import { readHeadSet } from "./head_examples.ts";
import { checkResumable, restore } from "./shared.ts";

/** A training run of an encoder's adapter and head; {@linkcode trainDefaults} has what holds for most absent fields. */
export interface TrainEncoderOptions extends
  Pick<
    TrainSettings,
    | "steps"
    | "batchSize"
    | "gradientAccumulation"
    | "lr"
    | "schedule"
    | "warmupSteps"
    | "weightDecay"
    | "maxNorm"
    | "seed"
    | "layersPerSegment"
    | "evaluateEvery"
    | "checkpointEvery"
  > {
  /** Classes, or one number for each example. */
  readonly task: HeadTask;
  /** A Hugging Face model folder. */
  readonly folder: ReadableFolder;
  readonly examples: Iterable<Example> | AsyncIterable<Example>;
  /** What the run is evaluated with: a part of the examples, kept from training, or others; nothing by default. */
  readonly evaluation?: number | Iterable<Example> | AsyncIterable<Example>;
  /** A new adapter, one to go on from with its head, or the head alone. */
  readonly adapter: NewAdapter | AdapterToContinue | "head";
  /** Names of the classes, in order; by default those that the examples have, sorted. */
  readonly labels?: readonly string[];
  /** Where a new adapter's head starts: from new numbers, as by default, or from the folder's classifier. */
  readonly head?: "new" | "base";
  /** Highest learning rate of the head; default 0.002. */
  readonly headLr?: number;
  /** Tokens of a sequence at most, what is longer is cut; by default the model's, at most 512. */
  readonly contextLength?: number;
  /** Whether each epoch has the examples in another order, as by default, or in their own. */
  readonly shuffle?: boolean;
  /** The methods that a folder to go on from may be of; by default those of this package. */
  readonly methods?: readonly Method[];
  /** Where checkpoints go and come from: `openCheckpoints` for a folder on a disk. */
  readonly checkpoints?: CheckpointStore;
  /** Goes on from the newest checkpoint; the run must be the same. */
  readonly resume?: boolean;
  /** Aborting ends the run after the step under way, with a checkpoint. */
  readonly signal?: AbortSignal;
  readonly onEvent?: (event: TrainEncoderEvent) => void;
}

/** What a run reports while it goes on. */
export type TrainEncoderEvent =
  /** A weight of the model is on the device. */
  | { readonly kind: "weight"; readonly done: number; readonly total: number }
  /** Everything is ready. */
  | {
    readonly kind: "start";
    /** Absent where the head alone is trained. */
    readonly peftType?: string;
    /** Numbers that are trained, those of the head among them, and modules of the adapter. */
    readonly parameters: number;
    readonly headParameters: number;
    readonly modules: number;
    /** Names of the classes; one without a name for regression. */
    readonly labels: readonly string[];
    /** Examples. */
    readonly training: number;
    readonly heldOut: number;
    readonly stepsPerEpoch: number;
    /** Steps taken before: 0, or those of the checkpoint that the run goes on from. */
    readonly step: number;
    readonly steps: number;
  }
  | RunEvent<HeadReport>;

/** How a run ended. */
export interface TrainEncoderOutcome {
  /** The adapter as PEFT's two files, its head among them; and `labels.json` where the classes have names. */
  readonly files: Files;
  /** Names of the classes, by the numbers of the head's outputs. */
  readonly labels: readonly string[];
  /** Optimizer steps taken. */
  readonly step: number;
  /** Whether that is all of them. */
  readonly finished: boolean;
  /** The last evaluation; absent where there was none. */
  readonly evaluation?: HeadReport & { readonly step: number };
}

type Config = ModelConfig & { readonly encoder: EncoderConfig };

async function encoderConfig(folder: ReadableFolder, task: HeadTask): Promise<Config> {
  const config = await readConfig(folder), { encoder, modelType } = config;
  if (encoder) return { ...config, encoder };
  throw new ConfigError(
    `Cannot ${task} with a model of type "${modelType}": it predicts next tokens, and has no head for labels`,
  );
}

async function openBase(
  device: Device,
  config: Config,
  { folder, head = "new", onEvent }: TrainEncoderOptions,
): Promise<{ readonly model: EncoderModel; readonly classifier: ReadonlyMap<string, HostTensor> }> {
  const source = await openWeights(folder, config);
  try {
    const maxModelLen = Math.min(config.maxPositions, defaultMaxModelLen);
    const model = await loadEncoder(device, {
      ...{ config, source, maxModelLen },
      onWeight: (done, total) => onEvent?.({ kind: "weight", done, total }),
    });
    return { model, classifier: head === "base" ? await readClassifier(source, model) : new Map() };
  } finally {
    await source.close?.();
  }
}

/** What must be the same for a resumption to be the same run. */
function identityOf(
  settings: EncoderSettings,
  { adapter, set, labels }: {
    readonly adapter: HeadAdapter;
    readonly set: HeadSet;
    readonly labels: readonly string[];
  },
): Readonly<Record<string, unknown>> {
  const { task, steps, schedule, warmupSteps, gradientAccumulation, weightDecay, maxNorm } = settings;
  const { batchSize, seed, headLr, contextLength, shuffle } = settings, { config, lr } = adapter;
  return {
    ...{ task, config, labels, steps, schedule, warmupSteps, gradientAccumulation, lr, headLr, weightDecay },
    ...{ maxNorm, seed, batchSize, contextLength, shuffle, training: set.training },
  };
}

/** Files with the classes' names, which PEFT's two files have no place for; the weights stay last. */
function withNames(files: Files, labels: readonly string[]): Files {
  if (labels.every((label, i) => label === "" || label === `LABEL_${i}`)) return files;
  const names = new TextEncoder().encode(`${JSON.stringify({ id2label: { ...labels } }, null, 2)}\n`);
  const [config, ...weights] = files;
  return new Map([config, [labelsName, names], ...weights]);
}

/** The run itself, once model and data are there. */
async function trainOn(
  device: Device,
  { model, set, labels, adapter, options, settings }: {
    readonly model: EncoderModel;
    readonly set: HeadSet;
    readonly labels: readonly string[];
    readonly adapter: HeadAdapter;
    readonly options: TrainEncoderOptions;
    readonly settings: EncoderSettings;
  },
): Promise<TrainEncoderOutcome> {
  const { checkpoints, onEvent = () => {} } = options, { numbers, config, lr } = adapter;
  const { task, batchSize, schedule, steps, warmupSteps, headLr, weightDecay, maxNorm } = settings;
  const { maxRows } = set, { layersPerSegment = defaultSegment(model, maxRows) } = settings;
  const trainer = await Trainer.openFor<HeadBatch>(device, model, {
    ...{ adapter: adapter.trained, own: numbers, weightDecay, maxNorm },
    objective: (io) =>
      headObjective(device, model, { ...io, task, numbers, maxRows, sequences: batchSize, layersPerSegment }),
  });
  try {
    const run = identityOf(settings, { adapter, set, labels });
    if (options.resume) await restore(trainer, run, options);
    onEvent({
      kind: "start",
      peftType: adapter.trained?.method.peftType,
      parameters: trainer.parameters,
      headParameters: numbers.parameters,
      modules: adapter.trained?.modules.size ?? 0,
      labels,
      training: set.training,
      heldOut: set.heldOut,
      stepsPerEpoch: set.stepsPerEpoch,
      step: trainer.stepsTaken,
      steps,
    });
    let evaluation: TrainEncoderOutcome["evaluation"];
    const factor = (step: number): number => learningRateFactor(schedule, { step, steps, warmupSteps });
    const { step, finished, tensors } = await runTraining<HeadBatch, HeadReport>(trainer, {
      data: { batch: (step) => set.batch(step) },
      evaluate: set.heldOut === 0
        ? undefined
        : () => evaluateHead(trainer, set.heldOutBatches(), { task, labels: labels.length }),
      steps,
      schedule: (step) => lr * factor(step),
      ownSchedule: (step) => headLr * factor(step),
      gradientAccumulation: settings.gradientAccumulation,
      evaluateEvery: settings.evaluateEvery,
      checkpointEvery: settings.checkpointEvery,
      checkpoints: checkpoints && {
        save: ({ numbers, tensors }) =>
          checkpoints.save(numbers.step, checkpointToFiles({ numbers, tensors, config, run })),
      },
      signal: options.signal,
      onEvent(event) {
        if (event.kind === "evaluation") {
          const { kind: _, ...report } = event;
          evaluation = report;
        }
        onEvent(event);
      },
    });
    return { files: withNames(adapterFiles(config, tensors), labels), labels, step, finished, evaluation };
  } finally {
    trainer.release();
  }
}

/**
 * Trains an adapter and a head of an encoder (BERT, RoBERTa, ViT) on labelled examples. The device stays the caller's; what
 * the run put on it is freed.
 *
 * Examples stay in memory: texts as token ids, images as the bytes that they were resized to.
 *
 * @throws RangeError for an option or data that break a rule, such as a class without an example; SyntaxError for a broken
 * example, by its place; ConfigError or SafetensorsError for a model's, an adapter's or a checkpoint's files; TrainingError
 * when a loss is not finite.
 */
export async function trainEncoder(
  device: Device,
  options: TrainEncoderOptions,
): Promise<TrainEncoderOutcome> {
  const settings = encoderSettings(options), { adapter: asked } = options;
  if (asked !== "head" && !("init" in asked)) {
    const { saved = {} } = adapterPlan(asked);
    const [name] = Object.entries(saved).find(([, value]) => value !== undefined) ?? [];
    if (name) throw new RangeError(`Cannot use ${name} with an encoder: its head alone is trained beside`);
  }
  checkResumable(options);
  const config = await encoderConfig(options.folder, options.task);
  const { set, labels } = await readHeadSet(config, options, settings);
  const { model, classifier } = await openBase(device, config, options);
  try {
    const adapter = await adapterOf(model, { options, settings, labels, classifier });
    return await trainOn(device, { model, set, labels, adapter, options, settings });
  } finally {
    releaseModel(device, model);
  }
}
