/**
 * The product for many rows: square tiles of y, a 16 x 16 workgroup, 4 x 4 or 8 x 8 outputs a thread in registers.
 *
 * @module
 */
import { workgroupBuiltins, workgroupIndex } from "../kernel.ts";
import { prelude, type Variant } from "./wgsl.ts";

/** Rows and columns of y that one workgroup makes. */
export type Tile = 64 | 128;

const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

/**
 * Sixteen inputs at a time go to workgroup memory, transposed: `tiles` holds, for x and then for the weight, and for
 * each input, quads of four consecutive rows. Quads are permuted by an exclusive or, so that the stores of eight
 * neighbouring threads fall on different banks. The next inputs are fetched into registers during the arithmetic.
 */
export function tiledWgsl(variant: Variant, tile: Tile): string {
  const quads = tile / 4;
  const parts = tile / 64;
  const blocks = 4 * quads;
  const side = 16 * quads;
  const rows = range(4 * parts);
  const each = (line: (r: number, c: number) => string): string =>
    rows.map((r) => range(parts).map((c) => line(r, c)).join(" ")).join("\n");
  const lane = (r: number): string => `x${Math.floor(r / 4)}.${"xyzw"[r % 4]}`;
  return /* wgsl */ `
${prelude(variant)}

var<workgroup> tiles: array<vec4f, ${2 * side}>;

// Four inputs (rows of the result) of four rows, transposed. The first ${blocks} threads fetch from x, the next ${blocks}
// from the weight. Rows past the end repeat the last one.
fn fetch(local: u32, row: u32, column: u32, quad_of_inputs: u32) -> mat4x4f {
  let line = 4 * ((local % ${blocks}) / 4);
  let k = quad_of_inputs + local % 4;
  if (local < ${blocks}) {
    let last = uniforms.rows - 1;
    let at = min(vec4u(row + line) + vec4u(0, 1, 2, 3), vec4u(last));
    return transpose(mat4x4f(x_quad(at.x, k), x_quad(at.y, k), x_quad(at.z, k), x_quad(at.w, k)));
  }
  if (local >= ${2 * blocks}) { return mat4x4f(); }
  let last = uniforms.out - 1;
  let at = min(vec4u(column + line) + vec4u(0, 1, 2, 3), vec4u(last));
  return transpose(mat4x4f(weight_quad(at.x, k), weight_quad(at.y, k), weight_quad(at.z, k), weight_quad(at.w, k)));
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
  let id = ${workgroupIndex};
  let columns = (uniforms.out + ${tile - 1}) / ${tile};
  let row = (id / columns) * ${tile};
  if (row >= uniforms.rows) { return; }
  let column = (id % columns) * ${tile};
  let quads_in = (uniforms.in + 3) / 4;
${each((r, c) => `  var sum${r}_${c} = vec4f();`)}
  var fetched = fetch(local, row, column, 0);
  for (var k = 0u; k < quads_in; k += 4) {
    workgroupBarrier();
    store(local, fetched);
    workgroupBarrier();
    if (k + 4 < quads_in) { fetched = fetch(local, row, column, k + 4); }
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
