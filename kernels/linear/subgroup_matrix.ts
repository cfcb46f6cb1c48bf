/**
 * The text of a product on matrix units: 16 x 16 x 16 products of float16 with float32 sums, each done by a subgroup of
 * 32. Bytes and arithmetic of a tile are counted in `matrix_launch.ts`, which chooses it.
 *
 * @module
 */
import { workgroupBuiltins, workgroupIndex } from "../kernel.ts";

/** A workgroup's part of y, the inputs it takes at a time, and who computes it. */
export interface MatrixTile {
  /** Of y; a multiple of 32. */
  readonly rows: number;
  /** Of y; a multiple of 16 for each subgroup across. */
  readonly columns: number;
  /** A multiple of 16; threads share a tile's eights of inputs evenly. */
  readonly inner: number;
  /** Whether x comes as float16 from a dispatch before, or as float32, rounded on its way into workgroup memory. */
  readonly halves: boolean;
  /** Subgroups across the tile; there are two down, and each has its part. */
  readonly across: 2 | 4;
}

/** Subgroups down a tile. */
const down = 2;

/** Threads of a workgroup: its subgroups of 32. */
export const matrixThreads = ({ across }: MatrixTile): number => 32 * down * across;

/** Row tiles that neighbouring workgroups share the weight's columns over, so that both operands stay in a cache. */
const band = 12;

/** 16-byte words of 16 x 16 sums. */
const sumWords = 64;

const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
const lines = (n: number, line: (i: number) => string): string => range(n).map(line).join("\n");

/** 16-byte words of a row in workgroup memory: one more than it holds, so that eight rows lie on different banks. */
const strideOf = ({ inner }: MatrixTile): number => inner / 8 + 1;

/** Workgroup memory of a tile, bytes; when all is multiplied, the sums take their way to y through it. */
export function matrixBytes(tile: MatrixTile): number {
  return 16 * (tile.rows + tile.columns) * strideOf(tile);
}

type Operand = "x" | "weight";

/** An operand's lines in a tile, and the parts that they fall into: one for each subgroup down or across. */
function shareOf(operand: Operand, { rows, columns, across }: MatrixTile): { count: number; parts: number } {
  return operand === "x" ? { count: rows, parts: down } : { count: columns, parts: across };
}

/**
 * An operand's tile in workgroup memory: an array for each part. Loads of matrices then have constant places in an array
 * of known length; for any other, Tint selects both place and stride at run time.
 */
