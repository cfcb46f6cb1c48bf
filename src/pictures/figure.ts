/**
 * A figure: one picture with its texts, and the same numbers as a table for readers who do not see it.
 *
 * @module
 */
import type { SvgDocument, SvgElement } from "./svg.ts";

/** A table of a figure's numbers, with the greatest first where it does not hold all. */
export interface FigureTable {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly (string | number)[])[];
  /** Rows that the table leaves out. */
  readonly leftOut: number;
}

/** One picture. */
export interface Figure {
  /** A name for files: `spectrum`, `delta`. */
  readonly name: string;
  readonly title: string;
  /** Short lines below the title: numbers, and how the picture is read. */
  readonly lines: readonly string[];
  /** What the picture shows, for readers who do not see it. */
  readonly description: string;
  readonly table: FigureTable;
  /** Pixels of the picture's height. Its width is that of `figureSize`. */
  readonly height: number;
  /** The picture without its texts, in the colours of the light theme. */
  draw(document: SvgDocument): readonly SvgElement[];
}

/** Pixels of a figure's picture at most, without the texts above it. */
export const figureSize = { width: 600, height: 380 } as const;

/** Rows of a table at most. */
const mostRows = 50;

/** A table of some numbers of many. */
export function tableOf(
  columns: readonly string[],
  rows: readonly (readonly (string | number)[])[],
): FigureTable {
  return { columns, rows: rows.slice(0, mostRows), leftOut: Math.max(0, rows.length - mostRows) };
}

/** A number with three digits, for texts: `0.00123`, `1.2e-7`, with a minus sign. */
export function shown(value: number): string {
  return String(Number(value.toPrecision(3))).replace("-", "−");
}

/** A count with commas: `1,000`. */
export function counted(count: number): string {
  return String(count).replace(/\B(?=(\d{3})+$)/g, ",");
}
