/**
 * The tables of FourierFT's paper in small: trains each method on a table's task, beside PEFT's figures.
 *
 *     npx deno run -A examples/paper/tables.ts digits [--methods lora-1,head] [--seeds 0,1,2] [--device cpu]
 *     npx deno run -A examples/paper/tables.ts books --models DIR --data DIR
 *
 * README.md says what the folders hold.
 *
 * @module
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { type Device, train, trainEncoder } from "fourierft";
import { openDevice, openFolder } from "fourierft/node";
import { headData, inOrder, textData } from "./data.ts";
import { adapterOf, peft, type PeftRun, ratesOf, type Task, type TaskName, tasks } from "./settings.ts";

/** One run. */
interface Row {
  readonly seed: number;
  readonly test: Readonly<Record<string, number>>;
  /** Of adapter_model.safetensors. */
  readonly bytes: number;
  readonly parameters: number;
  readonly steps: number;
  /** Milliseconds of a step, the first two left out. */
  readonly stepMs: number;
}

/** What every run is told. */
interface Setup {
  readonly device: Device;
  readonly models: string;
  readonly data: string;
  readonly task: Task;
  readonly name: TaskName;
  readonly method: string;
  readonly setting: PeftRun["setting"];
  readonly seed: number;
}

/** Counts steps and their time. */
function stepClock() {
  const ends: number[] = [];
  return {
    tick: () => ends.push(performance.now()),
    get ms() {
      const [first, last] = [ends[Math.min(1, ends.length - 1)], ends[ends.length - 1]];
      return (last - first) / Math.max(1, ends.length - 2);
    },
  };
}

const weightsBytes = (files: ReadonlyMap<string, Uint8Array>): number =>
  files.get("adapter_model.safetensors")!.length;

const schedule = (steps: number) => ({ steps, warmupSteps: Math.round(0.05 * steps), checkpointEvery: 0 });

async function headRun({ device, models, data, task, name, method, setting, seed }: Setup): Promise<Row> {
  if (task.kind === "lm") throw new Error("a language model has no head");
  const { labels, training, test } = headData(data, name as "books" | "year" | "digits");
  const examples = inOrder(training, { seed, batch: task.batch, epochs: task.epochs });
  const steps = examples.length / task.batch, clock = stepClock();
  let parameters = 0;
  const { files, evaluation } = await trainEncoder(device, {
    folder: await openFolder(join(models, task.model)),
    task: task.kind,
    ...{ examples, evaluation: test, labels, seed, shuffle: false, batchSize: task.batch },
    adapter: adapterOf(method, setting, task),
    ...ratesOf(setting),
    ...schedule(steps),
    onEvent(event) {
      if (event.kind === "start") parameters = event.parameters - event.headParameters;
      if (event.kind === "step") clock.tick();
    },
  });
  const { metrics } = evaluation!;
  const { mae, pearson, spearman, accuracy } = metrics as unknown as Record<string, number>;
  return {
    ...{ seed, steps, parameters, bytes: weightsBytes(files), stepMs: clock.ms },
    test: metrics.task === "classify" ? { accuracy } : { mae, pearson, spearman },
  };
}

async function textRun({ device, models, data, task, name, method, setting, seed }: Setup): Promise<Row> {
  if (task.kind !== "lm") throw new Error("labels need a head");
  const { format, training, documents, test } = textData(data, name as "kjv" | "d2t"), clock = stepClock();
  const adapter = adapterOf(method, setting, task);
  if (adapter === "head") throw new Error("a language model has no head");
  const { steps = task.epochs * Math.floor(documents / task.batch), packing, contextLength, lossOn } = task;
  let parameters = 0;
  const { files, evaluation } = await train(device, {
    folder: await openFolder(join(models, task.model)),
    data: { content: training, format },
    evaluation: { content: test, format },
    ...{ adapter, seed, packing, contextLength, lossOn, batchSize: task.batch },
    lr: ratesOf(setting).lr,
    ...schedule(steps),
    onEvent(event) {
      if (event.kind === "start") ({ parameters } = event);
      if (event.kind === "step") clock.tick();
    },
  });
  return {
    ...{ seed, steps, parameters, bytes: weightsBytes(files), stepMs: clock.ms },
    test: { perplexity: evaluation!.perplexity },
  };
}

const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b), middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};

/** A method's line: our median beside PEFT's. */
function line(method: string, rows: readonly Row[], metrics: readonly string[], theirs: PeftRun): string {
  const cells = metrics.filter((metric) => metric in rows[0].test).map((metric) =>
    `${metric} ${median(rows.map(({ test }) => test[metric])).toFixed(4)} (PEFT ${theirs.test[metric]})`
  );
  return `${method.padEnd(15)} ${cells.join("  ")}  bytes ${rows[0].bytes} (PEFT ${theirs.bytes})  ` +
    `${median(rows.map(({ stepMs }) => stepMs)).toFixed(1)} ms a step`;
}

/** A folder beside this file. */
const own = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      models: { type: "string", default: own("models") },
      data: { type: "string", default: own("data") },
      methods: { type: "string" },
      seeds: { type: "string", default: "0,1,2" },
      device: { type: "string", default: "auto" },
      out: { type: "string" },
    },
  });
  const name = positionals[0] as TaskName;
  if (positionals.length !== 1 || !(name in tasks)) {
    throw new Error(`Cannot run: give one table of ${Object.keys(tasks).join(", ")}`);
  }
  const task: Task = tasks[name], { methods, metrics } = peft[name];
  const device = await openDevice({ kind: values.device as "auto", log: console.error });
  const found: Record<string, readonly Row[]> = {};
  console.log(`${name}, ${task.model}, ${device.description}`);
  for (const method of values.methods?.split(",") ?? Object.keys(methods)) {
    const theirs = methods[method], rows: Row[] = [];
    if (!theirs) {
      throw new Error(`Cannot train "${method}": it must be one of ${Object.keys(methods).join(", ")}`);
    }
    for (const seed of values.seeds.split(",").map(Number)) {
      const run = task.kind === "lm" ? textRun : headRun;
      rows.push(
        await run({
          ...{
            device,
            models: values.models,
            data: values.data,
            task,
            name,
            method,
            setting: theirs.setting,
            seed,
          },
        }),
      );
    }
    found[method] = rows;
    console.log(line(method, rows, metrics, theirs));
    if (values.out) {
      writeFileSync(
        values.out,
        `${JSON.stringify({ table: name, device: device.description, found }, null, 1)}\n`,
      );
    }
  }
  device.destroy();
  process.exit(0);
}

await main();
