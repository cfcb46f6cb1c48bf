/**
 * The text of a product on matrix units: 16 x 16 x 16 products of float16 with float32 sums, each done by a subgroup of
 * 32. Bytes and arithmetic of a tile are counted in `matrix_launch.ts`, which chooses it.
 *
 * @module
 */
import { workgroupBuiltins, workgroupIndex } from "../kernel.ts";

/** A workgroup's part of y, and the inputs it takes at a time; eight subgroups, two down and four across. */
export interface MatrixTile {
  /** A multiple of 32. */
  readonly rows: number;
  /** A multiple of 64. */
  readonly columns: number;
  /** A multiple of 16; threads share a tile's eights of inputs evenly. */
  readonly inner: number;
  /** Whether x comes as float16 from a dispatch before, or as float32, rounded on its way into workgroup memory. */
  readonly halves: boolean;
}

/** Threads of a workgroup. */
export const matrixThreads = 256;

const subgroups = 8;
const down = 2;
const across = 4;

/** Row tiles that neighbouring workgroups share the weight's columns over, so that both operands stay in a cache. */
const band = 8;

const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
const lines = (n: number, line: (i: number) => string): string => range(n).map(line).join("\n");

/** 16-byte words of a row in workgroup memory: one more than it holds, so that eight rows lie on different banks. */
const strideOf = ({ inner }: MatrixTile): number => inner / 8 + 1;

/** Workgroup memory of a tile, bytes: both operands, and a 16 x 16 part of y for each subgroup. */
export function matrixBytes(tile: MatrixTile): number {
  return 16 * (tile.rows + tile.columns) * strideOf(tile) + 1024 * subgroups;
}

/**
 * WGSL `halves(values: mat2x4f) -> vec4u`: eight numbers as float16, those beyond its range as its largest. What is not
 * a number may become one.
 */
export const halvesFunction = `fn halves(values: mat2x4f) -> vec4u {
  let low = clamp(values[0], vec4f(-65504.0), vec4f(65504.0));
  let high = clamp(values[1], vec4f(-65504.0), vec4f(65504.0));
  return vec4u(pack2x16float(low.xy), pack2x16float(low.zw), pack2x16float(high.xy), pack2x16float(high.zw));
}`;

/** WGSL `x_eight(row, eight)`, as the next tile waits for its turn in registers: float32, or float16 already. */
const loadX = (halves: boolean): string =>
  halves
    ? "fn x_eight(row: u32, eight: u32) -> vec4u { return halved[row * (uniforms.in / 8) + eight]; }"
    : `fn x_eight(row: u32, eight: u32) -> mat2x4f {
  let i = 2 * (row * (uniforms.in / 8) + eight);
  return mat2x4f(x[i], x[i + 1]);
}`;

/** What a thread fetches: every 256th eight of inputs of an operand's tile; lines past the end repeat the last one. */
function fetches(operand: "x" | "weight", { inner, ...tile }: MatrixTile) {
  const perLine = inner / 8;
  const count = (operand === "x" ? tile.rows : tile.columns) * perLine / matrixThreads;
  const [begin, size] = operand === "x" ? ["row", "uniforms.rows"] : ["column", "uniforms.out"];
  const line = (j: number) => `(line + ${j * matrixThreads / perLine})`;
  return {
    declare: lines(count, (j) =>
      `  let ${operand}_line${j} = min(${begin} + ${line(j)}, ${size} - 1);
  var ${operand}${j} = ${operand}_eight(${operand}_line${j}, min(begin + eight, last));`),
    fetch: lines(
      count,
      (j) => `      ${operand}${j} = ${operand}_eight(${operand}_line${j}, min(next + eight, last));`,
    ),
    store: lines(count, (j) => {
      const held = operand === "x" && !tile.halves ? `halves(x${j})` : `${operand}${j}`;
      const at = `${line(j)} * stride + eight`;
      // Zeros of x past the last input; the weight may then be anything finite there.
      return `    ${operand}_tile[${at}] = ${operand === "x" ? `select(vec4u(), ${held}, live)` : held};`;
    }),
  };
}

