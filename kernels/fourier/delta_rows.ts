/**
 * How `fourier_delta` runs: the dispatches that write a call's rows of dW, each with its mirror.
 *
 * @module
 */
import { index, type Place } from "../fft/layout.ts";
import type { LongPlan } from "../fft/long_plan.ts";
import { longSynthesis } from "../fft/long_synthesis.ts";
import { alone, planTransform } from "../fft/plan.ts";
import { elementType, halfBins, rowElements } from "../fft/real.ts";
import { entryProducts, productCount } from "../fft/products.ts";
import { gatherFunctions, putReversed, synthesis, synthesisGroups, wholeRounds } from "../fft/synthesis.ts";
import { termsDispatch } from "../fft/terms.ts";
import type { TwiddleTables } from "../fft/twiddles.ts";
import { fftFunctions, workMemory } from "../fft/wgsl.ts";
import {
  type Binding,
  declareBindings,
  type Dispatch,
  grid,
  type Limits,
  portableLimits,
  uniformStruct,
  type UniformType,
  workgroupBuiltins,
  workgroupIndex,
} from "../kernel.ts";

/** The rows of a call; its uniforms have `scale`, `accumulate`, `first` and `rows`. */
export interface DeltaRows {
  readonly uniforms: Readonly<Record<string, UniformType>>;
  readonly out: number;
  readonly in: number;
  /** The rows to transform: `count` from `lowest` on. */
  readonly lowest: number;
  readonly count: number;
  /** Of both lengths. */
  readonly tables: TwiddleTables;
  readonly limits: Limits;
}

const types = { table: "u32", values: "f32", twiddles: "vec2f", spans: "u32", terms: "vec2f" };
const binding = (name: string): Binding => ({ name, access: name === "weight" ? "read_write" : "read" });

/** Workgroups that check whether there is anything to do; where there is, each takes one row after another. */
const lookingGroups = 512;

/** WGSL of the call's words and the entries of bins. */
const entryFunctions = ({ uniforms, in: inFeatures }: DeltaRows): string => /* wgsl */ `
${uniformStruct(uniforms)}
fn offset(k: u32) -> u32 { return table[k]; }
fn source(e: u32) -> u32 { return table[${halfBins(inFeatures) + 1}u + e]; }
fn coefficient(e: u32) -> f32 { return values[e]; }
`;

/** WGSL of the number `row` of what is transformed, the turns of its source bins, and rows' places in `weight`. */
const rowFunctions = ({ out, tables }: DeltaRows): string => /* wgsl */ `
override lowest: u32;
override transforms: u32;
var<private> row: u32;
// Where a row of dW stands among the call's; past their number when it is none of them.
fn place_of(p: u32) -> u32 {
  if (p >= uniforms.first) { return p - uniforms.first; }
  return p + ${out}u - uniforms.first;
}
fn turned_source(u: u32) -> vec2f {
  return ${tables.of(out)(out < 65536 ? `row * u % ${out}u` : `mulmod(row, u, ${out}u)`)};
}
fn product(u: u32, coefficient: f32) -> vec2f { return coefficient * turned_source(u); }
`;

/** WGSL conditions on which row p is the call's, and on which its mirror is, and is another row. */
const hasRow = "place_of(p) < uniforms.rows";
const hasMirror = (out: number): string =>
  `p > 0 && 2 * p < ${out}u && place_of(${out}u - p) < uniforms.rows`;

/** Statements that write `value` to an element of `weight`, or add it. */
const store = (element: string, value: string): string =>
  `{ let value = uniforms.scale * ${value};
if (uniforms.accumulate == 1) { ${element} += value; } else { ${element} = value; } }\n`;

/**
 * One workgroup a row and residue of a transform of planTransform. Only rows of more than `above` entries are written,
 * where it is given.
 */
