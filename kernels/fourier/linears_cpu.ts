/**
 * What `fourier_linear` and `fourier_linears` compute, as a specification and at a CPU's speed.
 *
 * @module
 */
import { realTransform, type Spectrum } from "../fft/cpu.ts";
import { halfBins } from "../fft/real.ts";
import type { Arrays } from "../kernel.ts";
import { floatOf, noSlot, recordWords } from "../record.ts";
import { type Linears, type LinearsBuffer, startOf } from "./linears.ts";

/** What a row's adapter does to one of the linears. */
interface Adapted {
  readonly row: number;
  readonly out: number;
  /** First element in y. */
  readonly at: number;
  readonly table: number;
  readonly values: number;
  readonly scale: number;
}

/** Calls `body` for every row and linear with an adapter of n > 0 coefficients, row by row. */
function forEachAdapted(
  { slots, records }: Pick<Arrays<LinearsBuffer>, "slots" | "records">,
  { rows, outs, linear, capacity }: Linears,
  body: (adapted: Adapted) => void,
): void {
  const columns = startOf(outs, outs.length);
  for (let row = 0; row < rows; row++) {
    if (slots[row] === noSlot) continue;
    outs.forEach((out, i) => {
      const record = ((linear + i) * capacity + slots[row]) * recordWords;
      if (records[record + 2] === 0) return;
      const at = row * columns + startOf(outs, i);
      const scale = floatOf(records[record + 3]);
      body({ row, out, at, table: records[record], values: records[record + 1], scale });
    });
  }
}

/** The definition: X[v] for each entry by its sum, then each entry's wave added to y; all in float64. */
export function referenceLinears(arrays: Arrays<LinearsBuffer>, linears: Linears): void {
  const { x, tables, values, y } = arrays;
  const inFeatures = linears.in;
  forEachAdapted(arrays, linears, (adapted) => {
    const { row, out } = adapted;
    const bins = halfBins(out);
    const sum = new Float64Array(out);
    for (let k = 0; k < bins; k++) {
      for (let e = tables[adapted.table + k]; e < tables[adapted.table + k + 1]; e++) {
        const v = tables[adapted.table + bins + 1 + e];
        let re = 0, im = 0;
        for (let q = 0; q < inFeatures; q++) {
          const angle = 2 * Math.PI * (q * v % inFeatures) / inFeatures;
          re += x[row * inFeatures + q] * Math.cos(angle);
          im += x[row * inFeatures + q] * Math.sin(angle);
        }
        const c = values[adapted.values + e];
        for (let p = 0; p < out; p++) {
          const angle = 2 * Math.PI * (p * k % out) / out;
          sum[p] += c * (re * Math.cos(angle) - im * Math.sin(angle));
        }
      }
    }
    for (let p = 0; p < out; p++) y[adapted.at + p] += adapted.scale * sum[p];
  });
}

/** Sums every bin's entries; a function of its own, and of typed arrays alone, so that engines compile it well. */
function gather(
  tables: Uint32Array,
  values: Float32Array,
  at: { readonly offsets: number; readonly values: number; readonly bins: number },
  { from, to }: { readonly from: Spectrum; readonly to: Spectrum },
): void {
  const { offsets, bins } = at;
  const { re: inRe, im: inIm } = from;
  const { re: outRe, im: outIm } = to;
  const entries = offsets + bins + 1;
  const shift = at.values - entries;
  let e = entries;
  for (let k = 0; k < bins; k++) {
    const end = entries + tables[offsets + k + 1];
    let re = 0;
    let im = 0;
    for (; e < end; e++) {
      const c = values[shift + e];
      const v = tables[e];
      re += c * inRe[v];
      im += c * inIm[v];
    }
    outRe[k] = re;
    outIm[k] = im;
  }
}

/** The same by transforms: each row of x once. */
export function cpuLinears(arrays: Arrays<LinearsBuffer>, linears: Linears): void {
  const tables = arrays.tables as Uint32Array;
  const values = arrays.values as Float32Array;
  const x = arrays.x as Float32Array;
  const y = arrays.y as Float32Array;
  const input = realTransform(linears.in);
  let analysed = -1;
  forEachAdapted(arrays, linears, ({ row, out, at, table, values: first, scale }) => {
    if (row !== analysed) input.analyse(x, row * linears.in);
    analysed = row;
    const output = realTransform(out);
    const places = { offsets: table, values: first, bins: halfBins(out) };
    gather(tables, values, places, { from: input.analysed, to: output.bins });
    output.synthesise(y, at, scale);
  });
}
