/**
 * How `fourier_linear` and `fourier_linears` run: y += x dW^T of up to a few linears that share x, side by side in y's rows.
 *
 * @module
 */
import { analysisDispatch, type Part, partDeclaration, partsOf } from "../fft/analysis_dispatch.ts";
import { planTransform, together, type TransformPlan } from "../fft/plan.ts";
import {
  analysis,
  elementType,
  foldFunction,
  halfBins,
  rowElements,
  spectrumFunctions,
} from "../fft/real.ts";
import { gatherFunctions, productCount, synthesis, synthesisGroups, wholeRounds } from "../fft/synthesis.ts";
import { type TwiddleTables, twiddleTables } from "../fft/twiddles.ts";
import { expose, fftFunctions, type Round, roundsOf, workMemory } from "../fft/wgsl.ts";
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

/**
 * Entries in a row's table: bin k's are offset(k) .. offset(k + 1) - 1, each a coefficient times what `spectrum` has of a
 * bin of x's in a round.
 */
const entryFunctions = (rounds: readonly Round[]): string => /* wgsl */ `
var<private> offsets_at: u32;
var<private> entries_at: u32;
var<private> values_at: u32;
fn offset(k: u32) -> u32 { return tables[offsets_at + k]; }
${
  rounds.map(({ suffix }) =>
    `fn entry${suffix}(e: u32) -> vec2f { return values[values_at + e] * spectrum${suffix}(tables[entries_at + e]); }\n`
  ).join("")
}`;

/** Statement that adds an element of a segment's row to y, whose row and segment begin at element `y_at`. */
function adder(shape: Shape, plan: TransformPlan): (index: string, value: string) => string {
  if (elementType(plan) === yType(shape, plan)) return (p, value) => `y[y_at + ${p}] += scale * ${value};\n`;
  return (p, value) =>
    `{ let to = y_at + 2 * (${p}); let pair = scale * ${value}; y[to] += pair.x; y[to + 1] += pair.y; }\n`;
}

/** WGSL expression of `y_at` for the segment that begins at column `start`. */
function placeInY({ columns }: Shape, type: string, start: string): string {
  const place = `row * ${columns}u + ${start}`;
  return type === "vec2f" ? `(${place}) / 2` : place;
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

/** `code(i)` for the segments whose length is the i-th of `plans`. */
function bySegment(
  segments: readonly Segment[],
  plans: readonly TransformPlan[],
  code: (i: number) => string,
): string {
  if (plans.length === 1) return code(0);
  return plans.map(({ length }, i) => {
    const mine = segments.filter(({ plan }) => plan.length === length);
    return `if (${mine.map(({ index }) => `segment == ${index}u`).join(" || ")}) {\n${code(i)}}\n`;
  }).join("");
}

/**
 * All transforms in workgroup memory: one dispatch, one workgroup a row and segment.
 *
 * Every segment's workgroup transforms x again, which costs less than to wait: a batch of decoding has fewer rows than a
 * GPU has places for workgroups, and so three segments take the time of the longest.
 */
function fused(shape: Shape, limits: Limits): Dispatch {
  const { segments, tables } = shape;
  const lengths = [...new Set(segments.map(({ plan }) => plan.length))];
  const [input, ...outputs] = together([
    shape.input,
    ...lengths.map((length) => segments.find(({ plan }) => plan.length === length)!.plan),
  ]);
  const { threads, parts } = input;
  const workSize = Math.max(input.size, ...outputs.map(({ size }) => size));
  const source = { signal: (i: string) => `x[x_at + ${i}]`, twiddles: tables.of(input.length) };
  const rounds = roundsOf(input);
  const products = Math.max(...outputs.map((plan) => productCount(plan, limits, workSize)));
  const { code, points } = analysis(input, { ...source, fresh: true });
  const syntheses = outputs.map((plan) =>
    synthesis(plan, {
      twiddles: tables.of(plan.length),
      count: "count",
      rounds,
      entryReadsWork: true,
      products: productCount(plan, limits, workSize),
      suffix: `_${plan.length}`,
    })
  );
  const y = yType(shape, ...outputs);
  const bindings = ["x", "slots", "records", "tables", "values", "y", "twiddles"].map(binding);
  const each = (body: (i: number) => string): string => bySegment(segments, outputs, body);
  const wgsl = /* wgsl */ `
${uniformStruct(shape.uniforms)}
${declareBindings(bindings, { ...types, x: elementType(input), y })}
${workMemory({ size: workSize, parts })}
${fftFunctions}
var<private> x_at: u32;
${foldFunction(input, source)}
${spectrumFunctions(input, source)}
${entryFunctions(rounds)}
${gatherFunctions({ rounds, products })}
${syntheses.map(({ functions }) => functions).join("")}
@compute @workgroup_size(${threads})
fn main(${workgroupBuiltins}) {
  let index = ${workgroupIndex};
  let row = index / ${segments.length}u;
  let segment = index % ${segments.length}u;
  if (row >= uniforms.rows) { return; }
  ${findEntries}
  entries_at = offsets_at + ${chosen(segments.map(({ plan }) => halfBins(plan.length) + 1))};
  let residue = 0u;
  x_at = row * ${rowElements(input)}u;
  let y_at = ${placeInY(shape, y, chosen(segments.map(({ start }) => start)))};
  ${syntheses.map(({ declare }) => declare).join("")}
  ${code}
  ${expose(input, { held: points }, (round) => each((i) => syntheses[i].sums(round)))}
  ${each((i) => syntheses[i].run + syntheses[i].row.put(adder(shape, outputs[i])))}
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
  const y = yType(shape, plan);
  const of = { count: "count", rounds: wholeRounds, entryReadsWork: false, products };
  const { functions, declare, sums, run, row } = synthesis(plan, {
    ...of,
    twiddles: shape.tables.of(plan.length),
  });
  const bindings = ["slots", "records", "tables", "values", "y", "bins", "twiddles"].map(binding);
  const wgsl = /* wgsl */ `
${uniformStruct(shape.uniforms)}
${declareBindings(bindings, { ...types, y })}
${partDeclaration(part)}
override segment: u32;
override start: u32;
${workMemory(plan)}
${fftFunctions}
var<private> bins_at: u32;
fn spectrum(v: u32) -> vec2f {
  let mirrored = v > ${Math.floor(input / 2)}u;
  let value = bins[bins_at + select(v, ${input}u - v, mirrored)];
  return select(value, conj(value), mirrored);
}
${entryFunctions(wholeRounds)}
${gatherFunctions({ rounds: wholeRounds, products })}
${functions}
@compute @workgroup_size(${plan.threads})
fn main(${workgroupBuiltins}) {
  let index = ${workgroupIndex};
  let part_row = index / ${groups}u;
  let residue = index % ${groups}u;
  if (part_row >= part_rows()) { return; }
  let row = first + part_row;
  ${findEntries}
  bins_at = part_row * ${halfBins(input)}u;
  entries_at = offsets_at + ${halfBins(plan.length) + 1}u;
  let y_at = ${placeInY(shape, y, "start")};
  ${declare}
  ${sums(wholeRounds[0])}
  ${run}
  ${row.put(adder(shape, plan))}
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
