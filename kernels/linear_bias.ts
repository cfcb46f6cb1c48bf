import { linearTransposed } from "./linear_transposed.ts";
import { anyKernel, type Case, defineKernel, type DType, type Kernel, nans, normals } from "./kernel.ts";
import { narrow } from "./half.ts";
import { linear } from "./linear.ts";
import { linearLaunch, linearWays } from "./linear/launch.ts";
import { uniforms } from "./linear/wgsl.ts";

type Buffers = "x" | "weight" | "bias" | "y";
type Uniforms = keyof typeof uniforms;
type Run = Kernel<Buffers, Uniforms>["reference"];

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
      bias: normals(out, random),
      y: accumulate ? normals(rows * out, random) : nans(rows * out),
    }),
  };
}

/** Starts y with the bias, or adds it to what y holds; the product is then accumulated. */
const biasThen = (multiply: typeof linear.reference): Run => ({ x, weight, bias, y }, uniforms) => {
  const { rows, out, accumulate } = uniforms;
  for (let r = 0; r < rows; r++) {
    for (let o = 0; o < out; o++) y[r * out + o] = bias[o] + (accumulate ? y[r * out + o] : 0);
  }
  multiply({ x, weight, y }, { ...uniforms, accumulate: 1 });
};

/** The dense layer with bias. */
export const linearBias: Kernel<Buffers, Uniforms> = defineKernel({
  name: "linear_bias",
  doc: "y = x W^T + bias, or y += x W^T + bias where accumulate is not 0",
  buffers: {
    x: { access: "read", dtypes: ["float32"], doc: "(rows, in), row-major" },
    weight: { access: "read", dtypes: ["float32", "float16", "bfloat16"], doc: "(out, in), row-major" },
    bias: { access: "read", dtypes: ["float32"], doc: "(out)" },
    y: { access: "read_write", dtypes: ["float32"], doc: "(rows, out), row-major" },
  },
  uniforms,
  launch: ({ uniforms, dtypes }, limits, way) =>
    linearLaunch(uniforms, { weight: dtypes.weight, bias: true }, { limits, way }),
  ways: ({ uniforms, dtypes }, limits) => linearWays(uniforms, dtypes.weight, limits),
  reference: biasThen(linear.reference),
  cpu: biasThen(linear.cpu!),
  wasm: ({ rows, in: inSize, out, accumulate }) => ({
    function: "linear",
    args: ["x", inSize, "weight", inSize, "bias", "y", out, rows, inSize, out, accumulate],
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
    sized({ rows: 5, in: 64, out: 31, dtype: "bfloat16" }),
    sized({ rows: 3, in: 67, out: 13, dtype: "float16", accumulate: 1 }),
    sized({ rows: 65, in: 33, out: 65, accumulate: 1 }),
    sized({ rows: 127, in: 32, out: 129, dtype: "float16" }),
    sized({ rows: 34, in: 272, out: 68, dtype: "float16", accumulate: 1 }),
  ],
  benches: [],
});
