import { loader, narrow, storageType } from "./half.ts";
import {
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

type Buffers = "weight" | "squares";
type Uniforms = keyof typeof uniforms;

const uniforms = { rows: "u32", dim: "u32" } as const;

const wgsl = (dtype: DType): string => /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> weight: array<${storageType(dtype)}>;
@group(0) @binding(2) var<storage, read_write> squares: array<f32>;
${loader("weight", dtype)}

var<workgroup> sums: array<f32, 128>;

// One workgroup a row.
@compute @workgroup_size(128)
fn main(${workgroupBuiltins}) {
  let row = ${workgroupIndex};
  if (row >= uniforms.rows) { return; }
  var sum = 0.0;
  for (var i = local; i < uniforms.dim; i += 128) {
    let value = weight_at(row * uniforms.dim + i);
    sum += value * value;
  }
  sums[local] = sum;
  workgroupBarrier();
  for (var half = 64u; half > 0; half >>= 1) {
    if (local < half) { sums[local] += sums[local + half]; }
    workgroupBarrier();
  }
  if (local == 0) { squares[row] = sums[0]; }
}
`;

const sized = (rows: number, dim: number, dtype: DType = "float32"): Case<Buffers, Uniforms> => ({
  name: `${rows} x ${dim}, ${dtype}`,
  uniforms: { rows, dim },
  dtypes: { weight: dtype },
  make: (random) => ({ weight: narrow(normals(rows * dim, random), dtype), squares: nans(rows) }),
});

/** The squared norm of each row of a weight: what its norms with an update are made from. */
export const rowSquares: Kernel<Buffers, Uniforms> = defineKernel({
  name: "row_squares",
  doc: "squares[r] = sum over i of weight[r, i]^2",
  buffers: {
    weight: { access: "read", dtypes: ["float32", "float16", "bfloat16"], doc: "(rows, dim), row-major" },
    squares: { access: "read_write", dtypes: ["float32"], doc: "(rows)" },
  },
  uniforms,
  launch: ({ uniforms: { rows }, dtypes }, limits) => ({
    dispatches: [{
      wgsl: wgsl(dtypes.weight),
      bindings: [{ name: "weight", access: "read" }, { name: "squares", access: "read_write" }],
      grid: grid(rows, limits),
    }],
  }),
  reference({ weight, squares }, { rows, dim }) {
    for (let r = 0; r < rows; r++) {
      let sum = 0;
      for (let i = 0; i < dim; i++) sum += weight[r * dim + i] ** 2;
      squares[r] = sum;
    }
  },
  tolerance: 1e-6,
  cases: [
    sized(1, 1),
    sized(3, 127),
    sized(5, 129, "float16"),
    sized(2, 1031, "bfloat16"),
    sized(70, 64),
  ],
  benches: [{ ...sized(4096, 4096, "float16"), bytes: 2 * 4096 * 4096 }],
});
