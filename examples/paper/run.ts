/**
 * One run of a table: a method is trained as PEFT's was, and measured on the test data.
 *
 * @module
 */
import { join } from "node:path";
import { type Device, train, trainEncoder } from "fourierft";
import { openFolder } from "fourierft/node";
import { headData, inOrder, textData } from "./data.ts";
import { adapterOf, type PeftRun, ratesOf, type Task, type TaskName } from "./settings.ts";

/** One run. */
export interface Row {
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
export interface Setup {
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

/** Optimizer steps of a run on texts: the table's own, or its epochs without what fills no batch. */
export const textSteps = (task: Task & { kind: "lm" }, documents: number): number =>
  task.steps ?? task.epochs * Math.floor(documents / task.batch);

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
  const { packing, contextLength, lossOn } = task, steps = textSteps(task, documents);
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

/** Trains and measures. */
export const runOf = (setup: Setup): Promise<Row> =>
  setup.task.kind === "lm" ? textRun(setup) : headRun(setup);

/** The middle value, or the mean of the two in the middle, as PEFT's figures are. */
export const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b), middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};
