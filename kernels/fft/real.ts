/**
 * WGSL of the analysis of real rows: reals to half a spectrum.
 *
 * It is a complex transform of wgsl.ts after a folding; `work`, `local` and `twiddles` are the caller's, and in
 * residue mode the workgroup's residue is the WGSL value `residue`.
 *
 * @module
 */
import type { TransformPlan } from "./plan.ts";
import { transform, type Twiddles } from "./wgsl.ts";

/** The number of bins k = 0..floor(length / 2) that determine a real signal's spectrum. */
export const halfBins = (length: number): number => Math.floor(length / 2) + 1;

/** Workgroups an analysis takes: mirrored residues give mirrored bins, so half of them do. */
export const analysisGroups = (plan: TransformPlan): number => Math.floor(plan.residues / 2) + 1;

/**
 * WGSL element type of a row that a transform reads or writes: even lengths take two neighbouring reals at a time, so
 * that memory moves in whole words of 8 bytes.
 */
export const elementType = ({ mode }: TransformPlan): string => mode === "half" ? "vec2f" : "f32";

/** Elements of {@linkcode elementType} a row has. */
export const rowElements = ({ mode, length }: TransformPlan): number => mode === "half" ? length / 2 : length;

/** What an analysis reads. */
export interface AnalysisSource {
  /** WGSL expression of element `index` of the row, as {@linkcode elementType} says. */
  readonly signal: (index: string) => string;
  readonly twiddles: Twiddles;
  /** Ends the names of the WGSL functions `fold` and `spectrum`, where a kernel has two sources. */
  readonly suffix?: string;
}

/** WGSL function `fold(j, residue) -> vec2f`: input j of the analysis transform. */
export function foldFunction(plan: TransformPlan, { signal, twiddles, suffix = "" }: AnalysisSource): string {
  const { mode, residues, size, length } = plan;
  const name = `fold${suffix}`;
  if (mode === "half") {
    return `fn ${name}(j: u32, residue: u32) -> vec2f { return ${signal("j")}; }`;
  }
  if (residues === 1) return `fn ${name}(j: u32, residue: u32) -> vec2f { return vec2f(${signal("j")}, 0); }`;
  return /* wgsl */ `
fn ${name}(j: u32, residue: u32) -> vec2f {
  var sum = vec2f();
  var k = mulmod(residue, j, ${length}u);
  let step = residue * ${size}u;
  // Sums of sums: the rounding error of thousands of terms stays that of a hundred.
  for (var begin = j; begin < ${length}u; begin += ${64 * size}u) {
    var part = vec2f();
    let end = min(begin + ${64 * size}u, ${length}u);
    for (var q = begin; q < end; q += ${size}u) {
      part += ${signal("q")} * ${twiddles("k")};
      k += step;
      if (k >= ${length}u) { k -= ${length}u; }
    }
    sum += part;
  }
  return sum;
}`;
}

/** Statements that transform the folded signal; the result is in `work`, behind a barrier. */
export function analysis(plan: TransformPlan, { twiddles, suffix = "" }: AnalysisSource): string {
  return transform(plan, { twiddles, load: (j) => `fold${suffix}(${j}, residue)` });
}

/** WGSL function `spectrum(v) -> vec2f`: bin v in 0..length-1 from `work`, for plans of one workgroup. */
export function spectrumFunction(plan: TransformPlan, { twiddles, suffix = "" }: AnalysisSource): string {
  const { mode, length, size } = plan;
  const name = `spectrum${suffix}`;
  if (mode !== "half") return `fn ${name}(v: u32) -> vec2f { return work[at(v)]; }`;
  return /* wgsl */ `
fn ${name}(v: u32) -> vec2f {
  let mirrored = v > ${size}u;
  let k = select(v, ${length}u - v, mirrored);
  let a = work[at(k % ${size}u)];
  let b = conj(work[at((${size}u - k) % ${size}u)]);
  let x = 0.5 * (a + b - times_i(cmul(${twiddles("k")}, a - b)));
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
  if (k <= ${length / 2 | 0}u) { ${store("k", "work[at(j)]")} }
  else if (residue * 2 % ${residues}u != 0) { ${store(`(${length}u - k)`, "conj(work[at(j)])")} }
}
`;
}
