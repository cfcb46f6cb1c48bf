/**
 * The product for few rows: the weight is read once for up to eight rows of x, at the speed of memory.
 *
 * @module
 */
import { workgroupBuiltins, workgroupIndex } from "../kernel.ts";
import { prelude, type Variant } from "./wgsl.ts";

/** Rows of x that one workgroup takes: named accumulators, so a small power of two. */
export type RowBlock = 1 | 2 | 4 | 8;

/** The smallest block that holds all rows, or the largest. */
export function rowBlock(rows: number): RowBlock {
  return rows > 4 ? 8 : rows > 2 ? 4 : rows > 1 ? 2 : 1;
}

/** Threads of a workgroup: enough to read a row of the weight in few steps, few enough to keep all busy. */
export function matvecThreads(inSize: number): number {
  return inSize > 512 ? 128 : inSize > 128 ? 64 : 32;
}

/**
 * A workgroup makes four outputs of `block` rows. Threads stride along the inputs; each accumulator holds one row's
 * four partial sums, and a tree in workgroup memory adds those of all threads.
 */
export function matvecWgsl(variant: Variant, block: RowBlock, threads: number): string {
  const lines = (line: (r: number) => string): string =>
    Array.from({ length: block }, (_, r) => line(r)).join("\n");
  return /* wgsl */ `
${prelude(variant)}

const threads = ${threads}u;
const block = ${block}u;
var<workgroup> sums: array<vec4f, ${threads * block}>;

@compute @workgroup_size(${threads})
fn main(${workgroupBuiltins}) {
  let id = ${workgroupIndex};
  let groups_per_row = (uniforms.out + 3) / 4;
  let row = (id / groups_per_row) * block;
  if (row >= uniforms.rows) { return; }
  let column = (id % groups_per_row) * 4;
  let last_row = uniforms.rows - 1;
  let last = uniforms.out - 1;
  let columns = min(vec4u(column) + vec4u(0, 1, 2, 3), vec4u(last));
${lines((r) => `  var sum${r} = vec4f();`)}
  for (var k = local; k < (uniforms.in + 3) / 4; k += threads) {
    let weights = mat4x4f(
      weight_quad(columns.x, k), weight_quad(columns.y, k), weight_quad(columns.z, k), weight_quad(columns.w, k));
${lines((r) => `    sum${r} += x_quad(min(row + ${r}, last_row), k) * weights;`)}
  }
${lines((r) => `  sums[${r}u * threads + local] = sum${r};`)}
  workgroupBarrier();
  for (var half = threads / 2; half > 0; half >>= 1) {
    if (local < half) {
${lines((r) => `      sums[${r}u * threads + local] += sums[${r}u * threads + local + half];`)}
    }
    workgroupBarrier();
  }
  if (local < 4 * block) { put(row + local / 4, column + local % 4, sums[(local / 4) * threads][local % 4]); }
}
`;
}
