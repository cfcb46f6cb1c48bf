/**
 * How `circulant_gradient` runs: spectra of x and dy, their products summed over parts of the rows, then the transforms back.
 *
 * @module
 */
import {
  declareBindings,
  type Dispatch,
  grid,
  type Launch,
  type Limits,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "../kernel.ts";
import { type Blocks, mostSlots, tableHead } from "./blocks.ts";
import { blockFunctions, eachElement, eachSlot, threads, workMemory } from "./wgsl.ts";

export const gradientUniforms = {
  rows: "u32",
  in: "u32",
  out: "u32",
  block: "u32",
  offset: "u32",
  scale: "f32",
} as const;
export type GradientWords = Readonly<Record<keyof typeof gradientUniforms, number>>;

/** Invocations that fill a large GPU: rows are dealt to that many, in parts that are summed apart. */
const manyInvocations = 2 ** 17;
/** Numbers the parts' sums may take in scratch. */
const mostPartials = 2 ** 23;

/** Conjugate half spectra of the blocks of `source`: (rows, length / size, half, 2). A workgroup has a row's pairs. */
function analysis(
  source: "x" | "dy",
  words: GradientWords,
  { blocks, limits }: { blocks: Blocks; limits: Limits },
): Dispatch {
  const name = `${source}_spectra`, length = source === "x" ? "in" : "out";
  const bindings = [
    { name: source, access: "read" },
    { name: "tables", access: "read" },
    { name, access: "read_write" },
  ] as const;
  const wgsl = /* wgsl */ `
${uniformStruct(gradientUniforms)}
${declareBindings(bindings, { [source]: "f32", tables: "u32", [name]: "vec2f" })}
${workMemory}
${blockFunctions}
fn element(blocks: Blocks, row: u32, n: u32, place: u32) -> f32 {
  if (n >= uniforms.${length} / blocks.size) { return 0; }
  return ${source}[row * uniforms.${length} + block_start(blocks, n) + place * blocks.stride];
}

@compute @workgroup_size(${threads})
fn main(${workgroupBuiltins}) {
  let index = ${workgroupIndex};
  let blocks = blocks_at(0);
  let count = uniforms.${length} / blocks.size;
  let pieces = (count + 2 * blocks.pairs - 1) / (2 * blocks.pairs);
  let row = index / pieces;
  let begin = index % pieces * 2 * blocks.pairs;
  if (row >= uniforms.rows) { return; }
  ${
    eachElement(
      "work[pair * blocks.line + place] = vec2f(element(blocks, row, begin + 2 * pair, place), " +
        "element(blocks, row, begin + 2 * pair + 1, place));",
    )
  }
  workgroupBarrier();
  transform(blocks, local);
  separate(blocks, local);
  workgroupBarrier();
  ${
    eachSlot(() => /* wgsl */ `
      let n = begin + 2 * pair;
      let line = pair * blocks.line;
      let at = (row * count + n) * blocks.half + bin;
      if (n < count) { ${name}[at] = work[line + bin]; }
      if (n + 1 < count) { ${name}[at + blocks.half] = work[line + partner(blocks, bin)]; }`)
  }
}
`;
  const pairs = Math.floor(mostSlots / blocks.half);
  const pieces = Math.ceil(words[length] / blocks.size / (2 * pairs));
  return { wgsl, bindings, grid: grid(words.rows * pieces, limits) };
}

/** Sums of conj(X) DY over a part of the rows, for two blocks of each: (parts, out / size, in / size, half, 2). */
const products = /* wgsl */ `
${uniformStruct(gradientUniforms)}
@group(0) @binding(1) var<storage, read> tables: array<u32>;
@group(0) @binding(2) var<storage, read> x_spectra: array<vec2f>;
@group(0) @binding(3) var<storage, read> dy_spectra: array<vec2f>;
@group(0) @binding(4) var<storage, read_write> partial: array<vec2f>;
override parts: u32;
/** x conj(dy), of spectra that are conjugate; bin 0 is two real numbers. */
fn times(x: vec2f, dy: vec2f, bin: u32) -> vec2f {
  return select(vec2f(x.x * dy.x + x.y * dy.y, x.y * dy.x - x.x * dy.y), x * dy, bin == 0);
}

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let index = (${workgroupIndex}) * 256 + local;
  let size = tables[0];
  let half = (size + 1) / 2;
  let ys = uniforms.out / size;
  let xs = uniforms.in / size;
  let bin = index % half;
  let n = index / half % ((xs + 1) / 2) * 2;
  let m = index / half / ((xs + 1) / 2) % ((ys + 1) / 2) * 2;
  let part = index / half / ((xs + 1) / 2) / ((ys + 1) / 2);
  if (part >= parts) { return; }
  // Where there is no second block the first stands in, and its sum is left out.
  let n1 = min(n + 1, xs - 1);
  let m1 = min(m + 1, ys - 1);
  var sum00 = vec2f(); var sum01 = vec2f(); var sum10 = vec2f(); var sum11 = vec2f();
  for (var row = part; row < uniforms.rows; row += parts) {
    let a = x_spectra[(row * xs + n) * half + bin];
    let b = x_spectra[(row * xs + n1) * half + bin];
    let c = dy_spectra[(row * ys + m) * half + bin];
    let d = dy_spectra[(row * ys + m1) * half + bin];
    sum00 += times(a, c, bin); sum01 += times(b, c, bin);
    sum10 += times(a, d, bin); sum11 += times(b, d, bin);
  }
  let at = ((part * ys + m) * xs + n) * half + bin;
  partial[at] = sum00;
  if (n1 > n) { partial[at + half] = sum01; }
  if (m1 > m) { partial[at + xs * half] = sum10; }
  if (n1 > n && m1 > m) { partial[at + (xs + 1) * half] = sum11; }
}
`;

/** gradient += the transforms back of all parts' sums; each element is the sum of one place in each of a block's splits. */
const synthesis = /* wgsl */ `
${uniformStruct(gradientUniforms)}
@group(0) @binding(1) var<storage, read> tables: array<u32>;
@group(0) @binding(2) var<storage, read> partial: array<vec2f>;
@group(0) @binding(3) var<storage, read_write> gradient: array<f32>;
override parts: u32;

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let index = (${workgroupIndex}) * 256 + local;
  let size = tables[0];
  let stride = tables[1];
  let turns = ${tableHead}u + tables[2];
  let half = (size + 1) / 2;
  let block = size * stride;
  let ys = uniforms.out / size;
  let xs = uniforms.in / size;
  let d = index % block;
  let n = index / block % (uniforms.in / block);
  let m = index / block / (uniforms.in / block);
  if (m >= uniforms.out / block) { return; }
  var sum = 0.0;
  for (var p = 0u; p < stride; p++) {
    let e = (d + p) % block;
    let place = e / stride;
    let first = ((m * stride + p) * xs + n * stride + e % stride) * half;
    for (var part = 0u; part < parts; part++) {
      let at = first + part * ys * xs * half;
      let real = partial[at];
      sum += real.x + select(real.y, -real.y, place % 2 == 1);
      var others = 0.0;
      for (var bin = 1u; bin < half; bin++) {
        let turn = turns + 2 * (bin * place % size);
        let z = partial[at + bin];
        others += z.x * bitcast<f32>(tables[turn]) - z.y * bitcast<f32>(tables[turn + 1]);
      }
      sum += 2 * others;
    }
  }
  gradient[uniforms.offset + index] += uniforms.scale * sum / f32(size);
}
`;

/** Spectra of rows, products over rows, and the sums' transforms. */
export function gradientLaunch(words: GradientWords, blocks: Blocks, limits: Limits): Launch {
  const { rows, in: inSize, out, block } = words, { size, half } = blocks;
  const xs = inSize / size, ys = out / size, sums = ys * xs * half;
  const invocations = Math.ceil(xs / 2) * Math.ceil(ys / 2) * half;
  const parts = Math.max(
    1,
    Math.min(Math.ceil(manyInvocations / invocations), Math.floor(mostPartials / sums), Math.ceil(rows / 16)),
  );
  return {
    dispatches: [
      analysis("x", words, { blocks, limits }),
      analysis("dy", words, { blocks, limits }),
      {
        wgsl: products,
        bindings: [
          { name: "tables", access: "read" },
          { name: "x_spectra", access: "read" },
          { name: "dy_spectra", access: "read" },
          { name: "partial", access: "read_write" },
        ],
        constants: { parts },
        grid: grid(Math.ceil(invocations * parts / 256), limits),
      },
      {
        wgsl: synthesis,
        bindings: [
          { name: "tables", access: "read" },
          { name: "partial", access: "read" },
          { name: "gradient", access: "read_write" },
        ],
        constants: { parts },
        grid: grid(Math.ceil(out / block * inSize / 256), limits),
      },
    ],
    scratch: {
      x_spectra: 8 * rows * xs * half,
      dy_spectra: 8 * rows * ys * half,
      partial: 8 * parts * sums,
    },
  };
}
