import { fourierDelta } from "../fourier_delta.ts";
import { fourierTable, inOrder } from "../fourier_table.ts";
import { nans, normals } from "../kernel.ts";
import { type BenchOf, type CaseOf, casesFor, type KernelCases } from "./case.ts";
import { randomFrequencies } from "./random_frequencies.ts";

function random(
  size: { out: number; in: number; n: number; accumulate?: number; first?: number; rows?: number },
): CaseOf<typeof fourierDelta> {
  const { out, n, accumulate = 0, first = 0, rows = out } = size;
  const part = rows < out ? `, ${rows} rows from ${first} on` : "";
  return {
    name: `${out} x ${size.in}, n = ${n}${part}${accumulate ? ", added" : ""}`,
    uniforms: { out, in: size.in, scale: 150 / (out * size.in), accumulate, first, rows },
    make(source) {
      const { u, v } = randomFrequencies(n, size, source);
      const { table, order } = fourierTable({ destination: v, source: u }, {
        destination: size.in,
        source: out,
      });
      const weight = accumulate ? normals(rows * size.in, source, 0.02) : nans(rows * size.in);
      return { table, values: inOrder(normals(n, source), order), weight };
    },
  };
}

const bench = (out: number, inFeatures: number): BenchOf<typeof fourierDelta> => ({
  ...random({ out, in: inFeatures, n: 1000 }),
  bytes: 4 * out * inFeatures,
});

/** Cases of {@linkcode fourierDelta}. */
export const fourierDeltaCases: KernelCases = casesFor(fourierDelta, {
  cases: [
    random({ out: 1, in: 1, n: 1 }),
    random({ out: 2, in: 2, n: 4 }),
    random({ out: 7, in: 5, n: 35 }),
    random({ out: 12, in: 8, n: 96, accumulate: 1 }),
    random({ out: 9, in: 2, n: 18, accumulate: 1 }),
    random({ out: 9, in: 225, n: 50, accumulate: 1 }),
    random({ out: 37, in: 64, n: 300 }),
    random({ out: 96, in: 37, n: 0 }),
    random({ out: 96, in: 128, n: 2500 }),
    random({ out: 256, in: 96, n: 500, accumulate: 1 }),
    random({ out: 9, in: 4096, n: 100 }),
    random({ out: 6, in: 11008, n: 40 }),
    random({ out: 3, in: 4099, n: 20, accumulate: 1 }),
    random({ out: 65537, in: 2, n: 50 }),
    random({ out: 12, in: 8, n: 60, first: 9, rows: 6 }),
    random({ out: 12, in: 8, n: 60, first: 3, rows: 6, accumulate: 1 }),
    random({ out: 9, in: 225, n: 50, first: 5, rows: 8, accumulate: 1 }),
    random({ out: 37, in: 64, n: 300, first: 21, rows: 9 }),
  ],
  benches: [bench(4096, 4096), bench(8192, 8192), bench(16384, 53248)],
});
