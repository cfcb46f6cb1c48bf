/**
 * WGSL of transforms of blocks in a workgroup: two real blocks are the parts of a complex one, as many pairs as there is
 * room for. Sizes come from a table, not from the text: rows of one launch may have blocks of different sizes.
 *
 * @module
 */
import { longestBlock, mostSlots, tableHead } from "./blocks.ts";

/** Invocations of a workgroup. */
export const threads = 256;

/** `body(position)` for the positions of an invocation, written out, so that its variables stay in registers. */
const each = (count: number, body: (at: string, i: number) => string): string =>
  Array.from({ length: count / threads }, (_, i) => body(`local + ${i * threads}u`, i)).join("\n");

/** Two bins of an invocation: their pair, their place in a spectrum, and whether they are there. */
export const eachSlot = (body: (i: number) => string): string =>
  each(mostSlots, (at, i) =>
    /* wgsl */ `{
  let pair = (${at}) / blocks.half;
  let bin = (${at}) % blocks.half;
  if (pair < blocks.pairs) {
    ${body(i)}
  }
}`);

/** The elements of an invocation: their pair, and their place in its blocks. */
export const eachElement = (body: string): string =>
  each(longestBlock, (at) =>
    /* wgsl */ `{
  let pair = (${at}) / blocks.size;
  let place = (${at}) % blocks.size;
  if (pair < blocks.pairs) {
    ${body}
  }
}`);

/** What an invocation keeps between barriers; given a value, for SwiftShader would keep that of the pass before. */
const outputs = Array.from({ length: longestBlock / threads }, (_, i) => i);

/** The workgroup memory in which blocks are transformed: so many pairs. */
export const workPairs = longestBlock;
export const workMemory = `var<workgroup> work: array<vec2f, ${workPairs}>;`;

/** Declarations; needs the binding `tables`, and `work`. */
export const blockFunctions = /* wgsl */ `
/** Of a pair's line of bins: bin 0 and the middle one are both real, and stand in one number. */
struct Blocks { size: u32, stride: u32, radices: u32, at: u32, turns: u32, half: u32, line: u32, pairs: u32 }
fn blocks_at(table: u32) -> Blocks {
  let size = tables[table];
  let radices = tables[table + 2];
  let half = (size + 1) / 2;
  let at = table + ${tableHead}u;
  return Blocks(size, tables[table + 1], radices, at, at + radices, half, 2 * half, ${mostSlots}u / half);
}
fn turn(blocks: Blocks, k: u32) -> vec2f {
  let at = blocks.turns + 2 * k;
  return bitcast<vec2f>(vec2u(tables[at], tables[at + 1]));
}
fn conj(z: vec2f) -> vec2f { return vec2f(z.x, -z.y); }
fn mul(a: vec2f, b: vec2f) -> vec2f { return vec2f(a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x); }
/** Times i. */
fn turned(z: vec2f) -> vec2f { return vec2f(-z.y, z.x); }
fn block_start(blocks: Blocks, n: u32) -> u32 {
  return n / blocks.stride * blocks.size * blocks.stride + n % blocks.stride;
}
/** Where a line has the odd block's bin beside the even block's. */
fn partner(blocks: Blocks, bin: u32) -> u32 {
  return select(blocks.size - bin, select(blocks.size / 2, blocks.size, blocks.size % 2 == 1), bin == 0);
}

/** work of each pair = SUM_i work[i] e^{2 pi i i k / size}: passes of radix 4, then of primes. */
fn transform(blocks: Blocks, local: u32) {
  var done = 1u;
  for (var stage = 0u; stage < blocks.radices; stage++) {
    let radix = tables[blocks.at + stage];
    let apart = blocks.size / (done * radix);
    ${outputs.map((i) => `var sum${i} = vec2f();`).join(" ")}
    var to = 0u;
    var mine = false;
    if (radix == 4) {
      let pair = local / (blocks.size / 4);
      let place = local % (blocks.size / 4);
      mine = pair < blocks.pairs;
      if (mine) {
        let k = place / apart;
        let q = place % apart;
        let begin = pair * blocks.line;
        let origin = begin + k * 4 * apart + q;
        to = begin + k * apart + q;
        let a = work[origin];
        let b = mul(work[origin + apart], turn(blocks, k * apart));
        let c = mul(work[origin + 2 * apart], turn(blocks, 2 * k * apart));
        let d = mul(work[origin + 3 * apart], turn(blocks, 3 * k * apart));
        let even = a + c; let odd = a - c; let both = b + d; let apart_i = turned(b - d);
        sum0 = even + both;
        sum1 = odd + apart_i;
        sum2 = even - both;
        sum3 = odd - apart_i;
      }
    } else {
      ${
  outputs.map((i) =>
    /* wgsl */ `{
        let position = local + ${i * threads}u;
        let pair = position / blocks.size;
        if (pair < blocks.pairs) {
          let place = position % blocks.size;
          let k = place / apart;
          let q = place % apart;
          let origin = pair * blocks.line + k % done * radix * apart + q;
          for (var t = 0u; t < radix; t++) {
            sum${i} += mul(work[origin + t * apart], turn(blocks, k * t * apart % blocks.size));
          }
        }
      }`
  ).join("\n")
}
    }
    workgroupBarrier();
    if (radix == 4) {
      if (mine) {
        ${outputs.map((i) => `work[to + ${i}u * done * apart] = sum${i};`).join("\n")}
      }
    } else {
      ${
  outputs.map((i) =>
    /* wgsl */ `{
        let position = local + ${i * threads}u;
        let pair = position / blocks.size;
        if (pair < blocks.pairs) { work[pair * blocks.line + position % blocks.size] = sum${i}; }
      }`
  ).join("\n")
}
    }
    workgroupBarrier();
    done *= radix;
  }
}

/** From transforms of pairs to conjugate bins of both blocks: the even block's at their places, the odd block's at partners. */
fn separate(blocks: Blocks, local: u32) {
  ${
  eachSlot(() => /* wgsl */ `
    let begin = pair * blocks.line;
    let other = begin + partner(blocks, bin);
    let z = work[begin + bin];
    if (bin == 0) {
      let middle = select(vec2f(), work[begin + blocks.size / 2], blocks.size % 2 == 0);
      work[begin] = vec2f(z.x, middle.x);
      work[other] = vec2f(z.y, middle.y);
    } else {
      let mirrored = conj(work[other]);
      work[begin + bin] = 0.5 * conj(z + mirrored);
      work[other] = 0.5 * conj(-turned(z - mirrored));
    }`)
}
}
`;
