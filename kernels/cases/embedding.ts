import { embedding } from "../embedding.ts";
import { narrow } from "../half.ts";
import { type DType, nans, normals } from "../kernel.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";

function sized(rows: number, dim: number, vocab: number, dtype: DType = "float32"): CaseOf<typeof embedding> {
  return {
    name: `${rows} rows of ${dim} from ${vocab}, ${dtype}`,
    uniforms: { rows, dim, vocab },
    dtypes: { weight: dtype },
    make(random) {
      const weight = normals(vocab * dim, random);
      // One id past the end shows that it gives zeros.
      const ids = Uint32Array.from({ length: rows }, () => Math.floor(random() * (vocab + 1)));
      return { ids, weight: narrow(weight, dtype), y: nans(rows * dim) };
    },
  };
}

/** Cases of {@linkcode embedding}. */
export const embeddingCases: KernelCases = casesFor(embedding, {
  cases: [
    sized(1, 1, 1),
    sized(7, 256, 13),
    sized(3, 257, 5),
    sized(5, 33, 9, "float16"),
    sized(4, 31, 6, "bfloat16"),
    sized(9, 64, 17, "bfloat16"),
  ],
  benches: [{ ...sized(256, 4096, 8192), bytes: 2 * 256 * 4096 * 4 }],
});
