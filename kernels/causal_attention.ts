import { causalAttentionBackward } from "./causal_attention_backward.ts";
import { anyKernel, defineKernel, grid, type Kernel, workgroupBuiltins, workgroupIndex } from "./kernel.ts";
import { causalAttentionCpu } from "./causal/cpu.ts";
import {
  checkSizes,
  dots,
  prelude,
  rescale,
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
import { softcapped, softcapText } from "./softcap.ts";

type Buffers = "q" | "k" | "v" | "first" | "y" | "logsumexp";

/** Softmax is online: a tile of keys that raises a row's maximum rescales what was summed. */
const wgsl = (headDim: number, capped: boolean): string => /* wgsl */ `
${
  prelude(
    [{ name: "q", of: "heads" }, { name: "k", of: "kvHeads" }, { name: "v", of: "kvHeads" }],
    headDim % 4 === 0,
  )
}
@group(0) @binding(4) var<storage, read> first: array<u32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;
@group(0) @binding(6) var<storage, read_write> logsumexp: array<f32>;

const lowest = -1e38;
// A number of each thread, for sums and maxima over the 16 threads of a row: (mine y, mine y + 16).
var<workgroup> numbers: array<vec2f, 272>;
${dots("q", "k")}
${startsText}
${capped ? softcapText("vec4f") : ""}

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let id = ${workgroupIndex};
  let mine = vec2u((id / uniforms.heads) * ${tileRows}, id % uniforms.heads);
  if (mine.x >= uniforms.rows) { return; }
  let kv_head = mine.y / (uniforms.heads / uniforms.kvHeads);
  let rows = mine.x + vec2u(local / 16, local / 16 + 16);
  let firsts = vec2u(first[min(rows.x, uniforms.rows - 1)], first[min(rows.y, uniforms.rows - 1)]);
  let starts = starts_of(rows, firsts);
  let end = min(mine.x + ${tileRows}, uniforms.rows);
  let own = (local / 16) * 17;

  var maximum = vec2f(lowest);
  var sum = vec2f();
${sums("acc", headDim)}
  for (var begin = starts_of(mine.xx, vec2u(first[mine.x])).x; begin < end; begin += ${tileRows}) {
    let others = vec2u(begin, kv_head);
    let keys = begin + vec2u(local % 16, local % 16 + 16);
    let seen = vec4<bool>(
      keys.x >= starts.x && keys.x <= rows.x, keys.y >= starts.x && keys.y <= rows.x,
      keys.x >= starts.y && keys.x <= rows.y, keys.y >= starts.y && keys.y <= rows.y);
    let products = uniforms.scale * dots_q_k(local, mine, others);
    let scores = select(vec4f(lowest), ${
  capped ? "softcapped(products, uniforms.softcap)" : "products"
}, seen);
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
  if (local % 16 == 0) {
    let value = maximum + log(total);
    if (rows.x < uniforms.rows) { logsumexp[rows.x * uniforms.heads + mine.y] = value.x; }
    if (rows.y < uniforms.rows) { logsumexp[rows.y * uniforms.heads + mine.y] = value.y; }
  }
${storeSums("acc", { into: "y", at: "mine", heads: "uniforms.heads", factor: "inverse" }, headDim)}
}
`;

/** Causal attention of packed documents, for training: what the backward pass needs is kept, in O(rows). */
export const causalAttention: Kernel<Buffers, Uniforms> = defineKernel({
  name: "causal_attention",
  doc:
    "y[r, h] = softmax over rows j of (scale q[r, h] . k[j, g]) times v[j, g], where j runs from first[r] to r " +
    "inclusive and g = h / (heads / kvHeads) rounded down; logsumexp[r, h] = log of the sum of the exponentials. Of a " +
    "window that is not 0, j runs over the last `window` of these rows. A softcap that is not 0 takes " +
    "softcap tanh(score / softcap) in place of each score",
  buffers: {
    q: { access: "read", dtypes: ["float32"], doc: "(rows, heads, headDim), row-major" },
    k: { access: "read", dtypes: ["float32"], doc: "(rows, kvHeads, headDim), row-major" },
    v: { access: "read", dtypes: ["float32"], doc: "(rows, kvHeads, headDim), row-major" },
    first: {
      access: "read",
      dtypes: ["uint32"],
      doc:
        "(rows): the row where this row's document starts, at most this row; never less than the row before has",
    },
    y: { access: "read_write", dtypes: ["float32"], doc: "(rows, heads, headDim), row-major" },
    logsumexp: { access: "read_write", dtypes: ["float32"], doc: "(rows, heads)" },
  },
  uniforms,
  launch({ uniforms }, limits) {
    checkSizes(uniforms);
    return {
      dispatches: [{
        wgsl: wgsl(uniforms.headDim, uniforms.softcap > 0),
        bindings: [
          ...["q", "k", "v", "first"].map((name) => ({ name, access: "read" as const })),
          ...["y", "logsumexp"].map((name) => ({ name, access: "read_write" as const })),
        ],
        grid: grid(Math.ceil(uniforms.rows / tileRows) * uniforms.heads, limits),
      }],
    };
  },
  reference({ q, k, v, first, y, logsumexp }, uniforms) {
    const { rows, heads, kvHeads, headDim, scale, softcap } = uniforms;
    for (let r = 0; r < rows; r++) {
      const start = startOf(r, first[r], uniforms);
      for (let h = 0; h < heads; h++) {
        const query = (r * heads + h) * headDim;
        const key = (j: number) => (j * kvHeads + Math.floor(h / (heads / kvHeads))) * headDim;
        const scores: number[] = [];
        for (let j = start; j <= r; j++) {
          let dot = 0;
          for (let i = 0; i < headDim; i++) dot += q[query + i] * k[key(j) + i];
          scores.push(softcap > 0 ? softcapped(dot * scale, softcap) : dot * scale);
        }
        const max = scores.reduce((a, b) => Math.max(a, b), -Infinity);
        const sum = scores.reduce((sum, score) => sum + Math.exp(score - max), 0);
        for (let i = 0; i < headDim; i++) {
          y[query + i] = scores.reduce(
            (value, score, j) => value + Math.exp(score - max) / sum * v[key(start + j) + i],
            0,
          );
        }
        logsumexp[r * heads + h] = max + Math.log(sum);
      }
    }
  },
  cpu: causalAttentionCpu,
  wasm: ({ rows, heads, kvHeads, headDim, window, scale, softcap }) =>
    softcap > 0 ? undefined : ({
      function: "causal_attention",
      args: [
        ...["q", "k", "v", "first", "y", "logsumexp", "scores"],
        ...[heads, kvHeads, headDim, window, scale],
      ],
      items: rows * heads,
      work: rows * rows * heads * headDim,
      each: { scores: 4 * (rows + 3) },
    }),
  backward: (uniforms) => ({
    steps: [{
      kernel: anyKernel(causalAttentionBackward),
      values: { q: "q", k: "k", v: "v", y: "y", logsumexp: "logsumexp", first: "first", last: "last" },
      gradients: { dy: "y" },
      targets: {
        dq: { of: "q", mode: "write" },
        dk: { of: "k", mode: "write" },
        dv: { of: "v", mode: "write" },
      },
      uniforms,
    }],
    overwritten: ["y", "logsumexp"],
  }),
  tolerance: 1e-5,
});
