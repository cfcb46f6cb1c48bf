/**
 * WGSL shared by causal attention over packed rows, forward and backward: a workgroup of 16 x 16 threads takes 32 rows
 * of one head ("mine") and walks over tiles of 32 other rows ("others"), as one does for a product of matrices.
 * Thread (y, x) holds the four pairs of mine y, y + 16 with others x, x + 16. Nothing of size (rows, rows) is stored.
 *
 * @module
 */
import { uniformStruct, type UniformType } from "../kernel.ts";

/** Uniform words of the causal attention kernels. */
export const uniforms = {
  rows: "u32",
  heads: "u32",
  kvHeads: "u32",
  headDim: "u32",
  /** Rows that a row attends to, itself among them; 0: all before it. */
  window: "u32",
  scale: "f32",
  /** What scores are capped to by tanh; 0: not at all. */
  softcap: "f32",
} as const satisfies Record<string, UniformType>;

export type Uniforms = keyof typeof uniforms;
export type Sizes = Readonly<Record<Uniforms, number>>;

/** Rows of a workgroup, and of a tile. */
export const tileRows = 32;

/** The first row that a row attends to: where its document starts, or its window. */
export function startOf(row: number, first: number, { window }: Pick<Sizes, "window">): number {
  return window > 0 ? Math.max(first, row + 1 - window) : first;
}

/** `fn starts_of`: `startOf` of two rows. */
export const startsText = /* wgsl */ `
fn starts_of(rows: vec2u, first_rows: vec2u) -> vec2u {
  let outside = select(vec2u(), rows + 1 - uniforms.window, rows >= vec2u(uniforms.window));
  return select(first_rows, max(first_rows, outside), uniforms.window > 0);
}`;

/** Refuses sizes that the kernels do not hold for. */
export function checkSizes(
  { heads, kvHeads, headDim }: Pick<Sizes, "heads" | "kvHeads" | "headDim">,
): void {
  if (headDim < 1 || headDim > 256) {
    throw new RangeError(`Cannot attend with heads of ${headDim}: the size must be 1 to 256`);
  }
  if (kvHeads < 1 || heads % kvHeads !== 0) {
    throw new RangeError(`Cannot share ${kvHeads} key heads among ${heads} heads: they must divide them`);
  }
}

/**
 * `fn <name>_quad(row, head, quad)`: four elements of a head, zeros past its end and past the last row.
 *
 * @param begin Where the buffer has the head, by `row` and `head`.
 */
export function quadLoad(name: string, begin: string, wide: boolean): string {
  return `fn ${name}_quad(row: u32, head: u32, quad: u32) -> vec4f {
  if (row >= uniforms.rows || 4 * quad >= uniforms.headDim) { return vec4f(); }
  let begin = ${begin} + 4 * quad;
  ${
    wide ? `return ${name}[begin / 4];` : `var value = vec4f();
  for (var i = 0u; i < min(4u, uniforms.headDim - 4 * quad); i++) { value[i] = ${name}[begin + i]; }
  return value;`
  }
}`;
}

/** What the functions below work in. */
export const tilesText = /* wgsl */ `
// Quads of rows: two tiles of 32 rows by 8 quads, padded to 9, or one of 32 by 16.
var<workgroup> tile: array<vec4f, 576>;
var<workgroup> weights: array<f32, ${tileRows * 33}>;`;

/** A buffer of heads: its name and the uniform that counts the heads of a row. */
export interface Heads {
  readonly name: string;
  readonly of: "heads" | "kvHeads";
}

/** Uniform words, bindings of buffers of heads from 1 on, their loaders, and the workgroup memory. */
export function prelude(
  buffers: readonly Heads[],
  wide: boolean,
  words: Readonly<Record<string, UniformType>> = uniforms,
): string {
  const declared = buffers.map(({ name, of }, i) =>
    `@group(0) @binding(${i + 1}) var<storage, read> ${name}: array<${wide ? "vec4f" : "f32"}>;
${quadLoad(name, `(row * uniforms.${of} + head) * uniforms.headDim`, wide)}`
  );
  return `${uniformStruct(words)}
${declared.join("\n")}
${tilesText}`;
}

