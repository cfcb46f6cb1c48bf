/**
 * WGSL of real transforms: analysis (reals to half a spectrum) and synthesis (sparse half a spectrum to reals).
 *
 * Both are complex transforms of wgsl.ts between a folding and an unfolding; `work`, `local` and the twiddle tables are
 * the caller's, and in residue mode the workgroup's residue is the WGSL value `residue`.
 *
 * @module
 */
import type { TransformPlan } from "./plan.ts";
import { transform } from "./wgsl.ts";

/** The number of bins k = 0..floor(length / 2) that determine a real signal's spectrum. */
export const halfBins = (length: number): number => Math.floor(length / 2) + 1;

/** Workgroups an analysis takes: mirrored residues give mirrored bins, so half of them do. */
export const analysisGroups = (plan: TransformPlan): number => Math.floor(plan.residues / 2) + 1;

/** Workgroups a synthesis takes. */
export const synthesisGroups = (plan: TransformPlan): number => plan.residues;

/**
 * WGSL element type of a row that a transform reads or writes: even lengths take two neighbouring reals at a time, so
 * that memory moves in whole words of 8 bytes.
 */
export const elementType = ({ mode }: TransformPlan): string => mode === "half" ? "vec2f" : "f32";

/** Elements of {@linkcode elementType} a row has. */
export const rowElements = ({ mode, length }: TransformPlan): number => mode === "half" ? length / 2 : length;

/**
 * WGSL function `fold(j) -> vec2f`: input j of the analysis transform, from a row whose elements are `signal(index)`.
 */
export function foldFunction(
  plan: TransformPlan,
  signal: (index: string) => string,
  twiddles: string,
): string {
  const { mode, residues, size, length } = plan;
  if (mode === "half") {
    return `fn fold(j: u32, residue: u32) -> vec2f { return ${signal("j")}; }`;
  }
  if (residues === 1) return `fn fold(j: u32, residue: u32) -> vec2f { return vec2f(${signal("j")}, 0); }`;
  return /* wgsl */ `
fn fold(j: u32, residue: u32) -> vec2f {
  var sum: vec2f;
  var k = mulmod(residue, j, ${length}u);
  let step = residue * ${size}u;
  for (var q = j; q < ${length}u; q += ${size}u) {
    sum += ${signal("q")} * ${twiddles}[k];
    k += step;
    if (k >= ${length}u) { k -= ${length}u; }
  }
  return sum;
}`;
}

/** Statements that transform the folded signal; the result is in `work`, behind a barrier. */
export function analysis(plan: TransformPlan, twiddles: string): string {
  return transform(plan, { twiddles, load: (j) => `fold(${j}, residue)` });
}

/** WGSL function `spectrum(v) -> vec2f`: bin v in 0..length-1 from `work`, for plans of one workgroup. */
export function spectrumFunction(plan: TransformPlan, twiddles: string): string {
  const { mode, length, size } = plan;
  if (mode !== "half") return `fn spectrum(v: u32) -> vec2f { return work[v]; }`;
  return /* wgsl */ `
fn spectrum(v: u32) -> vec2f {
  let mirrored = v > ${size}u;
  let k = select(v, ${length}u - v, mirrored);
  let a = work[k % ${size}u];
  let b = conj(work[(${size}u - k) % ${size}u]);
  let x = 0.5 * (a + b - times_i(cmul(${twiddles}[k], a - b)));
  return select(x, conj(x), mirrored);
}`;
}

/** Statements that write the half spectrum in `work` bin by bin with `store(bin, value)`. */
export function storeSpectrum(plan: TransformPlan, store: (bin: string, value: string) => string): string {
  const { mode, length, size, residues, threads } = plan;
  if (mode === "half") {
    return `for (var k = local; k <= ${size}u; k += ${threads}u) { ${store("k", "spectrum(k)")} }\n`;
  }
  return /* wgsl */ `
for (var j = local; j < ${size}u; j += ${threads}u) {
  let k = residue + ${residues}u * j;
  if (k <= ${length / 2 | 0}u) { ${store("k", "work[j]")} }
  else if (residue * 2 % ${residues}u != 0) { ${store(`(${length}u - k)`, "conj(work[j])")} }
}
`;
}

