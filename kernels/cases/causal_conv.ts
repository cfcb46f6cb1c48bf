import { causalConv } from "../causal_conv.ts";
import { causalConvBackward } from "../causal_conv_backward.ts";
import { float32ToBfloat16, float32ToFloat16 } from "../half.ts";
import { nans, normals } from "../kernel.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";

type Sizes = CaseOf<typeof causalConv>["uniforms"] & {
  /** Rows of each sequence. */
  readonly lengths: readonly number[];
};

/** The rows where sequences of these lengths start and end, for each row. */
export function rowsOf(
  lengths: readonly number[],
): { readonly first: Uint32Array; readonly last: Uint32Array } {
  const starts = lengths.map((_, i) => lengths.slice(0, i).reduce((sum, length) => sum + length, 0));
  const each = (of: (i: number) => number): Uint32Array =>
    Uint32Array.from(lengths.flatMap((length, i) => Array<number>(length).fill(of(i))));
  return { first: each((i) => starts[i]), last: each((i) => starts[i] + lengths[i]) };
}

const nameOf = ({ lengths, dim, width }: Sizes): string => `rows ${lengths}, ${dim} columns, ${width} wide`;

function forward({ lengths, ...words }: Sizes, halves = false): CaseOf<typeof causalConv> {
  const { rows, dim, width } = words;
  return {
    name: nameOf({ lengths, ...words }) + (halves ? ", 16-bit weights" : ""),
    uniforms: words,
    ...(halves ? { dtypes: { weight: "bfloat16", bias: "float16" } } : {}),
    make(random) {
      const weight = normals(dim * width, random), bias = normals(dim, random);
      return {
        x: normals(rows * dim, random),
        weight: halves ? float32ToBfloat16(weight) : weight,
        bias: halves ? float32ToFloat16(bias) : bias,
        first: rowsOf(lengths).first,
        y: nans(rows * dim),
      };
    },
  };
}

function gradient({ lengths, ...words }: Sizes): CaseOf<typeof causalConvBackward> {
  const { rows, dim, width } = words;
  return {
    name: nameOf({ lengths, ...words }),
    uniforms: words,
    make: (random) => ({
      dy: normals(rows * dim, random),
      weight: normals(dim * width, random),
      last: rowsOf(lengths).last,
      dx: nans(rows * dim),
    }),
  };
}

const sizes: readonly Sizes[] = [
  { rows: 1, dim: 1, width: 1, lengths: [1] },
  { rows: 13, dim: 7, width: 3, lengths: [1, 2, 10] },
  { rows: 9, dim: 257, width: 4, lengths: [5, 4] },
];

/** Cases of {@linkcode causalConv}. */
export const causalConvCases: KernelCases = casesFor(causalConv, {
  cases: [...sizes.map((one) => forward(one)), forward({ rows: 6, dim: 12, width: 3, lengths: [6] }, true)],
  benches: [
    {
      ...forward({ rows: 256, dim: 2048, width: 3, lengths: [256] }),
      bytes: 4 * (2 * 256 + 4) * 2048,
    },
  ],
});

/** Cases of {@linkcode causalConvBackward}. */
export const causalConvBackwardCases: KernelCases = casesFor(causalConvBackward, {
  cases: sizes.map(gradient),
  benches: [
    {
      ...gradient({ rows: 256, dim: 2048, width: 3, lengths: [256] }),
      bytes: 4 * (2 * 256 + 3) * 2048,
    },
  ],
});
