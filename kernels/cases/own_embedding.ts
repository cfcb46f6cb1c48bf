import { normals } from "../kernel.ts";
import { ownEmbedding } from "../own_embedding.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";
import { ownRecords } from "./own.ts";

function sized(
  rows: number,
  { dim, count }: { readonly dim: number; readonly count: number },
): CaseOf<typeof ownEmbedding> {
  const { uniforms, ...own } = ownRecords(rows, (slot) => [slot * count, 3 + slot * count * dim, count, 0]);
  return {
    name: `${rows} rows of ${dim}, ${count} of the table's`,
    uniforms: { ...uniforms, dim },
    make: (random) => ({
      ...own,
      // Every other id is in the table.
      ids: Uint32Array.from({ length: rows }, () => Math.floor(random() * 2 * count)),
      tables: Uint32Array.from({ length: 3 * count }, (_, i) => 2 * (i % count)),
      values: normals(3 + 3 * count * dim, random),
      y: normals(rows * dim, random),
    }),
  };
}

/** Cases of {@linkcode ownEmbedding}. */
export const ownEmbeddingCases: KernelCases = casesFor(ownEmbedding, {
  cases: [
    sized(1, { dim: 1, count: 1 }),
    sized(9, { dim: 33, count: 5 }),
    sized(13, { dim: 257, count: 8 }),
  ],
});
