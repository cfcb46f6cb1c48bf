import {
  type Case,
  defineKernel,
  grid,
  type Kernel,
  nans,
  normals,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";

type Buffers = "dy" | "gate" | "up" | "dgate" | "dup";

const uniforms = { count: "u32" } as const;

const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read> gate: array<f32>;
@group(0) @binding(3) var<storage, read> up: array<f32>;
@group(0) @binding(4) var<storage, read_write> dgate: array<f32>;
@group(0) @binding(5) var<storage, read_write> dup: array<f32>;

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let i = (${workgroupIndex}) * 256 + local;
  if (i >= uniforms.count) { return; }
  let g = gate[i];
  // exp of a number <= 0 cannot overflow.
  let e = exp(-abs(g));
  let sigmoid = select(e, 1.0, g >= 0) / (1 + e);
  let rest = select(1.0, e, g >= 0) / (1 + e);
  dgate[i] = dy[i] * up[i] * sigmoid * (1 + g * rest);
  dup[i] = dy[i] * g * sigmoid;
}
`;

function sized(count: number, scale = 1): Case<Buffers, "count"> {
  return {
    name: `${count}, gates of about ${scale}`,
    uniforms: { count },
    make: (random) => ({
      dy: normals(count, random),
      gate: normals(count, random, scale),
      up: normals(count, random),
      dgate: nans(count),
      dup: nans(count),
    }),
  };
}

/** The gradients of Llama's gated unit. */
export const siluGateBackward: Kernel<Buffers, "count"> = defineKernel({
  name: "silu_gate_backward",
  doc:
    "dup[i] = dy[i] gate[i] s and dgate[i] = dy[i] up[i] s (1 + gate[i] (1 - s)), where s = 1 / (1 + exp(-gate[i]))",
  buffers: {
    dy: { access: "read", dtypes: ["float32"], doc: "(count)" },
    gate: { access: "read", dtypes: ["float32"], doc: "(count)" },
    up: { access: "read", dtypes: ["float32"], doc: "(count)" },
    dgate: { access: "read_write", dtypes: ["float32"], doc: "(count)" },
    dup: { access: "read_write", dtypes: ["float32"], doc: "(count)" },
  },
  uniforms,
  launch: ({ uniforms: { count } }, limits) => ({
    dispatches: [{
      wgsl,
      bindings: [
        { name: "dy", access: "read" },
        { name: "gate", access: "read" },
        { name: "up", access: "read" },
        { name: "dgate", access: "read_write" },
        { name: "dup", access: "read_write" },
      ],
      grid: grid(Math.ceil(count / 256), limits),
    }],
  }),
  reference({ dy, gate, up, dgate, dup }, { count }) {
    for (let i = 0; i < count; i++) {
      const sigmoid = 1 / (1 + Math.exp(-gate[i]));
      dgate[i] = dy[i] * up[i] * sigmoid * (1 + gate[i] * (1 - sigmoid));
      dup[i] = dy[i] * gate[i] * sigmoid;
    }
  },
  tolerance: 1e-5,
  cases: [sized(1), sized(251), sized(256, 4), sized(257, 100)],
  benches: [{ ...sized(256 * 14336), bytes: 5 * 256 * 14336 * 4 }],
});
