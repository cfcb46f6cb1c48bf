import { inOrder } from "../fourier_table.ts";
import { normals } from "../kernel.ts";
import { bitsOf, noSlot, recordWords } from "../record.ts";
import { elementWavelet, type WaveletName, waveletOf } from "../wavelet/filters.ts";
import { waveletPlaces, waveletTable } from "../wavelet/table.ts";
import { waveletLinear } from "../wavelet_linear.ts";
import { type CaseOf, casesFor, type KernelCases } from "./case.ts";
import { randomFrequencies } from "./random_frequencies.ts";

/** Sizes of a case, and each adapter: its coefficients of the first linear, and its wavelet. */
interface BankSize {
  readonly rows: number;
  readonly in: number;
  readonly outs: readonly number[];
  readonly adapters: readonly (readonly [n: number, wavelet: WaveletName | "none"])[];
}

/** Rows take the adapters in turn, and then none; a linear before stands empty. Later linears have fewer coefficients. */
function sized(
  { rows, in: inSize, outs, adapters }: BankSize,
): CaseOf<typeof waveletLinear> {
  const [out0, out1 = 0, out2 = 0] = outs, capacity = adapters.length + 1;
  return {
    name: `${rows} rows, ${inSize} to ${outs}, ${adapters.map(([n, name]) => `${n} of ${name}`).join(", ")}`,
    uniforms: { rows, in: inSize, out0, out1, out2, linear: 1, capacity },
    make(random) {
      const tables: number[] = [7], values: number[] = [NaN, NaN, NaN];
      const records = new Uint32Array((1 + outs.length) * capacity * recordWords);
      outs.forEach((out, i) =>
        adapters.forEach(([most, name], slot) => {
          const n = Math.max(0, most - 3 * i), wavelet = name === "none" ? elementWavelet : waveletOf(name);
          const shape = { out, in: inSize };
          const { u, v } = waveletPlaces(randomFrequencies(n, shape, random), shape, wavelet);
          const made = waveletTable({ destination: u, source: v }, { length: out, wavelet });
          const scale = bitsOf((slot + 1) / Math.sqrt(Math.max(n, 1) / out));
          records.set([tables.length, values.length, n, scale], ((1 + i) * capacity + slot) * recordWords);
          for (const word of made.table) tables.push(word);
          for (const value of inOrder(normals(n, random), made.order)) values.push(value);
        })
      );
      const choices = adapters.length + (rows > 1 ? 1 : 0);
      return {
        x: normals(rows * inSize, random),
        slots: Uint32Array.from(
          { length: rows },
          (_, row) => row % choices < adapters.length ? row % choices : noSlot,
        ),
        records,
        tables: Uint32Array.from(tables),
        values: Float32Array.from(values),
        y: normals(rows * (out0 + out1 + out2), random),
      };
    },
  };
}

/** Cases of {@linkcode waveletLinear}. */
export const waveletLinearCases: KernelCases = casesFor(waveletLinear, {
  cases: [
    sized({ rows: 1, in: 1, outs: [1], adapters: [[1, "db1"]] }),
    sized({ rows: 4, in: 7, outs: [9], adapters: [[63, "db1"], [20, "none"], [50, "db2"]] }),
    sized({ rows: 3, in: 64, outs: [33, 64, 1], adapters: [[5, "coif4"], [0, "db1"], [30, "db10"]] }),
    sized({ rows: 3, in: 5, outs: [1025, 1023], adapters: [[2000, "sym2"], [90, "none"]] }),
    sized({ rows: 2, in: 768, outs: [2048], adapters: [[3000, "db4"], [1000, "coif1"]] }),
    sized({ rows: 70, in: 24, outs: [40], adapters: [[40, "db1"], [3, "sym10"]] }),
    sized({ rows: 2, in: 11008, outs: [4111], adapters: [[40, "coif4"], [300, "db1"]] }),
  ],
  benches: (["db1", "db4"] as const).flatMap((name) =>
    [1, 64, 512, 4096].map((rows) => ({
      ...sized({ rows, in: 4096, outs: [4096], adapters: [[2592, name]] }),
      bytes: 4 * (rows * 3 * 4096 + 2592),
    }))
  ),
});
