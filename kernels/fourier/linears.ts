/**
 * How `fourier_linear` and `fourier_linears` run: y += x dW^T of up to a few linears that share x, side by side in y's rows.
 *
 * @module
 */
import { analysisDispatch, type Part, partDeclaration, partsOf } from "../fft/analysis_dispatch.ts";
import { planTransform } from "../fft/plan.ts";
import { halfBins } from "../fft/real.ts";
import { entryProducts, productCount } from "../fft/products.ts";
import { gatherFunctions, synthesis, synthesisGroups, wholeRounds } from "../fft/synthesis.ts";
import { twiddleTables } from "../fft/twiddles.ts";
import { fftFunctions, workMemory } from "../fft/wgsl.ts";
import {
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
import { Kept } from "../kept.ts";
import { fused } from "./fused.ts";
import {
  adder,
  binding,
  entryFunctions,
  findEntries,
  placeInY,
  type Segment,
  type Shape,
  types,
  yType,
} from "./shape.ts";

/** The buffers of both kernels, in binding order. */
export type LinearsBuffer = "x" | "slots" | "records" | "tables" | "values" | "y";

/** A call's sizes: y has rows of all `outs`; linear i has the records of number `linear + i`. */
export interface Linears {
  readonly rows: number;
  readonly in: number;
  readonly outs: readonly number[];
  readonly linear: number;
  readonly capacity: number;
}

/** Scratch for the spectra of long rows; more rows than fit are run one part after the other. */
const scratchBytes = 64 * 2 ** 20;

/** From the spectra in scratch to a segment of y: one workgroup a row and residue. */
function synthesise(
  shape: Shape,
  { segment, part, limits }: { segment: Segment; part: Part; limits: Limits },
): Dispatch {
  const { plan } = segment;
  const input = shape.input.length;
  const groups = synthesisGroups(plan);
  const most = productCount([plan], limits);
  const y = yType(shape, plan);
  const products = entryProducts({ most, plan, count: "count", fromWork: false });
  const of = { count: "count", rounds: wholeRounds, fresh: most === 0, products };
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
${workMemory([plan], most)}
${fftFunctions}
var<private> bins_at: u32;
fn spectrum(v: u32) -> vec2f {
  let mirrored = v > ${Math.floor(input / 2)}u;
  let value = bins[bins_at + select(v, ${input}u - v, mirrored)];
  return select(value, conj(value), mirrored);
}
${entryFunctions(wholeRounds)}
${gatherFunctions(wholeRounds)}
${functions}
@compute @workgroup_size(${plan.threads})
fn main(${workgroupBuiltins}) {
  let index = ${workgroupIndex};
  let part_row = index / ${groups}u;
  let residue = index % ${groups}u;
  if (part_row >= part_rows()) { return; }
  let row = first + part_row;
  ${findEntries()}
  bins_at = part_row * ${halfBins(input)}u;
  entries_at = offsets_at + ${halfBins(plan.length) + 1}u;
  let y_at = ${placeInY(shape, y, "start")};
  ${products?.declare ?? ""}
  ${products?.fetch ?? ""}
  ${declare}
  ${sums(wholeRounds[0])}
  ${run}
  ${row.put(adder(plan, y))}
}
`;
  const constants = { first: part.first, segment: segment.index, start: segment.start };
  return { wgsl, bindings, constants, grid: grid(part.rows * groups, limits) };
}

/** The uniform words of a kernel, `rows`, `linear` and `capacity` among them, and the device's limits. */
interface LinearsTarget {
  readonly uniforms: Readonly<Record<string, UniformType>>;
  readonly limits: Limits;
}

const launches = new Kept<Launch>();
const shapes = new Kept<Shape>();

/** Launches one of the kernels. Which linear it is, and what a bank's capacity, only the uniform words say. */
export function launchLinears(linears: Linears, target: LinearsTarget): Launch {
  const { rows, in: inFeatures, outs } = linears;
  const key = `${Object.keys(target.uniforms)}:${rows}:${inFeatures}:${outs}`;
  return launches.get(target.limits, key, () => makeLaunch(linears, target));
}

/** What of a call does not depend on its number. */
export function shapeOf(linears: Omit<Linears, "linear" | "capacity">, target: LinearsTarget): Shape {
  const { rows, outs, in: inFeatures } = linears;
  const key = `${Object.keys(target.uniforms)}:${rows}:${inFeatures}:${outs}`;
  return shapes.get(target.limits, key, () => makeShape(linears, target));
}

function makeShape(
  { rows, outs, in: inFeatures }: Omit<Linears, "linear" | "capacity">,
  { uniforms, limits }: LinearsTarget,
): Shape {
  return {
    uniforms,
    rows,
    input: planTransform(inFeatures, limits),
    segments: outs.map((out, index) => ({
      plan: planTransform(out, limits),
      index,
      start: startOf(outs, index),
    })),
    columns: startOf(outs, outs.length),
    tables: twiddleTables(inFeatures, ...outs),
  };
}

function makeLaunch(linears: Omit<Linears, "linear" | "capacity">, target: LinearsTarget): Launch {
  const { uniforms, limits } = target;
  const shape = shapeOf(linears, target);
  const { rows, input, segments, tables } = shape;
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