/** Products of one step: a subgroup's parts of the two tiles, every pair of them, 16 inputs at a time. */
function multiplyText(tile: MatrixTile): string {
  const rows = tile.rows / down / 16;
  const columns = tile.columns / across / 16;
  const load = (kind: string, order: string, pointer: string, at: string): string =>
    `subgroupMatrixLoad<subgroup_matrix_${kind}<f16, 16, 16>, ${order}>(&${pointer}, ${at}, stride)`;
  return lines(tile.inner / 16, (k) => {
    const lefts = lines(
      rows,
      (i) =>
        `      let left${i} = ${
          load("left", "row_major", "x_tile", `x_at + ${16 * i} * stride + ${2 * k}`)
        };`,
    );
    const products = lines(columns, (j) => {
      const at = `weight_at + ${16 * j} * stride + ${2 * k}`;
      return `      let right${j} = ${load("right", "col_major", "weight_tile", at)};
${
        lines(rows, (i) =>
          `      sum${i}_${j} = subgroupMatrixMultiplyAccumulate(left${i}, right${j}, sum${i}_${j});`)
      }`;
    });
    return `    {\n${lefts}\n${products}\n    }`;
  });
}

/** Each subgroup's sums by way of workgroup memory to `put`, 16 x 16 at a time. */
function putText(tile: MatrixTile): string {
  return lines(
    tile.rows / down / 16,
    (i) =>
      lines(
        tile.columns / across / 16,
        (j) =>
          `  subgroupMatrixStore<row_major>(&staged, 256 * subgroup, sum${i}_${j}, 16);
  workgroupBarrier();
  for (var e = lane; e < 256; e += 32) {
    put(y_row + ${16 * i} + e / 16, y_column + ${16 * j} + e % 16, staged[256 * subgroup + e]);
  }
  workgroupBarrier();`,
      ),
  );
}

/**
 * y from x and a weight of float16 whose rows are whole eights. A step's tiles go to workgroup memory; the next step's
 * are fetched into registers during its arithmetic.
 *
 * @param text.prelude Declares the uniforms, `x` (array of vec4f; or `halved`, of vec4u), `weight` (array
 * of vec4u) and `put(row, column, value)`, which may read `slice`, this workgroup's part of `slices` of the sum.
 */
export function subgroupMatrixWgsl(
  tile: MatrixTile,
  { prelude, slices }: { readonly prelude: string; readonly slices: number },
): string {
  const { rows, columns, inner } = tile;
  const step = inner / 8;
  const x = fetches("x", tile);
  const weight = fetches("weight", tile);
  const sums = range(rows / down / 16).flatMap((i) =>
    range(columns / across / 16).map((j) => `  var sum${i}_${j} = subgroup_matrix_result<f32, 16, 16>();`)
  );
  return /* wgsl */ `enable chromium_experimental_subgroup_matrix;
enable f16;
enable subgroups;

var<private> slice: u32;
${prelude}
${tile.halves ? "" : halvesFunction}
${loadX(tile.halves)}
fn weight_eight(row: u32, eight: u32) -> vec4u { return weight[row * (uniforms.in / 8) + eight]; }

const stride = ${strideOf(tile)}u;
var<workgroup> x_tile: array<vec4u, ${rows * strideOf(tile)}>;
var<workgroup> weight_tile: array<vec4u, ${columns * strideOf(tile)}>;
var<workgroup> staged: array<f32, ${256 * subgroups}>;

@compute @workgroup_size(${matrixThreads})
fn main(${workgroupBuiltins}, @builtin(subgroup_id) subgroup: u32, @builtin(subgroup_invocation_id) lane: u32) {
  let id = (${workgroupIndex}) / ${slices};
  slice = (${workgroupIndex}) % ${slices};
  let rows = (uniforms.rows + ${rows - 1}) / ${rows};
  let columns = (uniforms.out + ${columns - 1}) / ${columns};
  if (id >= rows * columns) { return; }
  let in_band = id % (${band} * columns);
  let first = (id / (${band} * columns)) * ${band};
  let height = min(rows - first, ${band});
  let row = (first + in_band % height) * ${rows};
  let column = (in_band / height) * ${columns};

  let eights = uniforms.in / 8;
  let last = eights - 1;
  let span = ${step} * ((eights + ${step * slices - 1}) / ${step * slices});
  let begin = ((${workgroupIndex}) % ${slices}) * span;
  let end = min(begin + span, eights);
  let line = local / ${step};
  let eight = local % ${step};
  let x_at = (subgroup / ${across}) * ${rows / down} * stride;
  let weight_at = (subgroup % ${across}) * ${columns / across} * stride;
${sums.join("\n")}
${x.declare}
${weight.declare}
  for (var k = begin; k < end; k += ${step}) {
    let live = k + eight < end;
    workgroupBarrier();
${x.store}
${weight.store}
    workgroupBarrier();
    let next = k + ${step};
    if (next < end) {
${x.fetch}
${weight.fetch}
    }
${multiplyText(tile)}
  }
  let y_row = row + (subgroup / ${across}) * ${rows / down};
  let y_column = column + (subgroup % ${across}) * ${columns / across};
${putText(tile)}
}
`;
}
