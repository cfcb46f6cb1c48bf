import { rmsNormBackward } from "./rms_norm_backward.ts";
import {
  anyKernel,
  type Case,
  defineKernel,
  type DType,
  grid,
  type Kernel,
  nans,
  normals,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";
import { loader, narrow, storageType } from "./half.ts";

type Buffers = "x" | "weight" | "y";
type Uniforms = "rows" | "dim" | "eps";

const uniforms = { rows: "u32", dim: "u32", eps: "f32" } as const;

const wgsl = (dtype: DType): string => /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<${storageType(dtype)}>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
${loader("weight", dtype)}
var<workgroup> sums: array<f32, 256>;

// One workgroup a row.
@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let row = ${workgroupIndex};
  if (row >= uniforms.rows) { return; }
  let begin = row * uniforms.dim;
  var sum = 0.0;
  for (var i = local; i < uniforms.dim; i += 256) {
    let value = x[begin + i];
    sum += value * value;
  }
  sums[local] = sum;
  workgroupBarrier();
  for (var half = 128u; half > 0; half >>= 1) {
    if (local < half) { sums[local] += sums[local + half]; }
    workgroupBarrier();
  }
  let factor = inverseSqrt(sums[0] / f32(uniforms.dim) + uniforms.eps);
  for (var i = local; i < uniforms.dim; i += 256) { y[begin + i] = x[begin + i] * factor * weight_at(i); }
}
`;

function sized(rows: number, dim: number, dtype: DType = "float32"): Case<Buffers, Uniforms> {
  return {
    name: `${rows} x ${dim}, ${dtype}`,
    uniforms: { rows, dim, eps: 1e-5 },
    dtypes: { weight: dtype },
    make: (random) => ({
      x: normals(rows * dim, random),
      weight: narrow(normals(dim, random), dtype),
      y: nans(rows * dim),
    }),
  };
}

/** Root-mean-square normalisation of each row. */
export const rmsNorm: Kernel<Buffers, Uniforms> = defineKernel({
  name: "rms_norm",
  doc: "y[r, i] = x[r, i] / sqrt(mean of x[r, :]^2 + eps) * weight[i]",
  buffers: {
    x: { access: "read", dtypes: ["float32"], doc: "(rows, dim), row-major" },
    weight: { access: "read", dtypes: ["float32", "float16", "bfloat16"], doc: "(dim)" },
    y: { access: "read_write", dtypes: ["float32"], doc: "(rows, dim), row-major" },
  },
  uniforms,
  launch: ({ uniforms: { rows }, dtypes }, limits) => ({
    dispatches: [{
      wgsl: wgsl(dtypes.weight),
      bindings: [
        { name: "x", access: "read" },
        { name: "weight", access: "read" },
        { name: "y", access: "read_write" },
      ],
      grid: grid(rows, limits),
    }],
  }),
  reference({ x, weight, y }, { rows, dim, eps }) {
    for (let r = 0; r < rows; r++) {
      let sum = 0;
      for (let i = 0; i < dim; i++) sum += x[r * dim + i] ** 2;
      const factor = 1 / Math.sqrt(sum / dim + eps);
      for (let i = 0; i < dim; i++) y[r * dim + i] = x[r * dim + i] * factor * weight[i];
    }
  },
  wasm: ({ rows, dim, eps }) => ({
    function: "rms_norm",
    args: ["x", dim, "weight", "y", dim, rows, dim, eps],
  }),
  backward: (uniforms) => ({
    steps: [{
      kernel: anyKernel(rmsNormBackward),
      values: { x: "x", weight: "weight" },
      gradients: { dy: "y" },
      targets: { dx: { of: "x", mode: "add" } },
      uniforms,
    }],
    overwritten: ["y"],
  }),
  tolerance: 1e-5,
  cases: [
    sized(1, 1),
    sized(3, 255),
    sized(2, 256),
    sized(2, 257),
    sized(5, 31, "float16"),
    sized(2, 1031, "bfloat16"),
  ],
  benches: [{ ...sized(256, 4096), bytes: 2 * 256 * 4096 * 4 }],
});
