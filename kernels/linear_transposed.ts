import { type Bench, type Case, defineKernel, type DType, type Kernel, nans, normals } from "./kernel.ts";
import { narrow } from "./half.ts";
import { transposedLaunch } from "./linear/launch.ts";
import { transposedProduct } from "./linear/transposed_cpu.ts";
import { uniforms } from "./linear/wgsl.ts";

type Buffers = "dy" | "weight" | "dx";
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
    name: `${rows} x ${out} by ${inSize}, ${dtype}${accumulate ? ", accumulated" : ""}`,
    uniforms: { rows, in: inSize, out, accumulate },
    dtypes: { weight: dtype },
    make: (random) => ({
      dy: normals(rows * out, random),
      weight: narrow(normals(out * inSize, random, 1 / Math.sqrt(out)), dtype),
      dx: accumulate ? normals(rows * inSize, random) : nans(rows * inSize),
    }),
  };
}

function bench(sizes: Sizes): Bench<Buffers, Uniforms> {
  const { rows, in: inSize, out, dtype = "float32" } = sizes;
  return {
    ...sized(sizes),
    bytes: inSize * out * (dtype === "float32" ? 4 : 2) + 4 * rows * (inSize + out),
    flops: 2 * rows * inSize * out,
  };
}

/** The dense layer's gradient by its input. */
export const linearTransposed: Kernel<Buffers, Uniforms> = defineKernel({
  name: "linear_transposed",
  doc: "dx = dy W, or dx += dy W where accumulate is not 0: the gradient of x in y = x W^T",
  buffers: {
    dy: { access: "read", dtypes: ["float32"], doc: "(rows, out), row-major" },
    weight: { access: "read", dtypes: ["float32", "float16", "bfloat16"], doc: "(out, in), row-major" },
    dx: { access: "read_write", dtypes: ["float32"], doc: "(rows, in), row-major" },
  },
  uniforms,
  launch({ uniforms: u, dtypes }, limits) {
    if (u.in < 1 || u.out < 1) {
      throw new RangeError(
        `Cannot multiply by a weight of (${u.out}, ${u.in}): both sizes must be positive`,
      );
    }
    const operand = { name: "weight", dtype: dtypes.weight };
    return transposedLaunch(operand, { sizes: u, uniforms }, limits);
  },
  reference({ dy, weight, dx }, { rows, in: inSize, out, accumulate }) {
    for (let r = 0; r < rows; r++) {
      for (let i = 0; i < inSize; i++) {
        let sum = accumulate ? dx[r * inSize + i] : 0;
        for (let o = 0; o < out; o++) sum += dy[r * out + o] * weight[o * inSize + i];
        dx[r * inSize + i] = sum;
      }
    }
  },
  cpu({ dy, weight, dx }, { rows, in: inSize, out, accumulate }) {
    transposedProduct(
      { x: dy as Float32Array, weight: weight as Float32Array, y: dx as Float32Array },
      { rows, inner: out, columns: inSize, accumulate: accumulate !== 0 },
    );
  },
  tolerance: 1e-5,
  cases: [
    sized({ rows: 1, in: 1, out: 1 }),
    sized({ rows: 129, in: 8200, out: 19, dtype: "float16" }),
    sized({ rows: 3, in: 31, out: 7, dtype: "float16" }),
    sized({ rows: 64, in: 64, out: 16, accumulate: 1 }),
    sized({ rows: 65, in: 65, out: 37, dtype: "bfloat16" }),
    sized({ rows: 33, in: 68, out: 515, accumulate: 1 }),
    sized({ rows: 5, in: 130, out: 1031, dtype: "float16", accumulate: 1 }),
    sized({ rows: 66, in: 124, out: 256, dtype: "bfloat16" }),
  ],
  benches: [
    bench({ rows: 512, in: 4096, out: 4096, dtype: "float16" }),
    bench({ rows: 512, in: 4096, out: 14336, dtype: "bfloat16" }),
    bench({ rows: 4096, in: 4096, out: 4096 }),
  ],
});
