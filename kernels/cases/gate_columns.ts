import { gateColumns } from "../gate_columns.ts";
import { nans, normals } from "../kernel.ts";
import { takeQueries } from "../take_queries.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";

function gated(words: CaseOf<typeof gateColumns>["uniforms"]): CaseOf<typeof gateColumns> {
  const { rows, dim, stride, at, group, silu } = words;
  return {
    name: `${rows} rows, ${dim} of ${stride} columns from ${at} by ${group}, ${silu ? "silu" : "sigmoid"}`,
    uniforms: words,
    make: (random) => ({
      x: normals(rows * dim, random),
      gate: normals(rows * stride, random, 3),
      y: nans(rows * dim),
    }),
  };
}

/** Cases of {@linkcode gateColumns}. */
export const gateColumnsCases: KernelCases = casesFor(gateColumns, {
  cases: [
    gated({ rows: 1, dim: 1, stride: 1, at: 0, group: 1, groupStride: 1, silu: 0 }),
    gated({ rows: 3, dim: 9, stride: 25, at: 3, group: 3, groupStride: 6, silu: 0 }),
    gated({ rows: 5, dim: 257, stride: 300, at: 40, group: 257, groupStride: 257, silu: 1 }),
  ],
  benches: [
    {
      ...gated({ rows: 256, dim: 4096, stride: 12288, at: 8192, group: 4096, groupStride: 4096, silu: 1 }),
      bytes: 3 * 256 * 4096 * 4,
    },
  ],
});

function queries(words: CaseOf<typeof takeQueries>["uniforms"]): CaseOf<typeof takeQueries> {
  const { rows, heads, headDim, behind } = words;
  return {
    name: `${rows} rows, ${heads} heads of ${headDim}, ${behind} behind`,
    uniforms: words,
    make: (random) => ({
      x: normals(rows * (2 * heads * headDim + behind), random),
      y: nans(rows * (heads * headDim + behind)),
    }),
  };
}

/** Cases of {@linkcode takeQueries}. */
export const takeQueriesCases: KernelCases = casesFor(takeQueries, {
  cases: [
    queries({ rows: 1, heads: 1, headDim: 1, behind: 0 }),
    queries({ rows: 3, heads: 3, headDim: 7, behind: 5 }),
    queries({ rows: 2, heads: 4, headDim: 64, behind: 128 }),
  ],
  benches: [
    { ...queries({ rows: 256, heads: 16, headDim: 256, behind: 2048 }), bytes: 2 * 256 * 6144 * 4 },
  ],
});
