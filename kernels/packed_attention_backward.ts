import {
  declareBindings,
  defineKernel,
  type Dispatch,
  grid,
  type Kernel,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";
import { packedAttentionBackwardCpu } from "./causal/packed_cpu.ts";
import {
  checkSizes,
  dots,
  type Heads,
  prelude,
  storeSums,
  storeWeights,
  sums,
  tileRows,
  weigh,
} from "./causal/wgsl.ts";

type Buffers = "q" | "k" | "v" | "y" | "dy" | "first" | "last" | "dq" | "dk" | "dv";
type Uniforms = keyof typeof uniforms;

const uniforms = { rows: "u32", heads: "u32", headDim: "u32", scale: "f32" } as const;

/** Rows whose documents one item of the WASM function takes. */
const rowsOfItem = 64;

const inputs: readonly Heads[] = ["q", "k", "v", "dy"].map((name) => ({ name, of: "heads" }));

/** Reads a row's bounds and statistics, or those of the last row. */
const statsText = /* wgsl */ `
fn stats_of(row: u32, head: u32) -> vec4u { return stats[min(row, uniforms.rows - 1) * uniforms.heads + head]; }
fn seen_by(row: vec4u, other: u32) -> bool { return other >= row.z && other < row.w; }
fn of_pairs(column: vec2f) -> vec4f { return vec4f(column, column); }`;

/**
 * A row's numbers for each head, as words: log-sum-exp, y . dy, and the bounds of its document. They stand together, for a
 * dispatch may bind 8 buffers.
 */
const statsWgsl = (headDim: number): string => /* wgsl */ `
${prelude([inputs[0], inputs[1]], headDim % 4 === 0, uniforms)}
${
  declareBindings(
    [
      ...["y", "dy", "first", "last"].map((name) => ({ name, access: "read" as const })),
      { name: "stats", access: "read_write" },
    ],
    { y: "f32", dy: "f32", first: "u32", last: "u32", stats: "vec4u" },
    3,
  )
}
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
  let rows = mine.x + vec2u(local / 16, local / 16 + 16);
  let held = min(rows, vec2u(bottom));
  let starts = vec2u(first[held.x], first[held.y]);
  let ends = vec2u(last[held.x], last[held.y]);
  let end = last[min(mine.x + ${tileRows - 1}, bottom)];
  let own = (local / 16) * 17;
  var maximum = vec2f(lowest);
  var sum = vec2f();
  for (var begin = first[mine.x]; begin < end; begin += ${tileRows}) {
    let keys = begin + vec2u(local % 16, local % 16 + 16);
    let seen = vec4<bool>(
      keys.x >= starts.x && ends.x > keys.x, keys.y >= starts.x && ends.x > keys.y,
      keys.x >= starts.y && ends.y > keys.x, keys.y >= starts.y && ends.y > keys.y);
    let scores = select(vec4f(lowest), uniforms.scale * dots_q_k(local, mine, vec2u(begin, mine.y)), seen);
    numbers[own + local % 16] = max(scores.xz, scores.yw);
    workgroupBarrier();
    var raised = maximum;
    for (var i = 0u; i < 16; i++) { raised = max(raised, numbers[own + i]); }
    let pairs = select(vec4f(), exp(scores - raised.xxyy), seen);
    sum = sum * exp(maximum - raised) + pairs.xz + pairs.yw;
    maximum = raised;
  }
  workgroupBarrier();
  numbers[own + local % 16] = sum;
  workgroupBarrier();
  var total = vec2f();
  for (var i = 0u; i < 16; i++) { total += numbers[own + i]; }
  if (local % 16 != 0) { return; }
  for (var half = 0u; half < 2; half++) {
    if (rows[half] >= uniforms.rows) { continue; }
    let i = rows[half] * uniforms.heads + mine.y;
    var fall = 0.0;
    for (var e = i * uniforms.headDim; e < (i + 1) * uniforms.headDim; e++) { fall += y[e] * dy[e]; }
    let logsumexp = maximum[half] + log(total[half]);
    stats[i] = vec4u(bitcast<u32>(logsumexp), bitcast<u32>(fall), starts[half], ends[half]);
  }
}
`;

/** Mine are rows of dq; the others, keys. */
const queryWgsl = (headDim: number): string => /* wgsl */ `
${prelude(inputs, headDim % 4 === 0, uniforms)}
@group(0) @binding(5) var<storage, read> stats: array<vec4u>;
@group(0) @binding(6) var<storage, read_write> dq: array<f32>;
${statsText}
${dots("q", "k")}
${dots("dy", "v")}

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let id = ${workgroupIndex};
  let mine = vec2u((id / uniforms.heads) * ${tileRows}, id % uniforms.heads);
  if (mine.x >= uniforms.rows) { return; }
  let upper = stats_of(mine.x + local / 16, mine.y);
  let lower = stats_of(mine.x + local / 16 + 16, mine.y);
  let end = stats_of(mine.x + ${tileRows - 1}, mine.y).w;
${sums("acc", headDim)}
  for (var begin = stats_of(mine.x, mine.y).z; begin < end; begin += ${tileRows}) {
    let others = vec2u(begin, mine.y);
    let keys = begin + vec2u(local % 16, local % 16 + 16);
    let seen = vec4<bool>(seen_by(upper, keys.x), seen_by(upper, keys.y), seen_by(lower, keys.x), seen_by(lower, keys.y));
    let logs = vec2f(bitcast<f32>(upper.x), bitcast<f32>(lower.x));
    let falls = vec2f(bitcast<f32>(upper.y), bitcast<f32>(lower.y));
    let scores = uniforms.scale * dots_q_k(local, mine, others) - logs.xxyy;
    let probabilities = exp(select(vec4f(-1e4), scores, seen));
    let slopes = probabilities * (dots_dy_v(local, mine, others) - falls.xxyy);
${storeWeights("slopes")}
${weigh("acc", "k", "others", headDim)}
  }
  let factor = vec2f(uniforms.scale);
${storeSums("acc", { into: "dq", at: "mine", heads: "uniforms.heads", factor: "factor" }, headDim)}
}
`;

/** Mine are keys; the others, all rows of their documents. */
const keyWgsl = (headDim: number): string => /* wgsl */ `
${prelude(inputs, headDim % 4 === 0, uniforms)}
@group(0) @binding(5) var<storage, read> stats: array<vec4u>;
@group(0) @binding(6) var<storage, read_write> dk: array<f32>;
@group(0) @binding(7) var<storage, read_write> dv: array<f32>;
${statsText}
${dots("k", "q")}
${dots("v", "dy")}

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let id = ${workgroupIndex};
  let mine = vec2u((id / uniforms.heads) * ${tileRows}, id % uniforms.heads);
  if (mine.x >= uniforms.rows) { return; }
  let upper = stats_of(mine.x + local / 16, mine.y);
  let lower = stats_of(mine.x + local / 16 + 16, mine.y);
  let end = stats_of(mine.x + ${tileRows - 1}, mine.y).w;
${sums("acck", headDim)}
${sums("accv", headDim)}
  for (var begin = stats_of(mine.x, mine.y).z; begin < end; begin += ${tileRows}) {
    let others = vec2u(begin, mine.y);
    let rows = begin + vec2u(local % 16, local % 16 + 16);
    let seen = vec4<bool>(seen_by(upper, rows.x), seen_by(upper, rows.y), seen_by(lower, rows.x), seen_by(lower, rows.y));
    let near = stats_of(rows.x, mine.y);
    let far = stats_of(rows.y, mine.y);
    let logs = of_pairs(vec2f(bitcast<f32>(near.x), bitcast<f32>(far.x)));
    let falls = of_pairs(vec2f(bitcast<f32>(near.y), bitcast<f32>(far.y)));
    let scores = uniforms.scale * dots_k_q(local, mine, others) - logs;
    let probabilities = exp(select(vec4f(-1e4), scores, seen));
    let slopes = probabilities * (dots_v_dy(local, mine, others) - falls);
${storeWeights("probabilities")}
${weigh("accv", "dy", "others", headDim)}
    workgroupBarrier();
${storeWeights("slopes")}
${weigh("acck", "q", "others", headDim)}
  }
  let factor = vec2f(uniforms.scale);
  let one = vec2f(1);
${storeSums("acck", { into: "dk", at: "mine", heads: "uniforms.heads", factor: "factor" }, headDim)}
${storeSums("accv", { into: "dv", at: "mine", heads: "uniforms.heads", factor: "one" }, headDim)}
}
`;

const bindings = (read: readonly string[], written: readonly string[]): Dispatch["bindings"] => [
  ...read.map((name) => ({ name, access: "read" as const })),
  ...written.map((name) => ({ name, access: "read_write" as const })),
];

const heads = (name: string, doc = "row-major") => ({
  doc: `(rows, heads, headDim)${doc === "row-major" ? `, ${doc}` : `: ${doc}`}`,
  dtypes: ["float32"] as const,
  access: name.startsWith("d") && name !== "dy" ? "read_write" as const : "read" as const,
});

/** The gradients of attention of packed documents in both directions; probabilities are made anew. */
export const packedAttentionBackward: Kernel<Buffers, Uniforms> = defineKernel({
  name: "packed_attention_backward",
  doc:
    "dq, dk and dv of packed_attention from dy, of q, k and v that are buffers of their own: with p[r, h, j] = softmax over " +
    "the rows j of r's document of (scale q[r, h] . k[j, h]) and s = p (dy[r, h] . v[j, h] - dy[r, h] . y[r, h]): " +
    "dq[r, h] = scale sum of s k[j, h], dk[j, h] = scale sum of s q[r, h], dv[j, h] = sum of p dy[r, h]",
  buffers: {
    q: heads("q"),
    k: heads("k"),
    v: heads("v"),
    y: heads("y", "as packed_attention wrote it"),
    dy: heads("dy"),
    first: { access: "read", dtypes: ["uint32"], doc: "(rows): as for packed_attention" },
    last: { access: "read", dtypes: ["uint32"], doc: "(rows): as for packed_attention" },
    dq: heads("dq"),
    dk: heads("dk"),
    dv: heads("dv"),
  },
  uniforms,
  launch({ uniforms: { rows, heads, headDim } }, limits) {
    checkSizes({ heads, kvHeads: heads, headDim });
    const size = grid(Math.ceil(rows / tileRows) * heads, limits), read = ["q", "k", "v", "dy", "stats"];
    return {
      dispatches: [
        {
          wgsl: statsWgsl(headDim),
          bindings: bindings(["q", "k", "y", "dy", "first", "last"], ["stats"]),
          grid: size,
        },
        { wgsl: queryWgsl(headDim), bindings: bindings(read, ["dq"]), grid: size },
        { wgsl: keyWgsl(headDim), bindings: bindings(read, ["dk", "dv"]), grid: size },
      ],
      scratch: { stats: 16 * rows * heads },
    };
  },
  reference({ q, k, v, y, dy, first, last, dq, dk, dv }, { rows, heads, headDim, scale }) {
    const sumK = new Float64Array(dk.length), sumV = new Float64Array(dv.length);
    for (let r = 0; r < rows; r++) {
      for (let h = 0; h < heads; h++) {
        const query = (r * heads + h) * headDim, scores: number[] = [];
        let fall = 0;
        for (let i = 0; i < headDim; i++) fall += y[query + i] * dy[query + i];
        for (let j = first[r]; j < last[r]; j++) {
          let score = 0;
          for (let i = 0; i < headDim; i++) score += q[query + i] * k[(j * heads + h) * headDim + i];
          scores.push(scale * score);
        }
        const max = scores.reduce((a, b) => Math.max(a, b), -Infinity);
        const total = scores.reduce((sum, score) => sum + Math.exp(score - max), 0);
        const sumQ = new Float64Array(headDim);
        scores.forEach((score, at) => {
          const key = ((first[r] + at) * heads + h) * headDim, p = Math.exp(score - max) / total;
          let slope = 0;
          for (let i = 0; i < headDim; i++) slope += dy[query + i] * v[key + i];
          const s = scale * p * (slope - fall);
          for (let i = 0; i < headDim; i++) {
            sumQ[i] += s * k[key + i];
            sumK[key + i] += s * q[query + i];
            sumV[key + i] += p * dy[query + i];
          }
        });
        dq.set(sumQ, query);
      }
    }
    dk.set(sumK);
    dv.set(sumV);
  },
  cpu: packedAttentionBackwardCpu,
  wasm: ({ rows, heads, headDim, scale }) => ({
    function: "packed_attention_backward",
    args: [
      ...["q", "k", "v", "y", "dy", "first", "last", "dq", "dk", "dv", "scores", "slopes"],
      ...[rows, heads, headDim, scale],
    ],
    items: Math.ceil(rows / rowsOfItem) * heads,
    work: 6 * rows * rows * heads * headDim,
    each: { scores: 4 * (rows + 3), slopes: 4 * (rows + 3) },
  }),
  tolerance: 1e-5,
});