function declareTile(operand: Operand, tile: MatrixTile): string {
  const { count, parts } = shareOf(operand, tile);
  return `var<workgroup> ${operand}_tile: array<array<vec4u, ${count / parts * strideOf(tile)}>, ${parts}>;`;
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

/**
 * What a thread fetches: eights of inputs of an operand's tile; lines past the end repeat the last one. The lines that
 * all threads fetch at once are some of one part, or some parts.
 */
function fetches(operand: Operand, tile: MatrixTile) {
  const { count, parts } = shareOf(operand, tile);
  const atOnce = matrixThreads(tile) / (tile.inner / 8);
  const part = count / parts;
  const [first, size] = operand === "x" ? ["row", "uniforms.rows"] : ["column", "uniforms.out"];
  const each = (line: (j: number) => string): string => lines(count / atOnce, line);
  const read = (j: number, at: string): string =>
    `${operand}${j} = ${operand}_eight(${operand}_line${j}, min(${at} + eight, last));`;
  return {
    /** Declares the registers and fetches the first step's. */
    declare: each((j) =>
      `  let ${operand}_line${j} = min(${first} + (line + ${j * atOnce}), ${size} - 1);
  var ${read(j, "begin")}`
    ),
    /** The step that begins at the eight `next`. */
    fetch: each((j) => `      ${read(j, "next")}`),
    /** To workgroup memory; zeros of x past the last input, where the weight may be anything finite. */
    store: each((j) => {
      const held = operand === "x" && !tile.halves ? `halves(x${j})` : `${operand}${j}`;
      const to = `line / ${part} + ${Math.floor(j * atOnce / part)}`;
      const at = `(line % ${part} + ${j * atOnce % part}) * stride + eight`;
      return `    ${operand}_tile[${to}][${at}] = ${
        operand === "x" ? `select(vec4u(), ${held}, live)` : held
      };`;
    }),
  };
}

/** A subgroup's rows and columns of 16 x 16 sums. */
function sumsOf({ rows, columns, across }: MatrixTile): { high: number; wide: number } {
  return { high: rows / down / 16, wide: columns / across / 16 };
}

/** Products of one step, 16 inputs at a time: a subgroup's parts of the two tiles, and every pair of them. */
function multiplyText(tile: MatrixTile): string {
  const { high, wide } = sumsOf(tile);
  const load = (kind: string, order: string, operand: Operand, at: string): string =>
    `subgroupMatrixLoad<subgroup_matrix_${kind}<f16, 16, 16>, ${order}>(&${operand}_tile[${operand}_part], ${at}, stride)`;
  return lines(tile.inner / 16, (k) => {
    const at = (i: number): string => `${16 * i} * stride + ${2 * k}`;
    return `    {
${lines(high, (i) => `      let left${i} = ${load("left", "row_major", "x", at(i))};`)}
${lines(wide, (j) => `      let right${j} = ${load("right", "col_major", "weight", at(j))};`)}
${
      lines(wide, (j) =>
        lines(high, (i) =>
          `      sum${i}_${j} = subgroupMatrixMultiplyAccumulate(left${i}, right${j}, sum${i}_${j});`))
    }
    }`;
  });
}

/** Where whole tiles of sums go as they are. */
export interface Whole {
  /** An array of f32. */
  readonly array: string;
  /** WGSL of the first row's place in it, by `this_slice`. */
  readonly begin: string;
  /** WGSL: whether nothing is to be added. */
  readonly when: string;
}

/** Each subgroup's sums straight to an array, where the tile lies wholly within y. */
function wholeText(tile: MatrixTile, { array, begin, when }: Whole): string {
  const { high, wide } = sumsOf(tile);
  return `  if (${when} && row + ${tile.rows} <= uniforms.rows && column + ${tile.columns} <= uniforms.out) {
    let at = ${begin} + y_row * uniforms.out + y_column;
${
    lines(high, (i) =>
      lines(wide, (j) =>
        `    subgroupMatrixStore<row_major>(&${array}, at + ${16 * i} * uniforms.out + ${
          16 * j
        }, sum${i}_${j}, uniforms.out);`))
  }
    return;
  }`;
}

/** Each subgroup's sums by way of its part of the weight's workgroup memory to `put`, 16 x 16 at a time. */
function putText(tile: MatrixTile): string {
  const { high, wide } = sumsOf(tile);
  return `  let staged = ${sumWords} * x_part;
${
    lines(high, (i) =>
      lines(wide, (j) =>
        `  subgroupMatrixStore<row_major>(&weight_tile[weight_part], staged, sum${i}_${j}, 4);
  workgroupBarrier();
  for (var e = lane; e < ${sumWords}; e += 32) {
    let four = bitcast<vec4f>(weight_tile[weight_part][staged + e]);
    for (var c = 0u; c < 4; c++) {
      put(y_row + ${16 * i} + e / 4, y_column + ${16 * j} + 4 * (e % 4) + c, four[c]);
    }
  }
  workgroupBarrier();`))
  }`;
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
  { prelude, slices, whole }: {
    readonly prelude: string;
    readonly slices: number;
    /** Only where y has whole tiles, whose rows start at 16 bytes, and no bias is to be added to them. */
    readonly whole?: Whole;
  },
): string {
  const { rows, columns, across } = tile;
  const step = tile.inner / 8;
  const x = fetches("x", tile);
  const weight = fetches("weight", tile);
  const { high, wide } = sumsOf(tile);
  return /* wgsl */ `enable chromium_experimental_subgroup_matrix;
enable f16;
enable subgroups;

var<private> slice: u32;
${prelude}
${tile.halves ? "" : halvesFunction}
${loadX(tile.halves)}
fn weight_eight(row: u32, eight: u32) -> vec4u { return weight[row * (uniforms.in / 8) + eight]; }

const stride = ${strideOf(tile)}u;
${declareTile("x", tile)}
${declareTile("weight", tile)}

@compute @workgroup_size(${matrixThreads(tile)})
fn main(${workgroupBuiltins}, @builtin(subgroup_id) subgroup: u32, @builtin(subgroup_invocation_id) lane: u32) {
  let id = (${workgroupIndex}) / ${slices};
  // Uniform, as no private variable is to Tint.
  let this_slice = (${workgroupIndex}) % ${slices};
  slice = this_slice;
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
  let begin = this_slice * span;
  let end = min(begin + span, eights);
  let line = local / ${step};
  let eight = local % ${step};
${lines(high, (i) => lines(wide, (j) => `  var sum${i}_${j} = subgroup_matrix_result<f32, 16, 16>();`))}
${x.declare}
${weight.declare}
  let x_part = subgroup / ${across};
  let weight_part = subgroup % ${across};
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
  workgroupBarrier();
  let y_row = row + x_part * ${rows / down};
  let y_column = column + weight_part * ${columns / across};
${whole ? wholeText(tile, whole) : ""}
${putText(tile)}
}
`;
}
