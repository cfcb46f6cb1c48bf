/**
 * The product for few rows: the weight is read once for up to eight rows of x, at the speed of memory.
 *
 * @module
 */
import type { WeightSteps } from "../formats/format.ts";
import { workgroupBuiltins, workgroupIndex } from "../kernel.ts";
import type { Walk } from "./ways.ts";

/** A weight, and the declarations that its text stands under: see `matvecPrelude` of wgsl.ts. */
export interface Matvec extends WeightSteps {
  readonly prelude: string;
}

/** Rows of x that one workgroup takes: named accumulators, so a small power of two. */
export type RowBlock = 1 | 2 | 4 | 8;

/**
 * The smallest block that holds all rows, or the largest. Where a step reads more than two quads of x, that is four rows:
 * twice the text takes Naga's WGSL on SwiftShader more than ten minutes to compile.
 */
export function rowBlock(rows: number, quads: number): RowBlock {
  if (rows > 4 && quads <= 2) return 8;
  return rows > 2 ? 4 : rows > 1 ? 2 : 1;
}

/** Threads of a workgroup that makes its columns together: few enough that all have a step. */
export function matvecThreads(steps: number): number {
  return steps >= 128 ? 128 : steps >= 64 ? 64 : 32;
}

/** What the text depends on beside the weight. */
export interface Shape {
  readonly block: RowBlock;
  readonly threads: number;
  readonly walk: Walk;
}

/** Columns that one workgroup makes; a subgroup of 32 makes a fourth of its workgroup's. */
export function columnsOf({ columns, subgroups }: Walk): number {
  return subgroups ? 4 * columns : columns;
}

const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
const lines = <T>(items: readonly T[], line: (item: T) => string): string => items.map(line).join("\n");

/** Adds up steps `k`, `k + stride`, ..., all read before the first is used. */
function stepsText(
  { begin: _, ...weight }: WeightSteps,
  { block, walk }: Shape,
  at: readonly string[],
): string {
  const columns = range(walk.columns), { scaled } = weight;
  const loads = at.flatMap((k, s) =>
    columns.flatMap((c) => [
      `let w${s}_${c} = ${weight.load(`begin${c}`, k)};`,
      ...(scaled ? [`let scale${s}_${c} = ${scaled.scale(`begin${c}`, k)};`] : []),
    ])
  );
  const products = at.flatMap((k, s) => [
    ...columns.flatMap((c) => weight.quads.map((quad, i) => `let w${s}_${c}_${i} = ${quad(`w${s}_${c}`)};`)),
    ...range(block).flatMap((r) => {
      const x = (i: number): string => `x${s}_${r}_${i}`;
      const total = `dot(${weight.quads.map((_, i) => x(i)).join(" + ")}, vec4f(1))`;
      const dot = (c: number, start: string): string =>
        weight.quads.reduce((sum, _, i) => `add_dot(${sum}, ${x(i)}, w${s}_${c}_${i})`, start);
      return [
        ...weight.quads.map((_, i) => {
          const quad = `x_quad(min(row + ${r}, last_row), ${weight.quads.length} * (${k}) + ${i})`;
          return `let ${x(i)} = ${quad}${scaled ? `.${scaled.order}` : ""};`;
        }),
        ...(scaled
          ? [
            ...(scaled.hasMinimum ? [`let total${s}_${r} = ${total};`] : []),
            `let start${s}_${r} = -${scaled.offset}.0 * ${scaled.hasMinimum ? `total${s}_${r}` : total};`,
          ]
          : []),
        ...columns.map((c) =>
          scaled
            ? `sum${r}_${c} = fma(scale${s}_${c}${scaled.hasMinimum ? ".x" : ""}, ${
              dot(c, `start${s}_${r}`)
            }, ${
              scaled.hasMinimum ? `fma(-scale${s}_${c}.y, total${s}_${r}, sum${r}_${c})` : `sum${r}_${c}`
            });`
            : `sum${r}_${c} = ${dot(c, `sum${r}_${c}`)};`
        ),
      ];
    }),
  ]);
  return lines([...loads, ...products], (line) => `      ${line}`);
}

/** Steps times rows that stand in a text at once: some compilers take minutes for more. */
const mostRead = 8;

/** `sum<row>_<column>`: all steps of one thread; what is left after the last whole number of `walk.steps` goes one by one. */
export function walkText(
  weight: WeightSteps,
  shape: Shape,
  { lane, stride }: { lane: string; stride: string },
): string {
  const { walk: { columns }, block } = shape;
  const steps = Math.min(shape.walk.steps, Math.ceil(mostRead / block));
  const at = range(steps).map((s) => s === 0 ? "k" : `k + ${s} * ${stride}`);
  const main = steps > 1
    ? `    for (; ${at.at(-1)} < steps; k += ${steps} * ${stride}) {
${stepsText(weight, shape, at)}
    }
`
    : "";
  return `${
    lines(range(columns), (c) => `    let begin${c} = ${weight.begin(`min(column + ${c}, last_column)`)};`)
  }
${lines(range(block), (r) => range(columns).map((c) => `    var sum${r}_${c} = 0.0;`).join(" "))}
    var k = ${lane};
${main}    for (; k < steps; k += ${stride}) {
${stepsText(weight, shape, ["k"])}
    }`;
}

