/**
 * WGSL of the synthesis of real rows from sparse spectra: y_p = Re SUM_k Z[k] e^{2 pi i p k / length}, where bin k of the
 * half spectrum is the sum of the entries offset(k) .. offset(k + 1) - 1.
 *
 * The caller declares `fn offset(k: u32) -> u32`; `fn source(e: u32) -> u32` and `fn coefficient(e: u32) -> f32` of an
 * entry; for each round of the source that entries are read from, `fn product(source: u32, coefficient: f32) -> vec2f`
 * with the round's suffix; `work`, `at` and `local`; and in residue mode the value `residue`.
 *
 * @module
 */
import { index, type Place } from "./layout.ts";
import { Pairs } from "./pairs.ts";
import type { TransformPlan } from "./plan.ts";
import type { Products } from "./products.ts";
import { type Ahead, aheadOfTurns, type Held } from "./stages.ts";
import type { Twiddles } from "./twiddles.ts";
import { expose, type Round, roundsOf, transform } from "./wgsl.ts";

/** Workgroups a synthesis of one row takes. */
export const synthesisGroups = (plan: TransformPlan): number => plan.residues;

/** The one round of entries that are not read from `work`. */
export const wholeRounds: readonly Round[] = [{ suffix: "", field: "" }];

/** How a synthesis gets its entries. */
export interface SynthesisOf {
  readonly twiddles: Twiddles;
  /** WGSL expression of the number of entries, uniform in the workgroup. */
  readonly count: string;
  /** Rounds in which entries come. */
  readonly rounds: readonly Round[];
  /** Whether nothing has read `work` when the sums are done. */
  readonly fresh: boolean;
  /** Where they pay; their `fetch` comes before `sums`. */
  readonly products?: Products;
  /** Ends the names of its functions and variables, where a kernel has several lengths. */
  readonly suffix?: string;
  /** Whether it reads all that it can before it is needed, at the price of registers: for lone workgroups. */
  readonly ahead?: boolean;
}

/** A synthesis: `functions`, then in `main` the statements of `declare`, of `sums` for every round, and of `run`. */
export interface Synthesis {
  readonly functions: string;
  /** What `run` needs to have been read, and what `sums` does, once the entries are known; see `SynthesisOf.ahead`. */
  readonly ahead: readonly Ahead[];
  readonly offsetsAhead: readonly Ahead[];
  readonly declare: string;
  sums(round: Round): string;
  readonly run: string;
  /** The row then, as elements of `elementType`. */
  readonly row: Held;
}

/** WGSL functions that all of a kernel's syntheses share. */
export function gatherFunctions(rounds: readonly Round[]): string {
  return rounds.map(({ suffix }) => /* wgsl */ `
fn gather${suffix}(k: u32) -> vec2f {
  var sum = vec2f();
  let end = offset(k + 1);
  for (var e = offset(k); e < end; e++) { sum += product${suffix}(source(e), coefficient(e)); }
  return sum;
}
`).join("");
}

/** The synthesis of a plan's rows. */
export function synthesis(plan: TransformPlan, of: SynthesisOf): Synthesis {
  return plan.mode === "half" ? halfSynthesis(plan, of) : residueSynthesis(plan, of);
}

/** Statements that deliver a row reversed: element (length - p) mod length is the row's p. */
export function putReversed(
  plan: TransformPlan,
  row: Held,
  store: (place: Place, value: string) => string,
): string {
  const { mode, size, length } = plan;
  if (mode === "residues") {
    return row.put((place, value) =>
      `{ let p = ${index(place)}; ${store({ base: `select(${length}u - p, 0, p == 0)` }, value)} }\n`
    );
  }
  // Pair h - j takes its first number from pair j, and its second from pair j - 1, which another invocation has.
  const second = roundsOf(plan).slice(-1);
  return expose(
    plan,
    { held: row, rounds: second },
    ({ field }) =>
      row.put((place, value) =>
        `{ let j = ${index(place)}; let before = work[(j + ${size - 1}u) % ${size}u]${field ? "" : ".y"};
${store({ base: `((${size}u - j) % ${size}u)` }, `vec2f(${value}.x, before)`)} }\n`
      ),
  );
}

