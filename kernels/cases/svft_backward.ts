import { normals } from "../kernel.ts";
import type { Words } from "../svft/shared.ts";
import { svftBackward } from "../svft_backward.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";
import { svftCase } from "./svft_product.ts";

function sized(words: Words): CaseOf<typeof svftBackward> {
  const { rows, in: inSize, out, n, entries, offset } = words;
  return {
    name: `${rows} rows, ${inSize} to ${out}, n ${n}, ${entries} entries`,
    uniforms: words,
    make: (random) => ({
      ...svftCase(words, random),
      dy: normals(rows * out, random),
      gradient: normals(offset + entries + 4, random),
      dx: normals(rows * inSize, random),
    }),
  };
}

/** Cases of {@linkcode svftBackward}. */
export const svftBackwardCases: KernelCases = casesFor(svftBackward, {
  cases: [
    sized({ rows: 1, in: 1, out: 1, n: 1, entries: 1, offset: 0 }),
    sized({ rows: 7, in: 31, out: 37, n: 30, entries: 61, offset: 5 }),
    sized({ rows: 65, in: 64, out: 33, n: 33, entries: 300, offset: 64 }),
  ],
  benches: [{
    ...sized({ rows: 2048, in: 4096, out: 4096, n: 4096, entries: 4096, offset: 0 }),
    bytes: 4 * (2048 * 4 * 4096 + 2 * 4096 * 4096),
    flops: 3 * 2 * 2048 * 4096 * 4096,
  }],
});
