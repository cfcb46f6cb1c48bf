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

const uniforms = { count: "u32" } as const;

const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let i = (${workgroupIndex}) * 256 + local;
  if (i < uniforms.count) { y[i] += x[i]; }
}
`;

function sized(count: number): Case<Buffers, "count"> {
  return {
    name: `${count}`,
    uniforms: { count },
    make: (random) => ({ x: normals(count, random), y: normals(count, random) }),
  };
}

/** Adds one array to another: a residual connection. */
export const add: Kernel<Buffers, "count"> = defineKernel({
  name: "add",
  doc: "y[i] += x[i]",
  buffers: {
    x: { access: "read", dtypes: ["float32"], doc: "(count)" },
    y: { access: "read_write", dtypes: ["float32"], doc: "(count)" },
  },
  uniforms,
  launch: ({ uniforms: { count } }, limits) => ({
    dispatches: [{
      wgsl,
      bindings: [{ name: "x", access: "read" }, { name: "y", access: "read_write" }],
      grid: grid(Math.ceil(count / 256), limits),
    }],
  }),
  reference({ x, y }, { count }) {
    for (let i = 0; i < count; i++) y[i] += x[i];
  },
  wasm: ({ count }) => ({ function: "add", args: ["x", "y", count] }),
  tolerance: 1e-6,
  cases: [sized(1), sized(251), sized(256), sized(257)],
  benches: [{ ...sized(2 ** 22), bytes: 3 * 2 ** 24 }],
});
