import { nans, normals } from "../kernel.ts";
import { elementWavelet, type WaveletName, waveletOf } from "../wavelet/filters.ts";
import { waveletPlaces, waveletTable } from "../wavelet/table.ts";
import { waveletGradient } from "../wavelet_gradient.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";
import { randomFrequencies } from "./random_frequencies.ts";

function sized(
  { rows, out, in: inSize, n, of, accumulate = 0 }: {
    readonly rows: number;
    readonly out: number;
    readonly in: number;
    readonly n: number;
    readonly of: WaveletName | "none";
    readonly accumulate?: number;
  },
): CaseOf<typeof waveletGradient> {
  const offset = 3, scale = 1 / Math.sqrt(rows);
  return {
    name: `${rows} rows, ${out} x ${inSize}, ${n} of ${of}${accumulate ? ", added" : ""}`,
    uniforms: { rows, in: inSize, out, count: n, offset, scale, accumulate },
    make(random) {
      const wavelet = of === "none" ? elementWavelet : waveletOf(of), shape = { out, in: inSize };
      const { u, v } = waveletPlaces(randomFrequencies(n, shape, random), shape, wavelet);
      const { table, order } = waveletTable({ destination: u, source: v }, { length: out, wavelet });
      const filters = new Uint32Array(2 * n);
      order.forEach((l, e) => filters.set([u[l], v[l]], 2 * e));
      const gradient = accumulate ? normals(offset + n, random) : nans(offset + n).fill(0, 0, offset);
      return {
        x: normals(rows * inSize, random),
        dy: normals(rows * out, random),
        tables: table,
        filters,
        gradient,
      };
    },
  };
}

/** Cases of {@linkcode waveletGradient}. */
export const waveletGradientCases: KernelCases = casesFor(waveletGradient, {
  cases: [
    sized({ rows: 1, in: 1, out: 1, n: 1, of: "db1" }),
    sized({ rows: 5, in: 6, out: 7, n: 42, of: "none", accumulate: 1 }),
    sized({ rows: 40, in: 37, out: 12, n: 300, of: "coif4" }),
    sized({ rows: 530, in: 16, out: 9, n: 17, of: "sym3", accumulate: 1 }),
  ],
  benches: (["db1", "db4"] as const).map((of) => ({
    ...sized({ rows: 4096, in: 4096, out: 4096, n: 2592, of }),
    bytes: 8 * 4096 * 4096,
  })),
});
