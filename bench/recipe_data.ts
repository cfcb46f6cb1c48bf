/**
 * The recipe bench's text: the King James Bible, as `examples/demo/prepare_kjv.ts` writes it, and its batches in a file
 * for peers.
 *
 * @module
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ModelConfig } from "../src/models/family.ts";
import { openTokenizer } from "../src/models/tokenizer.ts";
import type { ReadableFolder } from "../src/folder.ts";
import type { TrainingBatch } from "../src/training/batch.ts";
import { fileOf } from "../src/training/content.ts";
import { readTrainingSet } from "../src/training/data.ts";

/** How much is trained on, and evaluated with. */
export interface RecipeSizes {
  readonly batchSize: number;
  readonly contextLength: number;
  readonly steps: number;
  /** Held-out batches at most. */
  readonly heldOutBatches: number;
  /** No run begins later: peers are to have their turn. */
  readonly mostSeconds: number;
}

/** The same batches for every run: one for each step, and those held out. */
export interface RecipeData {
  readonly training: readonly TrainingBatch[];
  readonly heldOut: readonly TrainingBatch[];
}

const root = join(import.meta.dirname!, "..");
/** The folder that the demo's page has its reader make. */
const textFolder = join(root, "dist", "kjv");
/** Where peers find the batches and the runs. */
const peerFolder = join(root, "dist", "bench");

const texts = ["kjv.txt", "kjv_held_out.txt"] as const;

/** What is not there, and how to make it; undefined where everything is. */
export function missingText(): string | undefined {
  const missing = texts.find((name) => !existsSync(join(textFolder, name)));
  return missing &&
    `Cannot find dist/kjv/${missing}: examples/demo/README.md says how to make the King James text`;
}

const readText = (name: typeof texts[number]): string => readFileSync(join(textFolder, name), "utf8");

/** Batches in an order that seed 0 decides. */
export async function readRecipeData(
  folder: ReadableFolder,
  { vocabSize }: ModelConfig,
  { batchSize, contextLength, steps, heldOutBatches }: RecipeSizes,
): Promise<RecipeData> {
  const set = await readTrainingSet(fileOf({ content: readText("kjv.txt") }), {
    batchSize,
    contextLength,
    tokenizer: await openTokenizer(folder),
    vocabSize,
    heldOut: fileOf({ content: readText("kjv_held_out.txt") }),
  });
  const count = Math.min(set.heldOutBatches, heldOutBatches);
  return {
    training: Array.from({ length: steps }, (_, i) => set.batch(i)),
    heldOut: Array.from({ length: count }, (_, i) => set.heldOutBatch(i)),
  };
}

/** A run for a peer to repeat. */
export interface PeerRun {
  readonly row: string;
  /** Fields of adapter_config.json. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly lr: number;
}

/**
 * Writes `recipe.json`, sizes and runs, and `recipe.u32`, the batches: those to train on, then those held out. A batch is
 * the tokens of its rows, then their targets; the target 0xffffffff is none.
 */
export function writeForPeers(
  { training, heldOut }: RecipeData,
  { sizes, maxNorm, runs }: {
    readonly sizes: RecipeSizes;
    readonly maxNorm: number;
    readonly runs: readonly PeerRun[];
  },
): void {
  const batches = [...training, ...heldOut].flatMap(({ tokens, targets }) => [tokens, targets]);
  const bytes = batches.map((words) => new Uint8Array(words.buffer, words.byteOffset, words.byteLength));
  mkdirSync(peerFolder, { recursive: true });
  writeFileSync(join(peerFolder, "recipe.u32"), Buffer.concat(bytes));
  const { batchSize, contextLength } = sizes;
  const plan = {
    batchSize,
    contextLength,
    steps: training.length,
    heldOutBatches: heldOut.length,
    maxNorm,
    runs,
  };
  writeFileSync(join(peerFolder, "recipe.json"), JSON.stringify(plan, null, 1));
}
