/**
 * Where the entries of SVFT's sparse matrix M (n, n) are.
 *
 * @module
 */
import { ConfigError } from "../../errors.ts";

/** The row and the column of each entry. */
export interface Places {
  readonly rows: Int32Array;
  readonly columns: Int32Array;
}

/** Entries of a band of so many diagonals on either side of the middle one. */
export function bandCount(n: number, offDiag: number): number {
  const side = Math.min(offDiag, n - 1);
  return n * (2 * side + 1) - side * (side + 1);
}

/** The places of a band, row by row: the authors' order. */
export function band(n: number, offDiag: number): Places {
  const count = bandCount(n, offDiag), rows = new Int32Array(count), columns = new Int32Array(count);
  let at = 0;
  for (let i = 0; i < n; i++) {
    for (let j = Math.max(0, i - offDiag); j <= Math.min(n - 1, i + offDiag); j++, at++) {
      rows[at] = i;
      columns[at] = j;
    }
  }
  return { rows, columns };
}

/** Throws ConfigError for an index outside of M, by its tensor. */
export function checkIndices(name: string, indices: Int32Array, n: number): void {
  const at = indices.findIndex((index) => index < 0 || index >= n);
  if (at < 0) return;
  throw new ConfigError(
    `Cannot read adapter tensor "${name}": element ${at} is ${indices[at]}, the matrix is (${n}, ${n})`,
  );
}

/** Entries in the order of their rows: n + 1 starts, then columns, then values, as the kernel `svft_linear` reads them. */
export function byRows({ rows, columns }: Places, values: ArrayLike<number>, n: number): Float32Array {
  const count = rows.length, packed = new Float32Array(n + 1 + 2 * count), next = new Uint32Array(n + 1);
  for (const row of rows) next[row + 1]++;
  for (let i = 0; i < n; i++) next[i + 1] += next[i];
  packed.set(next);
  for (let e = 0; e < count; e++) {
    const at = next[rows[e]]++;
    packed[n + 1 + at] = columns[e];
    packed[n + 1 + count + at] = values[e];
  }
  return packed;
}
