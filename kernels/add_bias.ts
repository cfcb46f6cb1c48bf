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

const sized = (rows: number, out: number, column = 0): Case<Buffers, Uniforms> => ({
  name: `${rows} x ${out}, from ${column} on`,
  uniforms: { rows, out, column },
  make: (random) => ({ bias: normals(column + out + 2, random), y: normals(rows * out, random) }),
});

/** A linear's bias by itself, where something comes between it and the product. */
export const addBias: Kernel<Buffers, Uniforms> = defineKernel({
  name: "add_bias",
  doc: "y[r, o] += bias[column + o]",
  buffers: {
    bias: { access: "read", dtypes: ["float32"], doc: "(column + out), or longer" },
    y: { access: "read_write", dtypes: ["float32"], doc: "(rows, out), row-major, added to" },
  },
  uniforms,
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
  cases: [sized(1, 1), sized(3, 257, 5), sized(5, 64, 64)],
  benches: [],
});
