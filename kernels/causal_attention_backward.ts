import {
  defineKernel,
  type Dispatch,
  grid,
  type Kernel,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";
import { causalAttentionBackwardCpu } from "./causal/cpu.ts";
import {
  checkSizes,
  dots,
  prelude,
  startOf,
  startsText,
  storeSums,
  storeWeights,
  sums,
  tileRows,
  type Uniforms,
  uniforms,
  weigh,
} from "./causal/wgsl.ts";
import { softcapped, softcapSlope, softcapText } from "./softcap.ts";

/** Rows whose documents one item takes; as in kernels/assembly/causal.ts. */
const rowsOfItem = 64;

type Buffers = "q" | "k" | "v" | "y" | "dy" | "logsumexp" | "first" | "last" | "dq" | "dk" | "dv";

const inputs = [
  { name: "q", of: "heads" },
  { name: "k", of: "kvHeads" },
  { name: "v", of: "kvHeads" },
  { name: "dy", of: "heads" },
] as const;

/** A row's two numbers for each head: log-sum-exp, and y . dy, which all its probabilities' gradients fall by. */
const statsWgsl = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> y: array<f32>;
@group(0) @binding(2) var<storage, read> dy: array<f32>;
@group(0) @binding(3) var<storage, read> logsumexp: array<f32>;
@group(0) @binding(4) var<storage, read_write> stats: array<vec2f>;

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let i = (${workgroupIndex}) * 256 + local;
  if (i >= uniforms.rows * uniforms.heads) { return; }
  var sum = 0.0;
  for (var e = i * uniforms.headDim; e < (i + 1) * uniforms.headDim; e++) { sum += y[e] * dy[e]; }
  stats[i] = vec2f(logsumexp[i], sum);
}
`;

/** Scores, capped where there is a cap, and what the cap leaves of their slopes. */
const scoresText = (products: string, capped: boolean): string =>
  capped
    ? `let capped = softcapped(uniforms.scale * ${products}, uniforms.softcap);
    let passed = 1 - capped * capped / (uniforms.softcap * uniforms.softcap);`
    : `let capped = uniforms.scale * ${products};`;

/** Mine are rows of dq; the others, keys. */
const queryWgsl = (headDim: number, capped: boolean): string => /* wgsl */ `
${prelude(inputs, headDim % 4 === 0)}
@group(0) @binding(5) var<storage, read> first: array<u32>;
@group(0) @binding(6) var<storage, read> stats: array<vec2f>;
@group(0) @binding(7) var<storage, read_write> dq: array<f32>;
${dots("q", "k")}
${dots("dy", "v")}
${startsText}
${capped ? softcapText("vec4f") : ""}

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let id = ${workgroupIndex};
  let mine = vec2u((id / uniforms.heads) * ${tileRows}, id % uniforms.heads);
  if (mine.x >= uniforms.rows) { return; }
  let kv_head = mine.y / (uniforms.heads / uniforms.kvHeads);
  let rows = mine.x + vec2u(local / 16, local / 16 + 16);
  let held = min(rows, vec2u(uniforms.rows - 1));
  let starts = starts_of(rows, vec2u(first[held.x], first[held.y]));
  let upper = stats[held.x * uniforms.heads + mine.y];
  let lower = stats[held.y * uniforms.heads + mine.y];
  let end = min(mine.x + ${tileRows}, uniforms.rows);
${sums("acc", headDim)}
  for (var begin = starts_of(mine.xx, vec2u(first[mine.x])).x; begin < end; begin += ${tileRows}) {
    let others = vec2u(begin, kv_head);
    let keys = begin + vec2u(local % 16, local % 16 + 16);
    let seen = vec4<bool>(
      keys.x >= starts.x && keys.x <= rows.x, keys.y >= starts.x && keys.y <= rows.x,
      keys.x >= starts.y && keys.x <= rows.y, keys.y >= starts.y && keys.y <= rows.y);
    ${scoresText("dots_q_k(local, mine, others)", capped)}
    let scores = capped - vec4f(upper.xx, lower.xx);
    let probabilities = exp(select(vec4f(-1e4), scores, seen));
    let slopes = ${
  capped ? "passed * " : ""
}probabilities * (dots_dy_v(local, mine, others) - vec4f(upper.yy, lower.yy));
${storeWeights("slopes")}
${weigh("acc", "k", "others", headDim)}
  }
  let factor = vec2f(uniforms.scale);
