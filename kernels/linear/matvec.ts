/**
 * The product for few rows: the weight is read once for up to eight rows of x, at the speed of memory.
 *
 * @module
 */
import { workgroupBuiltins, workgroupIndex } from "../kernel.ts";

/** What the text of a product for few rows depends on; its steps go along a row of the weight. */
export interface Matvec {
  /** Declares the uniforms, what a step reads, and `put(row, column, value)`. */
  readonly prelude: string;
  /** WGSL expression of the number of steps. */
  readonly steps: string;
  /** WGSL statements: what step `k` reads of rows `columns.x` to `columns.w` of the weight. */
  readonly load: string;
  /** WGSL expression, after `load`: the step's part of the four outputs of a row of x. */
  readonly part: (row: string) => string;
}

/** A step of a dense weight: four inputs. */
export const denseSteps: Omit<Matvec, "prelude"> = {
  steps: "(uniforms.in + 3) / 4",
  load: `let weights = mat4x4f(
      weight_quad(columns.x, k), weight_quad(columns.y, k), weight_quad(columns.z, k), weight_quad(columns.w, k));`,
  part: (row) => `x_quad(${row}, k) * weights`,
};

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
export function matvecWgsl(
  { prelude, steps, load, part }: Matvec,
  { block, threads }: { readonly block: RowBlock; readonly threads: number },
): string {
  const lines = (line: (r: number) => string): string =>
    Array.from({ length: block }, (_, r) => line(r)).join("\n");
  return /* wgsl */ `
${prelude}

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
  for (var k = local; k < ${steps}; k += threads) {
    ${load}
${lines((r) => `    sum${r} += ${part(`min(row + ${r}, last_row)`)};`)}
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
