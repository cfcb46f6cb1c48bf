/**
 * The second dispatch of the sample kernel: a token of each row, from what the first found of its slices.
 *
 * @module
 */
import { type Limits, workgroupBuiltins, workgroupIndex } from "../kernel.ts";
import { listCapacity, searchText } from "./search.ts";
import { preludeText, sliceThreads } from "./wgsl.ts";

/** Workgroup memory with that many threads, in bytes. */
const memory = (threads: number): number => threads * 36 + listCapacity * 12 + 1024;

/** Threads of the workgroup that a row has to itself: as many as limits have room for. */
function threadsWithin({ invocations, workgroupStorageBytes }: Limits): number {
  const fits = (threads: number): boolean =>
    threads <= invocations && memory(threads) <= workgroupStorageBytes;
  return [1024, 512].find(fits) ?? sliceThreads;
}

/** The place where the running sum of weights, in order, passes 'u' of all: each round picks one of a range's pieces. */
const drawText = /* wgsl */ `
var<workgroup> running: array<f32, threads>;
var<workgroup> first_past: atomic<u32>;
var<workgroup> last_weighted: atomic<u32>;
var<workgroup> target_sum: f32;

// Running sums of the first 'count' threads' numbers.
fn scan(mine: f32, count: u32, local: u32) -> f32 {
  var sum = mine;
  running[local] = sum;
  workgroupBarrier();
  for (var step = 1u; step < count; step <<= 1) {
    var before = 0.0;
    if (local >= step) { before = running[local - step]; }
    workgroupBarrier();
    sum += before;
    running[local] = sum;
    workgroupBarrier();
  }
  return sum;
}

// The part of 'range' whose piece holds the target. Rounding may leave the target beyond the last sum: then the last piece
// that has any weight holds it.
fn pick(mine: f32, range: vec2u, piece: u32, u: f32, local: u32) -> vec2u {
  let count = (range.y - range.x + piece - 1) / piece;
  let sum = scan(mine, count, local);
  if (local == 0) {
    atomicStore(&first_past, threads);
    atomicStore(&last_weighted, 0);
    if (target_sum < 0) { target_sum = u * running[count - 1]; }
  }
  workgroupBarrier();
  if (mine > 0) {
    atomicMax(&last_weighted, local);
    if (sum > target_sum) { atomicMin(&first_past, local); }
  }
  workgroupBarrier();
  if (local == 0) {
    var chosen = atomicLoad(&first_past);
    if (chosen == threads) { chosen = atomicLoad(&last_weighted); }
    if (chosen > 0) { target_sum = max(target_sum - running[chosen - 1], 0.0); }
    let begin = range.x + chosen * piece;
    bounds = vec3u(begin, min(begin + piece, range.y), 0);
  }
  return workgroupUniformLoad(&bounds).xy;
}

// Places are the row's, or where there is a list, the list's.
fn draw(within: vec2u, u: f32, floor_key: u32, row: Row, local: u32) -> u32 {
  let listed = workgroupUniformLoad(&list_size) > 0;
  var range = within;
  while (range.y - range.x > 1) {
    let piece = (range.y - range.x + threads - 1) / threads;
    let begin = min(range.x + local * piece, range.y);
    var mine = 0.0;
    for (var i = begin; i < min(begin + piece, range.y); i++) {
      var key = 0u;
      if (listed) { key = list_keys[i]; } else { key = key_of(bits_at(row.begin + i)); }
      if (key >= floor_key) { mine += weight_of(key, row); }
    }
    range = pick(mine, range, piece, u, local);
  }
  return range.x;
}
`;

