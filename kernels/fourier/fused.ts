/**
 * `fourier_linear` and `fourier_linears` where all transforms fit a workgroup's memory: one dispatch.
 *
 * @module
 */
import type { Place } from "../fft/layout.ts";
import { together, type TransformPlan } from "../fft/plan.ts";
import {
  analysis,
  elementType,
  foldFunction,
  halfBins,
  rowElements,
  spectrumFunctions,
} from "../fft/real.ts";
import { entryProducts, productCount, type Products } from "../fft/products.ts";
import { gatherFunctions, type Synthesis, synthesis } from "../fft/synthesis.ts";
import { readAhead } from "../fft/stages.ts";
import { expose, fftFunctions, type Round, roundsOf, workMemory } from "../fft/wgsl.ts";
import {
  declareBindings,
  type Dispatch,
  grid,
  type Limits,
  uniformStruct,
  workgroupBuiltins,
  workgroupIndex,
} from "../kernel.ts";
import { noSlot, recordWords } from "../record.ts";
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

/** WGSL expression: the one of `values` that `segment` says. */
const chosen = (values: readonly number[]): string =>
  values.slice(1).reduce(
    (rest, value, i) => `select(${rest}, ${value}u, segment == ${i + 1}u)`,
    `${values[0]}u`,
  );

/** What a workgroup does: `place` and `find`, x's transform, `sums`, then `finish`. */
interface Body {
  readonly grid: number;
  /** Row and segment from `index`; leaves the function where there are none. */
  readonly place: string;
  /** The row's entries; leaves the function where it has none. */
  readonly find: string;
  readonly syntheses: readonly Synthesis[];
  /** What syntheses have read ahead: declared, and read before x is transformed. */
  readonly declareAhead: string;
  readonly readAhead: string;
  /** Sums all bins; `exposed` puts x's spectrum into `work` and uses it, round by round. */
  readonly sums: (exposed: (use: (round: Round) => string) => string) => string;
  readonly finish: string;
}

/** Where what a row's adapter gives is put. */
export interface Target {
  /** WGSL type of the buffer's elements. */
  readonly type: string;
  /** Statement that puts an element of a segment's row, which begins at element `y_at`; `scale` is in scope. */
  readonly put: (plan: TransformPlan) => (place: Place, value: string) => string;
  /** Statements for a row without an adapter, given an expression of the segment's elements. */
  readonly none?: (elements: string) => string;
}

/** What both ways to share a launch's work out are made of. */
interface FusedShape extends Shape {
  readonly outputs: readonly TransformPlan[];
  readonly target: Target;
  readonly productsOf: (count: string) => Products | undefined;
  readonly synthesisOf: (
    plan: TransformPlan,
    options: { readonly suffix: string; readonly count: string },
  ) => Synthesis;
}

/**
 * One workgroup a row and segment, which transforms x again. A batch of decoding has fewer rows than a GPU has places for
 * workgroups, so that three segments take the time of the longest.
 */
function apart({ segments, rows, outputs, target, productsOf, synthesisOf, ...shape }: FusedShape): Body {
  const plans = outputs.filter(({ length }, i) => outputs.findIndex((plan) => plan.length === length) === i);
  const syntheses = plans.map((plan) => synthesisOf(plan, { suffix: `_${plan.length}`, count: "count" }));
  const each = (code: (i: number) => string): string =>
    plans.length === 1 ? code(0) : plans.map(({ length }, i) => {
      const mine = segments.filter(({ plan }) => plan.length === length);
      return `if (${mine.map(({ index }) => `segment == ${index}u`).join(" || ")}) {\n${code(i)}}\n`;
    }).join("");
  const start = chosen(segments.map((segment) => segment.start));
  return {
    grid: rows * segments.length,
    declareAhead: syntheses.map((one) => readAhead([...one.ahead, ...one.offsetsAhead]).declare).join(""),
    readAhead: each((i) => readAhead(syntheses[i].ahead).read),
    place: /* wgsl */ `
  let row = index / ${segments.length}u;
  let segment = index % ${segments.length}u;
  if (row >= uniforms.rows) { return; }`,
    find: /* wgsl */ `
  let y_at = ${placeInY(shape, target.type, start)};
  ${findEntries(target.none?.(chosen(outputs.map(({ length }) => length))))}
  entries_at = offsets_at + ${chosen(outputs.map((plan) => halfBins(plan.length) + 1))};
  ${each((i) => readAhead(syntheses[i].offsetsAhead).read)}
  ${productsOf("count")?.fetch ?? ""}`,
    syntheses,
    sums: (exposed) => exposed((round) => each((i) => syntheses[i].sums(round))),
    finish: each((i) => syntheses[i].run + syntheses[i].row.put(target.put(plans[i]))),
  };
}

