/**
 * `fourier_linear`: y += x dW^T without dW, each row with its own adapter.
 *
 * dW = scale * Re(IDFT2(F)) has n nonzero frequencies, so a row costs one real transform of x, n multiply-adds from
 * input bins to output bins, and one real transform back (Gao et al. 2024, arXiv 2405.03003, equations 2-4).
 *
 * @module
 */
import { realTransform, type Spectrum } from "./fft/cpu.ts";
import { analysisDispatch, type Part, partDeclaration, partsOf } from "./fft/analysis_dispatch.ts";
import { planTransform, type TransformPlan } from "./fft/plan.ts";
import { analysis, elementType, foldFunction, halfBins, rowElements, spectrumFunction } from "./fft/real.ts";
import { productCount, synthesis, synthesisFunctions, synthesisGroups } from "./fft/synthesis.ts";
import { transformsInWasm, turnsTable } from "./fft/wasm.ts";
import { fftFunctions, twiddleTable, workDeclaration } from "./fft/wgsl.ts";
import { fourierTable, inOrder, randomFrequencies } from "./fourier_table.ts";
import {
  type Arrays,
  type Binding,
  type Case,
  declareBindings,
  defineKernel,
  type Dispatch,
  grid,
  type Kernel,
  type Launch,
  type Limits,
  normals,
  uniformStruct,
  type WasmCall,
  workgroupBuiltins,
  workgroupIndex,
} from "./kernel.ts";
import { bitsOf, floatOf, noSlot, recordWords } from "./record.ts";

/** Scratch for the spectra of long rows; more rows than fit are run one part after the other. */
const scratchBytes = 64 * 2 ** 20;

const uniforms = {
  rows: "u32",
  in: "u32",
  out: "u32",
  layer: "u32",
  capacity: "u32",
} as const;
type Uniforms = Readonly<Record<keyof typeof uniforms, number>>;
type Buffer = "x" | "slots" | "records" | "tables" | "values" | "y";

const slotLookup = /* wgsl */ `
  let slot = slots[row];
  if (slot == ${noSlot}u) { return; }
  let record = (uniforms.layer * uniforms.capacity + slot) * ${recordWords}u;
  if (records[record + 2] == 0) { return; }
`;

/** Entries in a row's table: bin k's are offset(k) .. offset(k + 1) - 1, each a coefficient times a bin of x's spectrum. */
function entryFunctions(outBins: number): string {
  return /* wgsl */ `
var<private> offsets_at: u32;
var<private> values_at: u32;
fn offset(k: u32) -> u32 { return tables[offsets_at + k]; }
fn entry(e: u32) -> vec2f { return values[values_at + e] * spectrum(tables[offsets_at + ${
    outBins + 1
  }u + e]); }
`;
}

const readRecord = `offsets_at = records[record]; values_at = records[record + 1];
let count = records[record + 2];
let scale = bitcast<f32>(records[record + 3]);`;

const types: Readonly<Record<string, string>> = {
  slots: "u32",
  records: "u32",
  tables: "u32",
  values: "f32",
  bins: "vec2f",
  twiddles_in: "vec2f",
  twiddles_out: "vec2f",
};

const binding = (name: string): Binding => ({ name, access: name === "y" ? "read_write" : "read" });

