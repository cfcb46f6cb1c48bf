/**
 * Held-out perplexity after a fixed number of steps, by method and size. Each method trains at its own learning rate, at a
 * third and at three times that.
 *
 * The demo model learns the King James text with `train`'s defaults. Needs `dist/kjv/`, which `examples/demo/README.md` has
 * its reader make.
 *
 * @module
 */
import { type Adapter, adapterPlan, createAdapter } from "../src/adapters/create.ts";
import { learningRateOf } from "../src/adapters/options.ts";
import { type BaseOf, madeReady } from "../src/adapters/ready.ts";
import type { Device } from "../src/device/device.ts";
import { modelBase } from "../src/engine/base.ts";
import { uniforms } from "../src/engine/random.ts";
import { openWeights, readConfig } from "../src/models/families.ts";
import { layersLinears, loadModel, type Model, releaseModel } from "../src/models/model.ts";
import { openFolder } from "../src/runtime/file.ts";
import { adapterFiles } from "../src/training/checkpoint.ts";
import { evaluate } from "../src/training/evaluate.ts";
import { trainDefaults } from "../src/training/options.ts";
import { evaluatePerplexity, type RunEvent, runTraining, TrainingError } from "../src/training/run.ts";
import { learningRateFactor } from "../src/training/schedule.ts";
import { Trainer } from "../src/training/trainer.ts";
import type { Bench, BenchContext, Measurement } from "./measurement.ts";
import {
  missingText,
  type PeerRun,
  readRecipeData,
  type RecipeData,
  type RecipeSizes,
  writeForPeers,
} from "./recipe_data.ts";
import { quickRows, type RecipeRow, recipeRows } from "./recipe_rows.ts";

const table = "recipe";
const base = "examples/demo/base";
const { schedule, warmupSteps, maxNorm, weightDecay, seed } = trainDefaults;

const sizesOf: Readonly<Record<Device["kind"] | "quick", RecipeSizes>> = {
  webgpu: { batchSize: 8, contextLength: 512, steps: 120, heldOutBatches: 1000, mostSeconds: 240 },
  cpu: { batchSize: 4, contextLength: 128, steps: 60, heldOutBatches: 24, mostSeconds: 3600 },
  quick: { batchSize: 2, contextLength: 64, steps: 6, heldOutBatches: 4, mostSeconds: 240 },
};

/** The learning rates beside a method's own. */
const otherRates = [
  { column: "at lr / 3", factor: 1 / 3 },
  { column: "at lr x 3", factor: 3 },
];

/** What every run shares. */
interface Opened {
  readonly device: Device;
  readonly model: Model;
  /** One for all runs: singular vectors are computed once. */
  readonly baseOf: BaseOf;
  readonly data: RecipeData;
  readonly sizes: RecipeSizes;
}

/** What a run comes to. */
interface Trained {
  readonly parameters: number;
  /** Bytes of adapter_model.safetensors. */
  readonly bytes: number;
  /** Of the held-out text; absent where a loss was not finite. */
  readonly perplexity?: number;
  readonly seconds: number;
}

const newAdapter = ({ model }: Opened, { adapter }: RecipeRow): Adapter =>
  createAdapter(layersLinears(model), adapterPlan(adapter), uniforms(seed));

function rateOf({ adapter, lr }: RecipeRow): number {
  const { method, options } = adapterPlan(adapter);
  return lr ?? learningRateOf(method.training, options);
}

/** A new adapter whose modules keep what they have of this base: a trainer makes them ready no second time. */
async function readyAdapter(opened: Opened, row: RecipeRow): Promise<Adapter> {
  const adapter = await madeReady(opened.device, newAdapter(opened, row), opened.baseOf);
  const modules = [...adapter.modules].map(([path, module]) =>
    [path, { ...module, ready: undefined }] as const
  );
  return { ...adapter, modules: new Map(modules) };
}

/** Trains as `train` does and evaluates. */
async function trainRow(opened: Opened, row: RecipeRow, lr: number): Promise<Trained> {
  const { device, model, data, sizes: { batchSize, contextLength, steps } } = opened;
  const { method, modules, config } = await readyAdapter(opened, row);
  const begin = performance.now();
  const options = { method, modules, rows: batchSize * contextLength, maxNorm, weightDecay };
  const trainer = await Trainer.open(device, model, options);
  let perplexity: number | undefined;
  const onEvent = (event: RunEvent): void => {
    if (event.kind === "evaluation") perplexity = event.perplexity;
  };
  try {
    const { tensors } = await runTraining(trainer, {
      data: { batch: (step) => data.training[step] },
      evaluate: () => evaluatePerplexity(trainer, data.heldOut),
      steps,
      schedule: (step) => lr * learningRateFactor(schedule, { step, steps, warmupSteps }),
      onEvent,
    }).catch(async (error) => {
      if (error instanceof TrainingError) return { tensors: await trainer.tensors() };
      throw error;
    });
    const bytes = adapterFiles(config, tensors).get("adapter_model.safetensors")!.length;
    const { parameters } = trainer, seconds = (performance.now() - begin) / 1000;
    return { parameters, bytes, perplexity, seconds };
  } finally {
    trainer.release();
  }
}

