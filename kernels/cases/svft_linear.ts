import { normals } from "../kernel.ts";
import { noSlot, recordWords } from "../record.ts";
import { svftLinear } from "../svft_linear.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";

interface Sizes {
  readonly in: number;
  readonly outs: readonly number[];
  /** The factors of each slot: slots of one number share theirs. */
  readonly factors: readonly number[];
  readonly slots: readonly number[];
  /** Entries of a row of M, at most. */
  readonly entries?: number;
}

/** Rows of entries at random columns, as they stand in values. */
function sparse(n: number, entries: number, random: () => number): number[] {
  const starts = [0], columns: number[] = [], numbers: number[] = [];
  for (let i = 0; i < n; i++) {
    const count = Math.floor(random() * (entries + 1));
    for (let e = 0; e < count; e++) {
      columns.push(Math.floor(random() * n));
      numbers.push(2 * random() - 1);
    }
    starts.push(columns.length);
  }
  return [...starts, ...columns, ...numbers];
}

/** A linear that is not asked for, then those of the group. Factors of an odd number have a row less than they can. */
function sized({ in: inSize, outs, factors, slots, entries = 3 }: Sizes): CaseOf<typeof svftLinear> {
  const rows = slots.length, capacity = factors.length;
  const [out0, out1 = 0, out2 = 0] = outs;
  return {
    name: `${rows} rows, ${inSize} to ${outs}, factors ${factors}`,
    uniforms: { rows, in: inSize, out0, out1, out2, linear: 1, capacity },
    make(random) {
      const records = new Uint32Array((1 + outs.length) * capacity * recordWords);
      const values = [7, 7, 7], starts = new Map<string, number>();
      let words = 5;
      outs.forEach((out, i) =>
        factors.forEach((factor, slot) => {
          const n = Math.max(1, Math.min(out, inSize) - factor % 2), key = `${i} ${factor}`;
          if (!starts.has(key)) {
            starts.set(key, words);
            words += n * (inSize + out);
          }
          // In a group one linear of each slot is not adapted.
          const own = outs.length > 1 && slot % outs.length === i ? 0 : n;
          const at = recordWords * ((1 + i) * capacity + slot);
          records.set([starts.get(key)!, values.length, own, 0], at);
          if (own > 0) { for (const value of sparse(n, entries, random)) values.push(value); }
        })
      );
      return {
        x: normals(rows * inSize, random),
        slots: Uint32Array.from(slots),
        records,
        tables: new Uint32Array(normals(words, random, 1 / Math.sqrt(inSize)).buffer),
        values: Float32Array.from(values),
        y: normals(rows * (out0 + out1 + out2), random),
      };
    },
  };
}

const none = noSlot;

/** Cases of {@linkcode svftLinear}. */
export const svftLinearCases: KernelCases = casesFor(svftLinear, {
  cases: [
    sized({ in: 1, outs: [1], factors: [0], slots: [0] }),
    sized({ in: 31, outs: [37], factors: [1, 1, 0], slots: [2, 0, 1, none, 2, 1, 0, 0, 1, 1, 0] }),
    sized({ in: 130, outs: [67], factors: [0, 0], slots: [1, 0, 1, 0, 0, 1, 1, 0, 1], entries: 9 }),
    sized({ in: 33, outs: [64, 31], factors: [0, 0, 3], slots: [1, none, 0, 1] }),
    sized({ in: 64, outs: [65, 256, 1], factors: [0, 0, 1], slots: [0, 1, 0, 1, 2, none, none, 1, 0] }),
    sized({ in: 20, outs: [9], factors: [0], slots: [...Array(9).fill(none), 0] }),
  ],
  benches: [{
    ...sized({
      in: 4096,
      outs: [4096],
      factors: Array(16).fill(0),
      slots: Array.from({ length: 16 }, (_, i) => i),
      entries: 2,
    }),
    bytes: 4 * (2 * 4096 * 4096 + 16 * 5 * 4096),
    flops: 16 * 4 * 4096 * 4096,
  }],
});
