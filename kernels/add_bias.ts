import {
  defineKernel,
  grid,
  type Kernel,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";

type Buffers = "bias" | "y";
type Uniforms = keyof typeof uniforms;

const uniforms = { rows: "u32", out: "u32", column: "u32" } as const;

const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> bias: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let i = (${workgroupIndex}) * 256 + local;
  if (i >= uniforms.rows * uniforms.out) { return; }
  y[i] += bias[uniforms.column + i % uniforms.out];
}
`;

/** A linear's bias by itself, where something comes between it and the product. */
export const addBias: Kernel<Buffers, Uniforms> = defineKernel({
  name: "add_bias",
  doc: "y[r, o] += bias[column + o]",
  buffers: {
    bias: { access: "read", dtypes: ["float32"], doc: "(column + out), or longer" },
    y: { access: "read_write", dtypes: ["float32"], doc: "(rows, out), row-major, added to" },
  },
  uniforms,
  adds: "y",
  launch: ({ uniforms: { rows, out } }, limits) => ({
    dispatches: [{
      wgsl,
      bindings: [{ name: "bias", access: "read" }, { name: "y", access: "read_write" }],
      grid: grid(Math.ceil(rows * out / 256), limits),
    }],
  }),
  reference({ bias, y }, { rows, out, column }) {
    for (let i = 0; i < rows * out; i++) y[i] += bias[column + i % out];
  },
  tolerance: 1e-6,
});
