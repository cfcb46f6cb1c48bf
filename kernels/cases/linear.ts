import { dense } from "../formats/dense.ts";
import type { WeightFormat } from "../formats/format.ts";
import { nans, normals } from "../kernel.ts";
import { linear } from "../linear.ts";
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
  readonly in: number;
  readonly out: number;
  readonly accumulate?: number;
}

const madeOf = (format: WeightFormat, { in: inSize, out, variant }: Sizes) => ({
  ...{ format, shape: { in: inSize, out }, types: variantOf(format, variant), scale: 1 / Math.sqrt(inSize) },
});

function sized(format: WeightFormat, sizes: Sizes): CaseBy<typeof linear> {
  const { rows, in: inSize, out, accumulate = 0 } = sizes, weight = madeOf(format, sizes);
  return {
    name: nameOf(`${rows} x ${inSize} by ${out}`, format, weight.types, accumulate !== 0 && "accumulated"),
    uniforms: { rows, in: inSize, out, accumulate },
    dtypes: weight.types,
    make: (random) => ({
      x: normals(rows * inSize, random),
      ...randomWeight(weight, random),
      y: accumulate ? normals(rows * out, random) : nans(rows * out),
    }),
  };
}

function bench(format: WeightFormat, sizes: Sizes): BenchBy<typeof linear> {
  const { rows, in: inSize, out } = sizes, weight = madeOf(format, sizes);
  return {
    ...sized(format, sizes),
    make: (random) => ({
      x: normals(rows * inSize, random),
      ...anyWeight(weight, random),
      y: nans(rows * out),
    }),
    bytes: weightBytes(weight) + 4 * rows * (inSize + out),
    flops: 2 * rows * inSize * out,
  };
}

const cases: readonly Sizes[] = [
  { rows: 1, in: 1, out: 1 },
  { rows: 1, in: 31, out: 7, variant: 1 },
  { rows: 1, in: 516, out: 9, accumulate: 1, floats: true },
  { rows: 1, in: 768, out: 9, accumulate: 1 },
  { rows: 2, in: 257, out: 5, variant: 2 },
  { rows: 2, in: 1064, out: 13, variant: 1, accumulate: 1, floats: true },
  { rows: 2, in: 2337, out: 9 },
  { rows: 3, in: 64, out: 33, variant: 1, accumulate: 1 },
  { rows: 26, in: 70, out: 20 },
  { rows: 7, in: 576, out: 66 },
  { rows: 8, in: 128, out: 64, floats: true },
  { rows: 9, in: 132, out: 30, variant: 2, accumulate: 1 },
  { rows: 33, in: 16, out: 64, floats: true },
  { rows: 65, in: 37, out: 63, variant: 1 },
  { rows: 64, in: 36, out: 65, variant: 2, accumulate: 1, floats: true },
  { rows: 66, in: 1024, out: 36, accumulate: 1 },
  { rows: 129, in: 20, out: 6400, floats: true },
  { rows: 128, in: 19, out: 12673, accumulate: 1, floats: true },
];

/** Sizes that are timed of floats, and of what takes fewer bytes. */
const denseBenches: readonly Sizes[] = [
  { rows: 1, in: 4096, out: 4096 },
  { rows: 8, in: 4096, out: 4096, variant: 1 },
  { rows: 32, in: 4096, out: 4096, variant: 1 },
  { rows: 512, in: 4096, out: 4096 },
  { rows: 4096, in: 4096, out: 4096 },
];

const packedBenches: readonly Sizes[] = [
  { rows: 1, in: 8192, out: 28672 },
  { rows: 1, in: 4096, out: 4096 },
  { rows: 8, in: 4096, out: 14336 },
  { rows: 512, in: 4096, out: 4096 },
];

/** Cases by a weight of a format. */
export const linearCases = (format: WeightFormat): KernelCases =>
  casesFor(linear.of(format), {
    cases: casesBy(format, cases).map((sizes) => sized(format, sizes)),
    benches: (format === dense ? denseBenches : packedBenches).map((sizes) => bench(format, sizes)),
  });
