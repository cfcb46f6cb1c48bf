/**
 * Products on matrix units without any: the same text with each product of 16 x 16 x 16 written out. The text around
 * the products (tiles, edges, slices, stores) is thus tested where no GPU offers matrix units.
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
fn emulated_product(left: vec3u, right: vec3u, sums: array<f32, 8>, lane: u32) -> array<f32, 8> {
  var result = sums;
  for (var e = 0u; e < 8; e++) {
    let i = 8 * lane + e;
    for (var k = 0u; k < 16; k++) {
      let x = half_at(x_tile[left.x][left.y + (i / 16) * left.z + k / 8], k % 8);
      let weight = half_at(weight_tile[right.x][right.y + (i % 16) * right.z + k / 8], k % 8);
      result[e] += x * weight;
    }
  }
  return result;
}
fn emulated_stage(part: u32, at: u32, sums: array<f32, 8>, lane: u32) {
  var held = sums;
  for (var e = 0u; e < 8; e += 4) {
    let four = vec4f(held[e], held[e + 1], held[e + 2], held[e + 3]);
    weight_tile[part][at + 2 * lane + e / 4] = bitcast<vec4u>(four);
  }
}
`;

/** Stores of whole tiles' sums to an array. */
const storeTo = (array: string): string => `
fn emulated_store(at: u32, sums: array<f32, 8>, lane: u32) {
  var held = sums;
  for (var e = 0u; e < 8; e++) { ${array}[at + (lane / 2) * uniforms.out + 8 * (lane % 2) + e] = held[e]; }
}
`;

const wholeStore = /subgroupMatrixStore<row_major>\(&(y|partials), ([^,]+), (\w+), uniforms\.out\)/g;

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
  [/subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>\(&x_tile\[(\w+)\], /g, "vec3u($1, "],
  [
    /subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, col_major>\(&weight_tile\[(\w+)\], /g,
    "vec3u($1, ",
  ],
  [/subgroupMatrixMultiplyAccumulate\((\w+), (\w+), (\w+)\)/g, "emulated_product($1, $2, $3, lane)"],
  [
    /subgroupMatrixStore<row_major>\(&weight_tile\[(\w+)\], (\w+), (\w+), 4\)/g,
    "emulated_stage($1, $2, $3, lane)",
  ],
  [wholeStore, "emulated_store($2, $3, lane)"],
  [/@compute/, `${functions}\n@compute`],
];

function emulatedText(wgsl: string): string {
  const text = replacements.reduce((text, [from, to]) => text.replace(from, to), wgsl);
  const [whole] = wgsl.matchAll(wholeStore);
  return whole ? text + storeTo(whole[1]) : text;
}

/** The launch with its products written out. */
export function emulated({ dispatches, ...rest }: Launch): Launch {
  return {
    ...rest,
    dispatches: dispatches.map((dispatch) =>
      dispatch.wgsl.includes("enable chromium_experimental_subgroup_matrix;")
        ? { ...dispatch, wgsl: emulatedText(dispatch.wgsl) }
        : dispatch
    ),
  };
}
