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
import type { Limits } from "../kernel.ts";
import { index, type Place } from "./layout.ts";
import type { TransformPlan } from "./plan.ts";
import { type Ahead, aheadOfTurns, eachTurn, type Held } from "./stages.ts";
import type { Twiddles } from "./twiddles.ts";
import { expose, type Round, roundsOf, transform, workBytes } from "./wgsl.ts";

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

/** Coefficients that an adapter usually has at most: memory is made for their products, even beside short rows. */
const usualEntries = 1024;
/** Entries of a row that products are made of at most, and of those an invocation's. */
const mostEntries = 2048;
const mostOfInvocation = 8;
/** Entries that an invocation reads long before they are used, so that memory is not waited for. */
const readAhead = 2;

/**
 * Entries whose products fit `work`, where all `plans` share it; 0 when that is too few to pay. Each entry is then
 * multiplied once, by neighbouring invocations, before the bins sum what is theirs.
 */
export function productCount(plans: readonly TransformPlan[], limits: Limits): number {
  if (plans.every(({ mode, size }) => mode !== "half" || size < 64)) return 0;
  const [{ threads }] = plans;
  const bytes = Math.max(workBytes(plans), Math.min(8 * usualEntries, limits.workgroupStorageBytes));
  const most = Math.min(bytes / 8, mostEntries, mostOfInvocation * threads);
  return Math.floor(most / threads) * threads;
}

/**
 * The products of a row's entries, made by neighbouring invocations. They take the place of what `work` holds, so each
 * invocation keeps its own until all are made: workgroups with less memory are more at a time.
 */
export interface Products {
  /** Most entries of a row that is summed from products. */
  readonly most: number;
  readonly declare: string;
  /** Statements that read each invocation's first entries. */
  readonly fetch: string;
  /** Statements that put the products of all entries, up to `most`, in place of what `work` holds. */
  multiply(round: Round): string;
  /** WGSL expression of an entry's product. */
  readonly at: (entry: string) => string;
}

/** What products are made of. */
export interface ProductsOf {
  /** Of {@linkcode productCount}. */
  readonly most: number;
  readonly plan: TransformPlan;
  /** WGSL expression of the number of a row's entries. */
  readonly count: string;
  /** Whether entries are read from `work`. */
  readonly fromWork: boolean;
  /** Whether invocations read all of their entries, and of bins in `work` the turns, before `work` holds these. */
  readonly ahead?: boolean;
}

/** Products of up to `most` entries; undefined where there is no room. */
export function entryProducts(
  { most, plan, count, fromWork, ahead = false }: ProductsOf,
): Products | undefined {
  if (most === 0) return undefined;
  const { threads, parts } = plan;
  const early = ahead ? most / threads : readAhead;
  const each = (end: number, body: (b: number, e: string) => string): string =>
    Array.from(
      { length: Math.min(end, most / threads) },
      (_, b) => body(b, b === 0 ? "local" : `local + ${b * threads}u`),
    ).join("\n") + "\n";
  const put = (e: string, value: string): string =>
    parts ? `work[2 * (${e})] = ${value}.x; work[2 * (${e}) + 1] = ${value}.y;` : `work[${e}] = ${value};`;
  const product = (b: number, e: string, suffix: string): string =>
    ahead
      ? `coefficient_${b} * turned_spectrum${suffix}(source_${b}, turn_${b})`
      : `product${suffix}(${
        b < early ? `source_${b}, coefficient_${b}` : `source(${e}), coefficient(${e})`
      })`;
  return {
    most,
    declare: each(
      early,
      (b) => `var source_${b} = 0u; var coefficient_${b} = 0.0;${ahead ? ` var turn_${b} = vec2f();` : ""}`,
    ),
    fetch: each(
      early,
      (b, e) => `if (${e} < ${count}) { source_${b} = source(${e}); coefficient_${b} = coefficient(${e}); }`,
    ) + (ahead ? each(early, (b) => `turn_${b} = turn_of(source_${b});`) : ""),
    multiply: ({ suffix }) =>
      each(
        Infinity,
        (b, e) =>
          `var product_${b} = vec2f(); if (${e} < ${count}) { product_${b} = ${product(b, e, suffix)}; }`,
      ) + (fromWork ? "workgroupBarrier();\n" : "") +
      each(Infinity, (b, e) => `if (${e} < ${count}) { ${put(e, `product_${b}`)} }`),
    at: (e) => parts ? `vec2f(work[2 * ${e}], work[2 * ${e} + 1])` : `work[${e}]`,
  };
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
    sums: (round) => products ? produced(of.count, { products, pairs, round }) : pulled(pairs, round),
    run: pack + text.declare + run,
    row: output,
  };
}

