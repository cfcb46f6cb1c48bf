/**
 * WGSL of the sample kernel that finds the smallest key that top-k and top-p keep.
 *
 * @module
 */

/** Most logits of a row that go to workgroup memory. */
export const listCapacity = 512;

/** Quads that a thread reads before it uses the first. */
const reads = 4;

const each = (text: (i: number) => string): string =>
  Array.from({ length: reads }, (_, i) => text(i)).join("\n");

/**
 * A search over thresholds, which needs no sort: each pass cuts the range of keys in five. Passes go over the row until
 * few enough keys are left above the range's low end to be listed, then over the list, which is in workgroup memory.
 * Sums run in a fixed order: over the row thread by thread, over the list by places.
 */
export const searchText = (threads: number): string => /* wgsl */ `
var<workgroup> masses: array<vec4f, threads>;
var<workgroup> numbers: array<vec4u, threads>;
var<workgroup> mass_parts: array<vec4f, 16>;
var<workgroup> number_parts: array<vec4u, 16>;
var<workgroup> bounds: vec3u;

var<workgroup> appended: atomic<u32>;
var<workgroup> found: array<u32, ${listCapacity}>;
// Keys of the list and their places in the row, in the order of places; of size 0 while there is none.
var<workgroup> list_keys: array<u32, ${listCapacity}>;
var<workgroup> list_places: array<u32, ${listCapacity}>;
var<workgroup> list_size: u32;

/** How many keys reach each of four thresholds, and the sums of their weights. */
struct Tally { numbers: vec4u, masses: vec4f }

/** What the kept keys must reach: a number, or a sum of weights of those from floor_key on. */
struct Goal { is_number: bool, number: u32, mass: f32, floor_key: u32 }

fn with_key(tally: Tally, key: u32, thresholds: vec4u, goal: Goal, row: Row) -> Tally {
  if (key < thresholds.x || key < goal.floor_key) { return tally; }
  let reached = vec4u(key) >= thresholds;
  var weight = 0.0;
  if (!goal.is_number) { weight = weight_of(key, row); }
  return Tally(
    tally.numbers + select(vec4u(), vec4u(1), reached),
    tally.masses + select(vec4f(), vec4f(weight), reached)
  );
}

fn with_keys(tally: Tally, keys: vec4u, thresholds: vec4u, goal: Goal, row: Row) -> Tally {
  var sum = tally;
  for (var c = 0u; c < 4; c++) { sum = with_key(sum, keys[c], thresholds, goal, row); }
  return sum;
}

// 'thresholds' rise.
fn tally(thresholds: vec4u, goal: Goal, row: Row, local: u32) -> Tally {
  var mine = Tally();
  let size = workgroupUniformLoad(&list_size);
  for (var i = local; i < size; i += threads) { mine = with_key(mine, list_keys[i], thresholds, goal, row); }
  for (var quad = local; size == 0 && 4 * quad < uniforms.vocab; quad += ${reads * threads}) {
${each((i) => `    let keys${i} = quad_keys(row.begin, quad + ${i * threads}, uniforms.vocab);`)}
${each((i) => `    mine = with_keys(mine, keys${i}, thresholds, goal, row);`)}
  }
  numbers[local] = mine.numbers;
  masses[local] = mine.masses;
  workgroupBarrier();
  if (local < 16) {
    var part = Tally();
    for (var i = local; i < threads; i += 16) { part = Tally(part.numbers + numbers[i], part.masses + masses[i]); }
    number_parts[local] = part.numbers;
    mass_parts[local] = part.masses;
  }
  workgroupBarrier();
  var all = Tally();
  for (var i = 0u; i < 16; i++) { all = Tally(all.numbers + number_parts[i], all.masses + mass_parts[i]); }
  return all;
}

// Lists the keys from 'low' on if they are few enough. They come in any order, and each finds its own place by counting.
fn list_from(low: u32, row: Row, local: u32) {
  for (var quad = local; 4 * quad < uniforms.vocab; quad += ${reads * threads}) {
${each((i) => `    let keys${i} = quad_keys(row.begin, quad + ${i * threads}, uniforms.vocab);`)}
${each((i) => `    append_from(low, keys${i}, 4 * (quad + ${i * threads}));`)}
  }
  workgroupBarrier();
  let size = atomicLoad(&appended);
  if (size <= ${listCapacity}) {
    for (var i = local; i < size; i += threads) {
      let place = found[i];
      var before = 0u;
      for (var j = 0u; j < size; j++) { before += select(0u, 1u, found[j] < place); }
      list_places[before] = place;
      list_keys[before] = key_of(bits_at(row.begin + place));
    }
    if (local == 0) { list_size = size; }
  }
  workgroupBarrier();
  if (local == 0) { atomicStore(&appended, 0); }
  workgroupBarrier();
}

fn append_from(low: u32, keys: vec4u, place: u32) {
  for (var c = 0u; c < 4; c++) {
    if (keys[c] >= low) {
      let at = atomicAdd(&appended, 1);
      if (at < ${listCapacity}) { found[at] = place + c; }
    }
  }
}

// Four thresholds that cut low..high (the lowest stays known to be enough) in five.
fn cuts(low: u32, high: u32) -> vec4u {
  let step = (high - low) / 5 + 1;
  return vec4u(low) + min(vec4u(high - low), vec4u(1, 2, 3, 4) * step);
}

// Where the smallest key of a nucleus mostly is: weights of e^-12, e^-8, e^-4 and e^-2.
fn likely_cuts(low: u32, high: u32, row: Row) -> vec4u {
  let largest = value_of(row.largest);
  if (!(abs(largest) < 1e30 && row.temperature < 1e30)) { return cuts(low, high); }
  let values = vec4f(largest) - row.temperature * vec4f(12, 8, 4, 2);
  return clamp(keys_of(bitcast<vec4u>(values)), vec4u(low), vec4u(high));
}

// The part of low..high that still holds the answer, knowing which thresholds are enough (falling from true to false),
// and how many keys reach its low end.
fn narrowed(range: vec3u, thresholds: vec4u, numbers: vec4u, enough: vec4<bool>) -> vec3u {
  if (!enough.x) { return vec3u(range.x, thresholds.x - 1, range.z); }
  if (!enough.y) { return vec3u(thresholds.x, thresholds.y - 1, numbers.x); }
  if (!enough.z) { return vec3u(thresholds.y, thresholds.z - 1, numbers.y); }
  if (!enough.w) { return vec3u(thresholds.z, thresholds.w - 1, numbers.z); }
  return vec3u(thresholds.w, range.y, numbers.w);
}

fn set_bounds(value: vec3u, local: u32) -> vec3u {
  if (local == 0) { bounds = value; }
  return workgroupUniformLoad(&bounds);
}

// The largest key from 'low' on such that it and those above reach the goal, which 'low' does.
fn search(goal: Goal, low: u32, row: Row, local: u32) -> u32 {
  var range = set_bounds(vec3u(low, row.largest, 0xffffffff), local);
  var thresholds = cuts(range.x, range.y);
  if (!goal.is_number) { thresholds = likely_cuts(range.x, range.y, row); }
  while (range.x < range.y) {
    let sums = tally(thresholds, goal, row, local);
    let enough = select(sums.masses >= vec4f(goal.mass), sums.numbers >= vec4u(goal.number), vec4<bool>(goal.is_number));
    range = set_bounds(narrowed(range, thresholds, sums.numbers, enough), local);
    if (workgroupUniformLoad(&list_size) == 0 && range.z <= ${listCapacity}) { list_from(range.x, row, local); }
    thresholds = cuts(range.x, range.y);
  }
  return range.x;
}
`;
