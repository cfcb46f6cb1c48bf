/**
 * Programs of steps by what they depend on. Those used last are kept.
 *
 * To prepare a program takes longer than the idle rows of a few steps: only shapes that come again have their own.
 *
 * @module
 */
import type { Bank } from "../adapters/bank.ts";
import type { ResidentTable } from "../adapters/own_bank.ts";
import type { Program } from "../device/device.ts";
import type { ProjectionKind } from "./merging.ts";

/** Rows and outputs of a step. */
export interface Size {
  readonly rows: number;
  readonly outputs: number;
}

/** What a program depends on. */
export interface Shape extends Size {
  /** Of the rows' adapters. */
  readonly banks: readonly Bank[];
  /** Whether a row's adapter has parameters of its own, and the whole tables among them. */
  readonly own: readonly ResidentTable[] | undefined;
  /** Projections that the adapters of all rows are merged into. */
  readonly merged: ReadonlySet<ProjectionKind>;
  /** Room for so many forbidden tokens. */
  readonly forbidden: number;
  /** Room for so many biases and penalties. */
  readonly adjusted: number;
  /** Whether an output has a mask. */
  readonly masked: boolean;
  /** Whether an output wants log-probabilities. */
  readonly scored: boolean;
}

/** A program that was made ready. */
export interface Prepared {
  readonly program: Program;
  /** Of the banks whose steps it holds. */
  readonly revisions: readonly number[];
}

/** Most programs kept; each is a list of bindings. */
const mostKept = 64;

/** Rows of steps that others stand in for at least: of fewer rows other kernels are fast. */
const fewestRows = 24;

/** How often a step's size may be met before it has a program of its own, and sizes that are counted. */
const mostMissed = 8, mostCounted = 256;

const keyOf = ({ rows, outputs, banks, own, merged, forbidden, adjusted, masked, scored }: Shape): string =>
  `${rows}:${outputs}:${banks.map(({ name }) => name)}:${[...merged]}:${forbidden}:${adjusted}` +
  `${masked ? ":masked" : ""}${scored ? ":scored" : ""}` +
  (own ? `:own ${own.map(({ serial }) => serial)}` : "");

/** What a program costs beside others, about: its banks' steps, then its rows. */
const costOf = ({ rows, outputs, banks }: Shape): number => (1 + banks.length) * (rows + outputs);

/** See the module's documentation. */
export class StepPrograms {
  readonly #known = new Map<string, Prepared & { readonly shape: Shape }>();
  /** How often shapes were met that others stood in for. */
  readonly #missed = new Map<string, number>();

  /** The program of a shape, if there is one of these revisions. */
  get(shape: Shape, revisions: readonly number[]): Program | undefined {
    const key = keyOf(shape), known = this.#known.get(key);
    if (!known) return undefined;
    this.#known.delete(key);
    if (revisions.some((revision, i) => revision !== known.revisions[i])) {
      known.program.release();
      return undefined;
    }
    this.#known.set(key, known);
    return known.program;
  }

  /** Keeps a program; the one that was not used for longest goes, where there are too many. */
  keep(shape: Shape, prepared: Prepared): void {
    this.#known.set(keyOf(shape), { ...prepared, shape });
    if (this.#known.size <= mostKept) return;
    const [key, { program }] = this.#known.entries().next().value!;
    program.release();
    this.#known.delete(key);
  }

  /** A shape, or, while the shape is rare, one of somewhat more rows or more banks that has a program. */
  standIn(shape: Shape): Shape {
    const key = keyOf(shape);
    if (shape.rows < fewestRows || this.#known.has(key)) return shape;
    const missed = (this.#missed.get(key) ?? 0) + 1;
    this.#missed.delete(key);
    if (missed > mostMissed) return shape;
    const best = this.#cheapest(shape, key);
    if (!best) return shape;
    if (this.#missed.size === mostCounted) this.#missed.delete(this.#missed.keys().next().value!);
    this.#missed.set(key, missed);
    return best;
  }

  /** The cheapest shape that a step of another runs in, too. */
  #cheapest({ rows, outputs, banks, merged }: Shape, key: string): Shape | undefined {
    let best: Shape | undefined;
    // Steps that are merged with their one adapter have its banks alone.
    const most = merged.size > 0 ? banks.length : Infinity;
    for (const { shape } of this.#known.values()) {
      const fits = shape.rows >= rows && shape.rows <= 2 * rows && shape.outputs >= outputs &&
        shape.banks.length <= most && banks.every((bank) => shape.banks.includes(bank));
      if (!fits || best && costOf(shape) >= costOf(best)) continue;
      if (keyOf({ ...shape, rows, outputs, banks }) === key) best = shape;
    }
    return best;
  }
}
