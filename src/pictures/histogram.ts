/**
 * How numbers are distributed.
 *
 * @module
 */

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

/** Of finite numbers, in an odd number of bins: the middle bin has zero in its middle. */
export function histogram(values: Float32Array, bins = 41): Histogram {
  if (bins % 2 !== 1) throw new RangeError(`Cannot count in ${bins} bins: the rule is an odd number`);
  let most = 0, sum = 0;
  for (const value of values) {
    most = Math.max(most, Math.abs(value));
    sum += value;
  }
  const mean = values.length > 0 ? sum / values.length : 0;
  const reach = most || 1, width = 2 * reach / bins;
  const counts = new Uint32Array(bins);
  let squares = 0;
  for (const value of values) {
    counts[Math.min(bins - 1, Math.max(0, Math.floor((value + reach) / width)))]++;
    squares += (value - mean) ** 2;
  }
  return {
    edges: Float64Array.from({ length: bins + 1 }, (_, i) => -reach + i * width),
    counts,
    total: values.length,
    mean,
    deviation: values.length > 0 ? Math.sqrt(squares / values.length) : 0,
    most,
  };
}
