/**
 * What functions of the WASM module need to sum along the rows of a matrix (kernels/assembly/transposed.ts).
 *
 * @module
 */

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
