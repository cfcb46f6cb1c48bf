/**
 * From how many rows on merging one adapter is faster. Timed is y = x (W + dW)^T, merged anew in each step as in
 * src/engine/merging.ts. Beside stands y = x W^T with the spectral step that adds x dW^T.
 *
 * The spectral step costs in proportion to the rows. dW costs as much as `in` rows and a weight that is read and
 * written. "rows that dW costs" is where the two meet, by the time that each adds to the product alone.
 *
 * @module
 */
import { linear } from "../kernels/linear.ts";
import { mergeSteps, unitRows } from "../src/engine/merged_projection.ts";
import { type Plan, step } from "../src/plan.ts";
import { type Tensor, tensor } from "../src/tensor.ts";
import { coldBytes, normalTensor, prepareInTurn } from "./data.ts";
import { layerSteps } from "./fourier_layer.ts";
import type { Bench, BenchContext, Measurement } from "./measurement.ts";
import { timePrograms, type Timing } from "./timer.ts";

const table = "crossover";
const n = 1000;
const maxWeights = 64;

interface Size {
  readonly d: number;
  readonly rows: number;
}

function sizes({ device, quick }: BenchContext): Size[] {
  const [ds, counts] = quick
    ? [[64], [8]]
    : device.kind === "cpu"
    ? [[128, 256, 512, 1024], [256, 1024, 4096]]
    : [[256, 1024, 4096], [256, 4096, 16384]];
  return ds.flatMap((d) => counts.map((rows) => ({ d, rows })));
}

/** The three ways to multiply, each for one weight after another, so that weights come from memory as a model's do. */
interface Ways {
  readonly plain: Plan[];
  readonly spectral: Plan[];
  readonly merged: Plan[];
  readonly release: () => void;
}

function waysOf(context: BenchContext, { d, rows }: Size): Ways {
  const { device } = context;
  const x = normalTensor(device, [rows, d]);
  const layer = layerSteps(context, { out: d, in: d, rows, adapters: 1, n }, { x });
  const { y } = layer.steps[0].buffers;
  const count = Math.max(1, Math.min(maxWeights, Math.ceil(coldBytes(context) / (4 * d * d))));
  const weights = Array.from({ length: count }, () => normalTensor(device, [d, d]));
  const shape = { out: d, in: d };
  const units = device.upload(tensor(unitRows(d), [d, d]));
  const ofUnits = layerSteps(context, { ...shape, rows: d, adapters: 1, n }, { x: units });
  const delta = ofUnits.steps[0].buffers.y;
  const own = device.alloc([d, d], "float32");
  const product = (weight: Tensor) => step(linear, { x, weight, y }, { rows, ...shape, accumulate: 0 });
  return {
    plain: weights.map((weight) => [product(weight)]),
    spectral: weights.map((weight, i) => [product(weight), layer.steps[i % layer.steps.length]]),
    merged: weights.map((weight, i) => [
      ...mergeSteps({
        ...{ shape, weight, delta, merged: own },
        ofUnits: [ofUnits.steps[i % ofUnits.steps.length]],
      }),
      product(own),
    ]),
    release() {
      layer.release();
      ofUnits.release();
      for (const t of [x, units, own, ...weights]) device.release(t);
    },
  };
}

async function timePlans(context: BenchContext, plans: readonly Plan[]): Promise<Timing> {
  const programs = await prepareInTurn(context.device, plans);
  const timing = await timePrograms(context.device, programs, context);
  programs.forEach((program) => program.release());
  return timing;
}

async function* timeSize(context: BenchContext, size: Size): AsyncGenerator<Measurement> {
  const { release, ...ways } = waysOf(context, size);
  const times = {
    plain: await timePlans(context, ways.plain),
    spectral: await timePlans(context, ways.spectral),
    merged: await timePlans(context, ways.merged),
  };
  release();
  const row = `d = ${size.d}, T = ${size.rows}`;
  const columns = {
    plain: "x W^T",
    spectral: "and the spectral step",
    merged: "x (W + dW)^T, dW built",
  } as const;
  for (const way of ["plain", "spectral", "merged"] as const) {
    const { medianUs: median, minimumUs: minimum, slowestUs: slowest, runs } = times[way];
    yield { table, row, column: columns[way], unit: "us", median, minimum, slowest, runs };
  }
  const adds = (way: "spectral" | "merged"): number => times[way].medianUs - times.plain.medianUs;
  const place = { table, row, note: "(d, d), float32 weights, n = 1000, 1 adapter" };
  yield {
    ...place,
    column: "merging spares",
    unit: "%",
    median: 100 * (1 - times.merged.medianUs / times.spectral.medianUs),
  };
  if (adds("spectral") <= 0) return;
  yield {
    ...place,
    column: "rows that dW costs",
    unit: "",
    median: size.rows * adds("merged") / adds("spectral"),
  };
}

/** See the module's documentation. */
export const crossoverBench: Bench = {
  name: "crossover",
  doc: "one adapter on many rows: spectral, or merged into a copy of the weight",
  async *measure(context) {
    for (const size of sizes(context)) yield* timeSize(context, size);
  },
};
