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

/** What a step of some shape runs as. */
export interface StandIn {
  /** The shape of a program that is there, or the step's own. */
  readonly shape: Shape;
  /** Whether the step's own shape has come so often that it is to have a program. */
  readonly wanted: boolean;
}

/** Most programs kept; each is a list of bindings. */
const mostKept = 64;

/**
 * Rows of steps that others stand in for many times: of fewer rows other kernels are fast. A sequence that runs alone always has
 * its own program of those, so that its numbers do not depend on who ran before.
 */
const fewestRows = 24;

/** How often a step's size may be met before it gets a program of its own, and sizes that are counted. */
const mostMissed = 8, mostCounted = 256;

const keyOf = ({ rows, outputs, banks, own, merged, forbidden, adjusted, masked, scored }: Shape): string =>
  `${rows}:${outputs}:${banks.map(({ name }) => name)}:${[...merged]}:${forbidden}:${adjusted}` +
  `${masked ? ":masked" : ""}${scored ? ":scored" : ""}` +
  (own ? `:own ${own.map(({ serial }) => serial)}` : "");

/** What a program costs beside others, about: its banks' steps, then its rows. */
const costOf = ({ rows, outputs, banks }: Shape): number => (1 + banks.length) * (rows + outputs);

/** Whether a step is of many rows of several sequences: then steps of other outputs and adapters are about to come. */
export const servesMany = ({ rows, outputs }: Size): boolean => rows >= fewestRows && outputs > 1;

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
    const own = keyOf(shape);
    this.#known.get(own)?.program.release();
    this.#known.delete(own);
    this.#known.set(own, { ...prepared, shape });
    if (this.#known.size <= mostKept) return;
    const [key, { program }] = this.#known.entries().next().value!;
    program.release();
    this.#known.delete(key);
  }

  /** What a step of a shape runs as: the shape, or one of somewhat more rows or more banks that has a program. */
  standIn(shape: Shape): StandIn {
    const key = keyOf(shape), own = { shape, wanted: false };
    if (this.#known.has(key) || shape.rows < fewestRows && shape.outputs < 2) return own;
    const best = this.#cheapest(shape, key), missed = (this.#missed.get(key) ?? 0) + 1;
    this.#missed.delete(key);
    if (!best) return own;
    if (this.#missed.size === mostCounted) this.#missed.delete(this.#missed.keys().next().value!);
    const wanted = shape.rows < fewestRows || missed > mostMissed;
    this.#missed.set(key, wanted ? 0 : missed);
    return { shape: best, wanted };
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
