import { siluGateBackward } from "./silu_gate_backward.ts";
import {
  anyKernel,
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

type Buffers = "gate" | "up" | "y";

const uniforms = { count: "u32" } as const;

const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> gate: array<f32>;
@group(0) @binding(2) var<storage, read> up: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let i = (${workgroupIndex}) * 256 + local;
  if (i >= uniforms.count) { return; }
  let g = gate[i];
  // exp of a number <= 0 cannot overflow.
  let e = exp(-abs(g));
  y[i] = g * select(e, 1.0, g >= 0) / (1 + e) * up[i];
}
`;

function sized(count: number, scale = 1): Case<Buffers, "count"> {
  return {
    name: `${count}, gates of about ${scale}`,
    uniforms: { count },
    make: (random) => ({ gate: normals(count, random, scale), up: normals(count, random), y: nans(count) }),
  };
}

/** The gated unit of Llama's feed-forward layer. */
export const siluGate: Kernel<Buffers, "count"> = defineKernel({
  name: "silu_gate",
  doc: "y[i] = gate[i] / (1 + exp(-gate[i])) * up[i]",
  buffers: {
    gate: { access: "read", dtypes: ["float32"], doc: "(count)" },
    up: { access: "read", dtypes: ["float32"], doc: "(count)" },
    y: { access: "read_write", dtypes: ["float32"], doc: "(count)" },
  },
  uniforms,
  launch: ({ uniforms: { count } }, limits) => ({
    dispatches: [{
      wgsl,
      bindings: [
        { name: "gate", access: "read" },
        { name: "up", access: "read" },
        { name: "y", access: "read_write" },
      ],
      grid: grid(Math.ceil(count / 256), limits),
    }],
  }),
  reference({ gate, up, y }, { count }) {
    for (let i = 0; i < count; i++) y[i] = gate[i] / (1 + Math.exp(-gate[i])) * up[i];
  },
  wasm: ({ count }) => ({
    function: "silu_gate",
    args: ["gate", count, "up", count, "y", count, 1, count],
  }),
  backward: (uniforms) => ({
    steps: [{
      kernel: anyKernel(siluGateBackward),
      values: { gate: "gate", up: "up" },
      gradients: { dy: "y" },
      targets: { dgate: { of: "gate", mode: "write" }, dup: { of: "up", mode: "write" } },
      uniforms,
    }],
    overwritten: ["y"],
  }),
  tolerance: 1e-5,
  cases: [sized(1), sized(251), sized(256, 4), sized(257, 100)],
  benches: [{ ...sized(256 * 14336), bytes: 3 * 256 * 14336 * 4 }],
});
