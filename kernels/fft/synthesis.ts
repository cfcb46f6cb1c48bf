/**
 * WGSL of the synthesis of real rows from sparse spectra: y_p = Re SUM_k Z[k] e^{2 pi i p k / length}, where bin k of the
 * half spectrum is the sum of the entries offset(k) .. offset(k + 1) - 1.
 *
 * The caller declares `fn offset(k: u32) -> u32` and `fn entry(e: u32) -> vec2f`, `work` and `local`, and in residue mode
 * the value `residue`.
 *
 * @module
 */
import type { Limits } from "../kernel.ts";
import type { TransformPlan } from "./plan.ts";
import { transform, type Twiddles } from "./wgsl.ts";

/** Workgroups a synthesis of one row takes. */
export const synthesisGroups = (plan: TransformPlan): number => plan.residues;

/** How a synthesis gets its entries and delivers its elements. */
export interface SynthesisIo {
  readonly twiddles: Twiddles;
  /** Ends the name of the WGSL function `folded_bins`, where a kernel has several lengths. */
  readonly suffix?: string;
  /** WGSL expression of the number of entries, uniform in the workgroup. */
  readonly count: string;
  /** Whether `entry` reads `work`, which the synthesis then overwrites. */
  readonly entryReadsWork: boolean;
  /** WGSL statement that delivers element `index` of a row of `elementType`. */
  readonly store: (index: string, value: string) => string;
}

/** Most entries whose products are held at once. */
const maxProducts = 1024;

/**
 * Entries whose products fit beside `work`; 0 when that is too few to pay. Each entry is then computed once, by
 * neighbouring invocations, before the bins sum what is theirs.
 */
export function productCount(
  { mode, size, threads }: TransformPlan,
  limits: Limits,
  workSize: number,
): number {
  if (mode !== "half" || size < 64) return 0;
  const room = Math.floor((limits.workgroupStorageBytes - 8 * Math.ceil(workSize / 16) * 16) / 8);
  const count = Math.min(maxProducts, room);
  return count >= threads ? count : 0;
}

/** WGSL memory and the function every synthesis needs; `products` is the most of any. */
export function gatherFunctions(products: number): string {
  return /* wgsl */ `
${products > 0 ? `var<workgroup> products: array<vec2f, ${products}>;` : ""}
fn gather(k: u32) -> vec2f {
  var sum = vec2f();
  let end = offset(k + 1);
  for (var e = offset(k); e < end; e++) { sum += entry(e); }
  return sum;
}
`;
}

/** WGSL function `folded_bins`, where the plan needs one: input j of a residue's transform. */
export function foldedBinsFunction(
  { mode, residues, size, length }: TransformPlan,
  { twiddles, suffix = "" }: Pick<SynthesisIo, "twiddles" | "suffix">,
): string {
  if (mode === "half") return "";
  const name = `folded_bins${suffix}`;
  const last = Math.floor(length / 2);
  if (residues === 1) {
    return `fn ${name}(j: u32, residue: u32) -> vec2f { if (j > ${last}u) { return vec2f(); } return gather(j); }`;
  }
  return /* wgsl */ `
fn ${name}(j: u32, residue: u32) -> vec2f {
  var sum = vec2f();
  var w = mulmod(residue, j, ${length}u);
  let step = residue * ${size}u;
  for (var k = j; k <= ${last}u; k += ${size}u) {
    sum += cmul(gather(k), ${twiddles("w")});
    w += step;
    if (w >= ${length}u) { w -= ${length}u; }
  }
  return sum;
}`;
}

/** Statements that compute a row. */
export function synthesis(plan: TransformPlan, io: SynthesisIo, products: number): string {
  const { mode, residues } = plan;
  if (mode === "half") return halfSynthesis(plan, io, products);
  return transform(plan, {
    twiddles: io.twiddles,
    load: (j) => `folded_bins${io.suffix ?? ""}(${j}, residue)`,
    loadReadsWork: io.entryReadsWork,
    store: (p, value) => io.store(residues === 1 ? p : `(residue + ${residues}u * (${p}))`, `${value}.x`),
  });
}

