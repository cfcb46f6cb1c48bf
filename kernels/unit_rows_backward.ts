import {
  defineKernel,
  grid,
  type Kernel,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";

type Buffers = "values" | "dy" | "gradient";
type Uniforms = keyof typeof uniforms;

const uniforms = { rows: "u32", dim: "u32", offset: "u32", norm: "f32" } as const;

const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> values: array<f32>;
@group(0) @binding(2) var<storage, read> dy: array<f32>;
@group(0) @binding(3) var<storage, read_write> gradient: array<f32>;

var<workgroup> squares: array<f32, 128>;
var<workgroup> products: array<f32, 128>;

// One workgroup a row.
@compute @workgroup_size(128)
fn main(${workgroupBuiltins}) {
  let row = ${workgroupIndex};
  if (row >= uniforms.rows) { return; }
  let begin = row * uniforms.dim;
  var square = 0.0;
  var product = 0.0;
  for (var i = local; i < uniforms.dim; i += 128) {
    let value = values[uniforms.offset + begin + i];
    square += value * value;
    product += value * dy[begin + i];
  }
  squares[local] = square;
  products[local] = product;
  workgroupBarrier();
  for (var half = 64u; half > 0; half >>= 1) {
    if (local < half) {
      squares[local] += squares[local + half];
      products[local] += products[local + half];
    }
    workgroupBarrier();
  }
  let factor = uniforms.norm / sqrt(squares[0]);
  let along = products[0] / squares[0];
  for (var i = local; i < uniforms.dim; i += 128) {
    let at = uniforms.offset + begin + i;
    gradient[at] += factor * (dy[begin + i] - along * values[at]);
  }
}
`;

/** The gradient of `unit_rows`: what is along a row has none. */
export const unitRowsBackward: Kernel<Buffers, Uniforms> = defineKernel({
  name: "unit_rows_backward",
  doc: "gradient[offset..][r] += norm / |v| (dy[r] - v (v . dy[r]) / |v|^2), with v = values[r]",
  buffers: {
    values: { access: "read", dtypes: ["float32"], doc: "from element `offset` on: (rows, dim), row-major" },
    dy: { access: "read", dtypes: ["float32"], doc: "(rows, dim), row-major" },
    gradient: { access: "read_write", dtypes: ["float32"], doc: "laid out as values, added to" },
  },
  uniforms,
  launch: ({ uniforms: { rows } }, limits) => ({
    dispatches: [{
      wgsl,
      bindings: [
        { name: "values", access: "read" },
        { name: "dy", access: "read" },
        { name: "gradient", access: "read_write" },
      ],
      grid: grid(rows, limits),
    }],
  }),
  reference({ values, dy, gradient }, { rows, dim, offset, norm }) {
    for (let r = 0; r < rows; r++) {
      let square = 0, product = 0;
      for (let i = r * dim; i < (r + 1) * dim; i++) {
        square += values[offset + i] ** 2;
        product += values[offset + i] * dy[i];
      }
      for (let i = r * dim; i < (r + 1) * dim; i++) {
        gradient[offset + i] += norm / Math.sqrt(square) * (dy[i] - product / square * values[offset + i]);
      }
    }
  },
  tolerance: 1e-5,
});
