import { fourierGradient } from "../fourier_gradient.ts";
import { nans, normals } from "../kernel.ts";
import { type BenchOf, type CaseOf, casesFor, type KernelCases } from "./case.ts";
import { randomFrequencies } from "./random_frequencies.ts";

function random(
  size: { rows: number; in: number; out: number; n: number; accumulate?: number },
): CaseOf<typeof fourierGradient> {
  const { rows, out, n, accumulate = 0 } = size;
  return {
    name: `${rows} rows, ${out} x ${size.in}, n = ${n}${accumulate ? ", added" : ""}`,
    uniforms: { rows, in: size.in, out, count: n, scale: 1 / Math.sqrt(rows * out * size.in), accumulate },
    make(source) {
      const { u, v } = randomFrequencies(n, size, source);
      const frequencies = new Uint32Array(2 * n);
      for (let e = 0; e < n; e++) frequencies.set([u[e], v[e]], 2 * e);
      return {
        x: normals(rows * size.in, source),
        dy: normals(rows * out, source),
        frequencies,
        gradient: accumulate ? normals(n, source) : nans(n),
      };
    },
  };
}

const bench = (d: number, rows: number): BenchOf<typeof fourierGradient> => ({
  ...random({ rows, in: d, out: d, n: 1000 }),
  bytes: 8 * rows * d,
});

/** Cases of {@linkcode fourierGradient}. */
export const fourierGradientCases: KernelCases = casesFor(fourierGradient, {
  cases: [
    random({ rows: 1, in: 1, out: 1, n: 1 }),
    random({ rows: 2, in: 2, out: 2, n: 4 }),
    random({ rows: 5, in: 6, out: 7, n: 42, accumulate: 1 }),
    random({ rows: 3, in: 37, out: 12, n: 100 }),
    random({ rows: 530, in: 16, out: 8, n: 17 }),
    random({ rows: 530, in: 34, out: 19, n: 20 }),
    random({ rows: 4, in: 256, out: 768, n: 1100 }),
    random({ rows: 35, in: 48, out: 64, n: 2100 }),
    random({ rows: 2, in: 4096, out: 96, n: 40, accumulate: 1 }),
    random({ rows: 2, in: 9216, out: 64, n: 30 }),
    random({ rows: 19, in: 64, out: 8200, n: 70 }),
    random({ rows: 1, in: 64, out: 11008, n: 20 }),
  ],
  benches: [bench(4096, 4096), bench(8192, 4096)],
});