/** Bins of an invocation that pack with each other: k and size - k, and the middle one alone. */
class Pairs {
  readonly mid: string;
  readonly turns: { readonly count: number; readonly threads: number };
  private readonly suffix: string;
  /** Whether `offsetsAhead` reads where each bin's entries begin and end. */
  private readonly ahead: boolean;

  constructor(readonly plan: TransformPlan, { suffix, ahead }: { suffix: string; ahead: boolean }) {
    this.suffix = suffix;
    this.ahead = ahead;
    this.mid = `mid${suffix}`;
    this.turns = { count: Math.floor((plan.size - 1) / 2) + 1, threads: plan.threads };
  }

  readonly lo = (b: number): string => `lo${this.suffix}_${b}`;
  readonly hi = (b: number): string => `hi${this.suffix}_${b}`;

  get declare(): string {
    const turns = Math.ceil(this.turns.count / this.turns.threads);
    return Array.from(
      { length: turns },
      (_, b) => `var ${this.lo(b)} = vec2f(); var ${this.hi(b)} = vec2f();\n`,
    )
      .join("") + `var ${this.mid} = vec2f();\n`;
  }

  /** `body` for each of an invocation's pairs, bin `j` in scope. */
  each(body: (b: number) => string): string {
    return eachTurn(this.turns, body);
  }

  /** `code` where there is a middle bin, by the invocation that has it. */
  middle(code: string): string {
    const { size } = this.plan;
    return size > 1 && size % 2 === 0 ? `if (local == 0) { ${code} }\n` : "";
  }

  /** Where the entries of each bin begin and end, to be read ahead. */
  get offsetsAhead(): Ahead[] {
    if (!this.ahead) return [];
    const { size } = this.plan;
    const ends = (variable: string, bin: string): Ahead[] => [
      { variable: `${variable}_begin`, type: "u32", value: `offset(${bin})` },
      { variable: `${variable}_end`, type: "u32", value: `offset(${bin} + 1)` },
    ];
    return [
      ...aheadOfTurns(
        this.turns,
        (b, j) => [...ends(this.lo(b), j), ...ends(this.hi(b), `(${size}u - ${j})`)],
      ),
      ...(size % 2 === 0 ? ends(this.mid, `${size / 2}u`) : []),
    ];
  }

  /** `sum` of every bin into its variable, given where its entries begin and end. */
  sums(sum: (variable: string, entries: { bin: string; begin: string; end: string }) => string): string {
    const { size } = this.plan;
    const one = (variable: string, bin: string): string =>
      this.ahead
        ? sum(variable, { bin, begin: `${variable}_begin`, end: `${variable}_end` })
        : sum(variable, { bin, begin: `offset(${bin})`, end: `offset(${bin} + 1)` });
    return this.each((b) => one(this.lo(b), "j") + one(this.hi(b), `${size}u - j`)) +
      this.middle(one(this.mid, `${size / 2}u`));
  }
}

/** Sums each bin from its entries' own function. */
function pulled(pairs: Pairs, { suffix }: Round): string {
  return pairs.sums((variable, { bin }) => `${variable} += gather${suffix}(${bin});\n`);
}

/** Sums each bin from products; rows of more entries than fit are summed from the entries themselves. */
function produced(
  count: string,
  { products, pairs, round }: {
    readonly products: Products;
    readonly pairs: Pairs;
    readonly round: Round;
  },
): string {
  const sum = (variable: string, { begin, end }: { begin: string; end: string }): string =>
    `{ let end = ${end}; for (var e = ${begin}; e < end; e++) { ${variable} += ${products.at("e")}; } }\n`;
  return /* wgsl */ `
if (${count} <= ${products.most}u) {
  ${products.multiply(round)}
  workgroupBarrier();
  ${pairs.sums(sum)}
} else {
  ${pulled(pairs, round)}
}
`;
}
