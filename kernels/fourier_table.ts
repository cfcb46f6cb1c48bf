/**
 * A sparse spectrum's frequencies, sorted for a kernel: by output bin, so that one invocation owns a bin's sum.
 *
 * @module
 */

/** Frequencies (u, v) of n coefficients of an (out, in) matrix, u in [0, out), v in [0, in). */
export interface Frequencies {
  readonly u: Uint32Array;
  readonly v: Uint32Array;
}

/**
 * Frequencies in compressed rows. `table` holds `bins + 1` offsets, then n source bins; entry e belongs to coefficient
 * `order[e]`. Destination bins are 0..bins - 1 with bins = floor(length / 2) + 1: because only the real part is taken,
 * (u, v) counts the same as (-u, -v), and one of the two has its destination in the lower half.
 */
export interface FourierTable {
  readonly table: Uint32Array;
  readonly order: Uint32Array;
}

/** Sizes of the two axes a table connects. */
export interface TableAxes {
  /** Length of the destination axis (out for a forward, in for dW's rows). */
  readonly destination: number;
  /** Length of the source axis. */
  readonly source: number;
}

/**
 * Sorts frequencies by destination bin (stable).
 *
 * @param places Bins of each coefficient, on the destination axis and on the source axis.
 * @throws RangeError when a bin lies outside its axis or the two arrays differ in length.
 */
export function fourierTable(
  { destination, source }: { readonly destination: Uint32Array; readonly source: Uint32Array },
  axes: TableAxes,
): FourierTable {
  const n = destination.length;
  if (source.length !== n) {
    throw new RangeError(`Cannot sort frequencies: ${n} destination bins but ${source.length} source bins`);
  }
  const bins = Math.floor(axes.destination / 2) + 1;
  const to = new Uint32Array(n);
  const from = new Uint32Array(n);
  const offsets = new Uint32Array(bins + 1);
  for (let l = 0; l < n; l++) {
    if (destination[l] >= axes.destination || source[l] >= axes.source) {
      throw new RangeError(
        `Cannot place frequency ${l} (${destination[l]}, ${
          source[l]
        }): the axes have ${axes.destination} and ${axes.source} bins`,
      );
    }
    const lower = destination[l] < bins;
    to[l] = lower ? destination[l] : axes.destination - destination[l];
    from[l] = lower ? source[l] : (axes.source - source[l]) % axes.source;
    offsets[to[l] + 1]++;
  }
  for (let k = 0; k < bins; k++) offsets[k + 1] += offsets[k];
  const table = new Uint32Array(bins + 1 + n);
  table.set(offsets);
  const order = new Uint32Array(n);
  const next = offsets.slice();
  for (let l = 0; l < n; l++) {
    const e = next[to[l]]++;
    order[e] = l;
    table[bins + 1 + e] = from[l];
  }
  return { table, order };
}

/** Coefficients in a table's order. */
export function inOrder(coefficients: Float32Array, order: Uint32Array): Float32Array {
  const sorted = new Float32Array(order.length);
  for (let e = 0; e < order.length; e++) sorted[e] = coefficients[order[e]];
  return sorted;
}