${storeSums("acc", { into: "dq", at: "mine", heads: "uniforms.heads", factor: "factor" }, headDim)}
}
`;

/** Mine are keys; the others, later rows of all heads that share the keys. */
const keyWgsl = (headDim: number, capped: boolean): string => /* wgsl */ `
${prelude(inputs, headDim % 4 === 0)}
@group(0) @binding(5) var<storage, read> last: array<u32>;
@group(0) @binding(6) var<storage, read> stats: array<vec2f>;
@group(0) @binding(7) var<storage, read_write> dk: array<f32>;
@group(0) @binding(8) var<storage, read_write> dv: array<f32>;
${dots("k", "q")}
${dots("v", "dy")}
${capped ? softcapText("vec4f") : ""}

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let id = ${workgroupIndex};
  let mine = vec2u((id / uniforms.kvHeads) * ${tileRows}, id % uniforms.kvHeads);
  if (mine.x >= uniforms.rows) { return; }
  let group_size = uniforms.heads / uniforms.kvHeads;
  let keys = mine.x + vec2u(local / 16, local / 16 + 16);
  let held = min(keys, vec2u(uniforms.rows - 1));
  let lasts = vec2u(last[held.x], last[held.y]);
  let behind = min(last[min(mine.x + ${tileRows}, uniforms.rows) - 1], uniforms.rows);
  let reach = select(uniforms.rows, mine.x + ${tileRows} - 1 + uniforms.window, uniforms.window > 0);
  let end = min(behind, reach);
  let ends = min(lasts, select(vec2u(uniforms.rows), keys + uniforms.window, uniforms.window > 0));
${sums("acck", headDim)}
${sums("accv", headDim)}
  for (var head = mine.y * group_size; head < (mine.y + 1) * group_size; head++) {
    for (var begin = mine.x; begin < end; begin += ${tileRows}) {
      let others = vec2u(begin, head);
      let rows = begin + vec2u(local % 16, local % 16 + 16);
      let seen = vec4<bool>(
        rows.x >= keys.x && ends.x > rows.x, rows.y >= keys.x && ends.x > rows.y,
        rows.x >= keys.y && ends.y > rows.x, rows.y >= keys.y && ends.y > rows.y);
      let near = stats[min(rows.x, uniforms.rows - 1) * uniforms.heads + head];
      let far = stats[min(rows.y, uniforms.rows - 1) * uniforms.heads + head];
      ${scoresText("dots_k_q(local, mine, others)", capped)}
      let scores = capped - vec4f(near.x, far.x, near.x, far.x);
      let probabilities = exp(select(vec4f(-1e4), scores, seen));
      let slopes = ${
  capped ? "passed * " : ""
}probabilities * (dots_v_dy(local, mine, others) - vec4f(near.y, far.y, near.y, far.y));
${storeWeights("probabilities")}
${weigh("accv", "dy", "others", headDim)}
      workgroupBarrier();
${storeWeights("slopes")}
${weigh("acck", "q", "others", headDim)}
    }
  }
  let factor = vec2f(uniforms.scale);
  let one = vec2f(1);
