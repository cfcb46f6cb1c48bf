/**
 * `circulant_linear`: y += x dW^T of block-circulant matrices (C3A, Chen et al. 2024, arXiv 2407.19342), each row with its
 * own adapter and block size.
 *
 * A workgroup has a row and a piece of its outputs. It transforms the row's blocks, as many at a time as there is room for,
 * sums products of spectra in registers, and transforms the sums back: out * in / b products a row.
 *
 * @module
 */
import {
  type BankBuffer,
  bankBuffers,
  bankUniforms as uniforms,
  type BankWords,
  findRow,
  piecesOf,
} from "./bank_rows.ts";
import { produceBeside, type RowUpdate, updateLaunch } from "./beside_update.ts";
import { cpuCirculant, referenceCirculant } from "./circulant/linears.ts";
import { blockFunctions, eachElement, eachSlot, workPairs } from "./circulant/wgsl.ts";
import { defineKernel, type Kernel } from "./kernel.ts";

type Uniforms = keyof BankWords;

/** Outputs of a workgroup, at least, where it takes every pair it has room for. */
const leastOutputs = 1024;

const declarations = /* wgsl */ `
${blockFunctions}
fn input(blocks: Blocks, row: u32, n: u32, place: u32) -> f32 {
  if (n >= uniforms.in / blocks.size) { return 0; }
  return x_at(row * uniforms.in + block_start(blocks, n) + place * blocks.stride);
}
fn spectrum(at: u32) -> vec2f { return vec2f(values[at], values[at + 1]); }
/** The product of two bins; bin 0 is two real ones. */
fn times(a: vec2f, b: vec2f, bin: u32) -> vec2f { return select(mul(a, b), a * b, bin == 0); }

`;

/** Pairs of input blocks whose spectra a thread loads at a time: it would wait for each. */
const atOnce = [0, 1, 2, 3] as const;

/** The spectra that a pair of input blocks meets, of two output blocks each, and the bins of the pair: 0 where there is none. */
const pairLoads = (k: number): string => /* wgsl */ `
          let p${k} = min(p + ${k}, count - 1);
          let second${k} = origin + 2 * p${k} + 1 < columns;
          let at${k} = spectra + 2 * p${k} * rows * across;
          let beside${k} = at${k} + select(0, rows * across, second${k});
          let even_a${k} = spectrum(at${k});
          let odd_a${k} = spectrum(at${k} + next);
          let even_b${k} = spectrum(beside${k});
          let odd_b${k} = spectrum(beside${k} + next);
          let a${k} = select(vec2f(), work[p${k} * blocks.line + bin], p + ${k} < count);
          let b${k} = select(vec2f(), work[p${k} * blocks.line + other], p + ${k} < count && second${k});`;

const pairSums = (k: number, i: number): string => /* wgsl */ `
          even${i} += times(a${k}, even_a${k}, bin) + times(b${k}, even_b${k}, bin);
          if (next > 0) { odd${i} += times(a${k}, odd_a${k}, bin) + times(b${k}, odd_b${k}, bin); }`;

const textOf = (share: number): string => /* wgsl */ `
  ${findRow("index", `${leastOutputs / share}u`)}
  let blocks = blocks_at(record.x);
  let columns = uniforms.in / blocks.size;
  let rows = out / blocks.size;
  // Pairs of output blocks: with a share, fewer than those of inputs.
  let mine = max(1, blocks.pairs / ${share});
  let begin = 2 * piece * mine;
  if (begin >= rows) { return; }
  ${[0, 1].map((i) => `var even${i}: vec2f; var odd${i}: vec2f;`).join("\n")}
  for (var origin = 0u; origin < columns; origin += 2 * blocks.pairs) {
    workgroupBarrier();
    ${
  eachElement(
    "work[pair * blocks.line + place] = vec2f(input(blocks, row, origin + 2 * pair, place), " +
      "input(blocks, row, origin + 2 * pair + 1, place));",
  )
}
    workgroupBarrier();
    transform(blocks, local);
    separate(blocks, local);
    workgroupBarrier();
    ${
  eachSlot((i) => /* wgsl */ `
      let m = begin + 2 * pair;
      if (pair < mine && m < rows) {
        let across = 2 * blocks.half;
        let other = partner(blocks, bin);
        // Of the last block, if it is odd, the neighbour is read as itself, and counts nothing.
        let next = select(0, across, m + 1 < rows);
        let spectra = record.y + (origin * rows + m) * across + 2 * bin;
        let count = min(blocks.pairs, (columns - origin + 1) / 2);
        for (var p = 0u; p < count; p += ${atOnce.length}) {
          ${atOnce.map((k) => pairLoads(k)).join("\n          ")}
          ${atOnce.map((k) => pairSums(k, i)).join("\n          ")}
        }
      }`)
}
  }
  workgroupBarrier();
  ${
  eachSlot((i) => /* wgsl */ `
    let line = pair * blocks.line;
    if (bin == 0) {
      work[line] = vec2f(even${i}.x, odd${i}.x);
      if (blocks.size % 2 == 0) { work[line + blocks.half] = vec2f(even${i}.y, odd${i}.y); }
    } else {
      work[line + bin] = even${i} + turned(odd${i});
      work[line + blocks.size - bin] = conj(even${i}) + turned(conj(odd${i}));
    }`)
}
  workgroupBarrier();
  transform(blocks, local);
  let scale = bitcast<f32>(record.w);
  ${
  eachElement(/* wgsl */ `
    let m = begin + 2 * pair;
    if (pair < mine && m < rows) {
      let z = scale * work[pair * blocks.line + place];
      add_y(y_at + block_start(blocks, m) + place * blocks.stride, z.x, true);
      if (m + 1 < rows) { add_y(y_at + block_start(blocks, m + 1) + place * blocks.stride, z.y, true); }
    }`)
}
`;

/** Workgroups that fill a GPU: with fewer rows a workgroup takes fewer outputs. */
const manyGroups = 256;

/** Into how many parts the outputs that a workgroup has room for are dealt. */
function shareOf({ rows, out0, out1, out2 }: BankWords): number {
  const groups = rows * Math.ceil((out0 + out1 + out2) / leastOutputs);
  let share = 1;
  while (share < 4 && groups * share < manyGroups) share *= 2;
  return share;
}

function update(words: BankWords): RowUpdate {
  const share = shareOf(words), groups = piecesOf(words, leastOutputs / share);
  return { uniforms, declarations, text: textOf(share), groups, workPairs };
}

/** See the module's documentation. */
export const circulantLinear: Kernel<BankBuffer, Uniforms> = defineKernel({
  name: "circulant_linear",
  doc:
    "y[r] += scale C x[r] for each of the linears `linear`, `linear + 1` and `linear + 2` whose out is not 0, in its columns " +
    "of y. C is the block-circulant matrix of slot slots[r], whose block (m, n) has w[m, n, (i - j) mod b] at [j, i]. A " +
    "slot of capacity or more (0xffffffff: none) and block size 0 add nothing.",
  buffers: bankBuffers({
    records: "offset of a table in `tables`, offset into `values`, block size b, bits of a float32 scale",
    tables: "tables of `circulantTable`, one after the other",
    values: "at a record's offset: numbers of `circulantSpectra`",
  }),
  uniforms,
  adds: "y",
  launch: ({ uniforms: words }, limits) => updateLaunch(update(words), limits),
  produce: produceBeside("circulant_linear", update),
  reference: referenceCirculant,
  cpu: cpuCirculant,
  tolerance: 1e-6,
});