/** `fn dots_<mine>_<others>`: products of the four pairs: (mine y, others x), (y, x + 16), (y + 16, x), (y + 16, x + 16). */
export function dots(mine: string, others: string): string {
  return `fn dots_${mine}_${others}(local: u32, mine: vec2u, others: vec2u) -> vec4f {
  var sum = vec4f();
  let quads = (uniforms.headDim + 3) / 4;
  for (var begin = 0u; begin < quads; begin += 8) {
    workgroupBarrier();
    let at = (local / 8) * 9 + local % 8;
    tile[at] = ${mine}_quad(mine.x + local / 8, mine.y, begin + local % 8);
    tile[288 + at] = ${others}_quad(others.x + local / 8, others.y, begin + local % 8);
    workgroupBarrier();
    for (var i = 0u; i < 8; i++) {
      let a = tile[(local / 16) * 9 + i];
      let b = tile[(local / 16) * 9 + 144 + i];
      let c = tile[288 + (local % 16) * 9 + i];
      let d = tile[288 + (local % 16) * 9 + 144 + i];
      sum += vec4f(dot(a, c), dot(a, d), dot(b, c), dot(b, d));
    }
  }
  return sum;
}`;
}

/** Slices of 64 elements that a head has. */
const slices = (headDim: number): number[] => Array.from({ length: Math.ceil(headDim / 64) }, (_, i) => i);

/** Declares accumulators: for mine y and y + 16, quad x of each slice. */
export const sums = (name: string, headDim: number): string =>
  slices(headDim).map((s) => `  var ${name}${s}_0 = vec4f(); var ${name}${s}_1 = vec4f();`).join("\n");

/** Rescales accumulators, those of mine y and those of mine y + 16. */
export const rescale = (name: string, factor: string, headDim: number): string =>
  slices(headDim).map((s) => `    ${name}${s}_0 *= ${factor}.x; ${name}${s}_1 *= ${factor}.y;`).join("\n");

/** Stores a thread's four pairs as weights; a barrier must stand before they are read. */
export const storeWeights = (pairs: string): string => `
    weights[(local / 16) * 33 + local % 16] = ${pairs}.x;
    weights[(local / 16) * 33 + local % 16 + 16] = ${pairs}.y;
    weights[(local / 16 + 16) * 33 + local % 16] = ${pairs}.z;
    weights[(local / 16 + 16) * 33 + local % 16 + 16] = ${pairs}.w;`;

/** Adds the others' quads times the stored weights to accumulators. Begins with a barrier, so weights may be stored before. */
export function weigh(name: string, others: string, at: string, headDim: number): string {
  return slices(headDim).map((s) => `
    workgroupBarrier();
    for (var i = local; i < 512; i += 256) { tile[i] = ${others}_quad(${at}.x + i / 16, ${at}.y, ${
    16 * s
  } + i % 16); }
    workgroupBarrier();
    for (var i = 0u; i < ${tileRows}; i++) {
      let value = tile[i * 16 + local % 16];
      ${name}${s}_0 += weights[(local / 16) * 33 + i] * value;
      ${name}${s}_1 += weights[(local / 16 + 16) * 33 + i] * value;
    }`).join("\n");
}

/** Stores accumulators times a factor for each of the two rows into an f32 buffer of heads. */
export function storeSums(
  name: string,
  { into, at, heads, factor }: { into: string; at: string; heads: string; factor: string },
  headDim: number,
): string {
  return slices(headDim).flatMap((s) =>
    [0, 1].map((half) => `
  for (var i = 0u; i < 4; i++) {
    let row = ${at}.x + local / 16 + ${16 * half};
    let element = 4 * (${16 * s} + local % 16) + i;
    if (row < uniforms.rows && element < uniforms.headDim) {
      ${into}[(row * ${heads} + ${at}.y) * uniforms.headDim + element] = ${name}${s}_${half}[i] * ${factor}.${
      "xy"[half]
    };
    }
  }`)
  ).join("\n");
}
