import { normals } from "../kernel.ts";
import { ownEmbeddingFactors } from "../own_embedding_factors.ts";
import { bitsOf } from "../record.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";
import { ownRecords } from "./own.ts";

function sized(
  rows: number,
  { dim, vocab, rank }: { readonly dim: number; readonly vocab: number; readonly rank: number },
): CaseOf<typeof ownEmbeddingFactors> {
  const numbers = rank * (vocab + dim);
  const { uniforms, ...own } = ownRecords(
    rows,
    (slot) => [0, 3 + slot * numbers, rank, bitsOf(slot + 0.5)],
  );
  return {
    name: `${rows} rows of ${dim}, rank ${rank} of ${vocab}`,
    uniforms: { ...uniforms, dim, vocab },
    make: (random) => ({
      ...own,
      // One id past the end shows that nothing is added there.
      ids: Uint32Array.from({ length: rows }, () => Math.floor(random() * (vocab + 1))),
      values: normals(3 + 3 * numbers, random),
      y: normals(rows * dim, random),
    }),
  };
}

/** Cases of {@linkcode ownEmbeddingFactors}. */
export const ownEmbeddingFactorsCases: KernelCases = casesFor(ownEmbeddingFactors, {
  cases: [
    sized(1, { dim: 1, vocab: 1, rank: 1 }),
    sized(9, { dim: 33, vocab: 7, rank: 5 }),
    sized(6, { dim: 257, vocab: 11, rank: 8 }),
  ],
});
