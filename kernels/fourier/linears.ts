/**
 * How `fourier_linear` and `fourier_linears` run: y += x dW^T of up to a few linears that share x, side by side in y's rows.
 *
 * @module
 */
import { analysisDispatch, type Part, partDeclaration, partsOf } from "../fft/analysis_dispatch.ts";
import { planTransform, type TransformPlan } from "../fft/plan.ts";
import { analysis, elementType, foldFunction, halfBins, rowElements, spectrumFunction } from "../fft/real.ts";
import {
  foldedBinsFunction,
  gatherFunctions,
  productCount,
  synthesis,
  synthesisGroups,
} from "../fft/synthesis.ts";
import { fftFunctions, type TwiddleTables, twiddleTables, workDeclaration } from "../fft/wgsl.ts";
import {
  type Binding,
  declareBindings,
  type Dispatch,
  grid,
  type Launch,
  type Limits,
  uniformStruct,
  type UniformType,
  workgroupBuiltins,
  workgroupIndex,
} from "../kernel.ts";
import { noSlot, recordWords } from "../record.ts";

/** The buffers of both kernels, in binding order. */
export type LinearsBuffer = "x" | "slots" | "records" | "tables" | "values" | "y";

/** A call's sizes: y has rows of all `outs`; linear i has the records of layer `layer + i`. */
export interface Linears {
  readonly rows: number;
  readonly in: number;
  readonly outs: readonly number[];
  readonly layer: number;
  readonly capacity: number;
}

/** Scratch for the spectra of long rows; more rows than fit are run one part after the other. */
const scratchBytes = 64 * 2 ** 20;

const types: Readonly<Record<string, string>> = {
  slots: "u32",
  records: "u32",
  tables: "u32",
  values: "f32",
  bins: "vec2f",
  twiddles: "vec2f",
};

const binding = (name: string): Binding => ({ name, access: name === "y" ? "read_write" : "read" });

/** One of a launch's linears. */
interface Segment {
  readonly plan: TransformPlan;
  /** Its place among the linears, and its first column in y. */
  readonly index: number;
  readonly start: number;
}

interface Shape {
  readonly uniforms: Readonly<Record<string, UniformType>>;
  readonly rows: number;
  readonly input: TransformPlan;
  readonly segments: readonly Segment[];
  /** Columns of y. */
  readonly columns: number;
  readonly tables: TwiddleTables;
}

/** Leaves the function for rows without an adapter of linear `segment`; then says where its entries are. */
const findEntries = /* wgsl */ `
  let slot = slots[row];
  if (slot == ${noSlot}u) { return; }
  let record = ((uniforms.layer + segment) * uniforms.capacity + slot) * ${recordWords}u;
  let count = records[record + 2];
  if (count == 0) { return; }
  offsets_at = records[record];
  values_at = records[record + 1];
  let scale = bitcast<f32>(records[record + 3]);
`;

/** Entries in a row's table: bin k's are offset(k) .. offset(k + 1) - 1, each a coefficient times a bin of x's spectrum. */
const entryFunctions = /* wgsl */ `
var<private> offsets_at: u32;
var<private> entries_at: u32;
var<private> values_at: u32;
fn offset(k: u32) -> u32 { return tables[offsets_at + k]; }
fn entry(e: u32) -> vec2f { return values[values_at + e] * spectrum(tables[entries_at + e]); }
`;

/** Statements that add a segment's row to y from x's spectrum. */
function addRow(
  shape: Shape,
  plan: TransformPlan,
  options: { readonly start: string; readonly products: number; readonly entryReadsWork: boolean },
): string {
  const { columns, tables } = shape;
  const y = yType(shape, plan);
  const place = y === "vec2f"
    ? `(row * ${columns}u + ${options.start}) / 2`
    : `row * ${columns}u + ${options.start}`;
  const store = elementType(plan) === y
    ? (p: string, value: string) => `y[y_at + ${p}] += scale * ${value};`
    : (p: string, value: string) =>
      `{ let to = y_at + 2 * (${p}); let pair = scale * ${value}; y[to] += pair.x; y[to + 1] += pair.y; }`;
  return `let y_at = ${place};
entries_at = offsets_at + ${halfBins(plan.length) + 1}u;
${
    synthesis(plan, {
      twiddles: tables.of(plan.length),
      suffix: `_${plan.length}`,
      count: "count",
      entryReadsWork: options.entryReadsWork,
      store,
    }, options.products)
  }`;
}

/** WGSL type of y's elements: pairs where every row and segment begins with one. */
function yType({ segments }: Shape, ...plans: readonly TransformPlan[]): string {
  const even = segments.every(({ plan }) => plan.length % 2 === 0);
  return even && plans.every((plan) => elementType(plan) === "vec2f") ? "vec2f" : "f32";
}

/** WGSL expression: the one of `values` that `segment` says. */
const chosen = (values: readonly number[]): string =>
  values.slice(1).reduce(
    (rest, value, i) => `select(${rest}, ${value}u, segment == ${i + 1}u)`,
    `${values[0]}u`,
  );

/**
 * All transforms in workgroup memory: one dispatch, one workgroup a row and segment.
 *
 * Every segment's workgroup transforms x again, which costs less than to wait: a batch of decoding has fewer rows than a
 * GPU has places for workgroups, and so three segments take the time of the longest.
 */
