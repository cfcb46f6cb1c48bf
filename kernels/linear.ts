import { linearTransposed } from "./linear_transposed.ts";
import {
  anyKernel,
  type Bench,
  type Case,
  defineKernel,
  type DType,
  type Kernel,
  nans,
  normals,
} from "./kernel.ts";
import { narrow } from "./half.ts";
import { product } from "./linear/cpu.ts";
import { linearLaunch, linearWays } from "./linear/launch.ts";
import { uniforms } from "./linear/wgsl.ts";

type Buffers = "x" | "weight" | "y";
type Uniforms = keyof typeof uniforms;

interface Sizes {
  readonly rows: number;
  readonly in: number;
  readonly out: number;
  readonly dtype?: DType;
  readonly accumulate?: number;
}

function sized({ rows, in: inSize, out, dtype = "float32", accumulate = 0 }: Sizes): Case<Buffers, Uniforms> {
  return {
    name: `${rows} x ${inSize} by ${out}, ${dtype}${accumulate ? ", accumulated" : ""}`,
    uniforms: { rows, in: inSize, out, accumulate },
    dtypes: { weight: dtype },
    make: (random) => ({
      x: normals(rows * inSize, random),
      weight: narrow(normals(out * inSize, random, 1 / Math.sqrt(inSize)), dtype),
      y: accumulate ? normals(rows * out, random) : nans(rows * out),
    }),
  };
}

function bench(sizes: Sizes): Bench<Buffers, Uniforms> {
  const { rows, in: inSize, out, dtype = "float32" } = sizes;
  const weightBytes = inSize * out * (dtype === "float32" ? 4 : 2);
  return {
    ...sized(sizes),
    bytes: weightBytes + 4 * rows * (inSize + out),
    flops: 2 * rows * inSize * out,
  };
}

/** The dense layer without bias. */
export const linear: Kernel<Buffers, Uniforms> = defineKernel({
  name: "linear",
  doc: "y = x W^T, or y += x W^T where accumulate is not 0",
  buffers: {
    x: { access: "read", dtypes: ["float32"], doc: "(rows, in), row-major" },
    weight: { access: "read", dtypes: ["float32", "float16", "bfloat16"], doc: "(out, in), row-major" },
    y: { access: "read_write", dtypes: ["float32"], doc: "(rows, out), row-major" },
  },
  uniforms,
  launch: ({ uniforms, dtypes }, limits, way) =>
    linearLaunch(uniforms, { weight: dtypes.weight, bias: false }, { limits, way }),
  ways: ({ uniforms, dtypes }, limits) => linearWays(uniforms, dtypes.weight, limits),
  reference({ x, weight, y }, { rows, in: inSize, out, accumulate }) {
    for (let r = 0; r < rows; r++) {
      for (let o = 0; o < out; o++) {
        let sum = accumulate ? y[r * out + o] : 0;
        for (let k = 0; k < inSize; k++) sum += x[r * inSize + k] * weight[o * inSize + k];
        y[r * out + o] = sum;
      }
    }
  },
  cpu({ x, weight, y }, { rows, in: inSize, out, accumulate }) {
    product(
      { x: x as Float32Array, weight: weight as Float32Array, y: y as Float32Array },
      { rows, inSize, outSize: out, accumulate: accumulate !== 0 },
    );
  },
  wasm: ({ rows, in: inSize, out, accumulate }) => ({
    function: "linear",
    args: ["x", inSize, "weight", inSize, 0, "y", out, rows, inSize, out, accumulate],
  }),
  backward: ({ rows, in: inSize, out, accumulate }) => ({
    steps: [{
      kernel: anyKernel(linearTransposed),
      values: { weight: "weight" },
      gradients: { dy: "y" },
      targets: { dx: { of: "x", mode: "accumulate" } },
      uniforms: { rows, in: inSize, out, accumulate: 1 },
    }],
    overwritten: accumulate ? [] : ["y"],
  }),
  tolerance: 1e-5,
  cases: [
    sized({ rows: 1, in: 1, out: 1 }),
    sized({ rows: 1, in: 31, out: 7, dtype: "float16" }),
    sized({ rows: 1, in: 516, out: 9, accumulate: 1 }),
    sized({ rows: 2, in: 257, out: 5, dtype: "bfloat16" }),
    sized({ rows: 2, in: 1064, out: 13, dtype: "float16", accumulate: 1 }),
    sized({ rows: 3, in: 64, out: 33, dtype: "float16", accumulate: 1 }),
    sized({ rows: 8, in: 128, out: 64 }),
    sized({ rows: 9, in: 132, out: 30, dtype: "bfloat16", accumulate: 1 }),
    sized({ rows: 33, in: 16, out: 64 }),
    sized({ rows: 65, in: 37, out: 63, dtype: "float16" }),
    sized({ rows: 64, in: 36, out: 65, dtype: "bfloat16", accumulate: 1 }),
    sized({ rows: 129, in: 20, out: 6400 }),
    sized({ rows: 128, in: 19, out: 12673, accumulate: 1 }),
  ],
  benches: [
    bench({ rows: 1, in: 4096, out: 4096 }),
    bench({ rows: 8, in: 4096, out: 4096, dtype: "float16" }),
    bench({ rows: 32, in: 4096, out: 4096, dtype: "float16" }),
    bench({ rows: 512, in: 4096, out: 4096 }),
    bench({ rows: 4096, in: 4096, out: 4096 }),
  ],
});
