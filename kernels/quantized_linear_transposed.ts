import { type Case, defineKernel, type Kernel, nans, normals } from "./kernel.ts";
import { transposedLaunch } from "./linear/launch.ts";
import { linearTransposed } from "./linear_transposed.ts";
import { anyWeight, caseName, productBytes, type QuantizedSizes, randomWeight } from "./quantized/cases.ts";
import { weightArrays } from "./quantized/cpu.ts";
import { dequantize } from "./quantized/format.ts";
import { shapeOf, uniforms, weightBuffers, weightOperand } from "./quantized/launch.ts";

type Buffers = "dy" | "words" | "scales" | "dx";
type Uniforms = keyof typeof uniforms;
type Run = Kernel<Buffers, Uniforms>["reference"];

function sized(sizes: QuantizedSizes): Case<Buffers, Uniforms> {
  const { rows, in: inSize, out, bits, accumulate = 0 } = sizes;
  return {
    name: caseName(sizes),
    uniforms: { rows, in: inSize, out, accumulate, bits },
    make: (random) => ({
      dy: normals(rows * out, random),
      ...randomWeight(sizes, random),
      dx: accumulate ? normals(rows * inSize, random) : nans(rows * inSize),
    }),
  };
}

function bench(sizes: QuantizedSizes): Kernel<Buffers, Uniforms>["benches"][number] {
  const { rows, in: inSize, out } = sizes;
  return {
    ...sized(sizes),
    make: (random) => ({
      dy: normals(rows * out, random),
      ...anyWeight(sizes, random),
      dx: nans(rows * inSize),
    }),
    bytes: productBytes(sizes),
    flops: 2 * rows * inSize * out,
  };
}

/** The same with the weight made float32 first. */
const dense = (multiply: typeof linearTransposed.reference): Run => ({ dy, dx, ...weight }, sizes) =>
  multiply({ dy, weight: dequantize(weightArrays(weight), shapeOf(sizes)), dx }, sizes);

/** The gradient of a dense layer's input, the weight quantised. */
export const quantizedLinearTransposed: Kernel<Buffers, Uniforms> = defineKernel({
  name: "quantized_linear_transposed",
  doc: "dx = dy W, or dx += dy W where accumulate is not 0, with W of 8 or 4 bits in blocks of 32",
  buffers: {
    dy: { access: "read", dtypes: ["float32"], doc: "(rows, out), row-major" },
    ...weightBuffers,
    dx: { access: "read_write", dtypes: ["float32"], doc: "(rows, in), row-major" },
  },
  uniforms,
  launch({ uniforms: sizes, dtypes }, limits) {
    const { bits } = shapeOf(sizes);
    const operand = weightOperand({ bits, scaleType: dtypes.scales });
    return transposedLaunch(operand, { sizes, uniforms }, limits);
  },
  reference: dense(linearTransposed.reference),
  cpu: dense(linearTransposed.cpu!),
  tolerance: 1e-5,
  cases: [
    sized({ rows: 1, in: 1, out: 1, bits: 8 }),
    sized({ rows: 3, in: 31, out: 7, bits: 4 }),
    sized({ rows: 64, in: 64, out: 16, bits: 8, accumulate: 1 }),
    sized({ rows: 65, in: 65, out: 37, bits: 4 }),
    sized({ rows: 33, in: 68, out: 515, bits: 4, accumulate: 1 }),
    sized({ rows: 66, in: 132, out: 256, bits: 8 }),
  ],
  benches: [
    bench({ rows: 512, in: 4096, out: 4096, bits: 8 }),
    bench({ rows: 512, in: 4096, out: 4096, bits: 4 }),
  ],
});
