/**
 * What functions of the WASM module need to sum along the rows of a matrix (kernels/assembly/transposed.ts).
 *
 * @module
 */

import type { WasmStep } from "../kernel.ts";

/** Columns and rows of a panel; as in kernels/assembly/transposed.ts. */
const panelColumns = 96;
const panelRows = 512;

/** A length filled up to a multiple of four. */
export const filled = (length: number): number => 4 * Math.ceil(length / 4);

/** Bytes of scratch of a product with a matrix (inner, columns). */
export function transposedScratch({ inner, columns }: { inner: number; columns: number }): number {
  const panel = Math.min(panelColumns, columns) * filled(Math.min(panelRows, inner));
  return 4 * (5 * panelColumns + panel);
}

/** Bytes of a matrix (rows, columns) that is turned: lines of rows, filled up, and a row. */
export function turnedBytes({ rows, columns }: { rows: number; columns: number }): number {
  return 4 * (columns * filled(rows) + columns);
}

/** Up to this inner length a product has no panels; as in kernels/assembly/transposed.ts. */
export const shortest = 32;

/** Rows of an item where there are few columns; whole tiles. A panel is turned anew for each. */
const rowsOfItem = 192;

/** Panels of columns of a product (rows, inner) (inner, columns). */
export const panelsOf = ({ inner, columns }: { inner: number; columns: number }): number =>
  inner <= shortest ? 1 : Math.ceil(columns / panelColumns);

/**
 * How a product (rows, inner) (inner, columns) is cut: how many items there are, and how many rows one has, which is the
 * last of the function's own arguments.
 */
export function transposedItems(
  { rows, inner, columns }: { rows: number; inner: number; columns: number },
): { args: [number]; items: number } {
  const panels = panelsOf({ inner, columns });
  const rowsOf = panels >= 24 ? rows : Math.min(rows, inner <= shortest ? 24 : rowsOfItem);
  return { args: [rowsOf], items: panels * Math.ceil(rows / rowsOf) };
}

/** The step that turns a matrix (rows, columns), which begins at element `offset`; see {@linkcode turnedBytes}. */
export function turning(
  from: string,
  to: string,
  { rows, columns, offset = 0 }: { rows: number; columns: number; offset?: number },
): WasmStep {
  return {
    function: "turn",
    args: [from, offset, to, rows, columns],
    items: Math.ceil(rows / 4),
    work: 4 * rows * columns,
  };
}
