import {
  type Case,
  defineKernel,
  grid,
  type Kernel,
  nans,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";

type Uniforms = "count" | "value";

const uniforms = { count: "u32", value: "f32" } as const;

const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let i = (${workgroupIndex}) * 256 + local;
  if (i < uniforms.count) { y[i] = uniforms.value; }
}
`;

const sized = (count: number, value = 0): Case<"y", Uniforms> => ({
  name: `${count} of ${value}`,
  uniforms: { count, value },
  make: () => ({ y: nans(count) }),
});

/** One number everywhere: zeros before gradients are added up. */
export const fill: Kernel<"y", Uniforms> = defineKernel({
  name: "fill",
  doc: "y[i] = value",
  buffers: { y: { access: "read_write", dtypes: ["float32"], doc: "(count)" } },
  uniforms,
  launch: ({ uniforms: { count } }, limits) => ({
    dispatches: [{
      wgsl,
      bindings: [{ name: "y", access: "read_write" }],
      grid: grid(Math.ceil(count / 256), limits),
    }],
  }),
  reference({ y }, { count, value }) {
    for (let i = 0; i < count; i++) y[i] = value;
  },
  wasm: ({ count, value }) => ({ function: "fill", args: ["y", count, value] }),
  tolerance: 0,
  cases: [sized(1, 0.5), sized(251), sized(256), sized(257, -2)],
  benches: [{ ...sized(2 ** 22), bytes: 2 ** 24 }],
});
