import {
  defineKernel,
  grid,
  type Kernel,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";

type Buffers = "x" | "y";
type Uniforms = keyof typeof uniforms;

const uniforms = { rows: "u32", out: "u32", stride: "u32", column: "u32", accumulate: "u32" } as const;

const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let i = (${workgroupIndex}) * 256 + local;
  if (i >= uniforms.rows * uniforms.out) { return; }
  let at = i / uniforms.out * uniforms.stride + uniforms.column + i % uniforms.out;
  y[at] = x[i] + select(0.0, y[at], uniforms.accumulate != 0);
}
`;

/** One linear's outputs put beside those of the linears that share its input. */
export const placeColumns: Kernel<Buffers, Uniforms> = defineKernel({
  name: "place_columns",
  doc: "y[r, column + o] = x[r, o], or += it where accumulate is not 0; other columns stay",
  buffers: {
    x: { access: "read", dtypes: ["float32"], doc: "(rows, out), row-major" },
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
  reference({ x, y }, { rows, out, stride, column, accumulate }) {
    for (let r = 0; r < rows; r++) {
      for (let o = 0; o < out; o++) {
        const at = r * stride + column + o;
        y[at] = x[r * out + o] + (accumulate ? y[at] : 0);
      }
    }
  },
  tolerance: 1e-6,
});
