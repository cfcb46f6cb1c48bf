/**
 * The recipe bench's text: the King James Bible, as `examples/demo/prepare_kjv.ts` writes it, and its batches in a file
 * for peers.
 *
 * @module
 */
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
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

/**
 * Writes `NAME.u32`, batches for a peer: the tokens of a batch's rows, then their targets; the target 0xffffffff is none.
 */
export function writeBatches(name: string, { training, heldOut }: RecipeData): void {
  const batches = [...training, ...heldOut].flatMap(({ tokens, targets }) => [tokens, targets]);
  const bytes = batches.map((words) => new Uint8Array(words.buffer, words.byteOffset, words.byteLength));
  const path = join(peerFolder, `${name}.u32`), mine = `${path}.${process.pid}`;
  mkdirSync(peerFolder, { recursive: true });
  // Renamed when whole: another process may write or read the same batches.
  writeFileSync(mine, Buffer.concat(bytes));
  renameSync(mine, path);
}

/** Writes `NAME.json` beside a peer's batches. */
export function writePlan(name: string, plan: object): void {
  mkdirSync(peerFolder, { recursive: true });
  writeFileSync(join(peerFolder, `${name}.json`), JSON.stringify(plan, null, 1));
}

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

/** Writes `recipe.json`, sizes and runs, and `recipe.u32`, the batches: those to train on, then those held out. */
export function writeForPeers(
  data: RecipeData,
  { sizes: { batchSize, contextLength }, maxNorm, runs }: {
    readonly sizes: RecipeSizes;
    readonly maxNorm: number;
    readonly runs: readonly PeerRun[];
  },
): void {
  writeBatches("recipe", data);
  const steps = data.training.length, heldOutBatches = data.heldOut.length;
  writePlan("recipe", { batchSize, contextLength, steps, heldOutBatches, maxNorm, runs });
}
