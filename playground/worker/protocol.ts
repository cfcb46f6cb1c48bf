/**
 * The messages between the page and its worker.
 *
 * @module
 */
import type { AdapterNumbers, DataFormat, Files, ModuleData, NewAdapter, TrainSettings } from "fourierft";
import type { AdapterInfo, Job, MemoryShare, ModelInfo, NamedFile, Piece } from "../backend/backend.ts";

/** An adapter behind a URL; what a list says of it is read from its files where it is not known. */
export interface KnownAdapter {
  readonly id: string;
  readonly url: string;
  readonly peftType?: string;
  readonly sizeBytes?: number;
}

/** Where a model's files are. */
export type ModelSource =
  /** A folder behind a URL, or a GGUF file; with the adapters that are known there. */
  | {
    readonly kind: "url";
    readonly url: string;
    readonly name?: string;
    readonly adapters?: readonly KnownAdapter[];
  }
  /** `org/name`, or `org/name@revision`, of the Hugging Face hub. */
  | { readonly kind: "hub"; readonly name: string }
  /** Files that the user chose: a model folder, or one GGUF file. */
  | { readonly kind: "files"; readonly files: readonly NamedFile[] };

/** What to open, and where to compute. */
export interface Opening {
  readonly source: ModelSource;
  readonly device: "webgpu" | "cpu";
  readonly quantize?: "int8" | "int4";
}

/** How far the opening of a model is. */
export interface OpenProgress {
  readonly text: string;
  /** 0 to 1; absent where nobody knows. */
  readonly part?: number;
}

/** Where an adapter's files are. */
export type AdapterSource =
  | { readonly kind: "files"; readonly files: readonly NamedFile[] }
  | { readonly kind: "url"; readonly url: string };

/** What is learnt, from what text, and how. */
export interface TrainJob {
  /** Tells the run from others. */
  readonly id: string;
  /** The adapter's name. */
  readonly name: string;
  readonly adapter: NewAdapter;
  readonly settings: TrainSettings & { readonly steps: number };
  readonly format: DataFormat;
  /** The part that is kept from training to evaluate with, from 0 to below 1. */
  readonly heldOut: number;
}

/** A step, counted from 1, and its loss. */
export type LossPoint = readonly [step: number, loss: number];

/** Losses of a run, thinned where there are many. */
export interface LossCurve {
  readonly training: readonly LossPoint[];
  readonly heldOut: readonly LossPoint[];
  /** Every so many steps have a point in `training`. */
  readonly stride: number;
}

/** How a run stands that the page keeps. */
export interface KeptRun {
  readonly job: TrainJob;
  /** The model's name. */
  readonly model: string;
  /** Of the newest checkpoint; 0 where there is none. */
  readonly step: number;
  readonly curve: LossCurve;
}

/** What a run tells on its way. */
export type TrainProgress =
  | ({ readonly kind: "opening" } & OpenProgress)
  | {
    readonly kind: "training";
    readonly step: number;
    readonly curve: LossCurve;
    /** Since the run began or went on; absent before its second step. */
    readonly stepsPerSecond?: number;
    /** The device that computes. */
    readonly device: string;
    /** Numbers that are learnt. */
    readonly parameters: number;
  };

/** The worker's methods: what each is given, tells on its way, and answers. */
export interface Methods {
  readonly open: { readonly input: Opening; readonly event: OpenProgress; readonly output: ModelInfo };
  readonly adapters: {
    readonly input: undefined;
    readonly event: never;
    readonly output: readonly AdapterInfo[];
  };
  readonly addAdapter: {
    readonly input: { readonly name: string; readonly source: AdapterSource };
    readonly event: never;
    readonly output: AdapterInfo;
  };
  readonly modules: {
    readonly input: string;
    readonly event: never;
    readonly output: readonly string[];
  };
  readonly picture: {
    readonly input: { readonly id: string; readonly module: string };
    readonly event: never;
    readonly output: ModuleData;
  };
  readonly norms: {
    readonly input: { readonly id: string; readonly beside: string | undefined };
    readonly event: never;
    readonly output: AdapterNumbers;
  };
  readonly generate: { readonly input: Job; readonly event: Piece; readonly output: undefined };
  /**
   * Trains; without a job, goes on with the run that is kept. A run that was paused is over, and kept. A new run takes the
   * place of the kept one at its first checkpoint.
   */
  readonly train: {
    readonly input: {
      readonly opening: Opening;
      readonly begin?: { readonly job: TrainJob; readonly data: Blob };
    };
    readonly event: TrainProgress;
    readonly output: undefined;
  };
  readonly pauseTraining: { readonly input: undefined; readonly event: never; readonly output: undefined };
  readonly keptRun: {
    readonly input: undefined;
    readonly event: never;
    readonly output: KeptRun | undefined;
  };
  /** PEFT's two files, as far as the kept run has learnt. */
  readonly keptAdapter: { readonly input: undefined; readonly event: never; readonly output: Files };
  /** Forgets the run of this `id`, if it is the one that is kept. */
  readonly forgetRun: { readonly input: string; readonly event: never; readonly output: undefined };
  readonly memory: {
    readonly input: undefined;
    readonly event: never;
    readonly output: readonly MemoryShare[];
  };
}

/** A method's name. */
export type MethodName = keyof Methods;

/** The methods of training. */
export type TrainingMethod = "train" | "pauseTraining" | "keptRun" | "keptAdapter" | "forgetRun";

/** From the page. */
export type Request =
  | { readonly kind: "call"; readonly id: number; readonly method: MethodName; readonly input: unknown }
  | { readonly kind: "abort"; readonly id: number };

/** From the worker. */
export type Answer =
  | { readonly kind: "event"; readonly id: number; readonly event: unknown }
  | { readonly kind: "done"; readonly id: number; readonly output: unknown }
  | { readonly kind: "failed"; readonly id: number; readonly message: string };
