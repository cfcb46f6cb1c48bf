import { normals } from "../kernel.ts";
import { rope } from "../rope.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";
import { turns } from "./turns.ts";

function sized(rows: number, heads: number, headDim: number, rotaryDim = headDim): CaseOf<typeof rope> {
  return {
    name: `${rows} rows, ${heads} heads of ${headDim}${rotaryDim < headDim ? `, ${rotaryDim} turned` : ""}`,
    uniforms: { rows, heads, headDim, rotaryDim },
    make: (random) => ({
      x: normals(rows * heads * headDim, random),
      table: turns(37, rotaryDim),
      positions: Uint32Array.from({ length: rows }, () => Math.floor(random() * 37)),
    }),
  };
}

/** Cases of {@linkcode rope}. */
export const ropeCases: KernelCases = casesFor(rope, {
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
