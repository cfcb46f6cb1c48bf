import { normals } from "../kernel.ts";
import { sparseLinear } from "../sparse_linear.ts";
import { bitsOf, recordWords } from "../record.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";

interface Sizes {
  readonly in: number;
  readonly outs: readonly number[];
  /** Of each slot: numbers of dW that are not 0. */
  readonly counts: readonly number[];
  /** Slot of each row; capacity or more means none. */
  readonly slots: readonly number[];
}

/** A linear that is not asked for, then those of the group. */
function sized({ in: inSize, outs, counts, slots }: Sizes): CaseOf<typeof sparseLinear> {
  const rows = slots.length, capacity = counts.length;
  const [out0, out1 = 0, out2 = 0] = outs;
  return {
    name: `${rows} rows, ${inSize} to ${outs}, ${counts} numbers`,
    uniforms: { rows, in: inSize, out0, out1, out2, linear: 1, capacity },
    make(random) {
      const records = new Uint32Array((1 + outs.length) * capacity * recordWords).fill(9);
      const tables: number[] = [7, 7, 7];
      let offset = 3;
      outs.forEach((out, i) =>
        counts.forEach((count, slot) => {
          // In a group one linear of each slot is not adapted.
          const own = outs.length > 1 && slot % outs.length === i ? 0 : count;
          records.set(
            [tables.length, offset, own, bitsOf(0.5 + slot + i)],
            recordWords * ((1 + i) * capacity + slot),
          );
          // Many outputs have none.
          const places = Array.from({ length: own }, () => Math.floor(random() ** 2 * out));
          const offsets = Array.from(
            { length: out + 1 },
            (_, o) => places.filter((place) => place < o).length,
          );
          tables.push(...offsets, ...places.map(() => Math.floor(random() * inSize)));
          offset += own;
        })
      );
      return {
        x: normals(rows * inSize, random),
        slots: Uint32Array.from(slots),
        records,
        tables: Uint32Array.from(tables),
        values: normals(offset, random),
        y: normals(rows * (out0 + out1 + out2), random),
      };
    },
  };
}

/** Cases of {@linkcode sparseLinear}. */
export const sparseLinearCases: KernelCases = casesFor(sparseLinear, {
  cases: [
    sized({ in: 1, outs: [1], counts: [1], slots: [0] }),
    sized({ in: 31, outs: [37], counts: [3, 0, 200], slots: [2, 0, 1, 0xffffffff, 2, 3] }),
    sized({ in: 33, outs: [257, 31], counts: [40, 7], slots: [1, 0xffffffff, 0] }),
    // Rows of one adapter, in tiles of their own and across these.
    sized({
      ...{ in: 34, outs: [40, 33], counts: [300, 30, 9] },
      slots: [...Array(11).fill(2), ...Array(9).fill(0), 0xffffffff, 1],
    }),
    sized({ in: 64, outs: [300, 256, 1], counts: [80, 300, 5], slots: [2, 0, 1, 2] }),
  ],
  benches: [{
    ...sized({
      in: 4096,
      outs: [4096],
      counts: Array(4).fill(8192),
      slots: Array.from({ length: 16 }, (_, i) => i % 4),
    }),
    bytes: 4 * (4 * (4097 + 2 * 8192) + 16 * 3 * 4096),
    flops: 16 * 2 * 8192,
  }],
});
