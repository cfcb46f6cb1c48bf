import { normals } from "../kernel.ts";
import { kronLinear } from "../kron_linear.ts";
import { bitsOf, recordWords } from "../record.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";

/** Sizes of an adapter's first factor; none adds nothing. */
type Left = readonly [outputs: number, inputs: number] | undefined;

interface Sizes {
  readonly in: number;
  readonly outs: readonly number[];
  /** Of each slot. */
  readonly lefts: readonly Left[];
  /** Slot of each row; capacity or more means none. */
  readonly slots: readonly number[];
}

/** A linear that is not asked for, then those of the group. */
function sized({ in: inSize, outs, lefts, slots }: Sizes): CaseOf<typeof kronLinear> {
  const rows = slots.length, capacity = lefts.length;
  const [out0, out1 = 0, out2 = 0] = outs;
  return {
    name: `${rows} rows, ${inSize} to ${outs}, ${
      lefts.map((left) => left?.join(" x ") ?? "none").join(", ")
    }`,
    uniforms: { rows, in: inSize, out0, out1, out2, linear: 1, capacity },
    make(random) {
      const records = new Uint32Array((1 + outs.length) * capacity * recordWords).fill(9);
      const tables = new Uint32Array(3 + 2 * capacity);
      lefts.forEach((left, slot) => tables.set(left ?? [1, 1], 3 + 2 * slot));
      let offset = 3;
      outs.forEach((out, i) =>
        lefts.forEach((left, slot) => {
          // In a group one linear of each slot is not adapted.
          const none = !left || (outs.length > 1 && slot % outs.length === i);
          const count = none ? 0 : left[0] * left[1] + out / left[0] * (inSize / left[1]);
          records.set(
            [3 + 2 * slot, offset, count, bitsOf(0.5 + slot + i)],
            recordWords * ((1 + i) * capacity + slot),
          );
          offset += count;
        })
      );
      return {
        x: normals(rows * inSize, random),
        slots: Uint32Array.from(slots),
        records,
        tables,
        values: normals(offset, random, 1 / Math.sqrt(inSize)),
        y: normals(rows * (out0 + out1 + out2), random),
      };
    },
  };
}

/** Cases of {@linkcode kronLinear}. */
export const kronLinearCases: KernelCases = casesFor(kronLinear, {
  cases: [
    sized({ in: 1, outs: [1], lefts: [[1, 1]], slots: [0] }),
    sized({
      in: 30,
      outs: [42],
      lefts: [[6, 5], undefined, [1, 1], [42, 1], [1, 30]],
      slots: [2, 0, 1, 0xffffffff, 3, 4, 5, 0],
    }),
    sized({ in: 130, outs: [257], lefts: [[257, 65], [1, 130], [1, 1]], slots: [1, 0, 2] }),
    sized({ in: 36, outs: [60, 24], lefts: [[3, 2], [12, 36]], slots: [1, 0xffffffff, 0] }),
    sized({ in: 64, outs: [300, 256, 4], lefts: [[4, 8], [2, 64], [1, 1]], slots: [2, 0, 1, 2] }),
    // Factors longer than a square.
    sized({ in: 350, outs: [80], lefts: [[2, 10], [5, 35]], slots: [0, 1] }),
    // More rows of one whole matrix than are multiplied together: apart, and then side by side.
    sized({
      in: 33,
      outs: [70],
      lefts: [[1, 1], [1, 1]],
      slots: [...Array.from({ length: 19 }, (_, i) => i % 2), ...Array(10).fill(1)],
    }),
  ],
  benches: [64, 1].map((left) => ({
    ...sized({
      in: 4096,
      outs: [4096],
      lefts: Array(16).fill([left, left]),
      slots: Array.from({ length: 16 }, (_, i) => i),
    }),
    bytes: 16 * (left ** 2 + (4096 / left) ** 2 + 3 * 4096) * 4,
    flops: 2 * 16 * (4096 * 4096 / left + (left > 1 ? 4096 * left : 0)),
  })),
});
