/**
 * What an adapter adds to a linear layer, what dW costs to build, and its coefficients' gradient.
 *
 * @module
 */
import { fourierDelta } from "../kernels/fourier_delta.ts";
import { fourierTable, randomFrequencies } from "../kernels/fourier_table.ts";
import { fourierGradient, kernels } from "../kernels/mod.ts";
import { deltaPieces } from "../src/adapters/apply.ts";
import { uniforms } from "../src/engine/random.ts";
import { step } from "../src/plan.ts";
import { tensor } from "../src/tensor.ts";
import { copyRate, rates, times } from "./cells.ts";
import { normalTensor } from "./data.ts";
import { layerBytes, type LayerSize, layerSteps } from "./fourier_layer.ts";
import { timeKernel } from "./kernels.ts";
import type { Bench, BenchContext, Measurement } from "./measurement.ts";
import { timePrograms } from "./timer.ts";

const n = 1000;
const table = "fourier";

function label({ out, in: inFeatures, rows, adapters }: LayerSize): string {
  return `${out} x ${inFeatures}, T = ${rows}, ${adapters} adapter${adapters > 1 ? "s" : ""}`;
}

function forwardSizes({ device, quick }: BenchContext): LayerSize[] {
  const square = (d: number, rows: number, adapters: number) => [d, d, rows, adapters];
  const odd = [[11008, 4096], [14336, 4096], [18944, 3584], [4096, 11008], [4096, 14336], [3584, 18944]];
  const sizes = quick
    ? [square(256, 1, 1), square(256, 8, 8), [688, 256, 2, 1]]
    : device.kind === "cpu"
    ? [[1, 1], [16, 1], [16, 16]].map(([t, a]) => square(4096, t, a)).concat(
      [square(768, 1, 1), square(8192, 1, 1)],
      odd.map(([out, inFeatures]) => [out, inFeatures, 1, 1]),
    )
    : [[1, 1], [1, 1024], [64, 1], [64, 64], [512, 1], [512, 512], [4096, 1], [4096, 1024]]
      .map(([t, a]) => square(4096, t, a)).concat(
        [1, 512, 4096].map((t) => square(8192, t, 1)),
        [16384, 32768].map((d) => square(d, 512, 1)),
        odd.map(([out, inFeatures]) => [out, inFeatures, 512, 1]),
      );
  return sizes.map(([out, inFeatures, rows, adapters]) => ({ out, in: inFeatures, rows, adapters, n }));
}

async function* timeForward(context: BenchContext, size: LayerSize): AsyncGenerator<Measurement> {
  const { device } = context;
  const { steps, release } = layerSteps(context, size);
  const programs = await Promise.all(steps.map((one) => device.prepare([one])));
  const timing = await timePrograms(device, programs, context);
  programs.forEach((program) => program.release());
  release();
  const place = { table, row: label(size) };
  const { median: copyGBs } = await copyRate(context);
  yield* times(place, timing);
  yield* rates(place, timing, { bytes: layerBytes(size), copyGBs });
}

/** q, k and v of a layer with grouped heads, one step after another: what a kernel for all three is compared with. */
async function* timeQkv(context: BenchContext): AsyncGenerator<Measurement> {
  const { device, quick } = context;
  const [d, kv, rows] = quick ? [256, 64, 2] : [4096, 1024, device.kind === "cpu" ? 1 : 64];
  const x = normalTensor(device, [rows, d]);
  const parts = [d, kv, kv].map((out) =>
    layerSteps(context, { out, in: d, rows, adapters: Math.min(64, rows), n }, { x })
  );
  const plans = parts[0].steps.map((_, i) => parts.map(({ steps }) => steps[i]));
  const programs = await Promise.all(plans.map((plan) => device.prepare(plan)));
  const timing = await timePrograms(device, programs, context);
  programs.forEach((program) => program.release());
  parts.forEach(({ release }) => release());
  device.release(x);
  yield* times({ table, row: `q, k, v of ${d} -> ${d}, ${kv}, ${kv}, T = ${rows}, in three steps` }, timing);
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
const others = kernels.filter(({ name }) =>
  name.startsWith("fourier_") && !["fourier_linear", "fourier_delta", "fourier_gradient"].includes(name)
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
    yield* timeQkv(context);
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
