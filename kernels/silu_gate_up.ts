import {
  type Binding,
  type Case,
  declareBindings,
  defineKernel,
  grid,
  type Kernel,
  nans,
  normals,
  uniformStruct,
  type UniformType,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";

type Buffers = "gateUp" | "y";
type Uniforms = "rows" | "dim";

const uniforms = { rows: "u32", dim: "u32" } as const;

/** Where the text has gates and what they gate from, and what it calls what it writes. */
export interface SiluGateUpText {
  readonly uniforms: Readonly<Record<string, UniformType>>;
  readonly bindings: readonly Binding[];
  readonly types: Readonly<Record<string, string>>;
  readonly y: string;
  /** Statements that put element `i` of the rows into `name`, a variable that they declare. */
  readonly read: (name: string, i: string) => string;
}

/** One thread an element of the result. */
export function siluGateUpWgsl({ bindings, types, y, read, ...text }: SiluGateUpText): string {
  return /* wgsl */ `
${uniformStruct(text.uniforms)}
${declareBindings(bindings, types)}

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let i = (${workgroupIndex}) * 256 + local;
  if (i >= uniforms.rows * uniforms.dim) { return; }
  let at = i + (i / uniforms.dim) * uniforms.dim;
  ${read("g", "at")}
  ${read("up", "(at + uniforms.dim)")}
  // exp of a number <= 0 cannot overflow.
  let e = exp(-abs(g));
  ${y}[i] = g * select(e, 1.0, g >= 0) / (1 + e) * up;
}
`;
}

function sized(rows: number, dim: number, scale = 1): Case<Buffers, Uniforms> {
  return {
    name: `${rows} rows of ${dim}, gates of about ${scale}`,
    uniforms: { rows, dim },
    make: (random) => ({
      gateUp: normals(2 * rows * dim, random).map((value, i) => i % (2 * dim) < dim ? scale * value : value),
      y: nans(rows * dim),
    }),
  };
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
  launch: ({ uniforms: { rows, dim } }, limits) => {
    const bindings = [{ name: "gateUp", access: "read" }, { name: "y", access: "read_write" }] as const;
    const wgsl = siluGateUpWgsl({
      ...{ uniforms, bindings, y: "y" },
      types: { gateUp: "f32", y: "f32" },
      read: (name, i) => `let ${name} = gateUp[${i}];`,
    });
    return { dispatches: [{ wgsl, bindings, grid: grid(Math.ceil(rows * dim / 256), limits) }] };
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
  cases: [sized(1, 1), sized(3, 251), sized(2, 256, 4), sized(5, 257, 100)],
  benches: [{ ...sized(256, 14336), bytes: 3 * 256 * 14336 * 4 }],
});