export function wholeRows(rows: DeltaRows, above?: number): Dispatch {
  const { out, in: inFeatures, tables, limits, lowest, count } = rows;
  const plan = alone(planTransform(inFeatures, limits));
  // Products would take the place of what the row before is still read from, where rows follow each other.
  const most = above === undefined ? productCount([plan], limits) : 0;
  const products = entryProducts({ most, plan, count: "count", fromWork: false });
  const groups = synthesisGroups(plan);
  const { functions, declare, sums, run, row } = synthesis(plan, {
    twiddles: tables.of(inFeatures),
    count: "count",
    rounds: wholeRounds,
    fresh: most === 0 && above === undefined,
    products,
  });
  const put = (at: string) => (q: Place, value: string): string =>
    `{ let place = ${at} + ${index(q)}; ${store("weight[place]", value)} }\n`;
  const bindings = ["table", "values", "weight", "twiddles"].map(binding);
  const one = /* wgsl */ `
  let p = lowest + index / ${groups}u;
  let residue = index % ${groups}u;
  row = p;
  ${products?.declare ?? ""}
  ${products?.fetch ?? ""}
  ${declare}
  ${sums(wholeRounds[0])}
  ${run}
  if (${hasRow}) {
    let weight_at = place_of(p) * ${rowElements(plan)}u;
    ${row.put(put("weight_at"))}
  }
  if (${hasMirror(out)}) {
    let mirror_at = place_of(${out}u - p) * ${rowElements(plan)}u;
    ${putReversed(plan, row, put("mirror_at"))}
  }
`;
  const all = `transforms * ${groups}u`;
  const wgsl = /* wgsl */ `
${entryFunctions(rows)}
${declareBindings(bindings, { ...types, weight: elementType(plan) })}
${workMemory([plan], most)}
${fftFunctions}
${rowFunctions(rows)}
${gatherFunctions(wholeRounds)}
${functions}
@compute @workgroup_size(${plan.threads})
fn main(${workgroupBuiltins}) {
  let count = table[${halfBins(inFeatures)}u];
  ${
    above === undefined
      ? `let index = ${workgroupIndex};
  if (index >= ${all}) { return; }
  ${one}`
      : `if (count <= ${above}u) { return; }
  for (var index = group.x; index < ${all}; index += groups.x) { ${one} }`
  }
}
`;
  const workgroups = above === undefined ? count * groups : Math.min(count * groups, lookingGroups);
  return { wgsl, bindings, constants: { lowest, transforms: count }, grid: grid(workgroups, limits) };
}

/**
 * Rows too long for one workgroup's memory: the terms of their entries, then one workgroup for each turn of a row. Rows with
 * more entries than there is room for are left to {@linkcode wholeRows}; only the table says how many there are.
 */
export function longRows(plan: LongPlan, rows: DeltaRows): Dispatch[] {
  const { out, in: inFeatures, tables, limits, lowest, count } = rows;
  const pairs = inFeatures / 2;
  const of = { twiddles: tables.of(plan.transform.length), count: "count" };
  const { functions, run } = longSynthesis(plan, of);
  // The mirror has a pair's first number in pair h - j and its second in pair h - j - 1, where others' are beside them.
  const put = (pair: Place, value: string): string =>
    `{ let pair = ${index(pair)};
if (own) { let at = own_at + pair; let value = uniforms.scale * ${value};
if (uniforms.accumulate == 1) { weight[at].x += value.x; weight[at].y += value.y; }
else { weight[at] = Pair(value.x, value.y); } }
if (mirrored) {
let before = mirror_at + ${pairs - 1}u - pair;
let first = select(before + 1, mirror_at, pair == 0);
${store("weight[first].x", `${value}.x`)}${store("weight[before].y", `${value}.y`)} } }\n`;
  const bindings = ["table", "weight", "twiddles", "spans", "terms"].map(binding);
  const wgsl = /* wgsl */ `
${uniformStruct(rows.uniforms)}
// Not vectors: of a mirror's pair the two numbers are written by different invocations.
struct Pair { x: f32, y: f32 }
${declareBindings(bindings, { ...types, weight: "Pair" })}
${workMemory([plan.transform], 2 * plan.mostEntries)}
${fftFunctions}
${rowFunctions(rows)}
${functions}
@compute @workgroup_size(${plan.transform.threads})
fn main(${workgroupBuiltins}) {
  let index = ${workgroupIndex};
  let count = table[${halfBins(inFeatures)}u];
  if (index >= transforms * ${plan.turns}u || count > ${plan.mostEntries}u) { return; }
  // Turns of a row are neighbours, so that lines of memory that each writes a part of are whole before they leave the cache.
  let p = lowest + index / ${plan.turns}u;
  let turn = index % ${plan.turns}u;
  row = p;
  let own = ${hasRow};
  let own_at = place_of(p) * ${pairs}u;
  let mirrored = ${hasMirror(out)};
  let mirror_at = place_of(${out}u - p) * ${pairs}u;
  ${run((turn) => turn.put(put))}
}
`;
  const constants = { lowest, transforms: count };
  const terms = { sources: out, twiddles: tables.of(inFeatures), entries: entryFunctions(rows) };
  // What is seldom run is made to compile soon: longer transforms in a loop took a software GPU a minute.
  const bytes = Math.min(limits.workgroupStorageBytes, portableLimits.workgroupStorageBytes);
  const seldom = { ...rows, limits: { ...limits, workgroupStorageBytes: bytes } };
  return [
    termsDispatch(plan, terms, limits),
    { wgsl, bindings, constants, grid: grid(count * plan.turns, limits) },
    wholeRows(seldom, plan.mostEntries),
  ];
}
