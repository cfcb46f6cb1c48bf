/**
 * Times counted in buckets, each 2 % wider than the one before: any number of them in little room, and added up over
 * processes.
 *
 * @module
 */

const growth = Math.log(1.02);

/** Counts by bucket; JSON as it is. */
export type Buckets = Record<number, number>;

/** Counts a time in milliseconds. */
export function count(buckets: Buckets, ms: number): void {
  // A microsecond is the least: chunks that came together have no time between them.
  const bucket = Math.round(Math.log(Math.max(ms, 1e-3)) / growth);
  buckets[bucket] = (buckets[bucket] ?? 0) + 1;
}

/** Adds the counts of `more`. */
export function addUp(buckets: Buckets, more: Buckets): void {
  for (const [bucket, times] of Object.entries(more)) {
    buckets[Number(bucket)] = (buckets[Number(bucket)] ?? 0) + times;
  }
}

/** The time in milliseconds that a part of all times does not exceed, to 1 %; NaN where there is none. */
export function quantile(buckets: Buckets, part: number): number {
  const sorted = Object.entries(buckets).map(([bucket, times]) => [Number(bucket), times]).sort((a, b) =>
    a[0] - b[0]
  );
  const all = sorted.reduce((sum, [, times]) => sum + times, 0);
  let seen = 0;
  for (const [bucket, times] of sorted) {
    seen += times;
    if (seen >= part * all) return Math.exp(bucket * growth);
  }
  return NaN;
}