function fused(shape: Shape, limits: Limits): Dispatch {
  const { segments, tables } = shape;
  const threads = Math.max(shape.input.threads, ...segments.map(({ plan }) => plan.threads));
  const input = { ...shape.input, threads };
  const lengths = [...new Set(segments.map(({ plan }) => plan.length))];
  const outputs = lengths.map((length) => ({
    ...segments.find(({ plan }) => plan.length === length)!.plan,
    threads,
  }));
  const workSize = Math.max(input.size, ...outputs.map(({ size }) => size));
  const source = { signal: (i: string) => `x[x_at + ${i}]`, twiddles: tables.of(input.length) };
  const products = outputs.map((plan) => productCount(plan, limits, workSize));
  const y = yType(shape, ...outputs);
  const bindings = ["x", "slots", "records", "tables", "values", "y", "twiddles"].map(binding);
  const start = chosen(segments.map((segment) => segment.start));
  const bodies = outputs.map((plan, i) => {
    const body = addRow(shape, plan, { start, products: products[i], entryReadsWork: true });
    if (outputs.length === 1) return body;
    const mine = segments.filter((segment) => segment.plan.length === plan.length);
    return `if (${mine.map(({ index }) => `segment == ${index}u`).join(" || ")}) {\n${body}}\n`;
  });
  const wgsl = /* wgsl */ `
${uniformStruct(shape.uniforms)}
${declareBindings(bindings, { ...types, x: elementType(input), y })}
${workDeclaration(workSize)}
${fftFunctions}
var<private> x_at: u32;
${foldFunction(input, source)}
${spectrumFunction(input, source)}
${entryFunctions}
${gatherFunctions(Math.max(...products))}
${
    outputs.map((plan) =>
      foldedBinsFunction(plan, { twiddles: tables.of(plan.length), suffix: `_${plan.length}` })
    ).join("")
  }
@compute @workgroup_size(${threads})
fn main(${workgroupBuiltins}) {
  let index = ${workgroupIndex};
  let row = index / ${segments.length}u;
  let segment = index % ${segments.length}u;
  if (row >= uniforms.rows) { return; }
  ${findEntries}
  let residue = 0u;
  x_at = row * ${rowElements(input)}u;
  ${analysis(input, source)}
  ${bodies.join("")}
}
`;
  return { wgsl, bindings, grid: grid(shape.rows * segments.length, limits) };
}

/** From the spectra in scratch to a segment of y: one workgroup a row and residue. */
function synthesise(
  shape: Shape,
  { segment, part, limits }: { segment: Segment; part: Part; limits: Limits },
): Dispatch {
  const { plan } = segment;
  const input = shape.input.length;
  const groups = synthesisGroups(plan);
  const products = productCount(plan, limits, plan.size);
  const bindings = ["slots", "records", "tables", "values", "y", "bins", "twiddles"].map(binding);
  const wgsl = /* wgsl */ `
${uniformStruct(shape.uniforms)}
${declareBindings(bindings, { ...types, y: yType(shape, plan) })}
${partDeclaration(part)}
override segment: u32;
override start: u32;
${workDeclaration(plan.size)}
${fftFunctions}
var<private> bins_at: u32;
fn spectrum(v: u32) -> vec2f {
  let mirrored = v > ${Math.floor(input / 2)}u;
  let value = bins[bins_at + select(v, ${input}u - v, mirrored)];
  return select(value, conj(value), mirrored);
}
${entryFunctions}
${gatherFunctions(products)}
${foldedBinsFunction(plan, { twiddles: shape.tables.of(plan.length), suffix: `_${plan.length}` })}
@compute @workgroup_size(${plan.threads})
fn main(${workgroupBuiltins}) {
  let index = ${workgroupIndex};
  let part_row = index / ${groups}u;
  let residue = index % ${groups}u;
  if (part_row >= part_rows()) { return; }
  let row = first + part_row;
  ${findEntries}
  bins_at = part_row * ${halfBins(input)}u;
  ${addRow(shape, plan, { start: "start", products, entryReadsWork: false })}
}
`;
  const constants = { first: part.first, segment: segment.index, start: segment.start };
  return { wgsl, bindings, constants, grid: grid(part.rows * groups, limits) };
}

/** Launches a kernel whose uniform words are `uniforms`, `rows`, `layer` and `capacity` among them. */
export function launchLinears(
  linears: Linears,
  { uniforms, limits }: { readonly uniforms: Readonly<Record<string, UniformType>>; readonly limits: Limits },
): Launch {
  const { rows, outs } = linears;
  const input = planTransform(linears.in, limits);
  const segments = outs.map((out, index) => ({
    plan: planTransform(out, limits),
    index,
    start: startOf(outs, index),
  }));
  const tables = twiddleTables(linears.in, ...outs);
  const shape = { uniforms, rows, input, segments, columns: startOf(outs, outs.length), tables };
  const twiddles = tables.table;
  if ([input, ...segments.map(({ plan }) => plan)].every(({ residues }) => residues === 1)) {
    return { dispatches: [fused(shape, limits)], tables: { twiddles } };
  }
  const rowBytes = 8 * halfBins(input.length);
  const parts = partsOf(rows, { rowBytes, scratchBytes });
  const spectra = { uniforms, source: "x", bins: "bins", twiddles: tables.of(input.length), slots: true };
  const dispatches = parts.flatMap((part) => [
    analysisDispatch(input, { ...spectra, part }, limits),
    ...segments.map((segment) => synthesise(shape, { segment, part, limits })),
  ]);
  return { dispatches, tables: { twiddles }, scratch: { bins: parts[0].rows * rowBytes } };
}

/** First column of linear `index` in y's rows. */
export function startOf(outs: readonly number[], index: number): number {
  return outs.slice(0, index).reduce((sum, out) => sum + out, 0);
}