function residueSynthesis(plan: TransformPlan, of: SynthesisOf): Synthesis {
  const { twiddles, suffix = "", rounds, fresh, ahead } = of;
  const { take, output, ...text } = transform(plan, {
    name: `s${suffix}_`,
    twiddles,
    fresh,
    ahead,
  });
  return {
    ...text,
    offsetsAhead: [],
    functions: rounds.map((round) => foldedBinsFunction(plan, { twiddles, suffix, round })).join(""),
    sums: (round) => take((place) => `folded_bins${suffix}${round.suffix}(${index(place)}, residue)`, "+="),
    row: {
      put: (write) =>
        output.put((place, value) =>
          write({ base: `(residue + ${plan.residues}u * (${index(place)}))` }, `${value}.x`)
        ),
    },
  };
}

/** WGSL function `folded_bins`: input j of a residue's transform. */
function foldedBinsFunction(
  { residues, size, length }: TransformPlan,
  { twiddles, suffix, round }: {
    readonly twiddles: Twiddles;
    readonly suffix: string;
    readonly round: Round;
  },
): string {
  const name = `folded_bins${suffix}${round.suffix}`;
  const last = Math.floor(length / 2);
  const gather = `gather${round.suffix}`;
  if (residues === 1) {
    return `fn ${name}(j: u32, residue: u32) -> vec2f { if (j > ${last}u) { return vec2f(); } return ${gather}(j); }\n`;
  }
  return /* wgsl */ `
// Bin j + s size turns by residue (j + s size) / length: by the same for all j but for residue j / length.
fn ${name}(j: u32, residue: u32) -> vec2f {
  var sum = vec2f();
  var w = 0u;
  let step = residue * ${size}u;
  for (var k = j; k <= ${last}u; k += ${size}u) {
    sum += cmul(${gather}(k), ${twiddles("w")});
    w += step;
    if (w >= ${length}u) { w -= ${length}u; }
  }
  return cmul(sum, ${twiddles(`mulmod(residue, j, ${length}u)`)});
}
`;
}

/**
 * Even lengths: with Y the Hermitian extension of the bins, the complex numbers (Y[k] + Y*[h-k]) + i w^k (Y[k] - Y*[h-k])
 * transform to y[2j] + i y[2j+1]. Bins k and h-k are packed by one invocation, so each is summed once.
 */
function halfSynthesis(plan: TransformPlan, of: SynthesisOf): Synthesis {
  const { twiddles, suffix = "", products, fresh, ahead = false } = of;
  const pairs = new Pairs(plan, { suffix, ahead: ahead && products !== undefined });
  const { lo, hi, mid } = pairs;
  const turn = (b: number): string => ahead ? `turn${suffix}_${b}` : twiddles("j");
  // Bin 0 packs with bin h, both real; bin h/2 with itself: C = (Y + Y*) + i i (Y - Y*) = 2 conj(Y), Y half the bin.
  const pack = pairs.each((b) => `
if (j == 0) { ${lo(b)} = vec2f(${lo(b)}.x, 0); ${hi(b)} = vec2f(${hi(b)}.x, 0); } else { ${lo(b)} *= 0.5; ${
    hi(b)
  } *= 0.5; }
let s = ${lo(b)} + conj(${hi(b)});
let t = times_i(cmul(${turn(b)}, ${lo(b)} - conj(${hi(b)})));
${lo(b)} = s + t;
${hi(b)} = conj(s - t);
`) + `${mid} = conj(${mid});\n`;
  const held: Held = {
    put: (write) =>
      pairs.each((b) =>
        `${write({ base: "j" }, lo(b))}if (j > 0) { ${write({ base: `(${plan.size}u - j)` }, hi(b))} }\n`
      ) + pairs.middle(write({ base: `${plan.size / 2}u` }, mid)),
  };
  const { run, output, ...text } = transform(plan, { name: `s${suffix}_`, twiddles, fresh, ahead, held });
  const turns = aheadOfTurns<Ahead>(
    pairs.turns,
    (b, j) => [{ variable: turn(b), type: "vec2f", value: twiddles(j) }],
  );
  return {
    functions: "",
    ahead: ahead ? [...turns, ...text.ahead] : [],
    offsetsAhead: pairs.offsetsAhead,
    declare: pairs.declare,
    sums: (round) => pairs.gather(round, products && { products, count: of.count }),
    run: pack + text.declare + run,
    row: output,
  };
}
