/**
 * Dense products: float32, 16-bit weights, and a single row, where reading the weight is all that counts.
 *
 * @module
 */
import { linear } from "../kernels/linear.ts";
import { type DType, kernels } from "../kernels/mod.ts";
import { step } from "../src/plan.ts";
import type { Device } from "../src/device/device.ts";
import { matrixUnitsFeature } from "../src/device/matrix_units.ts";
import { bytesPerElement, type Tensor } from "../src/tensor.ts";
import { copyRate, rates, times } from "./cells.ts";
import { coldBytes, normalTensor } from "./data.ts";
import { isProduct, timeKernel } from "./kernels.ts";
import type { Bench, BenchContext, Measurement } from "./measurement.ts";
import { timePrograms, type Timing } from "./timer.ts";

const table = "products";

/** A product y (rows, out) = x (rows, in) W^T; dtype is the weight's. */
interface Product {
  readonly rows: number;
  readonly in: number;
  readonly out: number;
  readonly dtype: DType;
}

function sizes({ device, quick }: BenchContext): Product[] {
  if (quick) {
    return [{ rows: 64, in: 64, out: 64, dtype: "float32" }, {
      rows: 1,
      in: 256,
      out: 256,
      dtype: "float16",
    }];
  }
  if (device.kind === "cpu") {
    return [
      { rows: 512, in: 512, out: 512, dtype: "float32" },
      { rows: 1, in: 4096, out: 4096, dtype: "float32" },
    ];
  }
  const products: Product[] = [
    { rows: 4096, in: 4096, out: 4096, dtype: "float32" },
    { rows: 4096, in: 4096, out: 4096, dtype: "float16" },
    { rows: 1, in: 4096, out: 4096, dtype: "float16" },
    { rows: 1, in: 8192, out: 28672, dtype: "float16" },
    { rows: 8, in: 8192, out: 28672, dtype: "float16" },
    { rows: 64, in: 8192, out: 28672, dtype: "float16" },
    { rows: 16, in: 8192, out: 28672, dtype: "float16" },
    { rows: 16, in: 2048, out: 2048, dtype: "float16" },
    { rows: 64, in: 2048, out: 2048, dtype: "float16" },
    { rows: 64, in: 2048, out: 8192, dtype: "float16" },
    { rows: 64, in: 8192, out: 2048, dtype: "float16" },
    { rows: 64, in: 4096, out: 4096, dtype: "float16" },
    { rows: 256, in: 4096, out: 4096, dtype: "float16" },
    { rows: 1, in: 8192, out: 28672, dtype: "float32" },
  ];
  return device.limits.features.has(matrixUnitsFeature)
    ? products.filter(({ rows, dtype }) => rows > 8 && dtype === "float16")
    : products;
}

/** As {@linkcode timeKernel} names the rows of `linear`. */
const rowOf = ({ rows, in: inSize, out, dtype }: Product): string =>
  `linear, ${rows} x ${inSize} by ${out}, ${dtype}`;

/** Where a device may run a product in several ways, each of them alone; then the kernel as it is. */
function kernelsByRow(row: string, words: Words, { device, dtype }: { device: Device; dtype: DType }) {
  const dtypes = { x: "float32", weight: dtype, y: "float32" } as const;
  const ways = linear.ways?.({ uniforms: words, dtypes }, device.limits).ways ?? [];
  const each = ways.length < 2 ? [] : ways.map((way): [string, typeof linear] => {
    const { ways: _, ...only } = linear;
    return [`${row}, ${way}`, { ...only, launch: (call, limits) => linear.launch(call, limits, way) }];
  });
  return new Map<string, typeof linear>([...each, [row, linear]]);
}

type Words = Readonly<Record<keyof typeof linear.uniforms, number>>;

const weightBytes = ({ in: inSize, out }: Product, dtype: DType): number =>
  inSize * out * bytesPerElement[dtype];

/** Operands on the device: weights in turn until no cache holds one when its turn comes again. */
interface Operands {
  readonly words: Words;
  readonly x: Tensor;
  readonly y: Tensor;
  readonly weights: readonly Tensor[];
}

function operandsOf(context: BenchContext, size: Product): Operands {
  const { device } = context;
  const { rows, in: inSize, out, dtype } = size;
  const count = Math.max(1, Math.ceil(weightsToTurn(context, weightBytes(size, dtype))));
  return {
    words: { rows, in: inSize, out, accumulate: 0 },
    x: normalTensor(device, [rows, inSize]),
    y: device.alloc([rows, out], "float32"),
    weights: Array.from({ length: count }, () => normalTensor(device, [out, inSize], dtype)),
  };
}

async function timeWith(
  context: BenchContext,
  { x, y, weights, words }: Operands,
  kernel: typeof linear,
): Promise<Timing> {
  const { device } = context;
  const programs = await Promise.all(
    weights.map((weight) => device.prepare([step(kernel, { x, weight, y }, words)])),
  );
  const timing = await timePrograms(device, programs, context);
  programs.forEach((program) => program.release());
  return timing;
}

/** x and y are small, or read many times; the weights are what counts. */
async function* timeProduct(context: BenchContext, asked: Product): AsyncGenerator<Measurement> {
  const { device } = context;
  const size: Product = device.kind === "cpu" ? { ...asked, dtype: "float32" } : asked;
  const { rows, in: inSize, out, dtype } = size;
  const operands = operandsOf(context, size);
  const { words, x, y, weights } = operands;
  const { median: copyGBs } = await copyRate(context);
  const work = {
    bytes: weightBytes(size, dtype) + 4 * rows * (inSize + out),
    flops: 2 * rows * inSize * out,
    copyGBs,
  };
  for (const [row, kernel] of kernelsByRow(rowOf(size), words, { device, dtype })) {
    try {
      const timing = await timeWith(context, operands, kernel);
      yield* times({ table, row }, timing);
      yield* rates({ table, row }, timing, work);
    } catch (error) {
      // A way that this GPU does not take must not end the bench of the others.
      if (kernel === linear) throw error;
      context.log(`left out: ${row}: ${(error as Error).message}`);
    }
  }
  for (const t of [x, y, ...weights]) device.release(t);
}

function weightsToTurn(context: BenchContext, bytes: number): number {
  return Math.min(64, coldBytes(context) / bytes);
}

/** See the module's documentation. */
export const productsBench: Bench = {
  name: "products",
  doc: "dense products, and matrix-vector products against a copy on the same device",
  peers: ["products.py"],
  async *measure(context) {
    yield await copyRate(context);
    const timed = sizes(context);
    for (const size of timed) yield* timeProduct(context, size);
    // Of a GPU opened for matrix units, only what they change.
    if (context.device.limits.features.has(matrixUnitsFeature)) return;
    const known = new Set(timed.map(rowOf));
    for (const kernel of kernels.filter(isProduct)) yield* timeKernel(context, { kernel, table, known });
  },
};
