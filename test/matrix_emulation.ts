/**
 * Products on matrix units without any: the same text with each product of 16 x 16 x 16 written out, so that all that a
 * kernel does around them (tiles, edges, slices, stores) is tested where no GPU offers them.
 *
 * A matrix loaded is kept as its place in workgroup memory; 32 threads hold eight sums each.
 *
 * @module
 */
import type { Launch } from "../kernels/kernel.ts";

const functions = /* wgsl */ `
fn half_at(words: vec4u, i: u32) -> f32 {
  let pair = unpack2x16float(words[i / 2]);
  return select(pair.x, pair.y, i % 2 == 1);
}
fn emulated_product(left: vec2u, right: vec2u, sums: array<f32, 8>, lane: u32) -> array<f32, 8> {
  var result = sums;
  for (var e = 0u; e < 8; e++) {
    let i = 8 * lane + e;
    for (var k = 0u; k < 16; k++) {
      let x = half_at(x_tile[left.x + (i / 16) * left.y + k / 8], k % 8);
      let weight = half_at(weight_tile[right.x + (i % 16) * right.y + k / 8], k % 8);
      result[e] += x * weight;
    }
  }
  return result;
}
fn emulated_store(at: u32, sums: array<f32, 8>, lane: u32) {
  for (var e = 0u; e < 8; e++) { staged[at + 8 * lane + e] = sums[e]; }
}
`;

/** What stands for each operation; one that is not here stays, and no device takes it. */
const replacements: readonly (readonly [RegExp, string])[] = [
  [/enable \w+;\n/g, ""],
  [
    /, @builtin\(subgroup_id\) subgroup: u32, @builtin\(subgroup_invocation_id\) lane: u32\) \{/,
    `) {
  let subgroup = local / 32;
  let lane = local % 32;`,
  ],
  [/subgroup_matrix_result<f32, 16, 16>\(\)/g, "array<f32, 8>()"],
  [/subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>\(&x_tile, /g, "vec2u("],
  [/subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, col_major>\(&weight_tile, /g, "vec2u("],
  [/subgroupMatrixMultiplyAccumulate\((\w+), (\w+), (\w+)\)/g, "emulated_product($1, $2, $3, lane)"],
  [/subgroupMatrixStore<row_major>\(&staged, ([^,]+), (\w+), 16\)/g, "emulated_store($1, $2, lane)"],
  [/@compute/, `${functions}\n@compute`],
];

/** The launch with its products written out. */
export function emulated({ dispatches, ...rest }: Launch): Launch {
  return {
    ...rest,
    dispatches: dispatches.map((dispatch) =>
      dispatch.wgsl.includes("enable chromium_experimental_subgroup_matrix;")
        ? {
          ...dispatch,
          wgsl: replacements.reduce((text, [from, to]) => text.replace(from, to), dispatch.wgsl),
        }
        : dispatch
    ),
  };
}
