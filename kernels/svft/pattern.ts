/**
 * Where the entries of a sparse matrix (n, n) are, for kernels that walk it by rows and by columns.
 *
 * @module
 */

/** Words of a pattern: see {@linkcode svftPattern}. */
export interface PatternView {
  readonly rows: Uint32Array;
  readonly columns: Uint32Array;
}

/**
 * The words of a pattern: the row of each entry, the column of each; n + 1 starts and then the entries by their row; n + 1
 * starts and then the entries by their column.
 *
 * @throws RangeError for a row or column of n or more, by its entry.
 */
export function svftPattern(n: number, rows: ArrayLike<number>, columns: ArrayLike<number>): Uint32Array {
  const count = rows.length, words = new Uint32Array(4 * count + 2 * (n + 1));
  words.set(rows);
  words.set(columns, count);
  let at = 2 * count;
  for (const axis of [rows, columns]) {
    const starts = words.subarray(at, at + n + 1), entries = words.subarray(at + n + 1, at + n + 1 + count);
    for (let e = 0; e < count; e++) {
      if (!(axis[e] >= 0 && axis[e] < n)) {
        throw new RangeError(`Cannot place entry ${e} at ${axis[e]}: there are ${n}`);
      }
      starts[axis[e] + 1]++;
    }
    for (let i = 0; i < n; i++) starts[i + 1] += starts[i];
    const next = starts.slice();
    for (let e = 0; e < count; e++) entries[next[axis[e]]++] = e;
    at += n + 1 + count;
  }
  return words;
}

/** The row and the column of each entry. */
export function patternView(words: Uint32Array, count: number): PatternView {
  return { rows: words.subarray(0, count), columns: words.subarray(count, 2 * count) };
}

/** WGSL of the words' parts, by `uniforms.n` and `uniforms.entries`. */
export const patternWgsl = {
  row: (e: string): string => `pattern[${e}]`,
  column: (e: string): string => `pattern[uniforms.entries + ${e}]`,
  rowStart: (i: string): string => `pattern[2 * uniforms.entries + ${i}]`,
  ofRow: (k: string): string => `pattern[2 * uniforms.entries + uniforms.n + 1 + ${k}]`,
  columnStart: (i: string): string => `pattern[3 * uniforms.entries + uniforms.n + 1 + ${i}]`,
  ofColumn: (k: string): string => `pattern[3 * uniforms.entries + 2 * uniforms.n + 2 + ${k}]`,
} as const;
