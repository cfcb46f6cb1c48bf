import { ropeBackward } from "./rope_backward.ts";
import { checkRotary } from "./rotary.ts";
import {
  anyKernel,
  defineKernel,
  grid,
  type Kernel,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";

type Buffers = "x" | "table" | "positions";
type Uniforms = keyof typeof uniforms;

const uniforms = { rows: "u32", heads: "u32", headDim: "u32", rotaryDim: "u32" } as const;

const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read> table: array<vec2f>;
@group(0) @binding(3) var<storage, read> positions: array<u32>;

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let half = uniforms.rotaryDim / 2;
  let i = (${workgroupIndex}) * 256 + local;
  let pair = i % half;
  let head = i / half;
  if (head >= uniforms.rows * uniforms.heads) { return; }
  let turn = table[positions[head / uniforms.heads] * half + pair];
  let at = head * uniforms.headDim + pair;
  let a = x[at];
  let b = x[at + half];
  x[at] = a * turn.x - b * turn.y;
  x[at + half] = b * turn.x + a * turn.y;
}
`;

/** Rotary position embedding, in place. */
export const rope: Kernel<Buffers, Uniforms> = defineKernel({
  name: "rope",
  doc: "Turns the pairs (x[r, h, i], x[r, h, i + rotaryDim/2]) by the angle whose cosine and sine are " +
    "table[positions[r], i]: the half-split layout of Hugging Face. A head's elements from rotaryDim on stay. Every " +
    "position is in the table.",
  buffers: {
    x: { access: "read_write", dtypes: ["float32"], doc: "(rows, heads, headDim), row-major, in place" },
    table: { access: "read", dtypes: ["float32"], doc: "(positions, rotaryDim / 2, 2): cosine, sine" },
    positions: { access: "read", dtypes: ["uint32"], doc: "(rows)" },
  },
  uniforms,
  launch({ uniforms: { rows, heads, headDim, rotaryDim } }, limits) {
    checkRotary(headDim, rotaryDim);
    return {
      dispatches: [{
        wgsl,
        bindings: [
          { name: "x", access: "read_write" },
          { name: "table", access: "read" },
          { name: "positions", access: "read" },
        ],
        grid: grid(Math.ceil(rows * heads * rotaryDim / 512), limits),
      }],
    };
  },
  reference({ x, table, positions }, { rows, heads, headDim, rotaryDim }) {
    const half = rotaryDim / 2;
    for (let head = 0; head < rows * heads; head++) {
      const turn = positions[Math.floor(head / heads)] * rotaryDim;
      for (let i = 0; i < half; i++) {
        const cos = table[turn + 2 * i], sin = table[turn + 2 * i + 1];
        const at = head * headDim + i;
        const a = x[at], b = x[at + half];
        x[at] = a * cos - b * sin;
        x[at + half] = b * cos + a * sin;
      }
    }
  },
  wasm: ({ rows, heads, headDim, rotaryDim }) => ({
    function: "rope",
    args: ["x", heads * headDim, "table", "positions", heads, headDim, rotaryDim],
    items: rows,
    work: 4 * rows * heads * rotaryDim,
  }),
  backward: (uniforms) => ({
    steps: [{
      kernel: anyKernel(ropeBackward),
      values: { table: "table", positions: "positions" },
      gradients: {},
      targets: { dx: { of: "x", mode: "add" } },
      uniforms,
    }],
    overwritten: [],
  }),
  tolerance: 1e-6,
});
