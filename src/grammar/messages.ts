/**
 * Messages between a server's thread and that of the grammars.
 *
 * @module
 */
import type { GrammarSpec } from "./spec.ts";

/** To the thread of the grammars: first `open`, then the others in any order. */
export type ToGrammars =
  | {
    readonly kind: "open";
    /** The script of the engine's package. */
    readonly source: string;
    readonly tokens: readonly string[];
    readonly stopTokenIds: readonly number[];
    readonly mostBytes: number;
  }
  | { readonly kind: "compile"; readonly grammar: number; readonly spec: GrammarSpec }
  | { readonly kind: "drop"; readonly grammar: number }
  /** What may come after a run's tokens; `tokens` are those since the last message of the run. */
  | {
    readonly kind: "next";
    readonly run: number;
    readonly grammar: number;
    readonly tokens: readonly number[];
  }
  | { readonly kind: "close"; readonly run: number };

/** One answer to each `compile` and each `next`, in their order. */
export type FromGrammars =
  | { readonly kind: "compiled" }
  | { readonly kind: "mask"; readonly mask: Uint32Array }
  /** The work could not be done; `isBroken` where the thread is not to be used again. */
  | { readonly kind: "fault"; readonly reason: string; readonly isBroken: boolean };
