import {
  defineKernel,
  grid,
  type Kernel,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";

type Buffers = "values" | "products" | "gram" | "squares" | "norms";
type Uniforms = keyof typeof uniforms;

const uniforms = {
  out: "u32",
  rank: "u32",
  /** Where B begins among the values. */
  offset: "u32",
  /** Columns of `products`, and the first that is the linear's. */
  stride: "u32",
  column: "u32",
  scale: "f32",
} as const;

/** What is left of the squares' sum must be more than this part, or its digits are those of rounding. */
const leastPart = 2 ** -10;

const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> values: array<f32>;
@group(0) @binding(2) var<storage, read> products: array<f32>;
@group(0) @binding(3) var<storage, read> gram: array<f32>;
@group(0) @binding(4) var<storage, read> squares: array<f32>;
@group(0) @binding(5) var<storage, read_write> norms: array<f32>;

@compute @workgroup_size(64)
fn main(${workgroupBuiltins}) {
  let row = (${workgroupIndex}) * 64 + local;
  if (row >= uniforms.out) { return; }
  let rank = uniforms.rank;
  let b = uniforms.offset + row * rank;
  var cross = 0.0;
  var own = 0.0;
  for (var i = 0u; i < rank; i++) {
    let value = values[b + i];
    var sum = 0.0;
    for (var j = 0u; j < rank; j++) { sum += gram[i * rank + j] * values[b + j]; }
    own += value * sum;
    cross += value * products[i * uniforms.stride + uniforms.column + row];
  }
  let change = uniforms.scale * uniforms.scale * own;
  let both = 2 * uniforms.scale * cross;
  let square = squares[row] + both + change;
  var norm = sqrt(max(square, 0.0));
  // By bits: compilers may take it that no float is NaN.
  if (!(square > ${leastPart} * (squares[row] + abs(both) + change))) {
    norm = bitcast<f32>(bitcast<u32>(norm) | 0x7fc00000u);
  }
  norms[row] = norm;
}
`;

/** The norms of a weight's rows with a low-rank update, without the sum of both: what DoRA divides by. */
export const loraNorms: Kernel<Buffers, Uniforms> = defineKernel({
  name: "lora_norms",
  doc:
    "norms[i] = the norm of row i of W + scale B A, by its square: squares[i] + 2 scale B_i . (W A^T)_i + scale^2 " +
    "B_i (A A^T) B_i^T. NaN where W and the update cancel so far that float32 cannot tell it.",
  buffers: {
    values: {
      access: "read",
      dtypes: ["float32"],
      doc: "from element `offset` on: B (out, rank), row-major",
    },
    products: { access: "read", dtypes: ["float32"], doc: "(rank, stride): A W^T from column `column` on" },
    gram: { access: "read", dtypes: ["float32"], doc: "(rank, rank): A A^T" },
    squares: { access: "read", dtypes: ["float32"], doc: "(out): the sum of squares of each row of W" },
    norms: { access: "read_write", dtypes: ["float32"], doc: "(out)" },
  },
  uniforms,
  launch: ({ uniforms: { out } }, limits) => ({
    dispatches: [{
      wgsl,
      bindings: [
        { name: "values", access: "read" },
        { name: "products", access: "read" },
        { name: "gram", access: "read" },
        { name: "squares", access: "read" },
        { name: "norms", access: "read_write" },
      ],
      grid: grid(Math.ceil(out / 64), limits),
    }],
  }),
  reference({ values, products, gram, squares, norms }, { out, rank, offset, stride, column, scale }) {
    for (let row = 0; row < out; row++) {
      let cross = 0, own = 0;
      for (let i = 0; i < rank; i++) {
        const b = values[offset + row * rank + i];
        cross += b * products[i * stride + column + row];
        for (let j = 0; j < rank; j++) own += b * gram[i * rank + j] * values[offset + row * rank + j];
      }
      const both = 2 * scale * cross, change = scale * scale * own;
      const square = squares[row] + both + change;
      const all = squares[row] + Math.abs(both) + change;
      norms[row] = square > leastPart * all ? Math.sqrt(square) : NaN;
    }
  },
  tolerance: 1e-5,
});