const sliceText = /* wgsl */ `
// The largest key that at least k slices reach, and so at least k keys; k is at most their number.
fn kth_slice(k: u32, local: u32) -> u32 {
  if (local < slice_count()) {
    let mine = numbers[local].x;
    var before = 0u;
    for (var i = 0u; i < slice_count(); i++) {
      let other = numbers[i].x;
      before += select(0u, 1u, other > mine || (other == mine && i < local));
    }
    if (before == k - 1) { bounds.x = mine; }
  }
  return workgroupUniformLoad(&bounds).x;
}

// The smallest key that top_k keeps. The slices have a bound for a small one, which leaves few keys to look at.
fn top_k_floor(k: u32, row: Row, local: u32) -> u32 {
  var low = lowest_key;
  if (k <= slice_count()) {
    low = kth_slice(k, local);
    list_from(low, row, local);
  }
  return search(Goal(true, k, 0.0, lowest_key), low, row, local);
}
`;

/** One workgroup a row. A greedy row's logits are not read again, others' by slices or as the search needs. */
export function chooseWgsl(vocab: number, limits: Limits): string {
  const threads = threadsWithin(limits);
  return /* wgsl */ `
${preludeText(vocab)}
@group(0) @binding(3) var<storage, read> slices: array<vec4u>;
@group(0) @binding(4) var<storage, read_write> tokens: array<u32>;

const threads = ${threads}u;
const no_token = 0xffffffffu;
var<workgroup> best_parts: array<vec2u, 16>;
${searchText(threads)}
${drawText}
${sliceText}

@compute @workgroup_size(${threads})
fn main(${workgroupBuiltins}) {
  let index = ${workgroupIndex};
  if (index >= uniforms.rows) { return; }
  var slice = vec4u();
  if (local < slice_count()) { slice = slices[index * slice_count() + local]; }
  numbers[local] = slice;
  workgroupBarrier();
  var best = vec2u();
  if (local < 16) {
    for (var i = local; i < slice_count(); i += 16) { best = larger(best, numbers[i].xy); }
    best_parts[local] = best;
  }
  workgroupBarrier();
  for (var i = 0u; i < 16; i++) { best = larger(best, best_parts[i]); }
  let temperature = params[5 * index];
  if (!(temperature > 0)) {
    if (local == 0) { tokens[index] = select(best.y, no_token, best.x == not_finite); }
    return;
  }
  if (local == 0) { bounds.x = best.x; }
  if (workgroupUniformLoad(&bounds).x == not_finite) {
    if (local == 0) { tokens[index] = no_token; }
    return;
  }
  let row = Row(index * uniforms.vocab, best.x, temperature);
  let top_p = params[5 * index + 1];
  let top_k = params[5 * index + 2];
  let u = params[5 * index + 3];
  let depth = params[5 * index + 4];
  let is_deep = depth >= 0;
  let by_number = top_k >= 1 && top_k < f32(uniforms.vocab);
  let mass = bitcast<f32>(slice.z) * weight_of(slice.x, row);
  if (local == 0) {
    target_sum = -1;
    list_size = 0;
  }
  workgroupBarrier();

  var floor_key = lowest_key;
  var range = vec2u(0, uniforms.vocab);
  if (is_deep) { floor_key = key_of(bitcast<u32>(max(value_of(row.largest) - depth, -3.4e38))); }
  if (by_number) { floor_key = max(floor_key, top_k_floor(u32(top_k), row, local)); }
  if (top_p < 1) {
    var all = 0.0;
    if (by_number || is_deep) {
      all = tally(vec4u(floor_key), Goal(false, 0, 0.0, floor_key), row, local).masses.x;
    } else {
      scan(mass, slice_count(), local);
      all = running[slice_count() - 1];
    }
    floor_key = search(Goal(false, 0, top_p * all, floor_key), floor_key, row, local);
  } else if (!by_number && !is_deep) {
    range = pick(mass, vec2u(0, slice_count()), 1, u, local);
    range = vec2u(range.x * slice_length(), min(range.y * slice_length(), uniforms.vocab));
  }
  let size = workgroupUniformLoad(&list_size);
  if (size > 0) { range = vec2u(0, size); }
  var token = draw(range, u, floor_key, row, local);
  if (size > 0) { token = list_places[token]; }
  if (local == 0) { tokens[index] = token; }
}
`;
}
