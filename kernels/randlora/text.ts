/**
 * The WGSL of `randlora_linear`: two dispatches, with the numbers between the factors in a scratch buffer.
 *
 * @module
 */
import { uniformStruct, workgroupBuiltins, workgroupIndex } from "../kernel.ts";

export const uniforms = {
  rows: "u32",
  in: "u32",
  out0: "u32",
  out1: "u32",
  out2: "u32",
  linear: "u32",
  capacity: "u32",
} as const;

/** Results of a workgroup; each is summed by 8 threads. */
export const chunk = 32;

/** What stands between the factors has fewer numbers: ceil(min / r) r of them, with r at most min. */
export const mostBetween = (inSize: number, out: number): number => 2 * Math.min(inSize, out);

/** What both halves of the work begin with: a workgroup's row, linear and adapter, the factors, and a sum by 8 threads. */
const begin = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> slots: array<u32>;
@group(0) @binding(3) var<storage, read> records: array<vec4u>;
@group(0) @binding(4) var<storage, read> tables: array<u32>;
@group(0) @binding(5) var<storage, read> values: array<f32>;
@group(0) @binding(6) var<storage, read_write> between: array<f32>;

var<workgroup> sums: array<f32, 256>;

fn most_between(out: u32) -> u32 { return 2 * min(uniforms.in, out); }
fn chunks_of(results: u32) -> u32 { return (results + ${chunk - 1}) / ${chunk}; }

struct Place { found: bool, row: u32, part: u32, out: u32, y_at: u32, between_at: u32, record: vec4u }

// Which row and linear a workgroup serves, and which of its chunks; 'chunks' are those of each linear.
fn place(id: u32, chunks: vec3u) -> Place {
  var p: Place;
  p.row = id / (chunks.x + chunks.y + chunks.z);
  if (p.row >= uniforms.rows) { return p; }
  let slot = slots[p.row];
  if (slot >= uniforms.capacity) { return p; }
  p.part = id % (chunks.x + chunks.y + chunks.z);
  let most = vec3u(most_between(uniforms.out0), most_between(uniforms.out1), most_between(uniforms.out2));
  var linear = uniforms.linear;
  p.out = uniforms.out0;
  p.y_at = p.row * (uniforms.out0 + uniforms.out1 + uniforms.out2);
  p.between_at = p.row * (most.x + most.y + most.z);
  if (p.part >= chunks.x) {
    p.part -= chunks.x;
    linear += 1;
    p.y_at += p.out;
    p.between_at += most.x;
    p.out = uniforms.out1;
    if (p.part >= chunks.y) {
      p.part -= chunks.y;
      linear += 1;
      p.y_at += p.out;
      p.between_at += most.y;
      p.out = uniforms.out2;
    }
  }
  p.record = records[linear * uniforms.capacity + slot];
  p.found = p.record.z > 0;
  return p;
}

struct Factors { rank: u32, bases: u32, short: u32, a: u32, wide: u32, b: u32, big: u32, lambda: u32, gamma: u32 }

fn factors_of(p: Place) -> Factors {
  let at = p.record.x;
  var f: Factors;
  f.rank = tables[at];
  f.short = min(uniforms.in, p.out);
  f.bases = (f.short + f.rank - 1) / f.rank;
  f.wide = tables[at + 1];
  f.big = tables[at + 2] * f.rank;
  f.a = at + 4;
  f.b = f.a + f.rank * f.wide;
  f.lambda = p.record.y;
  f.gamma = f.lambda + f.rank * f.bases;
  return f;
}

// The number of the small factor (bases rank, short), without lambda, and of the big one (long, bases rank).
fn small(f: Factors, k: u32, column: u32) -> f32 {
  return bitcast<f32>(tables[f.a + (k / f.bases) * f.wide + column]) * values[f.gamma + (k % f.bases) * f.short + column];
}
fn large(f: Factors, row: u32, k: u32) -> f32 { return bitcast<f32>(tables[f.b + row * f.big + k]); }

// Threads next to each other read numbers next to each other.
fn result_of(local: u32, along: bool) -> u32 { return select(local % ${chunk}, local / 8, along); }
fn lane_of(local: u32, along: bool) -> u32 { return select(local / ${chunk}, local % 8, along); }

fn summed(local: u32, result: u32, lane: u32, part: f32) -> f32 {
  sums[result * 8 + lane] = part;
  workgroupBarrier();
  var sum = 0.0;
  if (local < ${chunk}) { for (var i = 0u; i < 8; i++) { sum += sums[local * 8 + i]; } }
  return sum;
}
`;

/** between = lambda (the factor beside x) x. */
export const down = /* wgsl */ `
${begin}
@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let p = place(${workgroupIndex}, vec3u(
    chunks_of(most_between(uniforms.out0)), chunks_of(most_between(uniforms.out1)), chunks_of(most_between(uniforms.out2))));
  if (!p.found) { return; }
  let f = factors_of(p);
  let count = f.bases * f.rank;
  if (p.part * ${chunk} >= count) { return; }
  let tall = uniforms.in <= p.out;
  let result = result_of(local, tall);
  let k = p.part * ${chunk} + result;
  let lane = lane_of(local, tall);
  var part = 0.0;
  if (k < count) {
    for (var q = lane; q < uniforms.in; q += 8) {
      var weight = 0.0;
      if (tall) { weight = small(f, k, q); } else { weight = large(f, q, k); }
      part += weight * x[p.row * uniforms.in + q];
    }
  }
  let sum = summed(local, result, lane, part);
  let own = p.part * ${chunk} + local;
  if (local < ${chunk} && own < count) { between[p.between_at + own] = values[f.lambda + own] * sum; }
}
`;

/** y += scale (the other factor) between. */
export const up = /* wgsl */ `
${begin}
@group(0) @binding(7) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let p = place(${workgroupIndex}, vec3u(
    chunks_of(uniforms.out0), chunks_of(uniforms.out1), chunks_of(uniforms.out2)));
  if (!p.found) { return; }
  let f = factors_of(p);
  let count = f.bases * f.rank;
  let tall = uniforms.in <= p.out;
  let result = result_of(local, tall);
  let o = p.part * ${chunk} + result;
  let lane = lane_of(local, tall);
  var part = 0.0;
  if (o < p.out) {
    for (var k = lane; k < count; k += 8) {
      var weight = 0.0;
      if (tall) { weight = large(f, o, k); } else { weight = small(f, k, o); }
      part += weight * between[p.between_at + k];
    }
  }
  let sum = summed(local, result, lane, part);
  let own = p.part * ${chunk} + local;
  if (local < ${chunk} && own < p.out) { y[p.y_at + own] += bitcast<f32>(p.record.w) * sum; }
}
`;
