import {
  defineKernel,
  grid,
  type Kernel,
  type TypedArray,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";

type Buffers = "logits" | "wanted" | "sampled" | "top" | "logprobs";
type Uniforms = "rows" | "vocab";

const uniforms = { rows: "u32", vocab: "u32" } as const;

/** Most of the likeliest tokens that a row is told. */
export const mostTop = 20;

/** Log-probabilities of a row: its own token's, and those of {@linkcode mostTop} others. */
export const mostLogprobs = 1 + mostTop;

/** In `wanted`: the row's own token is the one that was drawn; nothing is wanted of the row. */
export const drawnToken = 0xffffffff, nothingWanted = 0xffffffff;

const threads = 256;

const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read> wanted: array<u32>;
@group(0) @binding(3) var<storage, read> sampled: array<u32>;
@group(0) @binding(4) var<storage, read_write> top: array<u32>;
@group(0) @binding(5) var<storage, read_write> logprobs: array<f32>;

const lowest = ${-3.4028234663852886e38};

var<workgroup> values: array<f32, ${threads}>;
var<workgroup> tokens: array<u32, ${threads}>;

// The largest value, the lowest token among equals, in the first place.
fn reduce_best(local: u32) {
  for (var half = ${threads / 2}u; half > 0; half /= 2) {
    workgroupBarrier();
    if (local < half) {
      let value = values[local + half];
      let token = tokens[local + half];
      if (value > values[local] || (value == values[local] && token < tokens[local])) {
        values[local] = value;
        tokens[local] = token;
      }
    }
  }
  workgroupBarrier();
}

fn reduce_sum(local: u32) {
  for (var half = ${threads / 2}u; half > 0; half /= 2) {
    workgroupBarrier();
    if (local < half) { values[local] += values[local + half]; }
  }
  workgroupBarrier();
}

// A workgroup has a row.
@compute @workgroup_size(${threads})
fn main(${workgroupBuiltins}) {
  let row = ${workgroupIndex};
  if (row >= uniforms.rows) { return; }
  let out = row * ${mostLogprobs};
  let count = wanted[2 * row + 1];
  for (var i = local; i < ${mostLogprobs}; i += ${threads}) {
    logprobs[out + i] = 0.0;
    if (i < ${mostTop}) { top[row * ${mostTop} + i] = 0; }
  }
  if (count == ${nothingWanted}u) { return; }
  let begin = row * uniforms.vocab;
  var most = lowest;
  for (var t = local; t < uniforms.vocab; t += ${threads}) { most = max(most, logits[begin + t]); }
  values[local] = most;
  tokens[local] = 0;
  reduce_best(local);
  let highest = values[0];
  workgroupBarrier();
  var sum = 0.0;
  for (var t = local; t < uniforms.vocab; t += ${threads}) { sum += exp(logits[begin + t] - highest); }
  values[local] = sum;
  reduce_sum(local);
  let shift = log(values[0]);
  workgroupBarrier();
  if (local == 0) {
    var own = wanted[2 * row];
    if (own == ${drawnToken}u) { own = sampled[row]; }
    if (own < uniforms.vocab) { logprobs[out] = logits[begin + own] - highest - shift; }
  }
  // Each turn takes the best of those after the last one.
  var last = highest;
  var after = 0u;
  for (var k = 0u; k < min(min(count, ${mostTop}), uniforms.vocab); k++) {
    var best = lowest;
    var token = ${drawnToken}u;
    for (var t = local; t < uniforms.vocab; t += ${threads}) {
      let value = logits[begin + t];
      let is_left = value < last || (value == last && t >= after);
      if (is_left && (value > best || token == ${drawnToken}u)) {
        best = value;
        token = t;
      }
    }
    values[local] = best;
    tokens[local] = token;
    reduce_best(local);
    last = values[0];
    after = tokens[0] + 1;
    if (local == 0) {
      top[row * ${mostTop} + k] = tokens[0];
      logprobs[out + 1 + k] = last - highest - shift;
    }
    workgroupBarrier();
  }
}
`;

/** A row's log-probabilities: of its own token, and of the `count` likeliest, the lower token first among equals. */
function writeRow(
  row: TypedArray,
  { own, count }: { readonly own: number; readonly count: number },
  { tokens, logprobs }: { readonly tokens: TypedArray; readonly logprobs: TypedArray },
): void {
  let highest = -Infinity;
  for (let t = 0; t < row.length; t++) highest = Math.max(highest, row[t]);
  let sum = 0;
  for (let t = 0; t < row.length; t++) sum += Math.exp(row[t] - highest);
  const shift = highest + Math.log(sum);
  if (own < row.length) logprobs[0] = row[own] - shift;
  const top: number[] = [];
  for (let t = 0; t < row.length; t++) {
    if (top.length === count && (count === 0 || row[t] <= row[top[count - 1]])) continue;
    let at = top.length;
    while (at > 0 && row[top[at - 1]] < row[t]) at--;
    top.splice(at, 0, t);
    if (top.length > count) top.pop();
  }
  top.forEach((token, k) => {
    tokens[k] = token;
    logprobs[1 + k] = row[token] - shift;
  });
}

/** Log-probabilities of tokens, for rows that want them. */
export const tokenLogprobs: Kernel<Buffers, Uniforms> = defineKernel({
  name: "token_logprobs",
  doc:
    "Of the softmax of a row of logits: logprobs[r, 0] is the natural log-probability of the token wanted[r, 0], " +
    "or of sampled[r] where that is 0xffffffff. top[r] has the wanted[r, 1] likeliest tokens (at most 20), and " +
    "logprobs[r, 1] onwards theirs, the lower token first among equals; all else is 0. A row whose wanted[r, 1] is 0xffffffff has zeros",
  buffers: {
    logits: { access: "read", dtypes: ["float32"], doc: "(rows, vocab), row-major, finite" },
    wanted: { access: "read", dtypes: ["uint32"], doc: "(rows, 2): a token, and how many of the likeliest" },
    sampled: { access: "read", dtypes: ["uint32"], doc: "(rows): tokens that were drawn" },
    top: { access: "read_write", dtypes: ["uint32"], doc: "(rows, 20)" },
    logprobs: { access: "read_write", dtypes: ["float32"], doc: "(rows, 21)" },
  },
  uniforms,
  launch: ({ uniforms: { rows } }, limits) => ({
    dispatches: [{
      wgsl,
      bindings: [
        { name: "logits", access: "read" },
        { name: "wanted", access: "read" },
        { name: "sampled", access: "read" },
        { name: "top", access: "read_write" },
        { name: "logprobs", access: "read_write" },
      ],
      grid: grid(rows, limits),
    }],
  }),
  reference({ logits, wanted, sampled, top, logprobs }, { rows, vocab }) {
    for (let r = 0; r < rows; r++) {
      const tokens = top.subarray(r * mostTop, (r + 1) * mostTop).fill(0);
      const row = logprobs.subarray(r * mostLogprobs, (r + 1) * mostLogprobs).fill(0);
      const [token, count] = wanted.subarray(2 * r, 2 * r + 2);
      if (count === nothingWanted) continue;
      const asked = { own: token === drawnToken ? sampled[r] : token, count: Math.min(count, mostTop) };
      writeRow(logits.subarray(r * vocab, (r + 1) * vocab), asked, { tokens, logprobs: row });
    }
  },
  tolerance: 1e-5,
});
