/**
 * The dispatch that writes rows' half spectra to scratch: what kernels do with rows too long for one workgroup's memory.
 *
 * @module
 */
import {
  type Binding,
  type Dispatch,
  grid,
  type Limits,
  uniformStruct,
  type UniformType,
  workgroupBuiltins,
  workgroupIndex,
} from "../kernel.ts";
import { noSlot } from "../record.ts";
import type { TransformPlan } from "./plan.ts";
import {
  analysis,
  analysisGroups,
  elementType,
  foldFunction,
  halfBins,
  rowElements,
  spectrumFunctions,
  storeSpectrum,
} from "./real.ts";
import type { Twiddles } from "./twiddles.ts";
import { fftFunctions, workMemory } from "./wgsl.ts";

/** Rows of a call that share scratch: `first` and those after it, `rows` of them; `most` of any part. */
export interface Part {
  readonly first: number;
  readonly rows: number;
  /** The same for every call of a length, so that the WGSL is. */
  readonly most: number;
}

/** WGSL of a part's bounds; the kernel's uniforms have `rows`. */
export const partDeclaration = ({ most }: Part): string =>
  `override first: u32 = 0u;
fn part_rows() -> u32 { return min(${most}u, uniforms.rows - first); }`;

/** The parts of `rows` rows whose spectra take `rowBytes` each. */
export function partsOf(
  rows: number,
  { rowBytes, scratchBytes }: { rowBytes: number; scratchBytes: number },
): Part[] {
  const most = Math.max(1, Math.floor(scratchBytes / rowBytes));
  return Array.from({ length: Math.ceil(rows / most) }, (_, i) => {
    const first = i * most;
    return { first, rows: Math.min(most, rows - first), most };
  });
}

/** Names of a launch's bindings, and the rows to do. */
export interface AnalysisDispatch {
  readonly uniforms: Readonly<Record<string, UniformType>>;
  /** (rows, length) float32. */
  readonly source: string;
  /** Scratch (part rows, floor(length / 2) + 1) of (re, im). */
  readonly bins: string;
  readonly twiddles: Twiddles;
  /** Whether rows whose `slots` entry says "none" are skipped. */
  readonly slots: boolean;
  readonly part: Part;
}

/** One workgroup a row and residue. */
export function analysisDispatch(
  plan: TransformPlan,
  { uniforms, source, bins, twiddles, slots, part }: AnalysisDispatch,
  limits: Limits,
): Dispatch {
  const groups = analysisGroups(plan);
  const read = { signal: (i: string) => `${source}[row_at + ${i}]`, twiddles };
  const { read: take, run, points } = analysis(plan, { ...read, fresh: true });
  const bindings: Binding[] = [
    { name: source, access: "read" },
    { name: bins, access: "read_write" },
    { name: "twiddles", access: "read" },
  ];
  if (slots) bindings.push({ name: "slots", access: "read" });
  const wgsl = /* wgsl */ `
${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> ${source}: array<${elementType(plan)}>;
@group(0) @binding(2) var<storage, read_write> ${bins}: array<vec2f>;
@group(0) @binding(3) var<storage, read> twiddles: array<vec2f>;
${slots ? "@group(0) @binding(4) var<storage, read> slots: array<u32>;" : ""}
${partDeclaration(part)}
${workMemory([plan])}
${fftFunctions}
var<private> row_at: u32;
${foldFunction(plan, read)}
${plan.mode === "half" ? spectrumFunctions(plan, read) : ""}
@compute @workgroup_size(${plan.threads})
fn main(${workgroupBuiltins}) {
  let index = ${workgroupIndex};
  let part_row = index / ${groups}u;
  let residue = index % ${groups}u;
  if (part_row >= part_rows()) { return; }
  let row = first + part_row;
  ${slots ? `if (slots[row] == ${noSlot}u) { return; }` : ""}
  row_at = row * ${rowElements(plan)}u;
  let bins_at = part_row * ${halfBins(plan.length)}u;
  ${take}
  ${run}
  ${storeSpectrum(plan, points, (bin, value) => `${bins}[bins_at + ${bin}] = ${value};`)}
}
`;
  const constants = { first: part.first };
  return { wgsl, bindings, constants, grid: grid(part.rows * groups, limits) };
}
