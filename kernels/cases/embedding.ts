import { embedding } from "../embedding.ts";
import { embeddingPart } from "../embedding_part.ts";
import { dense } from "../formats/dense.ts";
import type { WeightFormat } from "../formats/format.ts";
import { nans, normals } from "../kernel.ts";
import { casesFor, type KernelCases } from "./case.ts";
import { type BenchBy, type CaseBy, nameOf, randomWeight, variantOf } from "./weights.ts";

interface Sizes {
  readonly rows: number;
  readonly dim: number;
  readonly vocab: number;
  /** Which of the format's element types the table has. */
  readonly variant?: number;
}

function sized(format: WeightFormat, { rows, dim, vocab, variant }: Sizes): CaseBy<typeof embedding> {
  const types = variantOf(format, variant), shape = { out: vocab, in: dim };
  return {
    name: nameOf(`${rows} rows of ${dim} from ${vocab}`, format, types),
    uniforms: { rows, dim, vocab },
    dtypes: types,
    make(random) {
      const weight = randomWeight({ format, shape, types, scale: 1 }, random);
      // One id past the end shows that it gives zeros.
      const ids = Uint32Array.from({ length: rows }, () => Math.floor(random() * (vocab + 1)));
      return { ids, ...weight, y: nans(rows * dim) };
    },
  };
}

const bench = (format: WeightFormat): BenchBy<typeof embedding> => ({
  ...sized(format, { rows: 256, dim: 4096, vocab: 8192 }),
  bytes: 2 * 256 * 4096 * 4,
});

const cases: readonly Sizes[] = [
  { rows: 1, dim: 1, vocab: 1 },
  { rows: 7, dim: 256, vocab: 13 },
  { rows: 3, dim: 257, vocab: 5 },
  { rows: 5, dim: 33, vocab: 9, variant: 1 },
  { rows: 4, dim: 31, vocab: 6, variant: 2 },
  { rows: 9, dim: 64, vocab: 17, variant: 2 },
];

/** Cases by a table of a format. */
export const embeddingCases = (format: WeightFormat): KernelCases =>
  casesFor(embedding.of(format), {
    cases: cases.map((sizes) => sized(format, sizes)),
    benches: format === dense ? [bench(format)] : [],
  });

/** A part of a table: ids come from before it, from it and from behind it. */
function part(
  format: WeightFormat,
  { rows, dim, vocab, variant, first }: Sizes & { readonly first: number },
): CaseBy<typeof embeddingPart> {
  const types = variantOf(format, variant), shape = { out: vocab, in: dim };
  return {
    name: nameOf(`${rows} rows of ${dim} from ${vocab}, ids from ${first}`, format, types),
    uniforms: { rows, dim, vocab, first },
    dtypes: types,
    make: (random) => ({
      ids: Uint32Array.from({ length: rows }, (_, r) => (r % 3) * first + Math.floor(random() * vocab)),
      ...randomWeight({ format, shape, types, scale: 1 }, random),
      y: normals(rows * dim, random),
    }),
  };
}

/** Cases by a part of a format. */
export const embeddingPartCases = (format: WeightFormat): KernelCases =>
  casesFor(embeddingPart.of(format), {
    cases: [
      part(format, { rows: 3, dim: 1, vocab: 1, first: 0 }),
      part(format, { rows: 12, dim: 34, vocab: 5, first: 5 }),
      part(format, { rows: 7, dim: 65, vocab: 9, variant: 1, first: 9 }),
      part(format, { rows: 9, dim: 64, vocab: 17, variant: 2, first: 20 }),
    ],
  });
