import { dense } from "../formats/dense.ts";
import type { WeightFormat } from "../formats/format.ts";
import { nans } from "../kernel.ts";
import { rowSquares } from "../row_squares.ts";
import { casesFor, type KernelCases } from "./case.ts";
import {
  anyWeight,
  type BenchBy,
  type CaseBy,
  nameOf,
  randomWeight,
  variantOf,
  weightBytes,
} from "./weights.ts";

interface Sizes {
  readonly rows: number;
  readonly dim: number;
  /** Which of the format's element types the weight has. */
  readonly variant?: number;
}

const madeOf = (format: WeightFormat, { rows, dim, variant }: Sizes) => ({
  ...{ format, shape: { out: rows, in: dim }, types: variantOf(format, variant), scale: 1 },
});

function sized(format: WeightFormat, sizes: Sizes): CaseBy<typeof rowSquares> {
  const { rows, dim } = sizes, weight = madeOf(format, sizes);
  return {
    name: nameOf(`${rows} x ${dim}`, format, weight.types),
    uniforms: { rows, dim },
    dtypes: weight.types,
    make: (random) => ({ ...randomWeight(weight, random), squares: nans(rows) }),
  };
}

function bench(format: WeightFormat, sizes: Sizes): BenchBy<typeof rowSquares> {
  const weight = madeOf(format, sizes);
  return {
    ...sized(format, sizes),
    make: (random) => ({ ...anyWeight(weight, random), squares: nans(sizes.rows) }),
    bytes: weightBytes(weight),
  };
}

const cases: readonly Sizes[] = [
  { rows: 1, dim: 1 },
  { rows: 3, dim: 127 },
  { rows: 5, dim: 129, variant: 1 },
  { rows: 2, dim: 1031, variant: 2 },
  { rows: 70, dim: 64 },
];

/** Cases by a weight of a format. */
export const rowSquaresCases = (format: WeightFormat): KernelCases =>
  casesFor(rowSquares.of(format), {
    cases: cases.map((sizes) => sized(format, sizes)),
    benches: format === dense ? [bench(format, { rows: 4096, dim: 4096, variant: 1 })] : [],
  });
