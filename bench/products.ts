/**
 * Dense products: float32, 16-bit weights, and a single row, where reading the weight is all that counts.
 *
 * @module
 */
import { linear } from "../kernels/linear.ts";
import { type DType, kernels } from "../kernels/mod.ts";
import { step } from "../src/plan.ts";
import { bytesPerElement } from "../src/tensor.ts";
import { copyRate, rates, times } from "./cells.ts";
import { coldBytes, normalTensor } from "./data.ts";
import { isProduct, timeKernel } from "./kernels.ts";
import type { Bench, BenchContext, Measurement } from "./measurement.ts";
import { timePrograms } from "./timer.ts";

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
  return [
    { rows: 4096, in: 4096, out: 4096, dtype: "float32" },
    { rows: 4096, in: 4096, out: 4096, dtype: "float16" },
    { rows: 1, in: 4096, out: 4096, dtype: "float16" },
    { rows: 1, in: 8192, out: 28672, dtype: "float16" },
    { rows: 8, in: 8192, out: 28672, dtype: "float16" },
    { rows: 64, in: 8192, out: 28672, dtype: "float16" },
    { rows: 1, in: 8192, out: 28672, dtype: "float32" },
  ];
}

/** As {@linkcode timeKernel} names the rows of `linear`. */
const rowOf = ({ rows, in: inSize, out, dtype }: Product): string =>
  `linear, ${rows} x ${inSize} by ${out}, ${dtype}`;

const weightBytes = ({ in: inSize, out }: Product, dtype: DType): number =>
  inSize * out * bytesPerElement[dtype];

/** Weights in turn until no cache holds one when its turn comes again; x and y are small, or read many times. */
async function* timeProduct(context: BenchContext, size: Product): AsyncGenerator<Measurement> {
  const { device } = context;
  const { rows, in: inSize, out, dtype } = size;
  const held: DType = device.kind === "cpu" ? "float32" : dtype;
  const count = Math.max(1, Math.ceil(weightsToTurn(context, weightBytes(size, held))));
  const x = normalTensor(device, [rows, inSize]);
  const y = device.alloc([rows, out], "float32");
  const weights = Array.from({ length: count }, () => normalTensor(device, [out, inSize], dtype));
  const words = { rows, in: inSize, out, accumulate: 0 };
  const programs = await Promise.all(
    weights.map((weight) => device.prepare([step(linear, { x, weight, y }, words)])),
  );
  const timing = await timePrograms(device, programs, context);
  programs.forEach((program) => program.release());
  for (const t of [x, y, ...weights]) device.release(t);
  const place = { table, row: rowOf({ ...size, dtype: held }) };
  const { median: copyGBs } = await copyRate(context);
  yield* times(place, timing);
  yield* rates(place, timing, {
    bytes: weightBytes(size, held) + 4 * rows * (inSize + out),
    flops: 2 * rows * inSize * out,
    copyGBs,
  });
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
    const known = new Set(timed.map(rowOf));
    for (const kernel of kernels.filter(isProduct)) yield* timeKernel(context, { kernel, table, known });
  },
};
