/**
 * The WGSL of the sample kernel.
 *
 * @module
 */
import { uniformStruct, workgroupBuiltins, workgroupIndex } from "../kernel.ts";

/** Uniform words of the kernel. */
export const uniforms = { rows: "u32", vocab: "u32" } as const;

/**
 * One workgroup a row. Logits are compared as order-preserving integers, so that a search over thresholds needs no
 * sort and ends after at most 16 passes: each pass cuts the range of keys in five. All sums run in a fixed order.
 */
export const wgsl = /* wgsl */ `
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
