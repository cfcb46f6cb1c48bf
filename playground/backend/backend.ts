/**
 * What the page asks of whatever computes: a server, or a worker of the page itself.
 *
 * @module
 */

import type { AdapterNumbers, ModuleData } from "fourierft";

/** The model that answers. */
export interface ModelInfo {
  readonly id: string;
  /** Tokens of prompt and answer together at most; null where nobody says. */
  readonly maxModelLen: number | null;
  /** The device that computes; absent where a server does not tell. */
  readonly device?: string;
}

/** An adapter that a column may have. */
export interface AdapterInfo {
  readonly id: string;
  /** PEFT's, e.g. `FOURIERFT`. */
  readonly peftType: string;
  readonly sizeBytes: number;
}

/** An adapter of a column, and the scale of its dW. */
export interface Term {
  readonly id: string;
  readonly scale: number;
}

/** A message of a chat. */
export interface Message {
  readonly role: "system" | "user" | "assistant";
  readonly content: string;
}

/** How tokens are chosen; the names are OpenAI's and vLLM's. */
export interface Sampling {
  readonly temperature: number;
  readonly topP: number;
  readonly topK: number;
  readonly repetitionPenalty: number;
  readonly seed: number;
}

/** One column's text to write. */
export interface Job {
  /** A text to go on with, or a chat to answer. */
  readonly input: { readonly prompt: string } | { readonly messages: readonly Message[] };
  /** None: the base model. */
  readonly terms: readonly Term[];
  readonly sampling: Sampling;
  /** New tokens at most. */
  readonly maxTokens: number;
  readonly stop: readonly string[];
}

/** Some more of a column's text. */
export interface Piece {
  readonly text: string;
  /** New tokens so far. */
  readonly tokens: number;
  /** Null until the text ends. */
  readonly finishReason: "stop" | "length" | "tool_calls" | null;
}

/** A share of memory, in bytes or as a part of what there is. */
export interface MemoryShare {
  readonly name: string;
  readonly bytes?: number;
  /** 0 to 1. */
  readonly part?: number;
}

/** A file of a folder that was dropped or chosen: its path from there, and its content. */
export interface NamedFile {
  readonly path: string;
  readonly file: File;
}

/** See the module's documentation. */
export interface Backend {
  readonly way: "server" | "browser";
  readonly model: ModelInfo;
  /** Every adapter, by id. */
  adapters(): Promise<readonly AdapterInfo[]>;
  /** The text as it comes; aborting throws the signal's reason. */
  generate(job: Job, signal: AbortSignal): AsyncIterable<Piece>;
  /** Paths of the modules that an adapter adapts. */
  modules(id: string): Promise<readonly string[]>;
  /** The numbers of the pictures of an adapter's module. */
  picture(id: string, module: string, signal: AbortSignal): Promise<ModuleData>;
  /** The norm of each module's dW, or the cosines to another adapter's. */
  norms(id: string, beside: string | undefined, signal: AbortSignal): Promise<AdapterNumbers>;
  memory(): Promise<readonly MemoryShare[]>;
  /**
   * Reads a PEFT folder and serves the adapter by a name.
   *
   * @param token The operator's, for a server.
   * @throws Error that says why an adapter cannot be taken, or what is wrong with its files.
   */
  addAdapter(name: string, files: readonly NamedFile[], token?: string): Promise<AdapterInfo>;
  /** Frees the model and its adapters. */
  close(): void;
}
