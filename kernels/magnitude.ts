import {
  defineKernel,
  grid,
  type Kernel,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";

type Buffers = "values" | "norms" | "y";
type Uniforms = keyof typeof uniforms;

const uniforms = { rows: "u32", out: "u32", offset: "u32" } as const;

const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> values: array<f32>;
@group(0) @binding(2) var<storage, read> norms: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let i = (${workgroupIndex}) * 256 + local;
  if (i >= uniforms.rows * uniforms.out) { return; }
  let output = i % uniforms.out;
  y[i] *= values[uniforms.offset + output] / norms[output];
}
`;

/** Outputs of unit directions, times trained magnitudes: DoRA's last step, for all rows of a training batch. */
export const magnitude: Kernel<Buffers, Uniforms> = defineKernel({
  name: "magnitude",
  doc: "y[r, o] *= values[offset + o] / norms[o]",
  buffers: {
    values: { access: "read", dtypes: ["float32"], doc: "from element `offset` on: magnitudes (out)" },
    norms: { access: "read", dtypes: ["float32"], doc: "(out)" },
    y: { access: "read_write", dtypes: ["float32"], doc: "(rows, out), row-major, in place" },
  },
  uniforms,
  launch: ({ uniforms: { rows, out } }, limits) => ({
    dispatches: [{
      wgsl,
      bindings: [
        { name: "values", access: "read" },
        { name: "norms", access: "read" },
        { name: "y", access: "read_write" },
      ],
      grid: grid(Math.ceil(rows * out / 256), limits),
    }],
  }),
  reference({ values, norms, y }, { rows, out, offset }) {
    for (let i = 0; i < rows * out; i++) y[i] *= values[offset + i % out] / norms[i % out];
  },
  tolerance: 1e-6,
});
