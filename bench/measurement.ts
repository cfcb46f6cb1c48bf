/**
 * A measured cell of a table: benches yield cells, recordings hold them.
 *
 * @module
 */
import type { Device } from "../src/device/device.ts";

/** One cell of a table, as it was measured. */
export interface Measurement {
  /** A name that is a file's, too: its plot's. */
  readonly table: string;
  readonly row: string;
  readonly column: string;
  /** `us`, `ms`, `tokens/s`, `GB/s`, `GFLOP/s`, `%`, `MiB`; empty for a plain number. */
  readonly unit: string;
  readonly median: number;
  /** Best and worst of the attempts, where there were several. */
  readonly minimum?: number;
  readonly slowest?: number;
  /** Timed runs in all. */
  readonly runs?: number;
  /** The number that a sweep varies; tables that have it are plotted over it. */
  readonly x?: number;
  /** The line of the plot that the cell is a point of, in tables whose rows are of several lines. */
  readonly line?: string;
  /** What `x` of such a point is, in words. */
  readonly over?: string;
  /** A note for readers of the table; printed once under it. */
  readonly note?: string;
}

/** A bench's device, options and log. */
export interface BenchContext {
  readonly device: Device;
  /** Small sizes and few runs: shows that the bench works, and says nothing of a machine's speed. */
  readonly quick: boolean;
  /** A regular expression for the rows to measure; all where left out. */
  readonly rows?: string;
  /** Turns of what is measured in turn; the bench's own number where left out. */
  readonly rounds?: number;
  /** Whether the launches of what is measured are shown, too, where a bench can. */
  readonly trace?: boolean;
  /** For what is left out, and why. */
  readonly log: (line: string) => void;
}

/** A bench: one command, one or more tables. */
export interface Bench {
  readonly name: string;
  readonly doc: string;
  /** Whether it needs a GPU. */
  readonly gpuOnly?: boolean;
  /** Files in `peers/` that measure the same in other software. */
  readonly peers?: readonly string[];
  /** The clock of its times, where that is not the device's. */
  readonly clock?: string;
  /** What it needs and does not find; undefined where everything is there. */
  readonly missing?: () => string | undefined;
  readonly measure: (context: BenchContext) => AsyncIterable<Measurement>;
}

/** The middle value; the upper one of the two in the middle. */
export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1];
}
