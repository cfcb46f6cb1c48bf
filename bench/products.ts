/**
 * Products by weights of every format. They have one row, where only reading the weight counts, a batch's rows, or many.
 * Each is timed as the device runs it; those of 16 bits and more also in each of the kernel's ways.
 *
 * @module
 */
import { linear } from "../kernels/linear.ts";
import { anyKernel, type Call, type DType, inWay, type Kernel } from "../kernels/kernel.ts";
import { kernels } from "../kernels/mod.ts";
import { nameOf, variantOf, weightBytes } from "../kernels/cases/weights.ts";
import type { WeightFormat } from "../kernels/formats/format.ts";
import { dense, formats } from "../kernels/formats/mod.ts";
import { step } from "../src/plan.ts";
import { matrixUnitsFeature } from "../src/device/matrix_units.ts";
import type { Tensor } from "../src/tensor.ts";
import { copyRate, rates, times } from "./cells.ts";
import { coldBytes, normalTensor, prepareInTurn, randomWords } from "./data.ts";
import { isProduct, timeKernel } from "./kernels.ts";
import type { Bench, BenchContext, Measurement } from "./measurement.ts";
import { timePrograms } from "./timer.ts";

const table = "products";

/** A product y (rows, out) = x (rows, in) W^T. */
interface Product {
  readonly rows: number;
  readonly in: number;
  readonly out: number;
  readonly weight: StoredAs;
}

/** A weight's format, and the element types of its buffers. */
interface StoredAs {
  readonly format: WeightFormat;
  readonly types: Readonly<Record<string, DType>>;
}

const floats = (weight: DType): StoredAs => ({ format: dense, types: { weight } });

/** Sizes as `rows x in by out`. */
function products(weight: StoredAs, sizes: readonly string[]): Product[] {
  return sizes.map((size) => {
    const [rows, inSize, out] = size.split(/ x | by /).map(Number);
    return { rows, in: inSize, out, weight };
  });
}

function sizes({ device, quick }: BenchContext): Product[] {
  if (quick) {
    return [
      ...products(floats("float32"), ["64 x 64 by 64"]),
      ...products(floats("float16"), ["1 x 256 by 256"]),
    ];
  }
  if (device.kind === "cpu") return products(floats("float32"), ["512 x 512 by 512", "1 x 4096 by 4096"]);
  const all: Product[] = [
    ...products(floats("float32"), ["4096 x 4096 by 4096", "1 x 8192 by 28672"]),
    ...products(floats("float16"), [
      "4096 x 4096 by 4096",
      ...[1, 8, 16, 64, 256].map((rows) => `${rows} x 8192 by 28672`),
      // The linears of a decode step of Llama-3.2-1B's shape, gate and up together, and one as large as many have.
      "1 x 2048 by 2048",
      "1 x 2048 by 3072",
      "1 x 2048 by 8192",
      "1 x 2048 by 16384",
      "1 x 8192 by 2048",
      "1 x 4096 by 4096",
      ...[8, 16, 64, 256].map((rows) => `${rows} x 2048 by 2048`),
      "64 x 2048 by 16384",
      "64 x 2048 by 8192",
      "64 x 8192 by 2048",
      "64 x 4096 by 4096",
      "256 x 4096 by 4096",
    ]),
  ];
  return device.limits.features.has(matrixUnitsFeature)
    ? all.filter(({ rows, weight }) => rows > 8 && weight.types.weight === "float16")
    : all;
}

/** The product's kernel, its row's name as {@linkcode timeKernel} gives it, and what it is called with. */
function callOf(
  { rows, in: inSize, out, weight: { format, types } }: Product,
  { device }: BenchContext,
): { readonly kernel: Kernel; readonly row: string; readonly call: Call; readonly weightBytes: number } {
  const uniforms = { rows, in: inSize, out, accumulate: 0 };
  // A CPU holds floats of 16 bits as float32.
  const held = device.kind === "cpu" && format === dense ? { weight: "float32" as const } : types;
  const kernel = anyKernel(linear.of(format));
  return {
    kernel,
    row: `${kernel.name}, ${nameOf(`${rows} x ${inSize} by ${out}`, format, held)}`,
    call: { uniforms, dtypes: { x: "float32", y: "float32", ...held } },
    weightBytes: weightBytes({ format, shape: { in: inSize, out }, types: held }),
  };
}

/** A weight of any numbers, in the buffers of the product's kernel. */
function weightTensors(
  { device }: BenchContext,
  { in: inSize, out, weight: { format, types } }: Product,
): Record<string, Tensor> {
  const made = Object.entries(format.rowElements(inSize)).map(([name, count]) => {
    const shape = [out, count], dtype = types[name];
    return [name, dtype === "uint32" ? randomWords(device, shape) : normalTensor(device, shape, dtype)];
  });
  return Object.fromEntries(made);
}