${storeSums("acck", { into: "dk", at: "mine", heads: "uniforms.kvHeads", factor: "factor" }, headDim)}
${storeSums("accv", { into: "dv", at: "mine", heads: "uniforms.kvHeads", factor: "one" }, headDim)}
}
`;

const bindings = (read: readonly string[], written: readonly string[]): Dispatch["bindings"] => [
  ...read.map((name) => ({ name, access: "read" as const })),
  ...written.map((name) => ({ name, access: "read_write" as const })),
];

/** The gradients of causal attention of packed documents; probabilities are made anew from the log-sum-exp. */
export const causalAttentionBackward: Kernel<Buffers, Uniforms> = defineKernel({
  name: "causal_attention_backward",
  doc:
    "dq, dk and dv of causal_attention from dy: with p[r, h, j] = exp(scale q[r, h] . k[j, g] - logsumexp[r, h]) and " +
    "s = p (dy[r, h] . v[j, g] - dy[r, h] . y[r, h]): dq[r, h] = scale sum of s k[j, g], dk[j, g] = scale sum of " +
    "s q[r, h], dv[j, g] = sum of p dy[r, h]. With a softcap p has the capped score c, and s a factor " +
    "1 - (c / softcap)^2",
  buffers: {
    q: { access: "read", dtypes: ["float32"], doc: "(rows, heads, headDim), row-major" },
    k: { access: "read", dtypes: ["float32"], doc: "(rows, kvHeads, headDim), row-major" },
    v: { access: "read", dtypes: ["float32"], doc: "(rows, kvHeads, headDim), row-major" },
    y: { access: "read", dtypes: ["float32"], doc: "(rows, heads, headDim): as causal_attention wrote it" },
    dy: { access: "read", dtypes: ["float32"], doc: "(rows, heads, headDim), row-major" },
    logsumexp: { access: "read", dtypes: ["float32"], doc: "(rows, heads): as causal_attention wrote it" },
    first: { access: "read", dtypes: ["uint32"], doc: "(rows): as for causal_attention" },
    last: {
      access: "read",
      dtypes: ["uint32"],
      doc: "(rows): the row after the last of this row's document, as `first` tells documents apart",
    },
    dq: { access: "read_write", dtypes: ["float32"], doc: "(rows, heads, headDim), row-major" },
    dk: { access: "read_write", dtypes: ["float32"], doc: "(rows, kvHeads, headDim), row-major" },
    dv: { access: "read_write", dtypes: ["float32"], doc: "(rows, kvHeads, headDim), row-major" },
  },
  uniforms,
  launch({ uniforms }, limits) {
    checkSizes(uniforms);
    const { rows, heads, kvHeads, headDim } = uniforms, capped = uniforms.softcap > 0;
    const blocks = Math.ceil(rows / tileRows);
    return {
      dispatches: [
        {
          wgsl: statsWgsl,
          bindings: bindings(["y", "dy", "logsumexp"], ["stats"]),
          grid: grid(Math.ceil(rows * heads / 256), limits),
        },
        {
          wgsl: queryWgsl(headDim, capped),
          bindings: bindings(["q", "k", "v", "dy", "first", "stats"], ["dq"]),
          grid: grid(blocks * heads, limits),
        },
        {
          wgsl: keyWgsl(headDim, capped),
          bindings: bindings(["q", "k", "v", "dy", "last", "stats"], ["dk", "dv"]),
          grid: grid(blocks * kvHeads, limits),
        },
      ],
      scratch: { stats: 8 * rows * heads },
    };
  },
  reference({ q, k, v, y, dy, logsumexp, first, dq, dk, dv }, uniforms) {
    const { rows, heads, kvHeads, headDim, scale, softcap } = uniforms;
    const sumK = new Float64Array(dk.length), sumV = new Float64Array(dv.length);
    for (let r = 0; r < rows; r++) {
      for (let h = 0; h < heads; h++) {
        const query = (r * heads + h) * headDim;
        const sumQ = new Float64Array(headDim);
        let fall = 0;
        for (let i = 0; i < headDim; i++) fall += y[query + i] * dy[query + i];
        for (let j = startOf(r, first[r], uniforms); j <= r; j++) {
          const key = (j * kvHeads + Math.floor(h / (heads / kvHeads))) * headDim;
          let score = 0, slope = 0;
          for (let i = 0; i < headDim; i++) {
            score += q[query + i] * k[key + i];
            slope += dy[query + i] * v[key + i];
          }
          const capped = softcap > 0 ? softcapped(scale * score, softcap) : scale * score;
          const p = Math.exp(capped - logsumexp[r * heads + h]);
          const s = (softcap > 0 ? softcapSlope(capped, softcap) : 1) * scale * p * (slope - fall);
          for (let i = 0; i < headDim; i++) {
            sumQ[i] += s * k[key + i];
            sumK[key + i] += s * q[query + i];
            sumV[key + i] += p * dy[query + i];
          }
        }
        dq.set(sumQ, query);
      }
    }
    dk.set(sumK);
    dv.set(sumV);
  },
  cpu: causalAttentionBackwardCpu,
  wasm: ({ rows, heads, kvHeads, headDim, window, scale, softcap }) =>
    softcap > 0 ? undefined : ({
      function: "causal_attention_backward",
      args: [
        ...["q", "k", "v", "y", "dy", "logsumexp", "first", "dq", "dk", "dv", "scores", "slopes"],
        ...[rows, heads, kvHeads, headDim, window, scale],
      ],
      items: Math.ceil(rows / rowsOfItem) * kvHeads,
      work: 3 * rows * rows * heads * headDim,
      each: { scores: 4 * (rows + 3), slopes: 4 * (rows + 3) },
    }),
  tolerance: 1e-5,
});
