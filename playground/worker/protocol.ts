/**
 * The messages between the page and its worker.
 *
 * @module
 */
import type { AdapterNumbers, ModuleData } from "fourierft";
import type { AdapterInfo, Job, MemoryShare, ModelInfo, NamedFile, Piece } from "../backend/backend.ts";

/** Where a model's files are. */
export type ModelSource =
  /** A folder behind a URL, or a GGUF file; with the adapters that are known there. */
  | {
    readonly kind: "url";
    readonly url: string;
    readonly name?: string;
    readonly adapters?: readonly { readonly id: string; readonly url: string }[];
  }
  /** `org/name`, or `org/name@revision`, of the Hugging Face hub. */
  | { readonly kind: "hub"; readonly name: string }
  /** Files that the user chose: a model folder, or one GGUF file. */
  | { readonly kind: "files"; readonly files: readonly NamedFile[] };

/** What to open, and where to compute. */
export interface Opening {
  readonly source: ModelSource;
  readonly device: "auto" | "webgpu" | "cpu";
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
  readonly memory: {
    readonly input: undefined;
    readonly event: never;
    readonly output: readonly MemoryShare[];
  };
}

/** A method's name. */
export type MethodName = keyof Methods;

/** From the page. */
export type Request =
  | { readonly kind: "call"; readonly id: number; readonly method: MethodName; readonly input: unknown }
  | { readonly kind: "abort"; readonly id: number };

/** From the worker. */
export type Answer =
  | { readonly kind: "event"; readonly id: number; readonly event: unknown }
  | { readonly kind: "done"; readonly id: number; readonly output: unknown }
  | { readonly kind: "failed"; readonly id: number; readonly message: string };