/** A run's perplexity as a cell; a run whose loss was not finite has none. */
function* perplexityCell(
  { row, trained, column, context }: {
    readonly row: RecipeRow;
    readonly trained: Trained;
    readonly column: string;
    readonly context: BenchContext;
  },
): Generator<Measurement> {
  const { perplexity } = trained;
  if (perplexity === undefined || !Number.isFinite(perplexity)) {
    context.log(`left out: ${row.row}, ${column}: its loss is not finite`);
  } else yield { table, row: row.row, column, unit: "", median: perplexity };
}

/** A row at the method's own rate: its size and its perplexity. */
async function* ownRate(opened: Opened, row: RecipeRow, context: BenchContext): AsyncGenerator<Measurement> {
  const lr = rateOf(row);
  const trained = await trainRow(opened, row, lr);
  const cell = { table, row: row.row, unit: "" };
  yield { ...cell, column: "trained numbers", median: trained.parameters };
  yield { ...cell, column: "adapter", unit: "KiB", median: trained.bytes / 1024 };
  yield { ...cell, column: "lr", median: lr };
  for (const measured of perplexityCell({ row, trained, column: "perplexity", context })) {
    // A rate that is none of the method's own is no point of its line.
    const point = row.lr === undefined
      ? { x: trained.bytes / 1024, line: row.line, over: "the adapter's file, KiB" }
      : {};
    yield { ...measured, ...point };
  }
  const note = "Seconds are wall time: the making of programs, the steps, the evaluation.";
  yield { ...cell, column: "took", unit: "s", median: trained.seconds, note };
}

/** One that fails is told of, and the others go on. */
async function* orLeftOut(
  cells: AsyncIterable<Measurement>,
  { row }: RecipeRow,
  { log }: BenchContext,
): AsyncGenerator<Measurement> {
  try {
    yield* cells;
  } catch (error) {
    log(`left out: ${row}: ${(error as Error).message}`);
  }
}

/** Before anything is trained. */
async function* baseCells({ device, model, data, sizes }: Opened): AsyncGenerator<Measurement> {
  const { batchSize, contextLength, steps } = sizes;
  const { loss } = await evaluate(device, model, { batches: data.heldOut, rows: batchSize * contextLength });
  const note =
    `The demo model on the King James text: ${steps} steps of ${batchSize} x ${contextLength} tokens, ` +
    `${schedule}; ${data.heldOut.length} held-out batches.`;
  yield {
    table,
    row: "the base, nothing trained",
    column: "perplexity",
    unit: "",
    median: Math.exp(loss),
    note,
  };
}

/** What PEFT is to train beside. */
const peerRuns = (opened: Opened, rows: readonly RecipeRow[]): PeerRun[] =>
  rows.filter(({ peft }) => peft).map((row) => ({
    row: row.row,
    config: { ...newAdapter(opened, row).config },
    lr: rateOf(row),
  }));

/** A row at one of the other rates. */
async function* otherRate(
  opened: Opened,
  row: RecipeRow,
  { column, factor, context }: typeof otherRates[number] & { readonly context: BenchContext },
): AsyncGenerator<Measurement> {
  const trained = await trainRow(opened, row, factor * rateOf(row));
  yield* perplexityCell({ row, trained, column, context });
}

/** Every row at its own rate and at the others. */
async function* measureRows(opened: Opened, rows: readonly RecipeRow[], context: BenchContext) {
  yield* baseCells(opened);
  const { mostSeconds } = opened.sizes, end = performance.now() + 1000 * mostSeconds;
  const runs = rows.flatMap((row) => [
    { row, cells: () => ownRate(opened, row, context) },
    ...(row.lr === undefined ? otherRates : []).map((rate) => (
      { row, cells: () => otherRate(opened, row, { ...rate, context }) }
    )),
  ]);
  for (const [i, { row, cells }] of runs.entries()) {
    if (performance.now() > end) {
      context.log(`left out: ${runs.length - i} of ${runs.length} runs: ${mostSeconds} s are over`);
      return;
    }
    yield* orLeftOut(cells(), row, context);
  }
}

/** See the module's documentation. */
export const recipeBench: Bench = {
  name: "recipe",
  doc:
    "held-out perplexity by method and bytes, at each method's learning rate, a third and three times that",
  peers: ["recipe.py"],
  missing: missingText,
  async *measure(context: BenchContext) {
    const { device, quick } = context;
    const sizes = sizesOf[quick ? "quick" : device.kind], wanted = new RegExp(context.rows ?? "");
    const rows = (quick ? quickRows : recipeRows).filter(({ row }) => wanted.test(row));
    const folder = await openFolder(base);
    const config = await readConfig(folder);
    const data = await readRecipeData(folder, config, sizes);
    const source = await openWeights(folder, config);
    const model = await loadModel(device, { config, source, maxModelLen: sizes.contextLength })
      .finally(() => source.close());
    const opened = { device, model, baseOf: modelBase(device, model), data, sizes };
    writeForPeers(data, { sizes, maxNorm, runs: peerRuns(opened, rows) });
    yield* measureRows(opened, rows, context);
    releaseModel(device, model);
  },
};
