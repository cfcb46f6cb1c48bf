/**
 * The tables of FourierFT's paper in small, beside PEFT's figures: see examples/paper/README.md.
 *
 * `digits` is in the repository. The other tables need `dist/paper/models` and `dist/paper/data`.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { median, type Row, runOf } from "../examples/paper/run.ts";
import { peft, type PeftRun, type Task, type TaskName, tasks } from "../examples/paper/settings.ts";
import type { Bench, BenchContext, Measurement } from "./measurement.ts";

const own = join(import.meta.dirname!, "../examples/paper"),
  others = join(import.meta.dirname!, "../dist/paper");

const notes: Readonly<Record<TaskName, string>> = {
  books:
    "PEFT's figures are medians of three seeds with the dropout of RoBERTa's config, 0.1; there is none here.",
  year:
    "PEFT's figures are medians of two or three seeds with the dropout of RoBERTa's config; there is none here.",
  digits: "PEFT's figures are medians of two seeds on 500 images, where one image is 0.002.",
  kjv: "PEFT's figures are medians of two seeds with the dropout of GPT-2's config, 0.1; there is none here.",
  d2t: "PEFT's figures are medians of two seeds with the dropout of GPT-2's config, 0.1; there is none here.",
};

/** A method's row: our median beside PEFT's, the adapter's bytes, and the time of a step. */
export function* rowOf(
  name: TaskName,
  { method, rows, theirs }: {
    readonly method: string;
    readonly rows: readonly Row[];
    readonly theirs: PeftRun;
  },
): Generator<Measurement> {
  const cell = { table: `paper-${name}`, row: method, unit: "" };
  const values = (metric: string): number[] => rows.map(({ test }) => test[metric]);
  for (const metric of Object.keys(rows[0].test)) {
    yield { ...cell, column: metric, median: median(values(metric)), runs: rows.length, note: notes[name] };
    yield { ...cell, column: `${metric}, PEFT`, median: theirs.test[metric] };
  }
  yield { ...cell, column: "bytes", median: rows[0].bytes };
  yield { ...cell, column: "bytes, PEFT", median: theirs.bytes };
  yield { ...cell, column: "a step", unit: "ms", median: median(rows.map(({ stepMs }) => stepMs)) };
  yield {
    ...cell,
    column: "a step, PEFT on an H100",
    unit: "ms",
    median: 1000 * theirs.seconds / theirs.steps,
  };
}

async function* measure({ device, quick, log }: BenchContext): AsyncGenerator<Measurement> {
  for (const [name, task] of Object.entries<Task>(tasks)) {
    const folder = name === "digits" ? own : others;
    if (!existsSync(join(folder, "models", task.model))) {
      log(`left out: ${name}: dist/paper has no model`);
      continue;
    }
    const methods = Object.entries(peft[name as TaskName].methods).slice(0, quick ? 1 : undefined);
    for (const [method, theirs] of methods) {
      const rows: Row[] = [];
      for (const seed of quick ? [0] : [0, 1, 2]) {
        rows.push(
          await runOf({
            ...{ device, models: join(folder, "models"), data: join(folder, "data"), task, method, seed },
            ...{ name: name as TaskName, setting: theirs.setting },
          }),
        );
      }
      yield* rowOf(name as TaskName, { method, rows, theirs });
    }
  }
}

/** See the module's documentation. */
export const paperBench: Bench = {
  name: "paper",
  doc: "the paper's tables in small, beside PEFT's figures",
  measure,
};
