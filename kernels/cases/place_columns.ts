import { normals } from "../kernel.ts";
import { placeColumns } from "../place_columns.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";

const sized = (words: CaseOf<typeof placeColumns>["uniforms"]): CaseOf<typeof placeColumns> => ({
  name: `${words.rows} x ${words.out} at ${words.column} of ${words.stride}${
    words.accumulate ? ", accumulated" : ""
  }`,
  uniforms: words,
  make: (random) => ({
    x: normals(words.rows * words.out, random),
    y: normals(words.rows * words.stride, random),
  }),
});

/** Cases of {@linkcode placeColumns}. */
export const placeColumnsCases: KernelCases = casesFor(placeColumns, {
  cases: [
    sized({ rows: 1, out: 1, stride: 1, column: 0, accumulate: 0 }),
    sized({ rows: 3, out: 65, stride: 100, column: 31, accumulate: 1 }),
    sized({ rows: 5, out: 64, stride: 96, column: 32, accumulate: 0 }),
  ],
});
