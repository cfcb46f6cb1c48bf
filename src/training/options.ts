/**
 * What a training run can be told, what holds where nothing is said, and what is refused.
 *
 * @module
 */
import type { NewAdapter } from "../adapters/create.ts";
import type { Method } from "../adapters/method.ts";
import type { LoadedAdapter } from "../adapters/peft.ts";
import type { ReadableFolder } from "../folder.ts";
import type { CheckpointStore } from "./checkpoint.ts";
import type { TrainingText } from "./content.ts";
import type { LossOn } from "./documents.ts";
import type { Packing } from "./packing.ts";
import { type ScheduleName, scheduleNames } from "./schedule.ts";

/** An adapter that goes on from where another training left it. */
export interface AdapterToContinue {
  /** A PEFT folder, or what `loadAdapter` made of one. */
  readonly init: ReadableFolder | LoadedAdapter;
}

/** A training run; {@linkcode trainDefaults} has what holds for a field that is absent. */
export interface TrainSettings {
  /** Optimizer steps in all, those before a resumption included. */
  readonly steps?: number;
  /** Sequences of a micro-batch. */
  readonly batchSize?: number;
  /** Tokens of a sequence; by default the model's, but at most 512. */
  readonly contextLength?: number;
  /** Micro-batches of a step. */
  readonly gradientAccumulation?: number;
  /** Highest learning rate; by default the method's own. */
  readonly lr?: number;
  /** How the rate goes on after the warm-up. */
  readonly schedule?: ScheduleName;
  /** Steps in which the rate rises from 0. */
  readonly warmupSteps?: number;
  /** AdamW's. */
  readonly weightDecay?: number;
  /** Gradients are scaled down to this global norm; 0 for no clipping. */
  readonly maxNorm?: number;
  /** Whether sequences are filled across documents, hold whole documents that do not see each other, or one each. */
  readonly packing?: Packing;
  /** Which tokens are learnt. */
  readonly lossOn?: LossOn;
  /** Decides the order of sequences, which documents are held out, and a new adapter's first values. */
  readonly seed?: number;
  /**
   * Layers whose activations are kept at once; the others' are computed again for the backward. By default all while they
   * fit in 2 GiB, else as many as the square root of the model's. It changes memory and time, not results.
   */
  readonly layersPerSegment?: number;
  /** Steps between evaluations; 0 for one at the end. */
  readonly evaluateEvery?: number;
  /** Steps between checkpoints; 0 for one at the end. */
  readonly checkpointEvery?: number;
}

/** A whole training run: what is trained, on what, how, and where its checkpoints go. */
export interface TrainRunOptions extends TrainSettings {
  /** A Hugging Face model folder. */
  readonly folder: ReadableFolder;
  readonly data: TrainingText;
  /** What the run is evaluated with: a fraction of the documents, kept from training, or a text; nothing by default. */
  readonly evaluation?: number | TrainingText;
  readonly adapter: NewAdapter | AdapterToContinue;
  /** The methods that a folder to go on from may be of; by default those of this package. */
  readonly methods?: readonly Method[];
  /** Where checkpoints go and come from: `openCheckpoints` for a folder on a disk. */
  readonly checkpoints?: CheckpointStore;
  /** Goes on from the newest checkpoint; the run must be the same. */
  readonly resume?: boolean;
}

/** What holds unless told, here and on the command line. */
export const trainDefaults = {
  steps: 100,
  batchSize: 8,
  gradientAccumulation: 1,
  schedule: "cosine",
  warmupSteps: 0,
  weightDecay: 0,
  maxNorm: 1,
  packing: "concatenate",
  lossOn: "all",
  seed: 0,
  evaluateEvery: 0,
  checkpointEvery: 100,
} as const satisfies TrainSettings;

/** Tokens of a sequence unless told, where the model has positions for more. */
export const defaultContextLength = 512;

/** The packings' names. */
export const packingNames: readonly Packing[] = ["concatenate", "documents", "none"];

/** The names of what the loss can be on. */
export const lossOnNames: readonly LossOn[] = ["all", "completion"];

/** Fields that are given, without those that are undefined: what may lie over defaults. */
function given<T extends object>(fields: T): T {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as T;
}

function checkCount(name: string, value: number, least: number): void {
  if (Number.isSafeInteger(value) && value >= least) return;
  throw new RangeError(`Cannot use ${name} ${value}: it must be a whole number of ${least} or more`);
}

function checkMeasure(name: string, value: number): void {
  if (Number.isFinite(value) && value >= 0) return;
  throw new RangeError(`Cannot use ${name} ${value}: it must be a number of 0 or more`);
}

function checkName(name: string, value: string, known: readonly string[]): void {
  if (known.includes(value)) return;
  throw new RangeError(`Cannot use ${name} "${value}": it must be ${known.join(" or ")}`);
}

/**
 * A run's settings, each with a value but `contextLength`, `lr` and `layersPerSegment`, whose defaults the model and the
 * method decide.
 *
 * @throws RangeError that names the field and the rule it breaks.
 */
export function settingsOf(options: TrainSettings) {
  const settings:
    & typeof options
    & Required<Omit<TrainSettings, "contextLength" | "lr" | "layersPerSegment">> = {
      ...trainDefaults,
      ...given(options),
    };
  const { contextLength = 1, layersPerSegment = 1, lr = 0, weightDecay, maxNorm } = settings;
  const { steps, warmupSteps, seed, evaluateEvery, checkpointEvery } = settings;
  const { batchSize, gradientAccumulation } = settings;
  for (const [name, value] of Object.entries({ steps, warmupSteps, seed, evaluateEvery, checkpointEvery })) {
    checkCount(name, value, 0);
  }
  for (
    const [name, value] of Object.entries({
      batchSize,
      contextLength,
      gradientAccumulation,
      layersPerSegment,
    })
  ) {
    checkCount(name, value, 1);
  }
  for (const [name, value] of Object.entries({ lr, weightDecay, maxNorm })) checkMeasure(name, value);
  checkName("schedule", settings.schedule, scheduleNames);
  checkName("packing", settings.packing, packingNames);
  checkName("lossOn", settings.lossOn, lossOnNames);
  return settings;
}