/** How a synthesis gets its bins and delivers its elements. */
export interface SynthesisIo {
  readonly twiddles: string;
  /** Whether `gather` reads `work`, which the synthesis then overwrites. */
  readonly gatherReadsWork: boolean;
  /** WGSL statement that delivers element `index` of a row of {@linkcode elementType}. */
  readonly store: (index: string, value: string) => string;
}

/**
 * Statements that compute y_p = Re SUM_k gather(k) e^{2 pi i p k / length} over the half spectrum's bins k, from a
 * WGSL function `gather(k) -> vec2f` of the caller.
 */
export function synthesis(plan: TransformPlan, io: SynthesisIo): string {
  const { mode, residues, length } = plan;
  if (mode === "half") return halfSynthesis(plan, io);
  return transform(plan, {
    twiddles: io.twiddles,
    load: (j) => length === 1 ? "gather(0u)" : `folded_bins(${j}, residue)`,
    loadReadsWork: io.gatherReadsWork,
    store: (p, value) => io.store(residues === 1 ? p : `(residue + ${residues}u * (${p}))`, `${value}.x`),
  });
}

/** WGSL function `folded_bins` that {@linkcode synthesis} needs in residue mode; empty otherwise. */
export function foldedBinsFunction(
  { mode, residues, size, length }: TransformPlan,
  twiddles: string,
): string {
  if (mode === "half" || length === 1) return "";
  const last = Math.floor(length / 2);
  if (residues === 1) {
    return `fn folded_bins(j: u32, residue: u32) -> vec2f { if (j > ${last}u) { return vec2f(); } return gather(j); }`;
  }
  return /* wgsl */ `
fn folded_bins(j: u32, residue: u32) -> vec2f {
  var sum: vec2f;
  var w = mulmod(residue, j, ${length}u);
  let step = residue * ${size}u;
  for (var k = j; k <= ${last}u; k += ${size}u) {
    sum += cmul(gather(k), ${twiddles}[w]);
    w += step;
    if (w >= ${length}u) { w -= ${length}u; }
  }
  return sum;
}`;
}

/**
 * Even lengths: with Y the Hermitian extension of the bins, the complex numbers (Y[k] + Y*[h-k]) + i w^k (Y[k] - Y*[h-k])
 * transform to y[2j] + i y[2j+1]. Bins k and h-k are packed by one invocation, so each is gathered once.
 */
function halfSynthesis(plan: TransformPlan, io: SynthesisIo): string {
  const { size: h, threads } = plan;
  const pairs = Math.floor((h - 1) / 2) + 1;
  const turns = Math.ceil(pairs / threads);
  const middle = h > 1 && h % 2 === 0;
  const lines = ["{\n"];
  for (let b = 0; b < turns; b++) lines.push(`var lo${b}: vec2f; var hi${b}: vec2f;\n`);
  if (middle) lines.push("var mid: vec2f;\n");
  for (let b = 0; b < turns; b++) {
    lines.push(/* wgsl */ `{ let k = local + ${b * threads}u;
if (k < ${pairs}u) {
  var a = gather(k);
  var c = gather(${h}u - k);
  if (k == 0) { a = vec2f(a.x, 0); c = vec2f(c.x, 0); } else { a *= 0.5; c *= 0.5; }
  let s = a + conj(c);
  let t = times_i(cmul(${io.twiddles}[k], a - conj(c)));
  lo${b} = s + t;
  hi${b} = conj(s - t);
} }
`);
  }
  // Bin h/2 packs with itself: C = (Y + Y*) + i i (Y - Y*) = 2 conj(Y), and Y is half the gathered bin.
  if (middle) lines.push(`if (local == 0) { mid = conj(gather(${h / 2}u)); }\n`);
  if (io.gatherReadsWork) lines.push("workgroupBarrier();\n");
  for (let b = 0; b < turns; b++) {
    lines.push(`{ let k = local + ${b * threads}u;
if (k < ${pairs}u) { work[k] = lo${b}; if (k > 0) { work[${h}u - k] = hi${b}; } } }\n`);
  }
  if (middle) lines.push(`if (local == 0) { work[${h / 2}u] = mid; }\n`);
  lines.push("}\nworkgroupBarrier();\n");
  return lines.join("") + transform(plan, {
    twiddles: io.twiddles,
    store: io.store,
  });
}