/** A way that rounds x to float16 first, without that dispatch: what it left in scratch before is multiplied. */
function ofHalves(kernel: Kernel, way: string): Kernel {
  return {
    ...inWay(kernel, way),
    launch(call, limits) {
      const { dispatches: [_, ...product], ...rest } = kernel.launch(call, limits, way);
      return { ...rest, dispatches: product };
    },
  };
}

/** Weights in turn until no cache holds one when its turn comes again; x and y are small, or read many times. */
async function* timeProduct(
  context: BenchContext,
  size: Product,
  { inTable = table, everyWay = true } = {},
): AsyncGenerator<Measurement> {
  const { device } = context, { rows, in: inSize, out } = size;
  const { kernel, row, call, weightBytes } = callOf(size, context);
  const x = normalTensor(device, [rows, inSize]);
  const y = device.alloc([rows, out], "float32");
  const count = Math.max(1, Math.ceil(weightsToTurn(context, weightBytes)));
  const weights = Array.from({ length: count }, () => weightTensors(context, size));
  const { median: copyGBs } = await copyRate(context);
  const work = { bytes: weightBytes + 4 * rows * (inSize + out), flops: 2 * rows * inSize * out, copyGBs };
  const time = async (timed: Kernel, row: string, many: boolean): Promise<Measurement[]> => {
    const plans = weights.map((weight) => [step(timed, { x, ...weight, y }, call.uniforms)]);
    const programs = await prepareInTurn(device, plans);
    const timing = await timePrograms(device, programs, { ...context, many });
    programs.forEach((program) => program.release());
    const place = { table: inTable, row };
    return [...times(place, timing), ...rates(place, timing, work)];
  };
  yield* await time(kernel, row, false);
  const ways = everyWay && device.kind === "webgpu" ? kernel.ways?.(call, device.limits).ways ?? [] : [];
  for (const way of ways.length > 1 ? ways : []) {
    try {
      yield* await time(inWay(kernel, way), `${row}, ${way}`, true);
      if (way.includes("of halves")) {
        yield* await time(ofHalves(kernel, way), `${row}, ${way}, x rounded before`, true);
      }
    } catch (error) {
      // A way that this GPU does not take must not end the bench of the others.
      context.log(`left out: ${row}, ${way}: ${(error as Error).message}`);
    }
  }
  for (const t of [x, y, ...weights.flatMap((weight) => Object.values(weight))]) device.release(t);
}

function weightsToTurn(context: BenchContext, bytes: number): number {
  return Math.min(64, coldBytes(context) / bytes);
}

/** See the module's documentation. */
export const productsBench: Bench = {
  name: "products",
  doc: "dense products in every way, and matrix-vector products against a copy on the same device",
  peers: ["products.py"],
  async *measure(context) {
    yield await copyRate(context);
    const timed = sizes(context);
    for (const size of timed) yield* timeProduct(context, size);
    // Of a GPU opened for matrix units, only what they change.
    if (context.device.limits.features.has(matrixUnitsFeature)) return;
    const known = new Set(timed.map((size) => callOf(size, context).row));
    for (const kernel of kernels.filter(isProduct)) yield* timeKernel(context, { kernel, table, known });
  },
};

const quantizedTable = "quantized";

/** Sizes at which products by weights in blocks are compared with those by float16. */
function quantizedSizes({ device, quick }: BenchContext): string[] {
  if (quick) return ["1 x 256 by 256"];
  if (device.kind === "cpu") return ["1 x 4096 by 4096"];
  return [
    ...[1, 8, 64].map((rows) => `${rows} x 8192 by 28672`),
    "1 x 2048 by 2048",
    "1 x 2048 by 16384",
    "1 x 8192 by 2048",
    "1 x 4096 by 4096",
    "64 x 2048 by 2048",
  ];
}

/** See the module's documentation. */
export const quantizedBench: Bench = {
  name: "quantized",
  doc: "products by weights of every other format, beside those of float16",
  async *measure(context) {
    const packed = formats.filter((format) => format !== dense);
    const weights = [floats("float16"), ...packed.map((format) => ({ format, types: variantOf(format) }))];
    for (const size of quantizedSizes(context)) {
      let wideUs: number | undefined;
      for (const weight of weights) {
        const [product] = products(weight, [size]);
        const cells = await Array.fromAsync(
          timeProduct(context, product, { inTable: quantizedTable, everyWay: false }),
        );
        yield* cells;
        const [{ row, median: us }] = cells;
        wideUs ??= us;
        yield {
          table: quantizedTable,
          row,
          column: "as fast as 16 bits",
          unit: "times",
          median: wideUs / us,
        };
      }
    }
  },
};