/** Both transforms in one workgroup's memory: one dispatch, one workgroup a row. */
function fused(
  shape: { input: TransformPlan; output: TransformPlan },
  rows: number,
  limits: Limits,
): Dispatch {
  const threads = Math.max(shape.input.threads, shape.output.threads);
  const input = { ...shape.input, threads };
  const output = { ...shape.output, threads };
  const outName = input.length === output.length ? "twiddles_in" : "twiddles_out";
  const workSize = Math.max(input.size, output.size);
  const source = { signal: (i: string) => `x[x_at + ${i}]`, twiddles: "twiddles_in" };
  const products = productCount(output, limits, workSize);
  const bindings = ["x", "slots", "records", "tables", "values", "y", "twiddles_in"].map(binding);
  if (outName === "twiddles_out") bindings.push(binding(outName));
  const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
${declareBindings(bindings, { ...types, x: elementType(input), y: elementType(output) })}
${workDeclaration(workSize)}
${fftFunctions}
var<private> x_at: u32;
${foldFunction(input, source)}
${spectrumFunction(input, source)}
${entryFunctions(halfBins(output.length))}
${synthesisFunctions(output, outName, products)}
@compute @workgroup_size(${threads})
fn main(${workgroupBuiltins}) {
  let row = ${workgroupIndex};
  if (row >= uniforms.rows) { return; }
  ${slotLookup}
  ${readRecord}
  let residue = 0u;
  x_at = row * ${rowElements(input)}u;
  let y_at = row * ${rowElements(output)}u;
  ${analysis(input, source)}
  ${
    synthesis(output, {
      twiddles: outName,
      count: "count",
      entryReadsWork: true,
      store: (p, value) => `y[y_at + ${p}] += scale * ${value};`,
    }, products)
  }
}
`;
  return { wgsl, bindings, grid: grid(rows, limits) };
}

/** From the spectra in scratch to y: one workgroup a row and residue. */
function synthesise(shape: { input: number; output: TransformPlan }, part: Part, limits: Limits): Dispatch {
  const { input, output } = shape;
  const groups = synthesisGroups(output);
  const products = productCount(output, limits, output.size);
  const bindings = ["slots", "records", "tables", "values", "y", "bins", "twiddles_out"].map(binding);
  const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
${declareBindings(bindings, { ...types, y: elementType(output) })}
${partDeclaration(part)}
${workDeclaration(output.size)}
${fftFunctions}
var<private> bins_at: u32;
fn spectrum(v: u32) -> vec2f {
  let mirrored = v > ${Math.floor(input / 2)}u;
  let value = bins[bins_at + select(v, ${input}u - v, mirrored)];
  return select(value, conj(value), mirrored);
}
${entryFunctions(halfBins(output.length))}
${synthesisFunctions(output, "twiddles_out", products)}
@compute @workgroup_size(${output.threads})
fn main(${workgroupBuiltins}) {
  let index = ${workgroupIndex};
  let part_row = index / ${groups}u;
  let residue = index % ${groups}u;
  if (part_row >= part_rows()) { return; }
  let row = first + part_row;
  ${slotLookup}
  ${readRecord}
  bins_at = part_row * ${halfBins(input)}u;
  let y_at = row * ${rowElements(output)}u;
  ${
    synthesis(output, {
      twiddles: "twiddles_out",
      count: "count",
      entryReadsWork: false,
      store: (p, value) => `y[y_at + ${p}] += scale * ${value};`,
    }, products)
  }
}
`;
  const constants = { first: part.first };
  return { wgsl, bindings, constants, grid: grid(part.rows * groups, limits) };
}

function launch(u: Uniforms, limits: Limits): Launch {
  const input = planTransform(u.in, limits);
  const output = planTransform(u.out, limits);
  const tables = { twiddles_in: twiddleTable(u.in), twiddles_out: twiddleTable(u.out) };
  if (input.residues === 1 && output.residues === 1) {
    return { dispatches: [fused({ input, output }, u.rows, limits)], tables };
  }
  const rowBytes = 8 * halfBins(u.in);
  const parts = partsOf(u.rows, { rowBytes, scratchBytes });
  const spectra = { uniforms, source: "x", bins: "bins", twiddles: "twiddles_in", slots: true };
  const dispatches = parts.flatMap((part) => [
    analysisDispatch(input, { ...spectra, part }, limits),
    synthesise({ input: u.in, output }, part, limits),
  ]);
  return { dispatches, tables, scratch: { bins: parts[0].rows * rowBytes } };
}

/** Calls `body` for every row with an adapter of n > 0 coefficients. */
function forEachAdapted(
  { slots, records }: Pick<Arrays<Buffer>, "slots" | "records">,
  u: Uniforms,
  body: (row: number, record: { table: number; values: number; scale: number }) => void,
): void {
  for (let row = 0; row < u.rows; row++) {
    if (slots[row] === noSlot) continue;
    const at = (u.layer * u.capacity + slots[row]) * recordWords;
    if (records[at + 2] === 0) continue;
    body(row, { table: records[at], values: records[at + 1], scale: floatOf(records[at + 3]) });
  }
}

