/**
 * The first dispatch of the sample kernel: what is to be known of each slice of a row.
 *
 * @module
 */
import { workgroupBuiltins, workgroupIndex } from "../kernel.ts";
import { preludeText, shortestSlice, sliceThreads } from "./wgsl.ts";

/** Text for each of the eight keys that a thread has read: its name and its place. */
const eachKey = (text: (key: string, place: string) => string): string =>
  [0, 1].flatMap((q) =>
    [0, 1, 2, 3].map((c) => `    ${text(`keys${q}[${c}]`, `4 * (quad + ${q * sliceThreads}) + ${c}`)}`)
  ).join("\n");

/** A walk of a slice, eight keys a step, which are all read before the first is used. */
const walk = (body: string): string => `
  for (var at = first; at < first + slice_length(); at += ${shortestSlice}) {
    let quad = at / 4 + local;
    let keys0 = quad_keys(begin, quad, end);
    let keys1 = quad_keys(begin, quad + ${sliceThreads}, end);
${body}
  }`;

/**
 * One workgroup a slice: its largest key and that key's place, and for rows that are sampled the sum of its weights by
 * that key, read once more while they are at hand. Both are added up in two steps, 16 threads taking 16 each.
 */
export function slicesWgsl(vocab: number): string {
  return /* wgsl */ `
${preludeText(vocab)}
@group(0) @binding(3) var<storage, read_write> slices: array<vec4u>;

var<workgroup> bests: array<vec2u, ${sliceThreads}>;
var<workgroup> best_parts: array<vec2u, 16>;
var<workgroup> sums: array<f32, ${sliceThreads}>;
var<workgroup> sum_parts: array<f32, 16>;

@compute @workgroup_size(${sliceThreads})
fn main(${workgroupBuiltins}) {
  let index = ${workgroupIndex};
  let row_index = index / slice_count();
  if (row_index >= uniforms.rows) { return; }
  let begin = row_index * uniforms.vocab;
  let first = (index % slice_count()) * slice_length();
  let end = min(first + slice_length(), uniforms.vocab);
  var best = vec2u();
${walk(eachKey((key, place) => `best = larger(best, vec2u(${key}, ${place}));`))}
  bests[local] = best;
  workgroupBarrier();
  if (local < 16) {
    for (var i = local; i < ${sliceThreads}; i += 16) { best = larger(best, bests[i]); }
    best_parts[local] = best;
  }
  workgroupBarrier();
  for (var i = 0u; i < 16; i++) { best = larger(best, best_parts[i]); }
  let temperature = params[5 * row_index];
  if (!(temperature > 0)) {
    if (local == 0) { slices[index] = vec4u(best, 0, 0); }
    return;
  }
  let row = Row(begin, best.x, temperature);
  var mine = 0.0;
${walk(eachKey((key) => `mine += weight_of(${key}, row);`))}
  sums[local] = mine;
  workgroupBarrier();
  if (local < 16) {
    var part = 0.0;
    for (var i = local; i < ${sliceThreads}; i += 16) { part += sums[i]; }
    sum_parts[local] = part;
  }
  workgroupBarrier();
  if (local == 0) {
    var all = 0.0;
    for (var i = 0u; i < 16; i++) { all += sum_parts[i]; }
    slices[index] = vec4u(best, bitcast<u32>(all), 0);
  }
}
`;
}
