import {
  type Binding,
  type Call,
  declareBindings,
  defineKernel,
  grid,
  type Kernel,
  type Launch,
  type Limits,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";
import { held, type ReadSource } from "./parts.ts";

type Buffers = "gateUp" | "y";
type Uniforms = "rows" | "dim";

const uniforms = { rows: "u32", dim: "u32" } as const;

/** One thread an element of the result. */
function wgslOf({ types, read }: ReadSource, bindings: readonly Binding[]): string {
  return /* wgsl */ `
${uniformStruct(uniforms)}
${declareBindings(bindings, { ...types("f32"), y: "f32" })}

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let i = (${workgroupIndex}) * 256 + local;
  if (i >= uniforms.rows * uniforms.dim) { return; }
  let at = i + (i / uniforms.dim) * uniforms.dim;
  ${read("g", "at", "f32")}
  ${read("up", "(at + uniforms.dim)", "f32")}
  // exp of a number <= 0 cannot overflow.
  let e = exp(-abs(g));
  y[i] = g * select(e, 1.0, g >= 0) / (1 + e) * up;
}
`;
}

function launchFrom(
  source: ReadSource,
  { uniforms: { rows, dim } }: Call<Buffers, Uniforms>,
  limits: Limits,
): Launch {
  const bindings: Binding[] = [...source.bindings, { name: "y", access: "read_write" }];
  const wgsl = wgslOf(source, bindings);
  return { dispatches: [{ wgsl, bindings, grid: grid(Math.ceil(rows * dim / 256), limits) }] };
}

/** The gated unit of a feed-forward layer, on rows that one product made. */
export const siluGateUp: Kernel<Buffers, Uniforms> = defineKernel({
  name: "silu_gate_up",
  doc: "y[r, i] = g / (1 + exp(-g)) * gateUp[r, dim + i], where g = gateUp[r, i]",
  buffers: {
    gateUp: {
      access: "read",
      dtypes: ["float32"],
      doc: "(rows, 2 dim), row-major: gates, then what they gate",
    },
    y: { access: "read_write", dtypes: ["float32"], doc: "(rows, dim), row-major" },
  },
  uniforms,
  launch: (call, limits) => launchFrom(held("gateUp"), call, limits),
  consume: {
    buffer: "gateUp",
    launch: (call, limits, parts) =>
      parts.count === 2 * call.uniforms.rows * call.uniforms.dim
        ? launchFrom(parts.source("gateUp"), call, limits)
        : undefined,
  },
  reference({ gateUp, y }, { rows, dim }) {
    for (let r = 0; r < rows; r++) {
      for (let i = 0; i < dim; i++) {
        const gate = gateUp[2 * r * dim + i];
        y[r * dim + i] = gate / (1 + Math.exp(-gate)) * gateUp[(2 * r + 1) * dim + i];
      }
    }
  },
  wasm: ({ rows, dim }) => ({ function: "silu_gate_up", args: ["gateUp", "y", rows, dim] }),
  tolerance: 1e-5,
});
