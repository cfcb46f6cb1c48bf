import { anyKernel, defineKernel, type Kernel, nans, normals } from "./kernel.ts";
import { linear } from "./linear.ts";
import { anyWeight, productBytes, productCase, type QuantizedSizes } from "./quantized/cases.ts";
import { quantizedProduct, weightArrays } from "./quantized/cpu.ts";
import { dequantize } from "./quantized/format.ts";
import {
  quantizedLinearLaunch,
  quantizedLinearWays,
  shapeOf,
  uniforms,
  weightBuffers,
} from "./quantized/launch.ts";
import { wasmQuantized } from "./quantized/wasm.ts";
import { quantizedLinearTransposed } from "./quantized_linear_transposed.ts";

type Buffers = "x" | "words" | "scales" | "y";
type Uniforms = keyof typeof uniforms;

function bench(sizes: QuantizedSizes): Kernel<Buffers, Uniforms>["benches"][number] {
  const { rows, in: inSize, out } = sizes;
  return {
    ...productCase(sizes),
    make: (random) => ({
      x: normals(rows * inSize, random),
      ...anyWeight(sizes, random),
      y: nans(rows * out),
    }),
    bytes: productBytes(sizes),
    flops: 2 * rows * inSize * out,
  };
}

/** The dense layer without bias, its weight quantised. */
export const quantizedLinear: Kernel<Buffers, Uniforms> = defineKernel({
  name: "quantized_linear",
  doc: "y = x W^T, or y += x W^T where accumulate is not 0, with W of 8 or 4 bits in blocks of 32",
  buffers: {
    x: { access: "read", dtypes: ["float32"], doc: "(rows, in), row-major" },
    ...weightBuffers,
    y: { access: "read_write", dtypes: ["float32"], doc: "(rows, out), row-major" },
  },
  uniforms,
  launch: ({ uniforms, dtypes }, limits, way) =>
    quantizedLinearLaunch(uniforms, { bias: false, scaleType: dtypes.scales }, { limits, way }),
  ways: ({ uniforms }, limits) => quantizedLinearWays(uniforms, limits),
  reference({ x, y, ...weight }, sizes) {
    linear.reference({ x, weight: dequantize(weightArrays(weight), shapeOf(sizes)), y }, sizes);
  },
  cpu: quantizedProduct,
  wasm: (sizes) => wasmQuantized(sizes, 0),
  backward: ({ rows, in: inSize, out, bits, accumulate }) => ({
    steps: [{
      kernel: anyKernel(quantizedLinearTransposed),
      values: { words: "words", scales: "scales" },
      gradients: { dy: "y" },
      targets: { dx: { of: "x", mode: "accumulate" } },
      uniforms: { rows, in: inSize, out, accumulate: 1, bits },
    }],
    overwritten: accumulate ? [] : ["y"],
  }),
  tolerance: 1e-5,
  cases: [
    productCase({ rows: 1, in: 1, out: 1, bits: 8 }),
    productCase({ rows: 1, in: 1, out: 1, bits: 4 }),
    productCase({ rows: 1, in: 31, out: 7, bits: 8, accumulate: 1 }),
    productCase({ rows: 1, in: 768, out: 9, bits: 4, accumulate: 1 }),
    productCase({ rows: 2, in: 257, out: 5, bits: 8, scaleType: "float32" }),
    productCase({ rows: 2, in: 2337, out: 9, bits: 4 }),
    productCase({ rows: 3, in: 36, out: 33, bits: 4 }),
    productCase({ rows: 7, in: 576, out: 66, bits: 8 }),
    productCase({ rows: 17, in: 132, out: 30, bits: 4, accumulate: 1 }),
    productCase({ rows: 32, in: 65, out: 31, bits: 4 }),
    productCase({ rows: 33, in: 32, out: 64, bits: 8 }),
    productCase({ rows: 65, in: 37, out: 63, bits: 4 }),
    productCase({ rows: 64, in: 100, out: 65, bits: 8, accumulate: 1, scaleType: "float32" }),
    productCase({ rows: 66, in: 1024, out: 36, bits: 4, accumulate: 1 }),
    productCase({ rows: 129, in: 64, out: 1601, bits: 8 }),
  ],
  benches: [
    bench({ rows: 1, in: 8192, out: 28672, bits: 8 }),
    bench({ rows: 1, in: 8192, out: 28672, bits: 4 }),
    bench({ rows: 1, in: 4096, out: 4096, bits: 8 }),
    bench({ rows: 1, in: 4096, out: 4096, bits: 4 }),
    bench({ rows: 8, in: 4096, out: 14336, bits: 8 }),
    bench({ rows: 8, in: 4096, out: 14336, bits: 4 }),
    bench({ rows: 512, in: 4096, out: 4096, bits: 8 }),
    bench({ rows: 512, in: 4096, out: 4096, bits: 4 }),
  ],
});