/** One workgroup a row, which transforms x once and holds all segments' bins: for as many rows as keep a GPU busy. */
function atOnce({ segments, rows, outputs, target, productsOf, synthesisOf, ...shape }: FusedShape): Body {
  const syntheses = segments.map(({ index }) =>
    synthesisOf(outputs[index], { suffix: `_s${index}`, count: `count_${index}` })
  );
  const each = (code: (i: number) => string): string =>
    segments.map(({ index }) => `if (count_${index} > 0) {\n${code(index)}}\n`).join("");
  const record = ({ index }: Segment): string =>
    `let record_${index} = ((uniforms.linear + ${index}) * uniforms.capacity + slot) * ${recordWords}u;
  let count_${index} = records[record_${index} + 2];`;
  return {
    grid: rows,
    declareAhead: "",
    readAhead: "",
    place: /* wgsl */ `
  let row = index;
  if (row >= uniforms.rows) { return; }`,
    find: /* wgsl */ `
  let slot = slots[row];
  if (slot == ${noSlot}u) { return; }
  ${segments.map(record).join("\n  ")}
  if ((${segments.map(({ index }) => `count_${index}`).join(" | ")}) == 0) { return; }`,
    syntheses,
    // A segment's products take the spectrum's place, so that each has it put anew.
    sums: (exposed) =>
      each((i) =>
        `offsets_at = records[record_${i}];
values_at = records[record_${i} + 1];
entries_at = offsets_at + ${halfBins(outputs[i].length) + 1}u;
${productsOf(`count_${i}`)?.fetch ?? ""}
${exposed((round) => syntheses[i].sums(round))}`
      ),
    finish: each((i) =>
      `let scale = bitcast<f32>(records[record_${i} + 3]);
let y_at = ${placeInY(shape, target.type, `${segments[i].start}u`)};
${syntheses[i].run}${syntheses[i].row.put(target.put(outputs[i]))}`
    ),
  };
}

/** Rows that give each multiprocessor of a large GPU two workgroups. */
const manyRows = 256;
/** Points of all segments that an invocation can hold in registers beside those of a transform. */
const mostHeld = 32;

/** Workgroups that a large GPU has a multiprocessor each for. */
const fewGroups = 128;
/** Points of an invocation's transform beside which registers have room for what is read ahead. */
const mostPointsAhead = 8;

/** What the text reads x from, and where it puts what adapters give. */
export interface FusedIo {
  /** WGSL expression of element `i` of x, of the input's `elementType`. */
  readonly signal: (i: string) => string;
  readonly target: Target;
}

/** A launch's text in parts, for a dispatch of its own or a part of another's workgroups. */
export interface FusedText {
  readonly threads: number;
  readonly groups: number;
  /** Declarations of the module, but for uniforms, bindings and `work`. */
  readonly functions: string;
  /** Plans whose workgroup memory `work` is, and products that it holds: see `workMemory`. */
  readonly plans: readonly TransformPlan[];
  readonly products: number;
  /** Statements of `main` for workgroup `index` of `groups`; they may leave it. */
  readonly body: string;
}

/** The text of a launch; every plan of `shape` has one residue. */
export function fusedText(shape: Shape, limits: Limits, { signal, target }: FusedIo): FusedText {
  const { rows, segments, tables } = shape;
  const [input, ...outputs] = together([shape.input, ...segments.map(({ plan }) => plan)]);
  const { threads } = input;
  const source = { signal: (i: string) => signal(`x_at + ${i}`), twiddles: tables.of(input.length) };
  const rounds = roundsOf(input);
  const most = productCount([input, ...outputs], limits);
  const held = outputs.reduce((sum, plan) => sum + plan.size, 0);
  // A lone workgroup waits for memory whenever it reads, and most of what it reads is known from the start.
  const ahead = rows * segments.length <= fewGroups &&
    [input, ...outputs].every(({ size }) => size <= mostPointsAhead * threads);
  const productsOf = (count: string): Products | undefined =>
    entryProducts({ most, plan: input, count, fromWork: true, ahead });
  const share = segments.length > 1 && rows >= manyRows && held <= mostHeld * threads ? atOnce : apart;
  const body = share({
    ...shape,
    outputs,
    target,
    productsOf,
    synthesisOf: (plan, { suffix, count }) => {
      const twiddles = tables.of(plan.length);
      const products = productsOf(count);
      return synthesis(plan, { twiddles, suffix, count, rounds, products, fresh: false, ahead });
    },
  });
  const { read, run, points, ...analysed } = analysis(input, { ...source, fresh: true, ahead });
  const turns = readAhead(analysed.ahead);
  return {
    threads,
    groups: body.grid,
    plans: [input, ...outputs],
    products: most,
    functions: `${fftFunctions}
var<private> x_at: u32;
${foldFunction(input, source)}
${spectrumFunctions(input, source)}
${entryFunctions(rounds)}
${gatherFunctions(rounds)}
${body.syntheses.map(({ functions }) => functions).join("")}`,
    body: `${body.place}
  let residue = 0u;
  x_at = row * ${rowElements(input)}u;
  ${read}
  ${turns.declare}${body.declareAhead}
  ${turns.read}${body.readAhead}
  ${productsOf("")?.declare ?? ""}
  ${body.find}
  ${body.syntheses.map(({ declare }) => declare).join("")}
  ${run}
  ${body.sums((use) => expose(input, { held: points }, use))}
  ${body.finish}`,
  };
}

/** One dispatch; every plan of `shape` has one residue. */
export function fused(shape: Shape, limits: Limits): Dispatch {
  const type = yType(shape, ...shape.segments.map(({ plan }) => plan));
  const target = { type, put: (plan: TransformPlan) => adder(plan, type) };
  const text = fusedText(shape, limits, { signal: (i) => `x[${i}]`, target });
  const bindings = ["x", "slots", "records", "tables", "values", "y", "twiddles"].map(binding);
  const wgsl = /* wgsl */ `
${uniformStruct(shape.uniforms)}
${declareBindings(bindings, { ...types, x: elementType(shape.input), y: type })}
${workMemory(text.plans, text.products)}
${text.functions}
@compute @workgroup_size(${text.threads})
fn main(${workgroupBuiltins}) {
  let index = ${workgroupIndex};
  ${text.body}
}
`;
  return { wgsl, bindings, grid: grid(text.groups, limits) };
}
