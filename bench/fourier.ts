/**
 * The time that an adapter adds to a linear layer, that dW takes to build, and that the coefficients' gradient takes.
 *
 * @module
 */
import { fourierDelta } from "../kernels/fourier_delta.ts";
import { fourierTable } from "../kernels/fourier_table.ts";
import { randomFrequencies } from "../kernels/cases/random_frequencies.ts";
import { fourierGradient, kernels } from "../kernels/mod.ts";
import { deltaPieces } from "../src/adapters/apply.ts";
import { uniforms } from "../src/engine/random.ts";
import { type Plan, step } from "../src/plan.ts";
import { tensor } from "../src/tensor.ts";
import { copyRate, rates, times } from "./cells.ts";
import { normalTensor } from "./data.ts";
import { layerBytes, type LayerSize, layerSteps } from "./fourier_layer.ts";
import { isFourier, timeKernel } from "./kernels.ts";
import type { Bench, BenchContext, Measurement } from "./measurement.ts";
import { timePrograms, type Timing } from "./timer.ts";

const n = 1000;
const table = "fourier";

function label({ out, in: inFeatures, rows, adapters }: LayerSize): string {
  return `${out} x ${inFeatures}, T = ${rows}, ${adapters} adapter${adapters > 1 ? "s" : ""}`;
}

function forwardSizes({ device, quick }: BenchContext): LayerSize[] {
  const square = (d: number, rows: number, adapters: number) => [d, d, rows, adapters];
  const sizes = quick
    ? [square(256, 1, 1), square(256, 8, 8)]
    : device.kind === "cpu"
    ? [[1, 1], [16, 1], [16, 16]].map(([t, a]) => square(4096, t, a)).concat(
      [square(768, 1, 1), square(8192, 1, 1)],
    )
    : [[1, 1], [1, 1024], [64, 1], [64, 64], [512, 1], [512, 512], [4096, 1], [4096, 1024]]
      .map(([t, a]) => square(4096, t, a)).concat(
        [1, 512, 4096].map((t) => square(8192, t, 1)),
        [16384, 32768].map((d) => square(d, 512, 1)),
      );
  return sizes.map(([out, inFeatures, rows, adapters]) => ({ out, in: inFeatures, rows, adapters, n }));
}

/** Sizes of real models, and what a transform of the next power of two on either side would take. */
function oddSizes({ device, quick }: BenchContext): LayerSize[] {
  const shapes = quick
    ? [[688, 256]]
    : [[11008, 4096], [14336, 4096], [18944, 3584], [4096, 11008], [4096, 14336], [3584, 18944]];
  const rows = quick ? 2 : device.kind === "cpu" ? 1 : 512;
  return shapes.map(([out, inFeatures]) => ({ out, in: inFeatures, rows, adapters: 1, n }));
}

function rounded(size: LayerSize): LayerSize {
  const up = (length: number): number => 2 ** Math.ceil(Math.log2(length));
  return { ...size, out: up(size.out), in: up(size.in) };
}

async function timeSteps({ device, quick }: BenchContext, plans: readonly Plan[]): Promise<Timing> {
  const programs = await Promise.all(plans.map((plan) => device.prepare(plan)));
  const timing = await timePrograms(device, programs, { quick });
  programs.forEach((program) => program.release());
  return timing;
}

/** The rows of a size; microseconds at last. */
async function* timeForward(
  context: BenchContext,
  size: LayerSize,
  row = label(size),
): AsyncGenerator<Measurement, number> {
  const { steps, release } = layerSteps(context, size);
  const timing = await timeSteps(context, steps.map((one) => [one]));
  release();
  const place = { table, row };
  const { median: copyGBs } = await copyRate(context);
  yield* times(place, timing);
  yield* rates(place, timing, { bytes: layerBytes(size), copyGBs });
  return timing.medianUs;
}

/** Odd lengths beside the next powers of two, and what they take of those. */
async function* timeOdd(context: BenchContext): AsyncGenerator<Measurement> {
  const powers = new Map<string, number>();
  for (const size of oddSizes(context)) {
    const power = rounded(size);
    const key = label(power);
    if (!powers.has(key)) powers.set(key, yield* timeForward(context, power));
    const us = yield* timeForward(context, size);
    const cell = { table: "odd-lengths", row: label(size) };
    yield { ...cell, column: "takes", unit: "us", median: us };
    yield { ...cell, column: "the next power of two", unit: "us", median: powers.get(key)! };
    yield { ...cell, column: "ratio", unit: "", median: us / powers.get(key)! };
  }
}

