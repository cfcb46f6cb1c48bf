/**
 * The product for many rows: square tiles of y, a 16 x 16 workgroup, 4 x 4 or 8 x 8 outputs a thread in registers.
 *
 * @module
 */
import { workgroupBuiltins, workgroupIndex } from "../kernel.ts";

/** Rows and columns of y that one workgroup makes. */
export type Tile = 64 | 128;

/** Which index runs along a line of an operand's memory: the one summed over, or the result's row or column. */
export type Along = "inner" | "outer";

/** What the text of a tiled product depends on. Sizes are WGSL expressions. */
export interface Tiled {
  readonly tile: Tile;
  /** Declares `x_quad(line, quad)` and `weight_quad(line, quad)`: four elements of a line; and `put(row, column, value)`. */
  readonly prelude: string;
  readonly rows: string;
  readonly columns: string;
  readonly inner: string;
  readonly x: Along;
  readonly weight: Along;
  /** Workgroups that share a tile's sum; above 1, `put` is told which by `var<private> slice`. */
  readonly slices: number;
}

const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

/** Four by four elements of an operand whose lines start at `begin`, a vector for each of four inner indices. */
function fetchBlock(name: string, along: Along, { begin, end }: { begin: string; end: string }): string {
  if (along === "outer") {
    return `let at = (${begin} + line) / 4;
    return mat4x4f(${range(4).map((i) => `${name}_quad(4 * k + ${i}, at)`).join(", ")});`;
  }
  return `let at = min(vec4u(${begin} + line) + vec4u(0, 1, 2, 3), vec4u(${end} - 1));
    return transpose(mat4x4f(${[..."xyzw"].map((i) => `${name}_quad(at.${i}, k)`).join(", ")}));`;
}

/**
 * Sixteen inputs at a time go to workgroup memory, transposed: `tiles` holds, for x and then for the weight, and for
 * each input, quads of four consecutive rows. Quads are permuted by an exclusive or, so that the stores of eight
 * neighbouring threads fall on different banks. The next inputs are fetched into registers during the arithmetic.
 */
export function tiledWgsl(text: Tiled): string {
  const { tile, slices } = text;
  const quads = tile / 4;
  const parts = tile / 64;
  const blocks = 4 * quads;
  const side = 16 * quads;
  const rows = range(4 * parts);
  const each = (line: (r: number, c: number) => string): string =>
    rows.map((r) => range(parts).map((c) => line(r, c)).join(" ")).join("\n");
  const lane = (r: number): string => `x${Math.floor(r / 4)}.${"xyzw"[r % 4]}`;
  return /* wgsl */ `
${text.prelude}

var<private> slice: u32;
var<workgroup> tiles: array<vec4f, ${2 * side}>;

// Four inputs (rows of the result) of four rows, transposed. The first ${blocks} threads fetch from x, the next ${blocks}
// from the weight. Rows past the end repeat the last one, or are zeros.
fn fetch(local: u32, row: u32, column: u32, quad_of_inputs: u32) -> mat4x4f {
  let line = 4 * ((local % ${blocks}) / 4);
  let k = quad_of_inputs + local % 4;
  if (local < ${blocks}) {
    ${fetchBlock("x", text.x, { begin: "row", end: text.rows })}
  }
  if (local >= ${2 * blocks}) { return mat4x4f(); }
  {
    ${fetchBlock("weight", text.weight, { begin: "column", end: text.columns })}
  }
}

fn store(local: u32, fetched: mat4x4f) {
  if (local >= ${2 * blocks}) { return; }
  let k = local % 4;
  let at = (local / ${blocks}) * ${side} + 4 * k * ${quads} + (((local % ${blocks}) / 4) ^ (2 * k));
  tiles[at] = fetched[0];
  tiles[at + ${quads}] = fetched[1];
  tiles[at + ${2 * quads}] = fetched[2];
  tiles[at + ${3 * quads}] = fetched[3];
}

@compute @workgroup_size(256)
fn main(${workgroupBuiltins}) {
  let id = (${workgroupIndex}) / ${slices};
  slice = (${workgroupIndex}) % ${slices};
  let columns = (${text.columns} + ${tile - 1}) / ${tile};
  let row = (id / columns) * ${tile};
  if (row >= ${text.rows}) { return; }
  let column = (id % columns) * ${tile};
  let quads_in = (${text.inner} + 3) / 4;
  let span = 4 * ((quads_in + ${4 * slices - 1}) / ${4 * slices});
  let begin = ((${workgroupIndex}) % ${slices}) * span;
  let end = min(begin + span, quads_in);
${each((r, c) => `  var sum${r}_${c} = vec4f();`)}
  var fetched = fetch(local, row, column, begin);
  for (var k = begin; k < end; k += 4) {
    workgroupBarrier();
    store(local, fetched);
    workgroupBarrier();
    if (k + 4 < end) { fetched = fetch(local, row, column, k + 4); }
    for (var i = 0u; i < 16; i++) {
      let x_at = i * ${quads} + ((local / 16) ^ (2 * (i / 4)));
      let w_at = ${side} + i * ${quads} + ((local % 16) ^ (2 * (i / 4)));
${
    range(parts).map((p) => `      let x${p} = tiles[x_at + ${16 * p}]; let w${p} = tiles[w_at + ${16 * p}];`)
      .join("\n")
  }
${each((r, c) => `      sum${r}_${c} += ${lane(r)} * w${c};`)}
    }
  }
${
    each((r, c) =>
      range(4).map((i) =>
        `  put(row + 4 * (local / 16) + ${16 * (r & ~3) + r % 4}, ` +
        `column + 4 * (local % 16) + ${64 * c + i}, sum${r}_${c}[${i}]);`
      ).join("\n")
    )
  }
}
`;
}
