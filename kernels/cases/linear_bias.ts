import type { WeightFormat } from "../formats/format.ts";
import { nans, normals } from "../kernel.ts";
import { linearBias } from "../linear_bias.ts";
import { casesFor, type KernelCases } from "./case.ts";
import { type CaseBy, casesBy, nameOf, randomWeight, variantOf, type WeightCase } from "./weights.ts";

interface Sizes extends WeightCase {
  readonly rows: number;
  readonly in: number;
  readonly out: number;
  readonly accumulate?: number;
}

function sized(format: WeightFormat, sizes: Sizes): CaseBy<typeof linearBias> {
  const { rows, in: inSize, out, accumulate = 0, variant } = sizes;
  const shape = { in: inSize, out }, types = variantOf(format, variant), scale = 1 / Math.sqrt(inSize);
  return {
    name: nameOf(`${rows} x ${inSize} by ${out}`, format, types, accumulate !== 0 && "accumulated"),
    uniforms: { rows, in: inSize, out, accumulate },
    dtypes: types,
    make: (random) => ({
      x: normals(rows * inSize, random),
      ...randomWeight({ format, shape, types, scale }, random),
      bias: normals(out, random),
      y: accumulate ? normals(rows * out, random) : nans(rows * out),
    }),
  };
}

const cases: readonly Sizes[] = [
  { rows: 1, in: 1, out: 1 },
  { rows: 5, in: 64, out: 31, variant: 2 },
  { rows: 3, in: 67, out: 13, variant: 1, accumulate: 1 },
  { rows: 65, in: 33, out: 65, accumulate: 1 },
  { rows: 127, in: 32, out: 129, variant: 1, floats: true },
  { rows: 34, in: 272, out: 68, variant: 1, accumulate: 1, floats: true },
];

/** Cases by a weight of a format. */
export const linearBiasCases = (format: WeightFormat): KernelCases =>
  casesFor(linearBias.of(format), {
    cases: casesBy(format, cases).map((sizes) => sized(format, sizes)),
  });