/** Bins of invocation `local` that pack with each other: k and size - k, and the middle one alone. */
interface Pairs {
  readonly turns: number;
  readonly count: number;
  readonly middle: boolean;
}

function pairsOf({ size, threads }: TransformPlan): Pairs {
  const count = Math.floor((size - 1) / 2) + 1;
  return { count, turns: Math.ceil(count / threads), middle: size > 1 && size % 2 === 0 };
}

/** `body` for each of an invocation's pairs, `k` in scope. */
function eachPair({ threads }: TransformPlan, { turns, count }: Pairs, body: (b: number) => string): string {
  return Array.from({ length: turns }, (_, b) => {
    const guarded = (b + 1) * threads > count;
    const code = guarded ? `if (k < ${count}u) {\n${body(b)}}\n` : body(b);
    return `{ let k = local + ${b * threads}u;\n${code}}\n`;
  }).join("");
}

/** Sums each bin from its entries' own function. */
function pulled(plan: TransformPlan, pairs: Pairs): string {
  const middle = pairs.middle ? `if (local == 0) { mid = gather(${plan.size / 2}u); }\n` : "";
  return eachPair(plan, pairs, (b) => `lo${b} = gather(k);\nhi${b} = gather(${plan.size}u - k);\n`) + middle;
}

/** Computes products in rounds of neighbouring entries, and sums each bin from those of its own in the round. */
function produced(
  plan: TransformPlan,
  pairs: Pairs,
  { count, products }: { count: string; products: number },
): string {
  const sum = (name: string, bin: string): string =>
    `{ let end = min(offset(${bin} + 1), last); for (var e = max(offset(${bin}), first); e < end; e++) { ${name} += products[e - first]; } }\n`;
  const middle = pairs.middle ? `if (local == 0) { ${sum("mid", `${plan.size / 2}u`)} }\n` : "";
  return /* wgsl */ `
for (var first = 0u; first < ${count}; first += ${products}u) {
  let last = min(first + ${products}u, ${count});
  for (var e = first + local; e < last; e += ${plan.threads}u) { products[e - first] = entry(e); }
  workgroupBarrier();
  ${eachPair(plan, pairs, (b) => sum(`lo${b}`, "k") + sum(`hi${b}`, `${plan.size}u - k`))}
  ${middle}
  workgroupBarrier();
}
`;
}

/**
 * Even lengths: with Y the Hermitian extension of the bins, the complex numbers (Y[k] + Y*[h-k]) + i w^k (Y[k] - Y*[h-k])
 * transform to y[2j] + i y[2j+1]. Bins k and h-k are packed by one invocation, so each is summed once.
 */
function halfSynthesis(plan: TransformPlan, io: SynthesisIo, products: number): string {
  const { size: h } = plan;
  const pairs = pairsOf(plan);
  const declare = Array.from(
    { length: pairs.turns },
    (_, b) => `var lo${b} = vec2f(); var hi${b} = vec2f();\n`,
  )
    .join("");
  const pack = (b: number): string =>
    `if (k == 0) { lo${b} = vec2f(lo${b}.x, 0); hi${b} = vec2f(hi${b}.x, 0); } else { lo${b} *= 0.5; hi${b} *= 0.5; }
let s = lo${b} + conj(hi${b});
let t = times_i(cmul(${io.twiddles("k")}, lo${b} - conj(hi${b})));
work[at(k)] = s + t;
if (k > 0) { work[at(${h}u - k)] = conj(s - t); }
`;
  // Bin h/2 packs with itself: C = (Y + Y*) + i i (Y - Y*) = 2 conj(Y), and Y is half the bin.
  const middle = pairs.middle ? `if (local == 0) { work[at(${h / 2}u)] = conj(mid); }\n` : "";
  const sums = products > 0 ? produced(plan, pairs, { count: io.count, products }) : pulled(plan, pairs);
  const settle = products === 0 && io.entryReadsWork ? "workgroupBarrier();\n" : "";
  return `{
${declare}var mid = vec2f();
${sums}${settle}${eachPair(plan, pairs, pack)}${middle}}
workgroupBarrier();
${transform(plan, { twiddles: io.twiddles, store: io.store })}`;
}
