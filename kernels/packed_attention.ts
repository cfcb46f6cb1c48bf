import { dotAll, softmax, weigh as weighRows } from "./causal/cpu.ts";
import {
  checkSizes,
  dots,
  quadLoad,
  rescale,
  storeSums,
  storeWeights,
  sums,
  tileRows,
  tilesText,
  weigh,
} from "./causal/wgsl.ts";
import { packedAttentionBackward } from "./packed_attention_backward.ts";
import {
  anyKernel,
  declareBindings,
  defineKernel,
  grid,
  type Kernel,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";

type Buffers = "q" | "k" | "v" | "first" | "last" | "y";
type Uniforms = keyof typeof uniforms;

const uniforms = {
  rows: "u32",
  heads: "u32",
  headDim: "u32",
  /** Columns of a row of q, k and v. */
  stride: "u32",
  /** The columns where a row's queries, keys and values begin. */
  qAt: "u32",
  kAt: "u32",
  vAt: "u32",
  scale: "f32",
} as const;

const heads = [
  { name: "q", at: "uniforms.qAt" },
  { name: "k", at: "uniforms.kAt" },
  { name: "v", at: "uniforms.vAt" },
] as const;

const bindings = [
  ...["q", "k", "v", "first", "last"].map((name) => ({ name, access: "read" as const })),
  { name: "y", access: "read_write" as const },
];

/** Softmax is online: a tile of keys that raises a row's maximum rescales what was summed. */
function wgsl({ headDim, stride, qAt, kAt, vAt }: Readonly<Record<Uniforms, number>>): string {
  const wide = [headDim, stride, qAt, kAt, vAt].every((size) => size % 4 === 0);
  const quads = wide ? "vec4f" : "f32";
  return /* wgsl */ `
${uniformStruct(uniforms)}
${declareBindings(bindings, { q: quads, k: quads, v: quads, first: "u32", last: "u32", y: "f32" })}
${
    heads.map(({ name, at }) =>
      quadLoad(name, `row * uniforms.stride + ${at} + head * uniforms.headDim`, wide)
    ).join("\n")
  }
${tilesText}

const lowest = -1e38;
// A number of each thread, for sums and maxima over the 16 threads of a row: (mine y, mine y + 16).
var<workgroup> numbers: array<vec2f, 272>;
${dots("q", "k")}

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let id = ${workgroupIndex};
  let mine = vec2u((id / uniforms.heads) * ${tileRows}, id % uniforms.heads);
  if (mine.x >= uniforms.rows) { return; }
  let bottom = uniforms.rows - 1;
  let rows = min(mine.x + vec2u(local / 16, local / 16 + 16), vec2u(bottom));
  let starts = vec2u(first[rows.x], first[rows.y]);
  let ends = vec2u(last[rows.x], last[rows.y]);
  let end = last[min(mine.x + ${tileRows - 1}, bottom)];
  let own = (local / 16) * 17;

  var maximum = vec2f(lowest);
  var sum = vec2f();
${sums("acc", headDim)}
  for (var begin = first[mine.x]; begin < end; begin += ${tileRows}) {
    let others = vec2u(begin, mine.y);
    let keys = begin + vec2u(local % 16, local % 16 + 16);
    let seen = vec4<bool>(
      keys.x >= starts.x && ends.x > keys.x, keys.y >= starts.x && ends.x > keys.y,
      keys.x >= starts.y && ends.y > keys.x, keys.y >= starts.y && ends.y > keys.y);
    let scores = select(vec4f(lowest), uniforms.scale * dots_q_k(local, mine, others), seen);
    numbers[own + local % 16] = max(scores.xz, scores.yw);
    workgroupBarrier();
    var raised = maximum;
    for (var i = 0u; i < 16; i++) { raised = max(raised, numbers[own + i]); }
    let factor = exp(maximum - raised);
    let pairs = select(vec4f(), exp(scores - raised.xxyy), seen);
    maximum = raised;
    sum = sum * factor + pairs.xz + pairs.yw;
${rescale("acc", "factor", headDim)}
${storeWeights("pairs")}
${weigh("acc", "v", "others", headDim)}
  }

  workgroupBarrier();
  numbers[own + local % 16] = sum;
  workgroupBarrier();
  var total = vec2f();
  for (var i = 0u; i < 16; i++) { total += numbers[own + i]; }
  let inverse = 1 / max(total, vec2f(1e-30));
${storeSums("acc", { into: "y", at: "mine", heads: "uniforms.heads", factor: "inverse" }, headDim)}
}
`;
}

/** Attention of packed documents in both directions, as encoders have it: no row is there to fill up a document. */
export const packedAttention: Kernel<Buffers, Uniforms> = defineKernel({
  name: "packed_attention",
  doc:
    "y[r, h] = softmax over rows j of (scale q[r, h] . k[j, h]) times v[j, h], where j runs from first[r] to last[r] - 1. " +
    "Queries, keys and values are columns of rows of `stride` numbers, from qAt, kAt and vAt on: q, k and v may be one buffer",
  buffers: {
    q: { access: "read", dtypes: ["float32"], doc: "(rows, stride): from qAt on (heads, headDim)" },
    k: { access: "read", dtypes: ["float32"], doc: "(rows, stride): from kAt on (heads, headDim)" },
    v: { access: "read", dtypes: ["float32"], doc: "(rows, stride): from vAt on (heads, headDim)" },
    first: {
      access: "read",
      dtypes: ["uint32"],
      doc:
        "(rows): the row where this row's document starts, at most this row; never less than the row before has",
    },
    last: { access: "read", dtypes: ["uint32"], doc: "(rows): the row after this row's document" },
    y: { access: "read_write", dtypes: ["float32"], doc: "(rows, heads, headDim), row-major" },
  },
  uniforms,
  launch({ uniforms }, limits) {
    checkSizes({ ...uniforms, kvHeads: uniforms.heads });
    return {
      dispatches: [{
        wgsl: wgsl(uniforms),
        bindings,
        grid: grid(Math.ceil(uniforms.rows / tileRows) * uniforms.heads, limits),
      }],
    };
  },
  reference({ q, k, v, first, last, y }, { rows, heads, headDim, stride, qAt, kAt, vAt, scale }) {
    for (let r = 0; r < rows; r++) {
      for (let h = 0; h < heads; h++) {
        const query = r * stride + qAt + h * headDim;
        const scores: number[] = [];
        for (let j = first[r]; j < last[r]; j++) {
          let dot = 0;
          for (let i = 0; i < headDim; i++) dot += q[query + i] * k[j * stride + kAt + h * headDim + i];
          scores.push(dot * scale);
        }
        const max = scores.reduce((a, b) => Math.max(a, b), -Infinity);
        const sum = scores.reduce((sum, score) => sum + Math.exp(score - max), 0);
        for (let i = 0; i < headDim; i++) {
          y[(r * heads + h) * headDim + i] = scores.reduce(
            (value, score, j) =>
              value + Math.exp(score - max) / sum * v[(first[r] + j) * stride + vAt + h * headDim + i],
            0,
          );
        }
      }
    }
  },
  cpu({ q, k, v, first, last, y }, { rows, heads, headDim, stride, qAt, kAt, vAt, scale }) {
    const weights = new Float64Array(rows), sums = new Float64Array(headDim);
    for (let r = 0; r < rows; r++) {
      const sizes = { count: last[r] - first[r], width: stride, headDim };
      for (let h = 0; h < heads; h++) {
        const column = h * headDim, row = first[r] * stride + column;
        const mine = { mine: q, at: r * stride + qAt + column };
        dotAll(weights, { ...mine, others: k, begin: row + kAt }, { ...sizes, factor: scale });
        const { sum } = softmax(weights, sizes.count);
        sums.fill(0);
        weighRows(sums, weights, { others: v, begin: row + vAt }, sizes);
        for (let i = 0; i < headDim; i++) y[(r * heads + h) * headDim + i] = sums[i] / sum;
      }
    }
  },
  wasm: ({ rows, heads, headDim, stride, qAt, kAt, vAt, scale }) => ({
    function: "packed_attention",
    args: [
      ...["q", "k", "v", "first", "last", "y", "scores"],
      ...[heads, headDim, stride, qAt, kAt, vAt, scale],
    ],
    items: rows * heads,
    work: rows * rows * heads * headDim,
    each: { scores: 4 * (rows + 3) },
  }),
  backward({ rows, heads, headDim, stride, qAt, kAt, vAt, scale }) {
    if (stride !== heads * headDim || qAt + kAt + vAt !== 0) {
      throw new RangeError(
        "Cannot differentiate packed_attention of columns: q, k and v must be buffers of their own",
      );
    }
    const same = Object.fromEntries(["q", "k", "v", "y", "first", "last"].map((name) => [name, name]));
    const written = (of: string) => ({ of, mode: "write" as const });
    return {
      steps: [{
        kernel: anyKernel(packedAttentionBackward),
        values: same,
        gradients: { dy: "y" },
        targets: { dq: written("q"), dk: written("k"), dv: written("v") },
        uniforms: { rows, heads, headDim, scale },
      }],
      overwritten: ["y"],
    };
  },
  tolerance: 1e-5,
});
