import { type Case, defineKernel, type Kernel, normals } from "./kernel.ts";
import { productCase, type QuantizedSizes } from "./quantized/cases.ts";
import { quantizedLinearLaunch, quantizedLinearWays, uniforms, weightBuffers } from "./quantized/launch.ts";
import { wasmQuantized } from "./quantized/wasm.ts";
import { quantizedLinear } from "./quantized_linear.ts";

type Buffers = "x" | "words" | "scales" | "bias" | "y";
type Uniforms = keyof typeof uniforms;
type Run = Kernel<Buffers, Uniforms>["reference"];

function sized(sizes: QuantizedSizes): Case<Buffers, Uniforms> {
  const { make, ...rest } = productCase(sizes);
  return { ...rest, make: (random) => ({ ...make(random), bias: normals(sizes.out, random) }) };
}

/** Starts y with the bias, or adds it to what y holds; the product is then accumulated. */
const biasThen = (multiply: typeof quantizedLinear.reference): Run => ({ bias, ...arrays }, sizes) => {
  const { rows, out, accumulate } = sizes;
  for (let r = 0; r < rows; r++) {
    for (let o = 0; o < out; o++) arrays.y[r * out + o] = bias[o] + (accumulate ? arrays.y[r * out + o] : 0);
  }
  multiply(arrays, { ...sizes, accumulate: 1 });
};

/** The dense layer with bias, its weight quantised. */
export const quantizedLinearBias: Kernel<Buffers, Uniforms> = defineKernel({
  name: "quantized_linear_bias",
  doc:
    "y = x W^T + bias, or y += x W^T + bias where accumulate is not 0, with W of 8 or 4 bits in blocks of 32",
  buffers: {
    x: quantizedLinear.buffers.x,
    ...weightBuffers,
    bias: { access: "read", dtypes: ["float32"], doc: "(out)" },
    y: quantizedLinear.buffers.y,
  },
  uniforms,
  launch: ({ uniforms, dtypes }, limits, way) =>
    quantizedLinearLaunch(uniforms, { bias: true, scaleType: dtypes.scales }, { limits, way }),
  ways: ({ uniforms }, limits) => quantizedLinearWays(uniforms, limits),
  reference: biasThen(quantizedLinear.reference),
  cpu: biasThen(quantizedLinear.cpu!),
  wasm: (sizes) => wasmQuantized(sizes, "bias"),
  backward: quantizedLinear.backward!,
  tolerance: quantizedLinear.tolerance,
  cases: [
    sized({ rows: 1, in: 1, out: 1, bits: 4 }),
    sized({ rows: 5, in: 64, out: 31, bits: 8 }),
    sized({ rows: 3, in: 67, out: 13, bits: 4, accumulate: 1 }),
    sized({ rows: 65, in: 33, out: 65, bits: 8, accumulate: 1 }),
    sized({ rows: 127, in: 512, out: 129, bits: 4 }),
  ],
  benches: [],
});
