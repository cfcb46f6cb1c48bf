/**
 * The data of the tables, and the order in which PEFT's runs saw it.
 *
 * @module
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Example } from "fourierft";
import { readNpz } from "./npz.ts";
import { pythonShuffle } from "./python_random.ts";

/** Labelled examples of a table. */
export interface HeadData {
  readonly labels?: readonly string[];
  readonly training: readonly Example[];
  readonly test: readonly Example[];
}

/** Documents of a table, as `train` reads them. */
export interface TextData {
  readonly format: "text" | "jsonl";
  readonly training: string;
  readonly documents: number;
  readonly test: string;
}

const linesOf = (path: string): string[] =>
  readFileSync(path, "utf8").split("\n").filter((line) => line !== "");

/** The last tenth of the training data was for the choice of settings. */
const trained = <T>(all: readonly T[]): readonly T[] => all.slice(0, Math.floor(all.length * 9 / 10));

function passages(folder: string, task: string): HeadData {
  const read = (part: string): Example[] =>
    linesOf(join(folder, `${task}_${part}.jsonl`)).map((line) => JSON.parse(line));
  const names = join(folder, `${task}_labels.json`);
  return {
    labels: existsSync(names) ? JSON.parse(readFileSync(names, "utf8")) : undefined,
    training: trained(read("train")),
    test: read("test"),
  };
}

/** Digits 5 to 9, grey images of 28 x 28. */
function digits(folder: string): HeadData {
  const arrays = readNpz(join(folder, "digits_adapt.npz"));
  const read = (part: string): Example[] => {
    const { data, shape: [count, height, width] } = arrays.get(`x_${part}`)!,
      labels = arrays.get(`y_${part}`)!;
    const size = height * width;
    return Array.from({ length: count }, (_, i) => ({
      rgb: Uint8Array.from({ length: 3 * size }, (_, at) => data[i * size + Math.floor(at / 3)]),
      ...{ width, height, label: `${labels.data[i]}` },
    }));
  };
  return { labels: ["5", "6", "7", "8", "9"], training: trained(read("train")), test: read("test") };
}

/** The examples of each step in turn: epochs that Python's generator shuffled, without what fills no batch. */
export function inOrder<T>(
  all: readonly T[],
  { seed, batch, epochs }: { readonly seed: number; readonly batch: number; readonly epochs: number },
): T[] {
  const shuffle = pythonShuffle(3000 + seed), perEpoch = batch * Math.floor(all.length / batch);
  return Array.from({ length: epochs }, () => shuffle(all).slice(0, perEpoch)).flat();
}

/** Facts and a sentence: the loss is on the sentence. */
function dataToText(folder: string): TextData {
  const pair = (mr: string, sentence: string): string =>
    JSON.stringify({ prompt: `${mr} ->`, completion: ` ${sentence}` });
  const rows = (part: string) => linesOf(join(folder, `d2t_${part}.jsonl`)).map((line) => JSON.parse(line));
  const training = trained(rows("train"));
  return {
    format: "jsonl",
    training: training.map(({ mr, ref }) => pair(mr, ref)).join("\n"),
    documents: training.length,
    test: rows("test").map(({ mr, refs }) => pair(mr, refs[0])).join("\n"),
  };
}

/** Chapters, a line each. */
function chapters(folder: string): TextData {
  const training = linesOf(join(folder, "pretrain", "kjv.txt")).filter((_, i) => i % 10 !== 9);
  return {
    format: "jsonl",
    training: training.map((text) => JSON.stringify({ text })).join("\n"),
    documents: training.length,
    test: linesOf(join(folder, "kjv_test.txt")).map((text) => JSON.stringify({ text })).join("\n"),
  };
}

/** The data of a table of labels. */
export function headData(folder: string, task: "books" | "year" | "digits"): HeadData {
  return task === "digits" ? digits(folder) : passages(folder, task);
}

/** The data of a table of texts. */
export function textData(folder: string, task: "kjv" | "d2t"): TextData {
  return task === "kjv" ? chapters(folder) : dataToText(folder);
}