/** q, k and v of a layer with grouped heads: together, beside one step after another, and q alone. */
async function* timeQkv(context: BenchContext, rows: number): AsyncGenerator<Measurement> {
  const { device, quick } = context;
  const [d, kv] = quick ? [256, 64] : [4096, 1024];
  const size = { in: d, rows, adapters: Math.min(64, rows), n };
  const row = `q, k, v of ${d} -> ${d}, ${kv}, ${kv}, T = ${rows}`;
  const x = normalTensor(device, [rows, d]);
  const parts = [d, kv, kv].map((out) => layerSteps(context, { ...size, out }, { x }));
  const apart = parts[0].steps.map((_, i) => parts.map(({ steps }) => steps[i]));
  yield* times({ table, row: `${row}, in three steps` }, await timeSteps(context, apart));
  const alone = await timeSteps(context, parts[0].steps.map((one) => [one]));
  parts.forEach(({ release }) => release());
  device.release(x);
  const together = yield* timeForward(context, { ...size, out: d, beside: [kv, kv] }, `${row}, together`);
  const ratio = together / alone.medianUs;
  yield { table, row: `${row}, together`, column: "of q alone", unit: "", median: ratio };
}

function deltaSizes({ device, quick }: BenchContext): [number, number][] {
  if (quick) return [[256, 256]];
  if (device.kind === "cpu") return [[1024, 1024], [4096, 4096]];
  return [[4096, 4096], [8192, 8192], [16384, 53248]];
}

async function* timeDelta(
  context: BenchContext,
  [out, inFeatures]: [number, number],
): AsyncGenerator<Measurement> {
  const { device } = context;
  const shape = { out, in: inFeatures };
  const { u, v } = randomFrequencies(n, shape, uniforms(2));
  const entries = fourierTable({ destination: v, source: u }, { destination: inFeatures, source: out });
  const most = Math.floor(device.maxTensorBytes / (4 * inFeatures));
  const weights = deltaPieces(out, most).map((rows) => ({
    rows,
    weight: device.alloc([rows.count, inFeatures], "float32"),
  }));
  const inputs = { table: device.upload(tensor(entries.table)), values: normalTensor(device, [n]) };
  const words = { ...shape, scale: 150 / (out * inFeatures), accumulate: 0 };
  const program = await device.prepare(
    weights.map(({ rows: { first, count }, weight }) =>
      step(fourierDelta, { ...inputs, weight }, { ...words, first, rows: count })
    ),
  );
  const timing = await timePrograms(device, [program], context);
  program.release();
  for (const t of [...weights.map(({ weight }) => weight), ...Object.values(inputs)]) device.release(t);
  const pieces = weights.length > 1 ? `, in ${weights.length} pieces` : "";
  const place = { table: "fourier-delta", row: `${out} x ${inFeatures}${pieces}` };
  const { median: copyGBs } = await copyRate(context);
  yield* times(place, timing);
  yield* rates(place, timing, { bytes: 4 * out * inFeatures, copyGBs });
}

/** Kernels of this family that have no table of their own: their files list their sizes. */
const others = kernels.filter((kernel) =>
  isFourier(kernel) && !["fourier_linear", "fourier_delta", "fourier_gradient"].includes(kernel.name)
);

async function* orLeaveOut(
  { log }: BenchContext,
  what: string,
  rows: AsyncIterable<Measurement>,
): AsyncGenerator<Measurement> {
  try {
    yield* rows;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    log(`left out: ${what}: ${error.message}`);
  }
}

/** See the module's documentation. */
export const fourierBench: Bench = {
  name: "fourier",
  doc: "what an adapter adds to a linear, dW, and the coefficients' gradient",
  peers: ["peft_fourierft.py"],
  async *measure(context) {
    yield await copyRate(context);
    for (const size of forwardSizes(context)) {
      yield* orLeaveOut(context, label(size), timeForward(context, size));
    }
    yield* timeOdd(context);
    for (const rows of context.quick ? [2] : context.device.kind === "cpu" ? [1] : [1, 64]) {
      yield* timeQkv(context, rows);
    }
    for (const kernel of others) yield* timeKernel(context, { kernel, table });
    for (const size of deltaSizes(context)) {
      yield* orLeaveOut(context, `dW ${size}`, timeDelta(context, size));
    }
    yield* timeKernel(context, {
      kernel: kernels.find(({ name }) => name === fourierGradient.name)!,
      table: "fourier-gradient",
    });
  },
};
