/**
 * The bins of a real row of even length as invocations hold them: two at a time, those that pack with each other.
 *
 * @module
 */
import type { TransformPlan } from "./plan.ts";
import type { Products } from "./products.ts";
import { type Ahead, aheadOfTurns, eachTurn } from "./stages.ts";
import type { Round } from "./wgsl.ts";

/** Bins of an invocation that pack with each other: k and size - k, and the middle one alone. */
export class Pairs {
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

  /** The sums of all bins, from products where there are such. */
  gather(round: Round, from?: { readonly products: Products; readonly count: string }): string {
    return from ? produced(from.count, { products: from.products, pairs: this, round }) : pulled(this, round);
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
