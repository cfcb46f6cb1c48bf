import { normals } from "../kernel.ts";
import { svftPattern } from "../svft/pattern.ts";
import type { Words } from "../svft/shared.ts";
import { svftProduct } from "../svft_product.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";

/** A case of entries at random places, some of them twice. */
export function svftCase(
  words: Words,
  random: () => number,
): Record<"x" | "factors" | "values", Float32Array> & { readonly pattern: Uint32Array } {
  const { rows, in: inSize, out, n, entries, offset } = words;
  const places = (): number[] => Array.from({ length: entries }, () => Math.floor(random() * n));
  return {
    x: normals(rows * inSize, random),
    factors: normals(n * (inSize + out), random, 1 / Math.sqrt(n)),
    pattern: svftPattern(n, places(), places()),
    values: normals(offset + entries + 4, random),
  };
}

function sized(words: Words): CaseOf<typeof svftProduct> {
  const { rows, in: inSize, out, n, entries } = words;
  return {
    name: `${rows} rows, ${inSize} to ${out}, n ${n}, ${entries} entries`,
    uniforms: words,
    make: (random) => ({ ...svftCase(words, random), y: normals(rows * out, random) }),
  };
}

/** Cases of {@linkcode svftProduct}. */
export const svftProductCases: KernelCases = casesFor(svftProduct, {
  cases: [
    sized({ rows: 1, in: 1, out: 1, n: 1, entries: 1, offset: 0 }),
    sized({ rows: 7, in: 31, out: 37, n: 30, entries: 61, offset: 5 }),
    sized({ rows: 65, in: 64, out: 33, n: 33, entries: 130, offset: 64 }),
  ],
  benches: [{
    ...sized({ rows: 2048, in: 4096, out: 4096, n: 4096, entries: 4096, offset: 0 }),
    bytes: 4 * (2048 * 3 * 4096 + 2 * 4096 * 4096),
    flops: 2 * 2048 * 2 * 4096 * 4096,
  }],
});
