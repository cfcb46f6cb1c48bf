/**
 * A dense product of one row whose outputs are turned in pairs where they are read: a pair's other output is the product's,
 * too, so that the product is kept apart from the result.
 *
 * @module
 */
import type { Binding, Dispatch, Limits } from "../kernel.ts";
import { Kept } from "../kept.ts";
import { type Beside, besideDispatch, type Dense } from "../linear/beside.ts";
import type { Parts, ReadSource } from "../parts.ts";
import { outsOf, type SideBySide, sideBySide, type UnitPlace, unitText } from "../side_by_side.ts";

/**
 * Words of 32 bits before the product's outputs: of each of three linears, where the row's adapter has its numbers, and the
 * outputs of a group, 0 without an adapter.
 */
const headWords = 6;

/** The product, and by one workgroup the heads. */
function productDispatch(words: SideBySide, dense: Dense, limits: Limits): Dispatch {
  const outs = outsOf(words);
  const heads: Beside = {
    groups: 1,
    bindings: [
      { name: "slots", access: "read" },
      { name: "records", access: "read" },
      { name: "straight", access: "read_write" },
    ],
    types: { slots: "u32", records: "vec4u", straight: "u32" },
    text: /* wgsl */ `
    if (local < ${outs.length}) {
      let slot = slots[0];
      var record = vec4u();
      if (slot < uniforms.capacity) { record = records[(uniforms.linear + local) * uniforms.capacity + slot]; }
      straight[2 * local] = record.y;
      straight[2 * local + 1] = record.z;
    }`,
  };
  const columns = outs.reduce((sum, out) => sum + out, 0);
  const put = `straight[${headWords} + column] = bitcast<u32>(value);`;
  return besideDispatch(sideBySide, heads, { columns, dense, put, limits });
}

/** Statements that turn an output, whose product and place are known. */
function turnText({ target, number, out, output }: UnitPlace, i: string): string {
  return `
    let turn_group = straight[2 * ${number} + 1];
    if (turn_group > 0) {
      let turn_at = straight[2 * ${number}] + ${output};
      let turn_half = turn_group / 2;
      let turn_first = ${output} % turn_group < turn_half;
      let turn_other = ${headWords} + (${i}) + select(0u, turn_half, turn_first) - select(turn_half, 0u, turn_first);
      let turn_across = bitcast<f32>(straight[turn_other]) * factors[turn_at + ${out}];
      ${target} = ${target} * factors[turn_at] + select(turn_across, -turn_across, turn_first);
    }`;
}

/** Text that reads y: the product's outputs, turned. */
function turnedOf(outs: readonly number[], result: string): ReadSource {
  const bindings: Binding[] = [
    { name: "straight", access: "read" },
    { name: "factors", access: "read" },
    { name: result, access: "read_write" },
  ];
  return {
    slow: true,
    bindings,
    types: (unit) => ({ straight: "u32", factors: "f32", [result]: unit }),
    read: (name, i, unit) => `
  var ${name} = bitcast<f32>(straight[${headWords} + ${i}]);
  ${unitText(outs, { name, i, unit }, (place) => turnText(place, i))}
  ${result}[${i}] = ${name};`,
  };
}

const dispatches = new Kept<readonly Dispatch[]>();

/** y = the pairs of x W^T turned; undefined for more rows than one, and inputs that are no whole quads. */
export function turnedProductParts(words: SideBySide, dense: Dense, limits: Limits): Parts | undefined {
  const { rows, in: inSize } = words, outs = outsOf(words);
  if (rows !== 1 || inSize % 4 !== 0) return undefined;
  const count = outs.reduce((sum, out) => sum + out, 0);
  const key = `${inSize}:${outs}:${dense.dtype}`;
  return {
    count,
    launch: {
      dispatches: dispatches.get(limits, key, () => [productDispatch(words, dense, limits)]),
      scratch: { straight: 4 * (headWords + count) },
    },
    reads: { factors: "values" },
    source: (result) => turnedOf(outs, result),
  };
}
