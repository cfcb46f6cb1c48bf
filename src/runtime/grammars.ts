/**
 * Opens grammars on Deno, Bun and Node: the engine's package is read from the disk, and works on a thread of its own.
 *
 * @module
 */
import { type GrammarLimits, Grammars, type OpenGrammars } from "../grammar/grammars.ts";
import { vocabularyOf } from "../grammar/vocabulary.ts";
import type { Tokenizer } from "../models/tokenizer_types.ts";
import { importOptional } from "./runtime.ts";
import { startWorker } from "./worker.ts";

interface NodeModule {
  createRequire(url: string): { resolve(name: string): string };
}

interface NodeFiles {
  readFile(path: string, encoding: "utf8"): Promise<string>;
}

const enginePackage = "@mlc-ai/web-xgrammar";

/** The script of the engine's package. */
async function readEngine(): Promise<string> {
  const { createRequire } = await importOptional<NodeModule>("node:module");
  const { readFile } = await importOptional<NodeFiles>("node:fs/promises");
  return await readFile(createRequire(import.meta.url).resolve(enginePackage), "utf8");
}

/**
 * Grammars for a model's texts. Nothing is loaded and no thread runs before the first grammar is compiled.
 *
 * @param vocabSize Logits of the model: an engine's `vocabSize`.
 */
export function openGrammars(
  tokenizer: Tokenizer,
  { vocabSize, limits }: { readonly vocabSize: number; readonly limits?: GrammarLimits },
): OpenGrammars {
  return new Grammars({
    start: () => startWorker(new URL("./grammar_worker.ts", import.meta.url)),
    source: readEngine,
    vocabulary: () => vocabularyOf(tokenizer, vocabSize),
    vocabSize,
    stopTokenIds: tokenizer.eosTokenIds.filter((id) => id < vocabSize),
    limits,
  });
}
