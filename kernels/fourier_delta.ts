/**
 * `fourier_delta`: a sparse spectrum to the dense dW, or onto a weight (merge).
 *
 * Row p of dW is a real transform of its row spectrum R[v] = SUM_{l: v_l = v} c_l e^{2 pi i p u_l / out}, and
 * dW[(out - p) % out, (in - q) % in] = dW[p, q]: a row and its mirror come from one transform, and no 2-D intermediate
 * exists. They are one workgroup's work where its memory holds a row; a longer row is dealt out by turns
 * (fft/long_plan.ts). A call may have some of the rows, so that a dW larger than a buffer can be
 * built in pieces; rows count round the end, for a piece of rows about 0 or about out / 2 has most mirrors in itself.
 *
 * @module
 */
import { realTransform } from "./fft/cpu.ts";
import { planLong } from "./fft/long_plan.ts";
import { planTransform } from "./fft/plan.ts";
import { halfBins } from "./fft/real.ts";
import { termsScratch } from "./fft/terms.ts";
import { twiddleTables } from "./fft/twiddles.ts";
import { phasesTable, transformsInWasm, turnsTable } from "./fft/wasm.ts";
import { longRows, wholeRows } from "./fourier/delta_rows.ts";
import { type Arrays, defineKernel, type Kernel, type Launch, type Limits } from "./kernel.ts";

const uniforms = {
  out: "u32",
  in: "u32",
  scale: "f32",
  accumulate: "u32",
  first: "u32",
  rows: "u32",
} as const;
type Uniforms = Readonly<Record<keyof typeof uniforms, number>>;
type Buffer = "table" | "values" | "weight";

/** The rows p <= out / 2 that are a call's own or whose mirrors are: what it transforms. They follow each other. */
function transformed({ out, first, rows }: Uniforms): { readonly lowest: number; readonly count: number } {
  const has = (p: number): boolean => (p + out - first) % out < rows;
  const half = Math.floor(out / 2);
  const ends = [first, (first + rows - 1) % out].map((p) => Math.min(p, out - p));
  const lowest = has(0) ? 0 : Math.min(...ends);
  const highest = has(half) || has(out - half) ? half : Math.max(...ends);
  return { lowest, count: highest - lowest + 1 };
}

function launch(words: Uniforms, limits: Limits): Launch {
  const { out: outFeatures, in: inFeatures } = words;
  if (words.rows === 0 || words.rows > outFeatures || words.first >= outFeatures) {
    throw new RangeError(
      `Cannot build ${words.rows} rows of dW from row ${words.first} on: it has ${outFeatures}`,
    );
  }
  planTransform(outFeatures, limits);
  const long = planLong(inFeatures, limits);
  const lengths = long ? [inFeatures, long.transform.length, outFeatures] : [inFeatures, outFeatures];
  const tables = twiddleTables(...lengths);
  const rows = { uniforms, out: outFeatures, in: inFeatures, ...transformed(words), tables, limits };
  const twiddles = tables.table;
  return long
    ? { dispatches: longRows(long, rows), tables: { twiddles }, scratch: termsScratch(long) }
    : { dispatches: [wholeRows(rows)], tables: { twiddles } };
}

/** Calls `body` for each entry: its destination bin k, source bin u and coefficient. */
function forEachEntry(
  { table, values }: Arrays<Buffer>,
  bins: number,
  body: (entry: { k: number; u: number; c: number }) => void,
): void {
  for (let k = 0; k < bins; k++) {
    for (let e = table[k]; e < table[k + 1]; e++) body({ k, u: table[bins + 1 + e], c: values[e] });
  }
}

