import {
  defineKernel,
  grid,
  type Kernel,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";

type Buffers = "at" | "x" | "kept";
type Uniforms = "count" | "size";

const uniforms = { count: "u32", size: "u32" } as const;

const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> at: array<u32>;
@group(0) @binding(2) var<storage, read_write> x: array<f32>;
@group(0) @binding(3) var<storage, read_write> kept: array<f32>;

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let i = (${workgroupIndex}) * 256 + local;
  if (i >= uniforms.count || at[i] >= uniforms.size) { return; }
  let value = x[at[i]];
  x[at[i]] = kept[i];
  kept[i] = value;
}
`;

/** Exchanges some numbers of a tensor for others; run again, it puts them back. */
export const exchange: Kernel<Buffers, Uniforms> = defineKernel({
  name: "exchange",
  doc:
    "x[at[i]] and kept[i] change places; where at[i] is `size` or more, both stay. No place may be named twice",
  buffers: {
    at: { access: "read", dtypes: ["uint32"], doc: "(count)" },
    x: { access: "read_write", dtypes: ["float32"], doc: "(size)" },
    kept: { access: "read_write", dtypes: ["float32"], doc: "(count)" },
  },
  uniforms,
  launch: ({ uniforms: { count } }, limits) => ({
    dispatches: [{
      wgsl,
      bindings: [
        { name: "at", access: "read" },
        { name: "x", access: "read_write" },
        { name: "kept", access: "read_write" },
      ],
      grid: grid(Math.ceil(count / 256), limits),
    }],
  }),
  reference({ at, x, kept }, { count, size }) {
    for (let i = 0; i < count; i++) {
      if (at[i] < size) [x[at[i]], kept[i]] = [kept[i], x[at[i]]];
    }
  },
  tolerance: 0,
});
