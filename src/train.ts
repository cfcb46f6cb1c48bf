/**
 * A model folder and a text to a trained adapter, on any device: the model's weights are read and stay as they are, the
 * adapter's numbers are trained by AdamW, and come back as the two files of a PEFT folder.
 *
 * Nothing here knows a disk or a process. Folders and checkpoints are the caller's, progress goes to `onEvent`, and a
 * `signal` ends a run early; with checkpoints it can go on later, to the same numbers.
 *
 * @module
 */
import { type Adapter, adapterPlan } from "./adapters/create.ts";
import type { Device } from "./device/device.ts";
import { ConfigError } from "./errors.ts";
import { openWeights, readGeneratorConfig } from "./models/families.ts";
import type { ModelConfig } from "./models/family.ts";
import { loadModel, type Model, releaseModel } from "./models/model.ts";
import { fixedRopeLength } from "./models/rope.ts";
import { openTokenizer } from "./models/tokenizer.ts";
import { defaultMaxModelLen } from "./open.ts";
import { adapterToTrain } from "./train/lm_adapter.ts";
import { ownParameters } from "./train/own_parameters.ts";
import { asSaved, checkResumable, rateOf, restore } from "./train/shared.ts";
import { adapterFiles, checkpointToFiles, type Files } from "./training/checkpoint.ts";
import { fileOf } from "./training/content.ts";
import { type DataCounts, readTrainingSet, type TrainingSet } from "./training/data.ts";
import { defaultContextLength, settingsOf, type TrainRunOptions } from "./training/options.ts";
import { evaluatePerplexity, type RunEvent, runTraining } from "./training/run.ts";
import { learningRateFactor } from "./training/schedule.ts";
import { Trainer } from "./training/trainer.ts";

/** What a training run is told, and whom it tells. */
export interface TrainOptions extends TrainRunOptions {
  /** Aborting ends the run after the step under way, with a checkpoint. */
  readonly signal?: AbortSignal;
  readonly onEvent?: (event: TrainEvent) => void;
}

/** What a training run reports while it goes on. */
export type TrainEvent =
  /** A weight of the model is on the device. */
  | { readonly kind: "weight"; readonly done: number; readonly total: number }
  /** Everything is ready. */
  | {
    readonly kind: "start";
    readonly peftType: string;
    /** Numbers that are trained, in how many modules. */
    readonly parameters: number;
    readonly modules: number;
    readonly training: DataCounts;
    readonly heldOut: DataCounts;
    readonly stepsPerEpoch: number;
    /** Steps taken before: 0, or those of the checkpoint that the run goes on from. */
    readonly step: number;
    /** Steps in all. */
    readonly steps: number;
  }
  | RunEvent;

/** How a training run ended. */
export interface TrainOutcome {
  /** The adapter as PEFT's two files: adapter_config.json and adapter_model.safetensors. */
  readonly files: Files;
  /** Optimizer steps taken. */
  readonly step: number;
  /** Whether that is all of them. */
  readonly finished: boolean;
  /** The last evaluation; absent where there was none. */
  readonly evaluation?: { readonly step: number; readonly loss: number; readonly perplexity: number };
}

type Settings = ReturnType<typeof settingsOf>;

/** What can be checked before a file is read. */
function checked(options: TrainOptions) {
  const { adapter, data, evaluation } = options;
  if (!("init" in adapter)) adapterPlan(adapter);
  checkResumable(options);
  return {
    settings: settingsOf(options),
    training: fileOf(data),
    heldOut: typeof evaluation === "object" ? fileOf(evaluation) : evaluation,
  };
}

/** Where rotary turns depend on a sequence's length, training keeps to lengths that they are the same for. */
const maxLength = (config: ModelConfig): number =>
  Math.min(config.maxPositions, fixedRopeLength(config), defaultMaxModelLen);

function lengthOf(config: ModelConfig, settings: Settings): number {
  const positions = maxLength(config);
  const { contextLength = Math.min(defaultContextLength, positions) } = settings;
  if (contextLength <= positions) return contextLength;
  throw new RangeError(
    `Cannot train on sequences of ${contextLength} tokens: the model has positions for ${positions}`,
  );
}

