import { embeddingGradient } from "../embedding_gradient.ts";
import { normals } from "../kernel.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";

/** Few ids, so that many rows share one; some are of no entry. */
function sized(rows: number, dim: number, first = 0): CaseOf<typeof embeddingGradient> {
  const entries = Math.ceil(rows / 3);
  return {
    name: `${rows} x ${dim}${first === 0 ? "" : `, from ${first}`}`,
    uniforms: { rows, dim, first, entries },
    make: (random) => ({
      dy: normals(rows * dim, random),
      ids: Uint32Array.from({ length: rows }, () => Math.floor((entries + first + 1) * random())),
      gradient: normals(entries * dim, random),
    }),
  };
}

/** Cases of {@linkcode embeddingGradient}. */
export const embeddingGradientCases: KernelCases = casesFor(embeddingGradient, {
  cases: [sized(1, 1), sized(7, 37), sized(300, 5), sized(20, 300, 1)],
  benches: [{ ...sized(2048, 512), bytes: 4 * 2048 * 512 * 2 }],
});
