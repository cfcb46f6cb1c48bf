/**
 * How numbers are distributed.
 *
 * @module
 */
import { inSlices } from "../breathe.ts";

/** Counts of numbers in bins of one width about zero. */
export interface Histogram {
  /** Bins + 1 edges, ascending. A bin holds its lower edge; the last bin holds both. */
  readonly edges: Float64Array;
  readonly counts: Uint32Array;
  readonly total: number;
  readonly mean: number;
  /** The standard deviation about the mean. */
  readonly deviation: number;
  /** The greatest magnitude. */
  readonly most: number;
}

/** Numbers that are counted before other work may have its turn. */
const pieceSize = 2 ** 16;

function* piecesOf(values: Float32Array, take: (piece: Float32Array) => void): Iterable<void> {
  for (let at = 0; at < values.length; at += pieceSize) yield take(values.subarray(at, at + pieceSize));
}

/**
 * Of finite numbers, in an odd number of bins: the middle bin has zero in its middle. Other work has its turn meanwhile.
 *
 * @throws RangeError for an even number of bins; the signal's reason.
 */
export async function histogram(
  values: Float32Array,
  { bins = 41, signal }: { readonly bins?: number; readonly signal?: AbortSignal } = {},
): Promise<Histogram> {
  if (bins % 2 !== 1) throw new RangeError(`Cannot count in ${bins} bins: the rule is an odd number`);
  let most = 0, sum = 0;
  await inSlices(
    piecesOf(values, (piece) => {
      for (const value of piece) {
        most = Math.max(most, Math.abs(value));
        sum += value;
      }
    }),
    signal,
  );
  const mean = values.length > 0 ? sum / values.length : 0;
  const reach = most || 1, width = 2 * reach / bins;
  const counts = new Uint32Array(bins);
  let squares = 0;
  await inSlices(
    piecesOf(values, (piece) => {
      for (const value of piece) {
        counts[Math.min(bins - 1, Math.max(0, Math.floor((value + reach) / width)))]++;
        squares += (value - mean) ** 2;
      }
    }),
    signal,
  );
  return {
    edges: Float64Array.from({ length: bins + 1 }, (_, i) => -reach + i * width),
    counts,
    total: values.length,
    mean,
    deviation: values.length > 0 ? Math.sqrt(squares / values.length) : 0,
    most,
  };
}
