import { noTarget } from "../cross_entropy/launch.ts";
import { crossEntropyHead } from "../cross_entropy_head.ts";
import { dense } from "../formats/dense.ts";
import type { WeightFormat } from "../formats/format.ts";
import { nans, normals } from "../kernel.ts";
import { casesFor, type KernelCases } from "./case.ts";
import {
  anyWeight,
  type BenchBy,
  type CaseBy,
  casesBy,
  nameOf,
  randomWeight,
  variantOf,
  weightBytes,
  type WeightCase,
} from "./weights.ts";

interface Sizes extends WeightCase {
  readonly rows: number;
  readonly dim: number;
  readonly vocab: number;
  readonly softcap?: number;
}

const madeOf = (format: WeightFormat, { dim, vocab, variant }: Sizes) => ({
  ...{ format, shape: { in: dim, out: vocab }, types: variantOf(format, variant), scale: 2 / Math.sqrt(dim) },
});

/** Every fifth row has no target. */
function sized(format: WeightFormat, sizes: Sizes): CaseBy<typeof crossEntropyHead> {
  const { rows, dim, vocab, softcap = 0 } = sizes, weight = madeOf(format, sizes);
  const capped = softcap > 0 ? `, cap ${softcap}` : "";
  return {
    name: nameOf(`${rows} rows of ${dim}, vocabulary of ${vocab}${capped}`, format, weight.types),
    uniforms: { rows, dim, vocab, scale: 1 / rows, softcap },
    dtypes: weight.types,
    make: (random) => ({
      hidden: normals(rows * dim, random),
      ...randomWeight(weight, random),
      targets: Uint32Array.from(
        { length: rows },
        (_, r) => r % 5 === 4 ? noTarget : Math.floor(random() * vocab),
      ),
      losses: nans(rows),
      dhidden: nans(rows * dim),
    }),
  };
}

function bench(format: WeightFormat, sizes: Sizes): BenchBy<typeof crossEntropyHead> {
  const { rows, dim, vocab } = sizes, made = sized(format, sizes), weight = madeOf(format, sizes);
  return {
    ...made,
    make: (random) => ({ ...made.make(random), ...anyWeight(weight, random) }),
    bytes: 2 * weightBytes(weight) + 8 * rows * dim,
    flops: 4 * rows * dim * vocab,
  };
}

const cases: readonly Sizes[] = [
  { rows: 1, dim: 1, vocab: 2 },
  // Two chunks of 4096 rows, and one of one.
  { rows: 8193, dim: 5, vocab: 7, floats: true },
  { rows: 7, dim: 31, vocab: 37, variant: 1 },
  { rows: 65, dim: 64, vocab: 101, variant: 2 },
  { rows: 5, dim: 68, vocab: 1031, floats: true },
  { rows: 6, dim: 32, vocab: 301, softcap: 1.5, floats: true },
];

const denseBenches: readonly Sizes[] = [
  { rows: 512, dim: 576, vocab: 49152, variant: 2 },
  { rows: 512, dim: 4096, vocab: 128256, variant: 2 },
];

/** Cases by a weight of a format. */
export const crossEntropyHeadCases = (format: WeightFormat): KernelCases =>
  casesFor(crossEntropyHead.of(format), {
    cases: casesBy(format, cases).map((sizes) => sized(format, sizes)),
    benches: format === dense ? denseBenches.map((sizes) => bench(format, sizes)) : [],
  });