/** Threads that share an output's sum. */
const parts = 8;

/**
 * Adds up all threads' sums: those of up to `threads / parts` outputs go to workgroup memory, `parts` threads take every
 * eighth of each, and one thread adds what they have. Lines are as much longer as avoids conflicts of banks.
 */
function sumThreads({ block, threads, walk: { columns } }: Shape): string {
  const outputs = range(block).flatMap((r) => range(columns).map((c) => `sum${r}_${c}`));
  const atOnce = threads / parts, line = threads + parts;
  const rounds = range(Math.ceil(outputs.length / atOnce)).map((i) =>
    outputs.slice(i * atOnce, (i + 1) * atOnce)
  );
  return lines(rounds.map((sums, round) => ({ sums, round })), ({ sums, round }) => `
${lines(sums, (sum) => `    partial[${sums.indexOf(sum) * line} + local] = ${sum};`)}
    workgroupBarrier();
    if (local < ${sums.length * parts}) {
      var part = 0.0;
      for (var i = local % ${parts}; i < ${threads}; i += ${parts}) { part += partial[(local / ${parts}) * ${line} + i]; }
      folded[local] = part;
    }
    workgroupBarrier();
    if (local < ${sums.length}) {
      var total = 0.0;
      for (var i = 0u; i < ${parts}; i++) { total += folded[local * ${parts} + i]; }
      let output = local + ${round * atOnce};
      put(row + output / ${columns}, column + output % ${columns}, total);
    }`);
}

/** A workgroup makes its columns together: threads stride along the inputs. */
function together(weight: Matvec, shape: Shape): string {
  const { threads } = shape;
  return `
${weight.prelude}
${addDot}
var<workgroup> partial: array<f32, ${(threads / parts) * (threads + parts)}>;
var<workgroup> folded: array<f32, ${threads}>;

@compute @workgroup_size(${threads})
fn main(${workgroupBuiltins}) {
${placeText(weight, shape)}
    let column = first_column;
${walkText(weight, shape, { lane: "local", stride: `${threads}u` })}
${sumThreads(shape)}
}
`;
}

/**
 * Each subgroup makes columns of its own: no memory, no barrier. It finds which by drawing a number, for nothing says how
 * threads fall to subgroups; whichever it draws, a column is added up in the same order.
 */
function bySubgroups(weight: Matvec, shape: Shape): string {
  const { threads, block, walk } = shape, { columns } = walk;
  return `
enable subgroups;
diagnostic(off, subgroup_uniformity);
${weight.prelude}
${addDot}
var<workgroup> drawn: atomic<u32>;

@compute @workgroup_size(${threads})
fn main(
  ${workgroupBuiltins},
  @builtin(subgroup_size) size: u32, @builtin(subgroup_invocation_id) lane: u32
) {
${placeText(weight, shape)}
  // Tests run where nothing fills workgroup memory; and where SwiftShader does, it does so anew for each subgroup.
  if (local == 0) { atomicStore(&drawn, 0); }
  workgroupBarrier();
  var number = 0u;
  if (subgroupElect()) { number = atomicAdd(&drawn, 1); }
  number = subgroupBroadcastFirst(number);
  for (var c = ${columns} * number; c < ${columnsOf(walk)}; c += ${columns} * (${threads} / size)) {
    let column = first_column + c;
${walkText(weight, shape, { lane: "lane", stride: "size" })}
${
    lines(range(block), (r) =>
      lines(range(columns), (c) =>
        `    let total${r}_${c} = subgroupAdd(sum${r}_${c});
    if (lane == 0) { put(row + ${r}, column + ${c}, total${r}_${c}); }`))
  }
  }
}
`;
}

/** WGSL `add_dot`, which the text of walks uses. */
export const addDot = `
fn add_dot(sum: f32, a: vec4f, b: vec4f) -> f32 {
  return fma(a.x, b.x, fma(a.y, b.y, fma(a.z, b.z, fma(a.w, b.w, sum))));
}`;

/** Blocks of rows are neighbours: the weight that one has read, the next finds in the cache. */
function placeText({ steps }: Matvec, { block, walk }: Shape): string {
  const columns = columnsOf(walk);
  return `  let id = ${workgroupIndex};
  let row_blocks = (uniforms.rows + ${block - 1}) / ${block};
  let row = (id % row_blocks) * ${block};
  let first_column = (id / row_blocks) * ${columns};
  if (first_column >= uniforms.out) { return; }
  let last_row = uniforms.rows - 1;
  let last_column = uniforms.out - 1;
  let steps = ${steps};`;
}

/** The text of a product for few rows. */
export function matvecWgsl(weight: Matvec, shape: Shape): string {
  return shape.walk.subgroups ? bySubgroups(weight, shape) : together(weight, shape);
}