/** The definition: X[v] for each entry by its sum, then each entry's wave added to y; all in float64. */
function reference(arrays: Arrays<Buffer>, u: Uniforms): void {
  const { x, tables, values, y } = arrays;
  const { in: inFeatures, out: outFeatures } = u;
  const bins = halfBins(outFeatures);
  forEachAdapted(arrays, u, (row, record) => {
    const sum = new Float64Array(outFeatures);
    for (let k = 0; k < bins; k++) {
      for (let e = tables[record.table + k]; e < tables[record.table + k + 1]; e++) {
        const v = tables[record.table + bins + 1 + e];
        let re = 0, im = 0;
        for (let q = 0; q < inFeatures; q++) {
          const angle = 2 * Math.PI * (q * v % inFeatures) / inFeatures;
          re += x[row * inFeatures + q] * Math.cos(angle);
          im += x[row * inFeatures + q] * Math.sin(angle);
        }
        const c = values[record.values + e];
        for (let p = 0; p < outFeatures; p++) {
          const angle = 2 * Math.PI * (p * k % outFeatures) / outFeatures;
          sum[p] += c * (re * Math.cos(angle) - im * Math.sin(angle));
        }
      }
    }
    for (let p = 0; p < outFeatures; p++) y[row * outFeatures + p] += record.scale * sum[p];
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

function cpu(arrays: Arrays<Buffer>, u: Uniforms): void {
  const tables = arrays.tables as Uint32Array;
  const values = arrays.values as Float32Array;
  const x = arrays.x as Float32Array;
  const y = arrays.y as Float32Array;
  const { in: inFeatures, out: outFeatures } = u;
  const input = realTransform(inFeatures);
  const output = realTransform(outFeatures);
  const bins = halfBins(outFeatures);
  const spectra = { from: input.analysed, to: output.bins };
  forEachAdapted(arrays, u, (row, record) => {
    input.analyse(x, row * inFeatures);
    gather(tables, values, { offsets: record.table, values: record.values, bins }, spectra);
    output.synthesise(y, row * outFeatures, record.scale);
  });
}

function wasm({ rows, in: inSize, out, layer, capacity }: Uniforms): WasmCall | undefined {
  if (!transformsInWasm(inSize) || !transformsInWasm(out)) return undefined;
  return {
    function: "fourier_linear",
    args: [
      ...["x", inSize, "slots", "records", "tables", "values", "y", out],
      ...["turns_in", "turns_out", "work", rows, inSize, out, layer, capacity],
    ],
    scratch: { work: 4 * (5 * Math.max(inSize, out) + 640) },
    tables: { turns_in: turnsTable(inSize), turns_out: turnsTable(out) },
  };
}

/** Makes a case: `rows` rows, each with one of `adapters` (n of each) or none, at layer 1 of 2. */
function mixed(
  name: string,
  size: { rows: number; in: number; out: number; adapters: readonly number[] },
): Case<Buffer, keyof typeof uniforms> {
  const capacity = size.adapters.length + 1;
  const u = { rows: size.rows, in: size.in, out: size.out, layer: 1, capacity };
  return {
    name,
    uniforms: u,
    make(random) {
      const tables: number[] = [7];
      const values: number[] = [NaN, NaN, NaN];
      const records = new Uint32Array(2 * capacity * recordWords);
      size.adapters.forEach((n, slot) => {
        const { u, v } = randomFrequencies(n, size, random);
        const made = fourierTable({ destination: u, source: v }, { destination: size.out, source: size.in });
        const scale = (slot + 1) / Math.sqrt(size.in * Math.max(n, 1));
        records.set([tables.length, values.length, n, bitsOf(scale)], (capacity + slot) * recordWords);
        for (const word of made.table) tables.push(word);
        for (const value of inOrder(normals(n, random), made.order)) values.push(value);
      });
      const choices = size.adapters.length + (size.rows > 1 ? 1 : 0);
      const slots = Uint32Array.from({ length: size.rows }, (_, row) => {
        const choice = row % choices;
        return choice < size.adapters.length ? choice : noSlot;
      });
      return {
        x: normals(size.rows * size.in, random),
        slots,
        records,
        tables: Uint32Array.from(tables),
        values: Float32Array.from(values),
        y: normals(size.rows * size.out, random),
      };
    },
  };
}

const read = (dtypes: TypedDtype, doc: string) => ({
  access: "read" as const,
  dtypes: [dtypes] as const,
  doc,
});
type TypedDtype = "float32" | "uint32";

/** See the module's documentation. */
export const fourierLinear: Kernel<Buffer, keyof typeof uniforms> = defineKernel({
  name: "fourier_linear",
  doc: "y (rows, out) += x (rows, in) dW^T, where row r has the dW of adapter slots[r], or none. " +
    "No (out, in) matrix is formed. Any lengths from 1 to 2^20.",
  buffers: {
    x: read("float32", "(rows, in)"),
    slots: read("uint32", `(rows): the row's adapter, ${noSlot} for none`),
    records: read(
      "uint32",
      "(layers, capacity, 4): offset of the adapter's table in `tables`, offset of its coefficients in `values`, " +
        "their number (0 adds nothing), and the factor scaling / (out * in) as float32 bits",
    ),
    tables: read(
      "uint32",
      "tables of `fourierTable` with destination out and source in, one after the other",
    ),
    values: read("float32", "coefficients in their table's order"),
    y: { access: "read_write", dtypes: ["float32"], doc: "(rows, out), added to" },
  },
  uniforms,
  launch: ({ uniforms }, limits) => launch(uniforms, limits),
  reference,
  cpu,
  wasm,
  tolerance: 1e-6,
  cases: [
    mixed("one element", { rows: 1, in: 1, out: 1, adapters: [1] }),
    mixed("smallest even", { rows: 2, in: 2, out: 2, adapters: [4] }),
    mixed("odd by even, all frequencies", { rows: 3, in: 6, out: 7, adapters: [42, 1] }),
    mixed("prime by prime", { rows: 2, in: 37, out: 53, adapters: [100] }),
    mixed("no adapter but none, n = 0", { rows: 3, in: 8, out: 12, adapters: [0, 5] }),
    mixed("mixed rows 256 x 768", { rows: 5, in: 768, out: 256, adapters: [1000, 500, 30] }),
    mixed("mixed rows 768 x 96", { rows: 4, in: 96, out: 768, adapters: [200, 300] }),
    mixed("radices 3, 5, 7, 11, 13", { rows: 2, in: 2 * 3 * 5 * 7, out: 11 * 13 * 4, adapters: [64] }),
    mixed("looped radices 17, 19, 37, 43", { rows: 2, in: 17 * 38, out: 37 * 2 * 3, adapters: [64] }),
    mixed("4096 in one workgroup", { rows: 2, in: 4096, out: 4096, adapters: [50] }),
    mixed("residues in and out", { rows: 3, in: 11008, out: 9216, adapters: [20, 10] }),
    mixed("residues out only", { rows: 2, in: 64, out: 14336, adapters: [100] }),
    mixed("residues in only", { rows: 2, in: 18944, out: 96, adapters: [40] }),
    mixed("odd and long", { rows: 1, in: 9 * 715, out: 7 * 1001, adapters: [12] }),
    mixed("prime and long", { rows: 1, in: 4099, out: 4111, adapters: [3] }),
  ],
  benches: [[4096, 1, 1], [4096, 64, 64], [4096, 512, 1], [4096, 4096, 1], [4096, 4096, 1024], [
    8192,
    4096,
    1,
  ]].map(
    ([d, rows, adapters]) => ({
      ...mixed(`${d} x ${d}, T = ${rows}, ${adapters} adapters`, {
        rows,
        in: d,
        out: d,
        adapters: Array.from({ length: adapters }, () => 1000),
      }),
      bytes: 4 * rows * 3 * d,
    }),
  ),
});
