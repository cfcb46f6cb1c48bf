import { dense } from "../formats/dense.ts";
import type { WeightFormat } from "../formats/format.ts";
import { nans, normals } from "../kernel.ts";
import { linearTransposed } from "../linear_transposed.ts";
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
  ...{ format, shape: { in: inSize, out }, types: variantOf(format, variant), scale: 1 / Math.sqrt(out) },
});

function sized(format: WeightFormat, sizes: Sizes): CaseBy<typeof linearTransposed> {
  const { rows, in: inSize, out, accumulate = 0 } = sizes, weight = madeOf(format, sizes);
  return {
    name: nameOf(`${rows} x ${out} by ${inSize}`, format, weight.types, accumulate !== 0 && "accumulated"),
    uniforms: { rows, in: inSize, out, accumulate },
    dtypes: weight.types,
    make: (random) => ({
      dy: normals(rows * out, random),
      ...randomWeight(weight, random),
      dx: accumulate ? normals(rows * inSize, random) : nans(rows * inSize),
    }),
  };
}

function bench(format: WeightFormat, sizes: Sizes): BenchBy<typeof linearTransposed> {
  const { rows, in: inSize, out } = sizes, weight = madeOf(format, sizes);
  return {
    ...sized(format, sizes),
    make: (random) => ({
      dy: normals(rows * out, random),
      ...anyWeight(weight, random),
      dx: nans(rows * inSize),
    }),
    bytes: weightBytes(weight) + 4 * rows * (inSize + out),
    flops: 2 * rows * inSize * out,
  };
}

const cases: readonly Sizes[] = [
  { rows: 1, in: 1, out: 1 },
  { rows: 129, in: 8200, out: 19, variant: 1, floats: true },
  { rows: 3, in: 31, out: 7, variant: 1 },
  { rows: 64, in: 64, out: 16, accumulate: 1 },
  { rows: 65, in: 65, out: 37, variant: 2, floats: true },
  { rows: 33, in: 68, out: 515, accumulate: 1 },
  { rows: 5, in: 130, out: 1031, variant: 1, accumulate: 1, floats: true },
  { rows: 66, in: 124, out: 256, variant: 2, floats: true },
];

/** Sizes that are timed of floats, and of what takes fewer bytes. */
const denseBenches: readonly Sizes[] = [
  { rows: 512, in: 4096, out: 4096, variant: 1 },
  { rows: 512, in: 4096, out: 14336, variant: 2 },
  { rows: 4096, in: 4096, out: 4096 },
];

const packedBenches: readonly Sizes[] = [{ rows: 512, in: 4096, out: 4096 }];

/** Cases by a weight of a format. */
export const linearTransposedCases = (format: WeightFormat): KernelCases =>
  casesFor(linearTransposed.of(format), {
    cases: casesBy(format, cases).map((sizes) => sized(format, sizes)),
    benches: (format === dense ? denseBenches : packedBenches).map((sizes) => bench(format, sizes)),
  });
