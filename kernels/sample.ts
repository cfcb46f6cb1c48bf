import {
  type Arrays,
  type Case,
  defineKernel,
  grid,
  type Kernel,
  normals,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";

type Buffers = "logits" | "params" | "tokens";
type Uniforms = "rows" | "vocab";

const uniforms = { rows: "u32", vocab: "u32" } as const;

/**
 * One workgroup a row. Logits are compared as order-preserving integers, so that a search over thresholds needs no
 * sort and ends after at most 16 passes: each pass cuts the range of keys in five. All sums run in a fixed order.
 */
const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> logits: array<u32>;
@group(0) @binding(2) var<storage, read> params: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> tokens: array<u32>;

const lowest_key = 0x007fffffu; // -infinity

var<workgroup> keys: array<u32, 256>;
var<workgroup> places: array<u32, 256>;
var<workgroup> sums: array<vec4f, 256>;
var<workgroup> counts: array<vec4u, 256>;
var<workgroup> bounds: vec2u;
var<workgroup> target_sum: f32;

/** What a row's weights depend on. */
struct Row { begin: u32, largest: u32, temperature: f32 }

// -0 counts as 0 and NaN as -infinity; all else keeps the order of the floats.
fn key_at(i: u32) -> u32 {
  let bits = logits[i];
  let magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) { return lowest_key; }
  if (magnitude == 0) { return 0x80000000; }
  return select(bits | 0x80000000, ~bits, bits > 0x7fffffff);
}

fn value_of(key: u32) -> f32 { return bitcast<f32>(select(~key, key & 0x7fffffff, key > 0x7fffffff)); }

// The unnormalised probability of a key: 1 for the largest, infinite logits included.
fn weight_of(key: u32, row: Row) -> f32 {
  if (key == row.largest) { return 1.0; }
  if (key == lowest_key || row.largest == 0xff800000) { return 0.0; }
  let exponent = (value_of(key) - value_of(row.largest)) / row.temperature;
  return select(0.0, exp(exponent), exponent > -87);
}

// Sums of the weights of the keys that reach each of four thresholds.
fn masses(thresholds: vec4u, floor_key: u32, row: Row, local: u32) -> vec4f {
  var mine = vec4f();
  for (var i = local; i < uniforms.vocab; i += 256) {
    let key = key_at(row.begin + i);
    if (key >= floor_key) { mine += select(vec4f(), vec4f(weight_of(key, row)), vec4u(key) >= thresholds); }
  }
  sums[local] = mine;
  workgroupBarrier();
  for (var half = 128u; half > 0; half >>= 1) {
    if (local < half) { sums[local] += sums[local + half]; }
    workgroupBarrier();
  }
  let result = sums[0];
  workgroupBarrier();
  return result;
}

// How many keys reach each of four thresholds.
fn numbers(thresholds: vec4u, row: Row, local: u32) -> vec4u {
  var mine = vec4u();
  for (var i = local; i < uniforms.vocab; i += 256) {
    mine += select(vec4u(), vec4u(1), vec4u(key_at(row.begin + i)) >= thresholds);
  }
  counts[local] = mine;
  workgroupBarrier();
  for (var half = 128u; half > 0; half >>= 1) {
    if (local < half) { counts[local] += counts[local + half]; }
    workgroupBarrier();
  }
  let result = counts[0];
  workgroupBarrier();
  return result;
}

// Four thresholds that cut low..high (the lowest stays known to be enough) in five.
fn cuts(low: u32, high: u32) -> vec4u {
  let step = (high - low) / 5 + 1;
  return vec4u(low) + min(vec4u(high - low), vec4u(1, 2, 3, 4) * step);
}

// The part of low..high that still holds the answer, knowing which thresholds are enough (falling from true to false).
fn narrowed(low: u32, high: u32, thresholds: vec4u, enough: vec4<bool>) -> vec2u {
  if (!enough.x) { return vec2u(low, thresholds.x - 1); }
  if (!enough.y) { return vec2u(thresholds.x, thresholds.y - 1); }
  if (!enough.z) { return vec2u(thresholds.y, thresholds.z - 1); }
  if (!enough.w) { return vec2u(thresholds.z, thresholds.w - 1); }
  return vec2u(thresholds.w, high);
}