/** The definition, of the rows from `first` on: dW[p, q] = scale * SUM_l c_l cos(2 pi (p u_l / out + q v_l / in)). */
function reference(
  arrays: Arrays<Buffer>,
  { out: outFeatures, in: inFeatures, scale, accumulate, first, rows }: Uniforms,
): void {
  const { weight } = arrays;
  const sum = new Float64Array(inFeatures);
  for (let r = 0; r < rows; r++) {
    const p = (first + r) % outFeatures;
    sum.fill(0);
    forEachEntry(arrays, halfBins(inFeatures), ({ k, u, c }) => {
      const phase = (p * u % outFeatures) / outFeatures;
      for (let q = 0; q < inFeatures; q++) {
        sum[q] += c * Math.cos(2 * Math.PI * (phase + (q * k % inFeatures) / inFeatures));
      }
    });
    for (let q = 0; q < inFeatures; q++) {
      const at = r * inFeatures + q;
      weight[at] = (accumulate ? weight[at] : 0) + Math.fround(scale) * sum[q];
    }
  }
}

function cpu(arrays: Arrays<Buffer>, words: Uniforms): void {
  const { out: outFeatures, in: inFeatures, scale, accumulate, first, rows } = words;
  const weight = arrays.weight as Float32Array;
  const bins = halfBins(inFeatures);
  const transform = realTransform(inFeatures);
  const cos = Float64Array.from({ length: outFeatures }, (_, k) => Math.cos(2 * Math.PI * k / outFeatures));
  const sin = Float64Array.from({ length: outFeatures }, (_, k) => Math.sin(2 * Math.PI * k / outFeatures));
  const { re, im } = transform.bins;
  const row = new Float32Array(inFeatures);
  if (!accumulate) weight.fill(0, 0, rows * inFeatures);
  const { lowest, count } = transformed(words);
  const placeOf = (p: number): number => (p + outFeatures - first) % outFeatures;
  for (let p = lowest; p < lowest + count; p++) {
    re.fill(0);
    im.fill(0);
    forEachEntry(arrays, bins, ({ k, u, c }) => {
      const phase = p * u % outFeatures;
      re[k] += c * cos[phase];
      im[k] += c * sin[phase];
    });
    row.fill(0);
    transform.synthesise(row, 0, Math.fround(scale));
    if (placeOf(p) < rows) {
      for (let q = 0, at = placeOf(p) * inFeatures; q < inFeatures; q++) weight[at + q] += row[q];
    }
    if (p === 0 || 2 * p === outFeatures || placeOf(outFeatures - p) >= rows) continue;
    const mirror = placeOf(outFeatures - p) * inFeatures;
    weight[mirror] += row[0];
    for (let q = 1; q < inFeatures; q++) weight[mirror + inFeatures - q] += row[q];
  }
}

/** See the module's documentation. */
export const fourierDelta: Kernel<Buffer, keyof typeof uniforms> = defineKernel({
  name: "fourier_delta",
  doc: "weight (rows, in) = or += dW = scale * SUM_l c_l cos(2 pi (p u_l / out + q v_l / in)), " +
    "with scale = scaling / (out * in), of rows p = first .. first + rows - 1, row 0 after row out - 1. " +
    "Any lengths from 1 to 2^20.",
  buffers: {
    table: { access: "read", dtypes: ["uint32"], doc: "`fourierTable` with destination in and source out" },
    values: { access: "read", dtypes: ["float32"], doc: "(n) coefficients in the table's order" },
    weight: { access: "read_write", dtypes: ["float32"], doc: "(rows, in)" },
  },
  uniforms,
  launch: ({ uniforms }, limits) => launch(uniforms, limits),
  reference,
  cpu,
  wasm(words) {
    const { out, in: inSize, scale, accumulate, first, rows } = words, { lowest, count } = transformed(words);
    if (!transformsInWasm(inSize)) return undefined;
    return {
      function: "fourier_delta",
      args: [
        ...["table", "values", "weight", "phases", "turns", "work"],
        ...[out, inSize, scale, accumulate, first, rows, lowest],
      ],
      items: count,
      work: count * inSize * (2 + 4 * Math.log2(inSize)),
      each: { work: 4 * (4 * inSize + 640) },
      tables: { phases: phasesTable(out), turns: turnsTable(inSize) },
    };
  },
  tolerance: 1e-6,
});
