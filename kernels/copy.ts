import { add } from "./add.ts";
import {
  anyKernel,
  type Case,
  defineKernel,
  grid,
  type Kernel,
  type Launch,
  type Limits,
  nans,
  normals,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";

type Buffers = "x" | "y";

const uniforms = { count: "u32" } as const;

/** Four elements an invocation where the count allows it: a GPU moves memory in words of 16 bytes. */
function launch(count: number, limits: Limits): Launch {
  const wide = count % 4 === 0;
  const type = wide ? "vec4f" : "f32";
  const length = wide ? "uniforms.count / 4" : "uniforms.count";
  const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> x: array<${type}>;
@group(0) @binding(2) var<storage, read_write> y: array<${type}>;

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let i = (${workgroupIndex}) * 256 + local;
  if (i < ${length}) { y[i] = x[i]; }
}
`;
  return {
    dispatches: [{
      wgsl,
      bindings: [{ name: "x", access: "read" }, { name: "y", access: "read_write" }],
      grid: grid(Math.ceil(count / (wide ? 1024 : 256)), limits),
    }],
  };
}

const sized = (count: number): Case<Buffers, "count"> => ({
  name: `${count}`,
  uniforms: { count },
  make: (random) => ({ x: normals(count, random), y: nans(count) }),
});

/** Keeps an activation that later steps overwrite. */
export const copy: Kernel<Buffers, "count"> = defineKernel({
  name: "copy",
  doc: "y[i] = x[i]",
  buffers: {
    x: { access: "read", dtypes: ["float32"], doc: "(count)" },
    y: { access: "read_write", dtypes: ["float32"], doc: "(count)" },
  },
  uniforms,
  launch: ({ uniforms: { count } }, limits) => launch(count, limits),
  reference({ x, y }, { count }) {
    for (let i = 0; i < count; i++) y[i] = x[i];
  },
  backward: (uniforms) => ({
    steps: [{
      kernel: anyKernel(add),
      values: {},
      gradients: { x: "y" },
      targets: { y: { of: "x", mode: "add" } },
      uniforms,
    }],
    overwritten: ["y"],
  }),
  tolerance: 0,
  cases: [sized(1), sized(4), sized(251), sized(256), sized(257), sized(1028)],
  benches: [{ ...sized(2 ** 22), bytes: 2 ** 25 }],
});
