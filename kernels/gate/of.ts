/**
 * Gated units of a feed-forward layer, made from their activation: act(gate) * up.
 *
 * @module
 */
import { elementwise } from "../elementwise.ts";
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
} from "../kernel.ts";
import { held, type ReadSource, threadsOf, uniformsWith } from "../parts.ts";

/** An activation, as a gate has it. */
export interface GateActivation {
  /** The kernels are `<name>_gate`, `<name>_gate_backward` and `<name>_gate_up`. */
  readonly name: string;
  /** What it makes of `g`. */
  readonly doc: string;
  /** WGSL statements that make `value` of `g`, of type `T`. */
  readonly valueText: string;
  /** Statements after those, which make `slope`. */
  readonly slopeText: string;
  value(g: number): number;
  slope(g: number): number;
}

/** The gradients of a gated unit. */
export function gateBackwardOf(act: GateActivation): Kernel<"dy" | "gate" | "up" | "dgate" | "dup", "count"> {
  return elementwise({
    name: `${act.name}_gate_backward`,
    doc: `dup[i] = dy[i] act(gate[i]) and dgate[i] = dy[i] up[i] act'(gate[i]), where act(g) is ${act.doc}`,
    buffers: { dy: "read", gate: "read", up: "read", dgate: "write", dup: "write" },
    wgsl: `
  let g = gate[i];
  ${act.valueText}
  ${act.slopeText}
  dgate[i] = dy[i] * up[i] * slope;
  dup[i] = dy[i] * value;`,
    reference({ dy, gate, up, dgate, dup }, { count }) {
      for (let i = 0; i < count; i++) {
        dgate[i] = dy[i] * up[i] * act.slope(gate[i]);
        dup[i] = dy[i] * act.value(gate[i]);
      }
    },
    tolerance: 1e-5,
  });
}

/** A gated unit whose gate and other half are two arrays. */
export function gateOf(act: GateActivation, gradient: Kernel): Kernel<"gate" | "up" | "y", "count"> {
  return elementwise({
    name: `${act.name}_gate`,
    doc: `y[i] = act(gate[i]) up[i], where act(g) is ${act.doc}`,
    buffers: { gate: "read", up: "read", y: "write" },
    wgsl: `
  let g = gate[i];
  ${act.valueText}
  y[i] = value * up[i];`,
    reference({ gate, up, y }, { count }) {
      for (let i = 0; i < count; i++) y[i] = act.value(gate[i]) * up[i];
    },
    gradient,
    tolerance: 1e-5,
  });
}

type Buffers = "gateUp" | "y";
type Uniforms = "rows" | "dim";

const uniforms = { rows: "u32", dim: "u32" } as const;

/** One thread an element of the result. */
function wgslOf(valueText: string, source: ReadSource, bindings: readonly Binding[]): string {
  const { types, read } = source, threads = threadsOf(source);
  return /* wgsl */ `
alias T = f32;
${uniformStruct(uniformsWith(uniforms, source))}
${declareBindings(bindings, { ...types("f32"), y: "f32" })}

@compute @workgroup_size(${threads})
fn main(${workgroupBuiltins}) {
  let i = (${workgroupIndex}) * ${threads} + local;
  if (i >= uniforms.rows * uniforms.dim) { return; }
  let at = i + (i / uniforms.dim) * uniforms.dim;
  ${read("g", "at", "f32")}
  ${read("up", "(at + uniforms.dim)", "f32")}
  ${valueText}
  y[i] = value * up;
}
`;
}

/** A gated unit on rows that one product made: gates, then what they gate. */
export function gateUpOf(
  { name, doc, valueText, value }: Omit<GateActivation, "slopeText" | "slope">,
  wasm?: Kernel<Buffers, Uniforms>["wasm"],
): Kernel<Buffers, Uniforms> {
  const launchFrom = (
    source: ReadSource,
    { uniforms: { rows, dim } }: Call<Buffers, Uniforms>,
    limits: Limits,
  ): Launch => {
    const bindings: Binding[] = [...source.bindings, { name: "y", access: "read_write" }];
    const wgsl = wgslOf(valueText, source, bindings);
    return {
      dispatches: [{ wgsl, bindings, grid: grid(Math.ceil(rows * dim / threadsOf(source)), limits) }],
    };
  };
  return defineKernel<Buffers, Uniforms>({
    name: `${name}_gate_up`,
    doc: `y[r, i] = act(gateUp[r, i]) gateUp[r, dim + i], where act(g) is ${doc}`,
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
          y[r * dim + i] = value(gateUp[2 * r * dim + i]) * gateUp[(2 * r + 1) * dim + i];
        }
      }
    },
    ...(wasm ? { wasm } : {}),
    tolerance: 1e-5,
  });
}