async function openBase(
  device: Device,
  config: ModelConfig,
  { folder, onEvent }: TrainOptions,
): Promise<Model> {
  const source = await openWeights(folder, config);
  return await loadModel(device, {
    config,
    source,
    maxModelLen: maxLength(config),
    onWeight: (done, total) => onEvent?.({ kind: "weight", done, total }),
  }).finally(() => source.close());
}

/** What must be the same for a resumption to be the same run. */
function identityOf(settings: Settings, { config, lr, set }: {
  readonly config: Adapter["config"];
  readonly lr: number;
  readonly set: TrainingSet;
}): Readonly<Record<string, unknown>> {
  const { steps, schedule, warmupSteps, gradientAccumulation, weightDecay, maxNorm } = settings;
  const { batchSize, packing, lossOn, seed } = settings;
  return {
    config,
    steps,
    schedule,
    warmupSteps,
    gradientAccumulation,
    lr,
    weightDecay,
    maxNorm,
    seed: String(seed), // as checkpoints have always had it
    batchSize,
    rows: set.batch(0).tokens.length,
    packing,
    lossOn,
    training: set.training,
  };
}

function* heldOutOf(set: TrainingSet) {
  for (let i = 0; i < set.heldOutBatches; i++) yield set.heldOutBatch(i);
}

/** The run itself, once model and data are there. */
async function trainOn(
  device: Device,
  { model, set, options, settings }: {
    readonly model: Model;
    readonly set: TrainingSet;
    readonly options: TrainOptions;
    readonly settings: Settings;
  },
): Promise<TrainOutcome> {
  const { checkpoints, onEvent = () => {} } = options;
  const made = await adapterToTrain(device, model, { ...options, seed: settings.seed });
  const { method, config } = made, modules = await asSaved(made, options);
  const own = await ownParameters(device, model, made);
  const { lr = rateOf(made), schedule, steps, warmupSteps } = settings;
  const { weightDecay, maxNorm, layersPerSegment } = settings;
  const rows = set.batch(0).tokens.length;
  const trainer = await Trainer.open(device, model, {
    method,
    modules,
    rows,
    weightDecay,
    maxNorm,
    layersPerSegment,
    ownParameters: own,
  });
  try {
    const run = identityOf(settings, { config, lr, set });
    if (options.resume) await restore(trainer, run, options);
    const { training, heldOut, stepsPerEpoch } = set;
    const counts = {
      parameters: trainer.parameters,
      modules: modules.size,
      training,
      heldOut,
      stepsPerEpoch,
    };
    onEvent({ kind: "start", peftType: method.peftType, ...counts, step: trainer.stepsTaken, steps });
    let evaluation: TrainOutcome["evaluation"];
    const result = await runTraining(trainer, {
      data: { batch: (step) => set.batch(step) },
      evaluate: set.heldOutBatches === 0 ? undefined : () => evaluatePerplexity(trainer, heldOutOf(set)),
      steps,
      schedule: (step) => lr * learningRateFactor(schedule, { step, steps, warmupSteps }),
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
          evaluation = { step: event.step, loss: event.loss, perplexity: event.perplexity };
        }
        onEvent(event);
      },
    });
    const { step, finished, tensors } = result;
    return { files: adapterFiles(config, tensors), step, finished, evaluation };
  } finally {
    trainer.release();
  }
}

/**
 * Trains an adapter of a model on a text. The device stays the caller's; what the run put on it is freed.
 *
 * @throws RangeError for an option that breaks its rule; SyntaxError for data that is broken or empty; ConfigError or
 * SafetensorsError for a model's, an adapter's or a checkpoint's files; TrainingError when a loss is not finite.
 */
export async function train(device: Device, options: TrainOptions): Promise<TrainOutcome> {
  const { settings, training, heldOut } = checked(options);
  const { batchSize, packing, lossOn, seed } = settings;
  const config = await readGeneratorConfig(options.folder, "train");
  if (config.untrainable !== undefined) {
    throw new ConfigError(
      `Cannot train an adapter of a model of type "${config.modelType}": ${config.untrainable}`,
    );
  }
  const set = await readTrainingSet(training, {
    tokenizer: await openTokenizer(options.folder),
    contextLength: lengthOf(config, settings),
    batchSize,
    packing,
    lossOn,
    seed,
    heldOut,
    vocabSize: config.vocabSize,
  });
  const model = await openBase(device, config, options);
  try {
    return await trainOn(device, { model, set, options, settings });
  } finally {
    releaseModel(device, model);
  }
}
