/**
 * What both dispatches of the sample kernel share: logits as integers that keep their order, and weights.
 *
 * @module
 */
import { uniformStruct } from "../kernel.ts";

/** Uniform words of the kernel. */
export const uniforms = { rows: "u32", vocab: "u32" } as const;

/** Threads of a workgroup that walks a slice, and most slices of a row. */
export const sliceThreads = 256;

/** Fewest logits of a slice: eight a thread. */
export const shortestSlice = 8 * sliceThreads;

/** Slices of a row, 1 to 256: as many as slices of the fewest logits make, or of a multiple where those would be more. */
export function sliceCount(vocab: number): number {
  return Math.ceil(vocab / (shortestSlice * Math.ceil(vocab / (shortestSlice * sliceThreads))));
}

/** Whether rows start at multiples of 16 bytes. */
const isWide = (vocab: number): boolean => vocab % 4 === 0;

/** Four neighbours of a row from place 4 * quad on: one load, or four that stay in the row. */
function quadText(vocab: number): string {
  if (isWide(vocab)) {
    return `fn bits_at(i: u32) -> u32 { return logits[i / 4][i % 4]; }
fn quad_bits(begin: u32, quad: u32) -> vec4u { return logits[begin / 4 + quad]; }`;
  }
  return `fn bits_at(i: u32) -> u32 { return logits[i]; }
fn quad_bits(begin: u32, quad: u32) -> vec4u {
  let at = begin + min(vec4u(4 * quad) + vec4u(0, 1, 2, 3), vec4u(uniforms.vocab - 1));
  return vec4u(logits[at.x], logits[at.y], logits[at.z], logits[at.w]);
}`;
}

/** Declares the first two bindings, keys of logits, and weights. */
export function preludeText(vocab: number): string {
  return /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> logits: array<${isWide(vocab) ? "vec4u" : "u32"}>;
@group(0) @binding(2) var<storage, read> params: array<f32>; // five a row

const lowest_key = 0x007fffffu; // less than those of finite logits
const not_finite = 0xffffffffu; // the key of what is no finite number: it shows as the row's largest

// Numbers of logits in a slice, and of slices in a row: sliceCount() is the same on the host.
fn slice_length() -> u32 {
  return ${shortestSlice} * ((uniforms.vocab - 1) / ${shortestSlice * sliceThreads} + 1);
}
fn slice_count() -> u32 { return (uniforms.vocab - 1) / slice_length() + 1; }

/** What a row's weights depend on. */
struct Row { begin: u32, largest: u32, temperature: f32 }

${quadText(vocab)}

// -0 counts as 0; finite numbers keep the order of the floats. By bits: compilers may take it that no float is NaN.
fn keys_of(bits: vec4u) -> vec4u {
  let magnitude = bits & vec4u(0x7fffffff);
  let ordered = select(bits | vec4u(0x80000000), ~bits, bits > vec4u(0x7fffffff));
  let number = select(ordered, vec4u(0x80000000), magnitude == vec4u(0));
  return select(number, vec4u(not_finite), magnitude >= vec4u(0x7f800000));
}

fn key_of(bits: u32) -> u32 { return keys_of(vec4u(bits)).x; }

// Keys of a row's places 4 * quad to 4 * quad + 3; 0, less than any, from 'end' on. Reads whatever comes of it, so that
// several reads can be under way.
fn quad_keys(begin: u32, quad: u32, end: u32) -> vec4u {
  let keys = keys_of(quad_bits(begin, min(quad, (end - 1) / 4)));
  return select(vec4u(0), keys, vec4u(4 * quad) + vec4u(0, 1, 2, 3) < vec4u(end));
}

fn value_of(key: u32) -> f32 { return bitcast<f32>(select(~key, key & 0x7fffffff, key > 0x7fffffff)); }

// The unnormalised probability of a key: 1 for the largest, at any temperature.
fn weight_of(key: u32, row: Row) -> f32 {
  if (key == row.largest) { return 1.0; }
  if (key <= lowest_key) { return 0.0; }
  let exponent = (value_of(key) - value_of(row.largest)) / row.temperature;
  return select(0.0, exp(exponent), exponent > -87);
}

// The larger (key, place), of equal keys that with the lower place.
fn larger(a: vec2u, b: vec2u) -> vec2u {
  return select(a, b, b.x > a.x || (b.x == a.x && b.y < a.y));
}
`;
}
