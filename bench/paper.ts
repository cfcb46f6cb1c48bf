/**
 * The tables of FourierFT's paper in small, beside PEFT's figures: see examples/paper/README.md.
 *
 * `digits` is in the repository. The other tables need `dist/paper/models` and `dist/paper/data`. A row is a table's name
 * and a method's: `--rows "^d2t lora-1$"` takes one, and `--rounds 9` nine seeds. The batches of texts are written for the peer, which repeats the runs.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { textData } from "../examples/paper/data.ts";
import { median, type Row, runOf, textSteps } from "../examples/paper/run.ts";
import { peft, type Task, type TaskName, tasks } from "../examples/paper/settings.ts";
import { readConfig } from "../src/models/families.ts";
import { openTokenizer } from "../src/models/tokenizer.ts";
import { openFolder } from "../src/runtime/file.ts";
import { fileOf } from "../src/training/content.ts";
import { readTrainingSet } from "../src/training/data.ts";
import type { Bench, BenchContext, Measurement } from "./measurement.ts";
import { writeBatches, writePlan } from "./recipe_data.ts";

const own = join(import.meta.dirname!, "../examples/paper"),
  others = join(import.meta.dirname!, "../dist/paper");

/** Where a table's model and data are. */
interface Place {
  readonly models: string;
  readonly data: string;
}

/** A method's row: medians, the adapter's bytes, and the time of a step. */
export function* rowOf(name: TaskName, method: string, rows: readonly Row[]): Generator<Measurement> {
  const cell = { table: `paper-${name}`, row: method, unit: "" };
  for (const metric of Object.keys(rows[0].test)) {
    const values = rows.map(({ test }) => test[metric]);
    const [minimum, slowest] = [Math.min(...values), Math.max(...values)];
    yield { ...cell, column: metric, median: median(values), minimum, slowest, runs: rows.length };
  }
  yield { ...cell, column: "bytes", median: rows[0].bytes };
  yield { ...cell, column: "a step", unit: "ms", median: median(rows.map(({ stepMs }) => stepMs)) };
}

/** Writes the batches that a run of texts trains on and is measured with. */
async function writeTexts(
  { name, task, seed, place }: {
    readonly name: "kjv" | "d2t";
    readonly task: Task & { kind: "lm" };
    readonly seed: number;
    readonly place: Place;
  },
): Promise<void> {
  const folder = await openFolder(join(place.models, task.model));
  const { format, training, documents, test } = textData(place.data, name);
  const { batch: batchSize, contextLength, packing, lossOn } = task;
  const set = await readTrainingSet(fileOf({ content: training, format }), {
    tokenizer: await openTokenizer(folder),
    vocabSize: (await readConfig(folder)).vocabSize,
    ...{ batchSize, contextLength, packing, lossOn, seed },
    heldOut: fileOf({ content: test, format }),
  });
  const steps = textSteps(task, documents), file = `paper-${name}-${seed}`;
  writeBatches(file, {
    training: Array.from({ length: steps }, (_, step) => set.batch(step)),
    heldOut: Array.from({ length: set.heldOutBatches }, (_, i) => set.heldOutBatch(i)),
  });
  writePlan(file, { batchSize, contextLength, steps });
}

async function* measure(
  { device, quick, rows: wanted = "", rounds = 3, log }: BenchContext,
): AsyncGenerator<Measurement> {
  const seeds = Array.from({ length: quick ? 1 : rounds }, (_, seed) => seed);
  for (const [key, task] of Object.entries<Task>(tasks)) {
    const name = key as TaskName, folder = name === "digits" ? own : others;
    const methods = Object.entries(peft[name].methods)
      .filter(([method]) => new RegExp(wanted).test(`${name} ${method}`)).slice(0, quick ? 1 : undefined);
    if (methods.length === 0) continue;
    if (!existsSync(join(folder, "models", task.model))) {
      log(`left out: ${name}: dist/paper has no model`);
      continue;
    }
    const place = { models: join(folder, "models"), data: join(folder, "data") };
    if (task.kind === "lm" && (name === "kjv" || name === "d2t")) {
      for (const seed of seeds) await writeTexts({ name, task, seed, place });
    }
    for (const [method, { setting }] of methods) {
      const rows: Row[] = [];
      for (const seed of seeds) {
        rows.push(await runOf({ device, ...place, task, name, method, setting, seed }));
      }
      yield* rowOf(name, method, rows);
    }
  }
}

/** See the module's documentation. */
export const paperBench: Bench = {
  name: "paper",
  doc: "the paper's tables in small, beside PEFT's figures",
  clock: "wall time",
  peers: ["paper.py"],
  measure,
};
