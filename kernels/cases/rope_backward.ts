import { normals } from "../kernel.ts";
import { ropeBackward } from "../rope_backward.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";

/** Positions of the table in tests and benches. */
const tableRows = 9;

/** Any angles do: what matters is that each pair of the table is a cosine and its sine. */
function sized(
  rows: number,
  heads: number,
  headDim: number,
  rotaryDim = headDim,
): CaseOf<typeof ropeBackward> {
  return {
    name: `${rows} rows, ${heads} heads of ${headDim}${rotaryDim < headDim ? `, ${rotaryDim} turned` : ""}`,
    uniforms: { rows, heads, headDim, rotaryDim },
    make(random) {
      const table = new Float32Array(tableRows * rotaryDim);
      for (let i = 0; i < table.length; i += 2) {
        const angle = 2 * Math.PI * random();
        table.set([Math.cos(angle), Math.sin(angle)], i);
      }
      return {
        dx: normals(rows * heads * headDim, random),
        table,
        positions: Uint32Array.from({ length: rows }, () => Math.floor(tableRows * random())),
      };
    },
  };
}

/** Cases of {@linkcode ropeBackward}. */
export const ropeBackwardCases: KernelCases = casesFor(ropeBackward, {
  cases: [
    sized(1, 1, 2),
    sized(3, 5, 6),
    sized(2, 8, 32),
    sized(7, 3, 128),
    sized(1, 2, 514),
    sized(3, 2, 16, 6),
  ],
  benches: [{ ...sized(256, 32, 128), bytes: 2 * 256 * 4096 * 4 }],
});