fn set_bounds(value: vec2u, local: u32) -> vec2u {
  if (local == 0) { bounds = value; }
  return workgroupUniformLoad(&bounds);
}

// The largest key that at least 'k' keys reach.
fn kth_largest(k: u32, row: Row, local: u32) -> u32 {
  var range = set_bounds(vec2u(lowest_key, row.largest), local);
  while (range.x < range.y) {
    let thresholds = cuts(range.x, range.y);
    let enough = numbers(thresholds, row, local) >= vec4u(k);
    range = set_bounds(narrowed(range.x, range.y, thresholds, enough), local);
  }
  return range.x;
}

// The largest key such that the weights from it on sum to 'p' of those from floor_key on.
fn nucleus(p: f32, floor_key: u32, row: Row, local: u32) -> u32 {
  let wanted = vec4f(p * masses(vec4u(floor_key), floor_key, row, local).x);
  var range = set_bounds(vec2u(floor_key, row.largest), local);
  while (range.x < range.y) {
    let thresholds = cuts(range.x, range.y);
    let enough = masses(thresholds, floor_key, row, local) >= wanted;
    range = set_bounds(narrowed(range.x, range.y, thresholds, enough), local);
  }
  return range.x;
}

// The place where the running sum of weights, in order, passes 'u' of all: each round cuts the range in 256 pieces.
fn draw(u: f32, floor_key: u32, row: Row, local: u32) -> u32 {
  var range = set_bounds(vec2u(0, uniforms.vocab), local);
  if (local == 0) { target_sum = -1; }
  while (range.y - range.x > 1) {
    let piece = (range.y - range.x + 255) / 256;
    let begin = min(range.x + local * piece, range.y);
    var sum = 0.0;
    for (var i = begin; i < min(begin + piece, range.y); i++) {
      let key = key_at(row.begin + i);
      if (key >= floor_key) { sum += weight_of(key, row); }
    }
    sums[local].x = sum;
    workgroupBarrier();
    if (local == 0) {
      if (target_sum < 0) {
        var all = 0.0;
        for (var i = 0u; i < 256; i++) { all += sums[i].x; }
        target_sum = u * all;
      }
      // Rounding may leave the target beyond the last sum: then the last piece that has any weight holds it.
      var chosen = 0u;
      var before = 0.0;
      var running = 0.0;
      for (var i = 0u; i < 256; i++) {
        if (sums[i].x > 0) {
          chosen = i;
          before = running;
          running += sums[i].x;
          if (running > target_sum) { break; }
        }
      }
      target_sum = max(target_sum - before, 0.0);
      let from_place = range.x + chosen * piece;
      bounds = vec2u(from_place, min(from_place + piece, range.y));
    }
    range = workgroupUniformLoad(&bounds);
  }
  return range.x;
}

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let index = ${workgroupIndex};
  if (index >= uniforms.rows) { return; }
  let begin = index * uniforms.vocab;
  var key = 0u;
  var place = 0u;
  for (var i = local; i < uniforms.vocab; i += 256) {
    let other = key_at(begin + i);
    if (other > key) { key = other; place = i; }
  }
  keys[local] = key;
  places[local] = place;
  workgroupBarrier();
  for (var half = 128u; half > 0; half >>= 1) {
    if (local < half) {
      let other = keys[local + half];
      if (other > keys[local] || (other == keys[local] && places[local + half] < places[local])) {
        keys[local] = other;
        places[local] = places[local + half];
      }
    }
    workgroupBarrier();
  }
  let temperature = params[index].x;
  let top_p = params[index].y;
  let top_k = params[index].z;
  if (!(temperature > 0)) {
    if (local == 0) { tokens[index] = places[0]; }
    return;
  }
  let row = Row(begin, keys[0], temperature);
  var floor_key = lowest_key;
  if (top_k >= 1 && top_k < f32(uniforms.vocab)) { floor_key = kth_largest(u32(top_k), row, local); }
  if (top_p < 1) { floor_key = nucleus(top_p, floor_key, row, local); }
  let token = draw(params[index].w, floor_key, row, local);
  if (local == 0) { tokens[index] = token; }
}
`;

/** Weights of a row's logits: the largest has 1. NaN counts as -infinity. */
function weightsOf(
  logits: Arrays[string],
  temperature: number,
): { values: Float32Array; weights: Float64Array } {
  const values = Float32Array.from(logits, (v) => Number.isNaN(v) ? -Infinity : v);
  const max = values.reduce((a, b) => Math.max(a, b), -Infinity);
  const weights = Float64Array.from(values, (v) => v === max ? 1 : Math.exp((v - max) / temperature));
  return { values, weights };
}

function sumWhere(weights: Float64Array, values: Float32Array, floor: number): number {
  let sum = 0;
  for (let i = 0; i < weights.length; i++) if (values[i] >= floor) sum += weights[i];
  return sum;
}

/** The smallest logit that top-k and top-p keep. */
function keptFloor(
  values: Float32Array,
  weights: Float64Array,
  { topP, topK }: { readonly topP: number; readonly topK: number },
): number {
  const k = Math.floor(topK);
  const limited = k >= 1 && k < values.length;
  if (!limited && topP >= 1) return -Infinity;
  const order = values.slice().sort();
  const floor = limited ? order[values.length - k] : -Infinity;
  if (topP >= 1) return floor;
  const sorted = weights.slice().sort();
  const wanted = topP * sumWhere(weights, values, floor);
  let sum = 0;
  for (let i = values.length - 1; i >= 0; i--) {
    sum += sorted[i];
    if (sum >= wanted) return Math.max(order[i], floor);
  }
  return floor;
}

function greedy(logits: Arrays[string]): number {
  let best = 0, most = -Infinity;
  for (let i = 0; i < logits.length; i++) {
    if (logits[i] > most) {
      most = logits[i];
      best = i;
    }
  }
  return best;
}

function sampleRow(logits: Arrays[string], [temperature, topP, topK, u]: Arrays[string]): number {
  if (!(temperature > 0)) return greedy(logits);
  const { values, weights } = weightsOf(logits, temperature);
  const floor = keptFloor(values, weights, { topP, topK });
  const target = u * sumWhere(weights, values, floor);
  let running = 0, last = 0;
  for (let i = 0; i < values.length; i++) {
    if (!(values[i] >= floor) || weights[i] === 0) continue;
    running += weights[i];
    last = i;
    if (running > target) break;
  }
  return last;
}

/** The middle of the step that `at` of the whole falls on: as far as can be from where rounding decides. */
function middle(steps: Float64Array, at: number): number {
  const all = steps.reduce((a, b) => a + b, 0);
  let before = 0;
  for (const step of steps) {
    if (before + step > at * all) return (before + step / 2) / all;
    before += step;
  }
  return 0.5;
}

interface Choice {
  readonly temperature: number;
  readonly topP: number;
  readonly topK: number;
}

/** Row parameters whose u and top_p lie in the middle of a step at least 1e-4 wide. */
function settled(logits: Float32Array, { temperature, topP, topK }: Choice, random: () => number): number[] {
  if (!(temperature > 0)) return [temperature, topP, topK, random()];
  const { values, weights } = weightsOf(logits, temperature);
  const afterK = keptFloor(values, weights, { topP: 1, topK });
  const sorted = weights.filter((_, i) => values[i] >= afterK).sort().reverse();
  const p = topP > 0 && topP < 1 ? middle(sorted, topP) : topP;
  const floor = keptFloor(values, weights, { topP: p, topK });
  const kept = weights.map((w, i) => values[i] >= floor ? w : 0);
  const all = kept.reduce((a, b) => a + b, 0);
  let u = random();
  for (let tries = 0; tries < 1000; tries++, u = random()) {
    const token = sampleRow(logits, new Float32Array([temperature, p, topK, u]));
    if (kept[token] / all > 1e-4) return [temperature, p, topK, middle(kept, u)];
  }
  throw new RangeError("Cannot make a sampling case: no token has a probability over 1e-4");
}

const choices: readonly Choice[] = [
  { temperature: 0, topP: 1, topK: 0 },
  { temperature: 1, topP: 1, topK: 0 },
  { temperature: 0.7, topP: 0.9, topK: 0 },
  { temperature: 1.3, topP: 1, topK: 5 },
  { temperature: 0.8, topP: 0.5, topK: 20 },
  { temperature: 1, topP: 0, topK: 0 },
  { temperature: 1, topP: 1, topK: 1 },
];

function sized(
  rows: number,
  vocab: number,
  edit: (logits: Float32Array) => void = () => {},
  note = "",
): Case<Buffers, Uniforms> {
  return {
    name: `${rows} rows of ${vocab}${note}`,
    uniforms: { rows, vocab },
    make(random) {
      const logits = normals(rows * vocab, random, 3);
      edit(logits);
      const params = Array.from(
        { length: rows },
        (_, r) => settled(logits.subarray(r * vocab, (r + 1) * vocab), choices[r % choices.length], random),
      );
      return {
        logits,
        params: Float32Array.from(params.flat()),
        tokens: new Uint32Array(rows).fill(0xffffffff),
      };
    },
  };
}

/** Draws a token from each row of logits. */
export const sample: Kernel<Buffers, Uniforms> = defineKernel({
  name: "sample",
  doc:
    "tokens[r] is drawn from softmax(logits[r] / temperature). Kept are the logits not below the top_k-th largest " +
    "(0: all), and of these the fewest of the largest whose probabilities, renormalised, sum to top_p (at least one; " +
    "equal logits stay together). The token is the first, in index order, where the running sum of kept " +
    "probabilities passes u. A temperature of 0 takes the largest logit, the lowest index among equals. " +
    "NaN counts as -infinity.",
  buffers: {
    logits: { access: "read", dtypes: ["float32"], doc: "(rows, vocab), row-major" },
    params: { access: "read", dtypes: ["float32"], doc: "(rows, 4): temperature, top_p, top_k, u in [0, 1)" },
    tokens: { access: "read_write", dtypes: ["uint32"], doc: "(rows)" },
  },
  uniforms,
  launch({ uniforms: { rows, vocab } }, limits) {
    if (vocab < 1) throw new RangeError("Cannot sample from a vocabulary of 0");
    return {
      dispatches: [{
        wgsl,
        bindings: [
          { name: "logits", access: "read" },
          { name: "params", access: "read" },
          { name: "tokens", access: "read_write" },
        ],
        grid: grid(rows, limits),
      }],
    };
  },
  reference({ logits, params, tokens }, { rows, vocab }) {
    for (let r = 0; r < rows; r++) {
      tokens[r] = sampleRow(logits.subarray(r * vocab, (r + 1) * vocab), params.subarray(4 * r, 4 * r + 4));
    }
  },
  tolerance: 0,
  cases: [
    sized(7, 1),
    sized(14, 2),
    sized(14, 251),
    sized(7, 256),
    sized(7, 257),
    sized(7, 4096),
    sized(7, 66000),
    sized(7, 300, (logits) => logits.fill(2), ", all equal"),
    sized(7, 300, (logits) => logits.fill(-Infinity), ", all -infinity"),
    sized(7, 300, (logits) => logits.fill(NaN), ", all NaN"),
    sized(
      7,
      300,
      (logits) => logits.forEach((_, i) => i % 3 && logits.set([[NaN, -Infinity, -0, 0][i % 4]], i)),
      ", NaN, -infinity and signed zeros among them",
    ),
    sized(7, 300, (logits) => logits.set([Infinity], 200), ", an infinity"),
  ],
  benches: [{ ...sized(16, 128256), bytes: 16 * 128256 * 4 }],
});
