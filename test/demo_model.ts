/**
 * The demo model's small files, for tests that need a tokenizer and no weights.
 *
 * @module
 */
import { existsSync, readFileSync } from "node:fs";
import { openTokenizer, type TextFolder } from "../src/models/tokenizer.ts";
import type { Tokenizer } from "../src/models/tokenizer_types.ts";

export const demo = new URL("../examples/demo/", import.meta.url);

/** The demo's base folder; files in `replaced` come instead of it, null hides one. */
export function demoFolder(replaced: Readonly<Record<string, string | null>> = {}): TextFolder {
  const base = new URL("base/", demo);
  return {
    readText: (name) => Promise.resolve(replaced[name] ?? readFileSync(new URL(name, base), "utf8")),
    exists: (name) =>
      Promise.resolve(name in replaced ? replaced[name] !== null : existsSync(new URL(name, base))),
  };
}

/** The demo's tokenizer. */
export function demoTokenizer(): Promise<Tokenizer> {
  return openTokenizer(demoFolder());
}

/** Greedy continuations by transformers and PEFT. */
export interface GoldenCase {
  readonly prompt: string;
  readonly prompt_token_ids: readonly number[];
  readonly token_ids: readonly number[];
  readonly text: string;
}

/** All of them. */
export function goldenCases(): readonly GoldenCase[] {
  return JSON.parse(readFileSync(new URL("golden.json", demo), "utf8")).cases;
}
