/**
 * The dispatch that makes of a sparse spectrum the terms of long rows: what does not change from row to row, sorted by the
 * point they are summed to. See long_plan.ts.
 *
 * @module
 */
import {
  declareBindings,
  type Dispatch,
  grid,
  type Limits,
  workgroupBuiltins,
  workgroupIndex,
} from "../kernel.ts";
import type { LongPlan } from "./long_plan.ts";
import type { Twiddles } from "./twiddles.ts";

/** Invocations of a workgroup: few, so that the points are dealt to many. */
const threads = 64;

/** Bytes of scratch: `spans`, the terms of each point, and then the sources of all terms; and `terms`. */
export function termsScratch({ size, width, mostEntries }: LongPlan): { spans: number; terms: number } {
  const mostTerms = 2 * mostEntries;
  return { spans: 4 * (size + mostTerms), terms: 8 * (width + 2) * mostTerms };
}

/** WGSL expressions of what term `i` has. */
export interface TermParts {
  /** Its source bin. */
  source(i: string): string;
  /** What its source's turn is multiplied by in the first turn of residues. */
  factor(i: string): string;
  /** What takes it from one turn of residues to the next. */
  step(i: string): string;
  /** What takes it to a turn's residue number `lane`. */
  turn(i: string, lane: string): string;
}

/** Where the terms of a plan lie in `spans` and `terms`. */
export function termParts({ size, width, mostEntries }: LongPlan): TermParts {
  const mostTerms = 2 * mostEntries;
  return {
    source: (i) => `spans[${size}u + ${i}]`,
    factor: (i) => `terms[${width * mostTerms}u + ${i}]`,
    step: (i) => `terms[${(width + 1) * mostTerms}u + ${i}]`,
    turn: (i, lane) => `terms[${width}u * ${i} + ${lane}]`,
  };
}

/** What the dispatch reads. */
export interface TermsOf {
  /** Length of the source axis. */
  readonly sources: number;
  /** Of the plan's length. */
  readonly twiddles: Twiddles;
  /** WGSL of the uniforms, and of the functions `offset`, `source` and `coefficient` of `table` and `values`. */
  readonly entries: string;
}

/**
 * An invocation a point j < size. It has the terms of bins j + size s and, by their mirrors, of size s - j. As offsets count
 * the entries of all bins below, they say how many terms lower points have.
 */
export function termsDispatch(
  plan: LongPlan,
  { sources, twiddles, entries }: TermsOf,
  limits: Limits,
): Dispatch {
  const { length, size, residues, width, mostEntries } = plan;
  const half = length / 2;
  const part = termParts(plan);
  const bindings: Dispatch["bindings"] = [
    { name: "table", access: "read" },
    { name: "values", access: "read" },
    { name: "twiddles", access: "read" },
    { name: "spans", access: "read_write" },
    { name: "terms", access: "read_write" },
  ];
  const types = { table: "u32", values: "f32", twiddles: "vec2f", spans: "u32", terms: "vec2f" };
  const wgsl = /* wgsl */ `
${entries}
${declareBindings(bindings, types)}
// Term i of the spectrum's point k, which is summed to point j.
fn put(i: u32, j: u32, k: u32, source: u32, factor: vec2f) {
  ${part.source("i")} = source;
  ${part.factor("i")} = factor;
  ${part.step("i")} = ${twiddles(`2 * (${width}u * k % ${half}u)`)};
  let turn = (k + ${half}u - j * ${residues / width}u) % ${half}u;
  for (var lane = 0u; lane < ${width}u; lane++) {
    ${part.turn("i", "lane")} = ${twiddles(`2 * (lane * turn % ${half}u)`)};
  }
}
@compute @workgroup_size(${threads})
fn main(${workgroupBuiltins}) {
  let j = (${workgroupIndex}) * ${threads}u + local;
  if (j >= ${size}u || offset(${half + 1}u) > ${mostEntries}u) { return; }
  var i = 0u;
  for (var k = 0u; k <= ${half}u; k += ${size}u) {
    i += offset(min(k + j, ${half + 1}u)) - offset(k);
    i += offset(k + 1) - offset(k + 1 - min(j, k + 1));
  }
  let first = i;
  for (var begin = 0u; begin <= ${half}u; begin += ${size}u) {
    let k = begin + j;
    if (k <= ${half}u) {
      let w = ${twiddles("k")};
      for (var e = offset(k); e < offset(k + 1); e++) {
        put(i, j, k, source(e), 0.5 * coefficient(e) * vec2f(1 - w.y, w.x));
        i++;
      }
    }
    if (j <= begin) {
      let mirrored = begin - j;
      let w = ${twiddles("mirrored")};
      for (var e = offset(mirrored); e < offset(mirrored + 1); e++) {
        let source = (${sources}u - source(e)) % ${sources}u;
        put(i, j, ${half}u - mirrored, source, 0.5 * coefficient(e) * vec2f(1 + w.y, w.x));
        i++;
      }
    }
  }
  // First and end: two numbers that 16 bits hold, read at once.
  spans[j] = first | (i << 16);
}
`;
  return { wgsl, bindings, grid: grid(Math.ceil(size / threads), limits) };
}
