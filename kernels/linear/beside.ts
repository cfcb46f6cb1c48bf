/**
 * A dense product of one row as a part of another dispatch's text: each workgroup above the others' makes some columns.
 *
 * @module
 */
import { dense as floats } from "../formats/dense.ts";
import { stepsOf as stepsOfWeight, type WeightSteps } from "../formats/format.ts";
import type { DType } from "../kernel.ts";
import { addDot, walkText } from "./matvec.ts";

/** How a team of threads goes through the weight: with 16-bit weights, 128 bytes of each thread are under way. */
const walk = { columns: 4, steps: 2 } as const;
const teamThreads = 128;

/** Neighbouring threads that add up a pair of columns. */
const adders = 16;
/** Pairs that a team's threads leave in `work`, and the room that keeps a line of them off the next one's banks. */
const linePairs = teamThreads + 8;

/** A dense weight (columns, in) under the linears of a group. */
export interface Dense {
  readonly in: number;
  readonly dtype: DType;
}

const stepsOf = ({ in: inSize, dtype }: Dense): WeightSteps =>
  stepsOfWeight({ format: floats, types: { weight: dtype } }, inSize);

/** What a text with such a product is made of. */
export interface BesideProduct {
  /** WGSL element type of the binding `weight`; `x` is vec4f, and `work` vec2f of workgroup memory. */
  readonly type: string;
  readonly functions: string;
  /** The body of workgroup `id` of the product. */
  readonly text: string;
  /** Workgroups of the product. */
  readonly groups: number;
}

/** Pairs of `work` that a product needs. */
export function productPairs(threads: number): number {
  return threads / Math.min(threads, teamThreads) * walk.columns / 2 * linePairs;
}

/** The sizes of a product: columns of y, the weight, and threads of a workgroup. */
interface ProductSize {
  readonly columns: number;
  readonly dense: Dense;
  readonly threads: number;
  /** The statement that takes `value` of `column`; the text has the buffer that it stores to. */
  readonly put: string;
}

/** A workgroup's part of the product: its teams make four columns each. */
function productText({ columns, dense, threads }: Omit<ProductSize, "put">): string {
  const weight = stepsOf(dense);
  const lanes = Math.min(threads, teamThreads), teams = threads / lanes, pairs = teams * walk.columns / 2;
  return `
  let first_column = id * ${teams * walk.columns};
  if (first_column >= ${columns}) { return; }
  let row = 0u;
  let last_row = 0u;
  let last_column = ${columns - 1}u;
  let steps = ${weight.steps};
  let team = local / ${lanes};
  let lane = local % ${lanes};
  let column = first_column + team * ${walk.columns};
${walkText(weight, { block: 1, threads, walk }, { lane: "lane", stride: `${lanes}u` })}
  work[2 * team * ${linePairs} + lane] = vec2f(sum0_0, sum0_1);
  work[(2 * team + 1) * ${linePairs} + lane] = vec2f(sum0_2, sum0_3);
  workgroupBarrier();
  var part = vec2f();
  if (local < ${pairs * adders}) {
    for (var i = local % ${adders}; i < ${lanes}; i += ${adders}) { part += work[(local / ${adders}) * ${linePairs} + i]; }
  }
  workgroupBarrier();
  if (local < ${pairs * adders}) { work[local] = part; }
  workgroupBarrier();
  if (local < ${pairs}) {
    var total = vec2f();
    for (var i = 0u; i < ${adders}; i++) { total += work[local * ${adders} + i]; }
    put(first_column + 2 * local, total.x);
    put(first_column + 2 * local + 1, total.y);
  }`;
}

/** See the module's documentation. */
export function besideProduct(size: ProductSize): BesideProduct {
  const { columns, dense, threads, put } = size;
  const { types: [type] } = stepsOf(dense);
  const atOnce = threads / Math.min(threads, teamThreads) * walk.columns;
  const functions = `
fn x_quad(row: u32, quad: u32) -> vec4f {
  if (quad >= uniforms.in / 4) { return vec4f(); }
  return x[row * (uniforms.in / 4) + quad];
}
fn put(column: u32, value: f32) {
  if (column < ${columns}) { ${put} }
}
${addDot}`;
  return { type, functions, text: productText(size), groups: Math.ceil(columns / atOnce) };
}
