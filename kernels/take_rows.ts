import {
  defineKernel,
  grid,
  type Kernel,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";

type Buffers = "x" | "slots" | "y";
type Uniforms = keyof typeof uniforms;

const uniforms = { rows: "u32", dim: "u32", slot: "u32" } as const;

const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> slots: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let i = (${workgroupIndex}) * 256 + local;
  if (i >= uniforms.rows * uniforms.dim) { return; }
  if (slots[i / uniforms.dim] == uniforms.slot) { y[i] = x[i]; }
}
`;

/** The rows of one adapter, from a table in which all rows were computed as that adapter's. */
export const takeRows: Kernel<Buffers, Uniforms> = defineKernel({
  name: "take_rows",
  doc: "y[r, :] = x[r, :] where slots[r] is `slot`; other rows stay as they are",
  buffers: {
    x: { access: "read", dtypes: ["float32"], doc: "(rows, dim), row-major" },
    slots: { access: "read", dtypes: ["uint32"], doc: "(rows)" },
    y: { access: "read_write", dtypes: ["float32"], doc: "(rows, dim), row-major" },
  },
  uniforms,
  launch: ({ uniforms: { rows, dim } }, limits) => ({
    dispatches: [{
      wgsl,
      bindings: [
        { name: "x", access: "read" },
        { name: "slots", access: "read" },
        { name: "y", access: "read_write" },
      ],
      grid: grid(Math.ceil(rows * dim / 256), limits),
    }],
  }),
  reference({ x, slots, y }, { rows, dim, slot }) {
    for (let r = 0; r < rows; r++) {
      if (slots[r] !== slot) continue;
      for (let i = 0; i < dim; i++) y[r * dim + i] = x[r * dim + i];
    }
  },
  tolerance: 0,
});
