import {
  type Case,
  defineKernel,
  grid,
  type Kernel,
  normals,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";

type Buffers = "x" | "y";
type Uniforms = keyof typeof uniforms;

const uniforms = {
  rows: "u32",
  out: "u32",
  /** Columns of x, and the first that is read. */
  width: "u32",
  from: "u32",
  /** Columns of y, and the first that is written. */
  stride: "u32",
  column: "u32",
  accumulate: "u32",
} as const;

const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let i = (${workgroupIndex}) * 256 + local;
  if (i >= uniforms.rows * uniforms.out) { return; }
  let row = i / uniforms.out;
  let output = i % uniforms.out;
  let at = row * uniforms.stride + uniforms.column + output;
  y[at] = x[row * uniforms.width + uniforms.from + output] + select(0.0, y[at], uniforms.accumulate != 0);
}
`;

const sized = (words: Readonly<Record<Uniforms, number>>): Case<Buffers, Uniforms> => ({
  name:
    `${words.rows} x ${words.out} from ${words.from} of ${words.width} to ${words.column} of ${words.stride}${
      words.accumulate ? ", accumulated" : ""
    }`,
  uniforms: words,
  make: (random) => ({
    x: normals(words.rows * words.width, random),
    y: normals(words.rows * words.stride, random),
  }),
});

/** Columns of one matrix put in the place of columns of another: outputs of one linear beside those that share its input. */
export const placeColumns: Kernel<Buffers, Uniforms> = defineKernel({
  name: "place_columns",
  doc: "y[r, column + o] = x[r, from + o], or += it where accumulate is not 0; other columns stay",
  buffers: {
    x: { access: "read", dtypes: ["float32"], doc: "(rows, width), row-major" },
    y: { access: "read_write", dtypes: ["float32"], doc: "(rows, stride), row-major" },
  },
  uniforms,
  launch: ({ uniforms: { rows, out } }, limits) => ({
    dispatches: [{
      wgsl,
      bindings: [{ name: "x", access: "read" }, { name: "y", access: "read_write" }],
      grid: grid(Math.ceil(rows * out / 256), limits),
    }],
  }),
  reference({ x, y }, { rows, out, width, from, stride, column, accumulate }) {
    for (let r = 0; r < rows; r++) {
      for (let o = 0; o < out; o++) {
        const at = r * stride + column + o;
        y[at] = x[r * width + from + o] + (accumulate ? y[at] : 0);
      }
    }
  },
  tolerance: 1e-6,
  cases: [
    sized({ rows: 1, out: 1, width: 1, from: 0, stride: 1, column: 0, accumulate: 0 }),
    sized({ rows: 3, out: 65, width: 70, from: 5, stride: 100, column: 31, accumulate: 1 }),
    sized({ rows: 5, out: 64, width: 64, from: 0, stride: 96, column: 32, accumulate: 0 }),
  ],
  benches: [],
});
