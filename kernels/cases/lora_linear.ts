import { normals } from "../kernel.ts";
import { loraLinear } from "../lora_linear.ts";
import { bitsOf, recordWords } from "../record.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";

interface Sizes {
  readonly in: number;
  readonly outs: readonly number[];
  /** Of each slot. */
  readonly ranks: readonly number[];
  /** Slot of each row; capacity or more means none. */
  readonly slots: readonly number[];
}

/** A linear that is not asked for, then those of the group. */
function sized({ in: inSize, outs, ranks, slots }: Sizes): CaseOf<typeof loraLinear> {
  const rows = slots.length, capacity = ranks.length;
  const [out0, out1 = 0, out2 = 0] = outs;
  return {
    name: `${rows} rows, ${inSize} to ${outs}, ranks ${ranks}`,
    uniforms: { rows, in: inSize, out0, out1, out2, linear: 1, capacity },
    make(random) {
      const records = new Uint32Array((1 + outs.length) * capacity * recordWords);
      let offset = 3;
      outs.forEach((out, i) =>
        ranks.forEach((rank, slot) => {
          // In a group one linear of each slot is not adapted.
          const own = outs.length > 1 && slot % outs.length === i ? 0 : rank;
          records.set([7, offset, own, bitsOf(0.5 + slot + i)], recordWords * ((1 + i) * capacity + slot));
          offset += own * (inSize + out);
        })
      );
      return {
        x: normals(rows * inSize, random),
        slots: Uint32Array.from(slots),
        records,
        values: normals(offset, random, 1 / Math.sqrt(inSize)),
        y: normals(rows * (out0 + out1 + out2), random),
      };
    },
  };
}

/** Cases of {@linkcode loraLinear}. */
export const loraLinearCases: KernelCases = casesFor(loraLinear, {
  cases: [
    sized({ in: 1, outs: [1], ranks: [1], slots: [0] }),
    sized({ in: 31, outs: [37], ranks: [3, 0, 8], slots: [2, 0, 1, 0xffffffff, 2, 3] }),
    sized({ in: 256, outs: [257], ranks: [16, 33, 1], slots: [1, 0, 2] }),
    sized({ in: 67, outs: [513], ranks: [512, 5], slots: [0, 1] }),
    sized({ in: 130, outs: [70, 65], ranks: [300, 5], slots: [0, 0, 0, 0, 2, 1, 1, 1, 1, 1] }),
    sized({ in: 300, outs: [40], ranks: [9, 33], slots: Array.from({ length: 35 }, (_, i) => (i >> 3) % 3) }),
    sized({ in: 33, outs: [257, 31], ranks: [4, 7], slots: [1, 0xffffffff, 0] }),
    sized({ in: 64, outs: [300, 256, 1], ranks: [8, 3, 40], slots: [2, 0, 1, 2] }),
  ],
  benches: [{
    ...sized({
      in: 4096,
      outs: [4096],
      ranks: Array(16).fill(16),
      slots: Array.from({ length: 16 }, (_, i) => i),
    }),
    bytes: 16 * (16 * 8192 + 3 * 4096) * 4,
    flops: 16 * 4 * 16 * 4096,
  }],
});
