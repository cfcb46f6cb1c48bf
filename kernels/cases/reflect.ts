import { normals } from "../kernel.ts";
import { recordWords } from "../record.ts";
import { reflect } from "../reflect.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";

/** As many adapters as `counts`, of so many vectors each, of the second of two linears. */
function sized(
  { in: inSize, counts, slots }: {
    readonly in: number;
    readonly counts: readonly number[];
    readonly slots: readonly number[];
  },
): CaseOf<typeof reflect> {
  const capacity = counts.length, linear = 1;
  return {
    name: `${slots.length} x ${inSize}, vectors ${counts}`,
    uniforms: { rows: slots.length, in: inSize, linear, capacity },
    make(random) {
      const records = new Uint32Array(2 * capacity * recordWords).fill(9);
      let size = 3;
      counts.forEach((count, slot) => {
        records.set([7, size, count, 7], recordWords * (linear * capacity + slot));
        size += count * inSize;
      });
      return {
        slots: Uint32Array.from(slots),
        records,
        // Of about length 1.
        values: normals(size, random, 1 / Math.sqrt(inSize)),
        x: normals(slots.length * inSize, random),
      };
    },
  };
}

/** Cases of {@linkcode reflect}. */
export const reflectCases: KernelCases = casesFor(reflect, {
  cases: [
    sized({ in: 1, counts: [1], slots: [0] }),
    sized({ in: 37, counts: [3, 0, 8], slots: [2, 0, 0xffffffff, 1, 3, 0] }),
    sized({ in: 256, counts: [2], slots: [0, 0] }),
    sized({ in: 1031, counts: [1, 6], slots: [1, 0xffffffff, 0] }),
  ],
});
