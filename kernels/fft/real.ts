/**
 * WGSL of the analysis of real rows: reals to half a spectrum.
 *
 * It is a complex transform of wgsl.ts after a folding; `work`, `at`, `local` and `twiddles` are the caller's, and in
 * residue mode the workgroup's residue is the WGSL value `residue`.
 *
 * @module
 */
import { index } from "./layout.ts";
import type { TransformPlan } from "./plan.ts";
import { type Ahead, eachTurn, type Held } from "./stages.ts";
import type { Twiddles } from "./twiddles.ts";
import { expose, roundsOf, transform } from "./wgsl.ts";

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
  /** Ends the names of the WGSL functions, where a kernel has two sources. */
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
// Element j + s size turns by residue (j + s size) / length: by the same for all j but for residue j / length.
fn ${name}(j: u32, residue: u32) -> vec2f {
  var sum = vec2f();
  var k = 0u;
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
  return cmul(sum, ${twiddles(`mulmod(residue, j, ${length}u)`)});
}`;
}

/** An analysis: it `read`s the folded signal, then `run`s; `ahead` is as in wgsl.ts. */
export interface Analysis {
  readonly ahead: readonly Ahead[];
  readonly read: string;
  readonly run: string;
  readonly points: Held;
}

/** The analysis of a plan's rows; `fresh` and `ahead` as in wgsl.ts. */
export function analysis(
  plan: TransformPlan,
  source: AnalysisSource & { readonly fresh: boolean; readonly ahead?: boolean },
): Analysis {
  const { suffix = "" } = source;
  const { declare, take, output, ...text } = transform(plan, { ...source, name: `a${suffix}` });
  const read = declare + take((place) => `fold${suffix}(${index(place)}, residue)`);
  return { ...text, read, points: output };
}

/**
 * WGSL functions for plans of one workgroup: `spectrum(v) -> vec2f`, what bin v in 0..length-1 has of the points in `work`;
 * and in two halves, `turn_of(v) -> vec2f`, read from the table, and `turned_spectrum(v, turn)`, the rest. One function a
 * round, but for `turn_of`.
 */
export function spectrumFunctions(
  plan: TransformPlan,
  source: Pick<AnalysisSource, "twiddles" | "suffix">,
): string {
  const end = source.suffix ?? "", half = plan.mode === "half";
  const turn = half ? source.twiddles(`select(v, ${plan.length}u - v, v > ${plan.size}u)`) : "vec2f()";
  const functions = roundsOf(plan).map(({ suffix }) => {
    const name = `spectrum${end}${suffix}`;
    const body = half
      ? `
  let mirrored = v > ${plan.size}u;
  let k = select(v, ${plan.length}u - v, mirrored);
  let a = work[k % ${plan.size}u];
  let b = work[(${plan.size}u - k) % ${plan.size}u];
  let x = 0.5 * (${unpacked[suffix]});
  return vec2f(x.x, select(x.y, -x.y, mirrored));
`
      : ` return ${whole[suffix]("work[v]")}; `;
    return `fn turned_${name}(v: u32, w: vec2f) -> vec2f {${body}}
fn ${name}(v: u32) -> vec2f { return turned_${name}(v, turn_of${end}(v)); }
`;
  });
  return `fn turn_of${end}(v: u32) -> vec2f { return ${turn}; }\n${functions.join("")}`;
}

/** A whole point of what a round has of it. */
const whole = {
  "": (part: string) => part,
  _re: (part: string) => `vec2f(${part}, 0)`,
  _im: (part: string) => `vec2f(0, ${part})`,
} as const;

/** Twice the bin X[k] = (a + b*) / 2 - i w (a - b*) / 2 of points a and b, or of their real or imaginary parts alone. */
const unpacked = {
  "": "a + conj(b) - times_i(cmul(w, a - conj(b)))",
  _re: "vec2f(a + b, 0) - (a - b) * times_i(w)",
  _im: "vec2f(0, a - b) + (a + b) * w",
} as const;

/** Statements that write the half spectrum of `points` bin by bin with `store(bin, value)`. */
export function storeSpectrum(
  plan: TransformPlan,
  points: Held,
  store: (bin: string, value: string) => string,
): string {
  const { mode, length, size, residues, threads } = plan;
  if (mode === "residues") {
    return points.put((place, value) =>
      `{ let k = residue + ${residues}u * (${index(place)});
if (k <= ${length / 2 | 0}u) { ${store("k", value)} }
else if (residue * 2 % ${residues}u != 0) { ${store(`(${length}u - k)`, `conj(${value})`)} } }\n`
    );
  }
  const bins = { count: size + 1, threads };
  const declare = Array.from({ length: Math.ceil(bins.count / threads) }, (_, b) => `var bin${b} = vec2f();`);
  return `${declare.join(" ")}
${expose(plan, { held: points }, ({ suffix }) => eachTurn(bins, (b) => `bin${b} += spectrum${suffix}(j);\n`))}
${eachTurn(bins, (b) => `${store("j", `bin${b}`)}\n`)}`;
}
