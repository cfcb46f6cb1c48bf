/**
 * Adapters of outputs of linears that stand side by side, for cases.
 *
 * @module
 */
import { recordWords } from "../record.ts";
import type { SideBySide } from "../side_by_side.ts";

/** Sizes to test: linears of `outs`, a slot of each row. */
export interface SideBySideSizes {
  readonly in: number;
  readonly outs: readonly number[];
  readonly slots: readonly number[];
}

/** Two adapters of each linear, of `sizeOf(out)` values each; the second has none for the last linear. */
export function twoAdapters(
  { in: inSize, outs, slots }: SideBySideSizes,
  { count, sizeOf }: { readonly count: number; readonly sizeOf: (out: number) => number },
): { readonly uniforms: SideBySide; readonly records: Uint32Array; readonly values: number } {
  const capacity = 2, linear = 1;
  const [out0, out1 = 0, out2 = 0] = outs;
  const records = new Uint32Array(recordWords * capacity * (linear + 3));
  let values = 5;
  outs.forEach((out, i) => {
    for (let slot = 0; slot < capacity; slot++) {
      const none = slot === 1 && i === outs.length - 1;
      records.set([0, values, none ? 0 : count, 0], recordWords * ((linear + i) * capacity + slot));
      values += sizeOf(out);
    }
  });
  return {
    uniforms: { rows: slots.length, in: inSize, out0, out1, out2, linear, capacity },
    records,
    values,
  };
}
