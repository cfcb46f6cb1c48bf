/**
 * Where a sparse wavelet spectrum's coefficients act, sorted for a kernel: by output place, so that one invocation owns a
 * place's sum.
 *
 * One level of a wavelet has length / 2 places, each with a low and a high filter, so that the matrix is S_out F S_in^T
 * with S[t, (place, kind)] = filter[t - 2 place + shift]. No element of S is stored.
 *
 * @module
 */
import type { Frequencies } from "../fourier_table.ts";
import { bitsOf } from "../record.ts";
import { elementWavelet, type Wavelet } from "./filters.ts";

/** The longest filter that kernels take. */
export const longestFilter = 32;
/** Words of a table before its filters: taps, shift, places' filters. */
export const tableHead = 3;

/** Sizes of a matrix. */
export interface MatrixShape {
  readonly out: number;
  readonly in: number;
}

/** Numbers of an axis's coefficients: the axis and what filters need at its ends, made even. */
export const coefficientsOf = (length: number, { low }: Wavelet): number =>
  2 * Math.ceil((length + low.length - 2) / 2);

/** What PEFT cuts from both ends of a reconstruction, less what the filter begins with. */
export const shiftOf = ({ low }: Wavelet): number => low.length - 2;

/**
 * The filters that coefficients act by: 2 * place + kind on each axis, kind 1 for the high filter.
 *
 * `places` are PEFT's, drawn in the (out, in) matrix. That matrix stands in the middle of the coefficients' quarters. In
 * PEFT's naming the quarter at the right has the high filter along rows, and the lower one along columns.
 *
 * @throws RangeError for a place outside the matrix.
 */
export function waveletPlaces(
  { u, v }: Frequencies,
  { out, in: inSize }: MatrixShape,
  wavelet: Wavelet,
): Frequencies {
  if (u.length !== v.length) {
    throw new RangeError(`Cannot place coefficients: there are ${u.length} rows but ${v.length} columns`);
  }
  for (let l = 0; l < u.length; l++) {
    if (u[l] < out && v[l] < inSize) continue;
    throw new RangeError(
      `Cannot place coefficient ${l} at (${u[l]}, ${v[l]}): the matrix is (${out}, ${inSize})`,
    );
  }
  if (wavelet === elementWavelet) return { u: u.slice(), v: v.slice() };
  const rows = coefficientsOf(out, wavelet), columns = coefficientsOf(inSize, wavelet);
  const down = Math.floor((rows - out) / 2), right = Math.floor((columns - inSize) / 2);
  const to = new Uint32Array(u.length), from = new Uint32Array(v.length);
  for (let l = 0; l < u.length; l++) {
    const row = u[l] + down, column = v[l] + right;
    const lower = Number(row >= rows / 2), righter = Number(column >= columns / 2);
    to[l] = 2 * (row - lower * rows / 2) + righter;
    from[l] = 2 * (column - righter * columns / 2) + lower;
  }
  return { u: to, v: from };
}

/** Places in compressed rows, and coefficient `order[e]` of each entry e. */
export interface WaveletTable {
  readonly table: Uint32Array;
  readonly order: Uint32Array;
}

/**
 * The words that all spectra of the same places share: taps, shift and number of the destination's filters; low and high
 * taps as float32 bits; as many offsets and one more; then each entry's source filter.
 *
 * @param places Filters of each coefficient on the destination axis, by {@linkcode waveletPlaces}, and on the source axis:
 * exchanged, they are the transposed matrix's.
 * @param axis The length of the destination axis, `out`, or `in` of the transposed matrix; and the wavelet.
 */
export function waveletTable(
  { destination, source }: { readonly destination: Uint32Array; readonly source: Uint32Array },
  { length, wavelet }: { readonly length: number; readonly wavelet: Wavelet },
): WaveletTable {
  const taps = wavelet.low.length, n = destination.length, filters = coefficientsOf(length, wavelet);
  if (taps > longestFilter || taps % 2 !== 0 || wavelet.high.length !== taps) {
    throw new RangeError(
      `Cannot use filters of ${taps} and ${wavelet.high.length} taps: both need the same even number, up to ${longestFilter}`,
    );
  }
  const begin = tableHead + 2 * taps;
  const table = new Uint32Array(begin + filters + 1 + n), order = new Uint32Array(n);
  table.set([taps, shiftOf(wavelet), filters, ...wavelet.low.map(bitsOf), ...wavelet.high.map(bitsOf)]);
  const offsets = table.subarray(begin, begin + filters + 1);
  for (const filter of destination) {
    if (filter >= filters) throw new RangeError(`Cannot use filter ${filter} of an axis of ${filters}`);
    offsets[filter + 1]++;
  }
  for (let k = 0; k < filters; k++) offsets[k + 1] += offsets[k];
  const next = offsets.slice();
  for (let l = 0; l < n; l++) {
    const e = next[destination[l]]++;
    order[e] = l;
    table[begin + filters + 1 + e] = source[l];
  }
  return { table, order };
}
