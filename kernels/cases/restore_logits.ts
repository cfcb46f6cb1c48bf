import { normals } from "../kernel.ts";
import { restoreLogits } from "../restore_logits.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";

/** Lists of every second token, and a token beside them in every second row. */
function sized(rows: number, vocab: number, each: number): CaseOf<typeof restoreLogits> {
  const size = rows * each;
  return {
    name: `${rows} rows of ${vocab}, ${each} entries each`,
    uniforms: { rows, vocab, size },
    make: (random) => ({
      logits: normals(rows * vocab, random),
      lists: Uint32Array.from(
        { length: 3 * rows },
        (_, i) => [each * Math.floor(i / 3), each * Math.floor(i / 3 + 1), 0][i % 3],
      ),
      entries: Uint32Array.from({ length: 3 * size }, (_, i) => i % 3 === 0 ? 2 * (i / 3 % each) : 5),
      kept: normals(size + rows, random),
      extra: Uint32Array.from({ length: rows }, (_, r) => r % 2 === 0 ? 2 * each + 1 : 0xffffffff),
    }),
  };
}

/** Cases of {@linkcode restoreLogits}. */
export const restoreLogitsCases: KernelCases = casesFor(restoreLogits, {
  cases: [sized(1, 4, 1), sized(3, 9, 0), sized(5, 1030, 257)],
  benches: [{ ...sized(64, 128256, 512), bytes: 64 * 512 * 20 }],
});
