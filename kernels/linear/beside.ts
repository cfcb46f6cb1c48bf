/**
 * A dense product of one row as a part of another dispatch's text: each workgroup above the others' makes some columns.
 *
 * @module
 */
import { dense as floats } from "../formats/dense.ts";
import { stepsOf as stepsOfWeight, type WeightSteps } from "../formats/format.ts";
import {
  type Binding,
  declareBindings,
  type Dispatch,
  type DType,
  grid,
  type Limits,
  uniformStruct,
  type UniformType,
  workgroupBuiltins,
  workgroupIndex,
} from "../kernel.ts";
import { addDot, walkText } from "./matvec.ts";

/** How a team of threads goes through the weight: with 16-bit weights, 128 bytes of each thread are under way. */
const walk = { columns: 4, steps: 2 } as const;
const teamThreads = 128;

/** Neighbouring threads that add up a pair of columns. */
const adders = 16;
/** Pairs that a team's threads leave in `work`, and the room that keeps a line of them off the next one's banks. */
const linePairs = teamThreads + 8;

/** Columns that a team of threads makes. */
export const columnsAtOnce = walk.columns;

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
  /** Columns that each row of x makes, in whole fours but the last's; all are row 0's where left out. */
  readonly parts?: readonly number[];
}

/** Which row of x makes a column. */
function rowText(parts: readonly number[], column: string): string {
  const ends = parts.slice(0, -1).map((_, i) => parts.slice(0, i + 1).reduce((sum, part) => sum + part, 0));
  return ends.map((end) => `select(0u, 1u, ${column} >= ${end})`).join(" + ") || "0u";
}

/** A workgroup's part of the product: its teams make four columns each. */
function productText({ columns, dense, threads, parts = [columns] }: Omit<ProductSize, "put">): string {
  const weight = stepsOf(dense);
  const lanes = Math.min(threads, teamThreads), teams = threads / lanes, pairs = teams * walk.columns / 2;
  return `
  let first_column = id * ${teams * walk.columns};
  if (first_column >= ${columns}) { return; }
  let last_row = ${parts.length - 1}u;
  let last_column = ${columns - 1}u;
  let steps = ${weight.steps};
  let team = local / ${lanes};
  let lane = local % ${lanes};
  let column = first_column + team * ${walk.columns};
  let row = ${rowText(parts, "column")};
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

/** What other workgroups of a product's dispatch do: the first of all, since they take longest. */
export interface Beside {
  readonly groups: number;
  /** Bindings that are not the product's `x` and `weight`, and WGSL element types of all but these. */
  readonly bindings: readonly Binding[];
  readonly types: Readonly<Record<string, string>>;
  /**
   * Declarations, and the body of workgroup `index`, which returns for all threads or none: barriers follow. `work`, of as many
   * pairs as threads, is there for both.
   */
  readonly declarations?: string;
  readonly text: string;
  /** Pairs of `work` that it needs, where these are more. */
  readonly workPairs?: number;
}

/** Threads of a workgroup of {@linkcode besideDispatch}. */
export const besideThreads = 256;

/** A dispatch of a product, and of what is beside it. */
export function besideDispatch(
  uniforms: Readonly<Record<string, UniformType>>,
  { groups, bindings: own, types, declarations = "", text, workPairs = 0 }: Beside,
  { limits, ...size }: Omit<ProductSize, "threads"> & { readonly limits: Limits },
): Dispatch {
  const threads = besideThreads, product = besideProduct({ ...size, threads });
  const bindings: readonly Binding[] = [
    { name: "x", access: "read" },
    { name: "weight", access: "read" },
    ...own,
  ];
  const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
${declareBindings(bindings, { ...types, x: "vec4f", weight: product.type })}
var<workgroup> work: array<vec2f, ${Math.max(threads, workPairs, productPairs(threads))}>;
${product.functions}
${declarations}
@compute @workgroup_size(${threads})
fn main(${workgroupBuiltins}) {
  let index = ${workgroupIndex};
  if (index < ${groups}) {
${text}
    return;
  }
  let id = index - ${groups};
${product.text}
}
`;
  return { wgsl, bindings, grid: grid(groups + product.groups, limits) };
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
