import { normals } from "../kernel.ts";
import { randloraLinear } from "../randlora_linear.ts";
import { bitsOf, recordWords } from "../record.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";

interface Sizes {
  readonly in: number;
  readonly outs: readonly number[];
  /** Of each slot; 0 adds nothing. */
  readonly ranks: readonly number[];
  /** Slot of each row; capacity or more means none. */
  readonly slots: readonly number[];
  /** By how much the bases are larger than the linears need. */
  readonly more?: number;
}

/** A linear that is not asked for, then those of the group. Linears of one slot share its bases. */
function sized({ in: inSize, outs, ranks, slots, more = 3 }: Sizes): CaseOf<typeof randloraLinear> {
  const rows = slots.length, capacity = ranks.length;
  const [out0, out1 = 0, out2 = 0] = outs;
  return {
    name: `${rows} rows, ${inSize} to ${outs}, ranks ${ranks}`,
    uniforms: { rows, in: inSize, out0, out1, out2, linear: 1, capacity },
    make(random) {
      const records = new Uint32Array((1 + outs.length) * capacity * recordWords).fill(9);
      const wide = Math.max(...outs.map((out) => Math.min(out, inSize))) + more;
      const long = Math.max(inSize, ...outs) + more;
      let offset = 3, at = 5;
      const bases = ranks.map((rank) => {
        const pieces = rank === 0 ? 0 : Math.ceil(wide / rank);
        const table = at, numbers = normals(rank * wide + long * pieces * rank, random, 1 / wide ** 0.25);
        at += 4 + numbers.length;
        outs.forEach((out, i) => {
          // In a group one linear of each slot is not adapted.
          const none = rank === 0 || (outs.length > 1 && ranks.indexOf(rank) % outs.length === i);
          const short = Math.min(inSize, out), own = Math.ceil(short / rank) * (rank + short);
          const slot = ranks.indexOf(rank);
          records.set(
            [table, offset, none ? 0 : own, bitsOf(0.5 + slot + i)],
            recordWords * ((1 + i) * capacity + slot),
          );
          if (!none) offset += own;
        });
        return { table, head: [rank, wide, pieces, long], numbers };
      });
      const tables = new Uint32Array(at).fill(7);
      for (const { table, head, numbers } of bases) {
        tables.set(head, table);
        tables.set(new Uint32Array(numbers.buffer, numbers.byteOffset, numbers.length), table + 4);
      }
      return {
        x: normals(rows * inSize, random),
        slots: Uint32Array.from(slots),
        records,
        tables,
        values: normals(offset, random, 1 / wide ** 0.25),
        y: normals(rows * (out0 + out1 + out2), random),
      };
    },
  };
}

/** Cases of {@linkcode randloraLinear}. */
export const randloraLinearCases: KernelCases = casesFor(randloraLinear, {
  cases: [
    sized({ in: 1, outs: [1], ranks: [1], slots: [0], more: 0 }),
    sized({ in: 31, outs: [37], ranks: [5, 0, 31], slots: [2, 0, 1, 0xffffffff, 2, 3] }),
    sized({ in: 70, outs: [33], ranks: [32, 7], slots: [1, 0] }),
    sized({ in: 33, outs: [257, 31], ranks: [4, 7], slots: [1, 0xffffffff, 0] }),
    sized({ in: 64, outs: [100, 64, 24], ranks: [8, 3, 24], slots: [2, 0, 1, 2] }),
    // Ranks above 64, and rows that share their bases.
    sized({ in: 150, outs: [140], ranks: [70, 3], slots: [0, 0, 1, 1, 1] }),
    sized({ in: 140, outs: [150], ranks: [70, 3], slots: [0, 0, 1, 1, 1] }),
  ],
  benches: [{
    ...sized({ in: 2048, outs: [2048], ranks: [32], slots: Array(16).fill(0), more: 0 }),
    bytes: 4 * (2048 * 2048 + 2 * 64 * 2048 + 16 * 3 * 2048),
    flops: 16 * 4 * 2048 * 2048,
  }],
});
