/**
 * Tables of twiddles, made in float64: WGSL's own sin and cos may err by 2^-11.
 *
 * @module
 */
import type { Table } from "../kernel.ts";

/** WGSL expression of e^{2 pi i index / length}, index in 0..length-1, for one length. */
export type Twiddles = (index: string) => string;

/** Tables of twiddles for some lengths, one after the other in one buffer: the binding `twiddles`, `array<vec2f>`. */
export interface TwiddleTables {
  readonly table: Table;
  of(length: number): Twiddles;
}

/** Tables e^{2 pi i k / length}, k in 0..length-1, as (cos, sin) pairs from float64; equal lengths share one. */
export function twiddleTables(...wanted: readonly number[]): TwiddleTables {
  const starts = new Map<number, number>();
  let size = 0;
  for (const length of wanted) {
    if (starts.has(length)) continue;
    starts.set(length, size);
    size += length;
  }
  return {
    table: {
      key: `twiddles:${[...starts.keys()]}`,
      make: () => {
        const table = new Float32Array(2 * size);
        for (const [length, start] of starts) {
          for (let k = 0; k < length; k++) {
            table[2 * (start + k)] = Math.cos(2 * Math.PI * k / length);
            table[2 * (start + k) + 1] = Math.sin(2 * Math.PI * k / length);
          }
        }
        return table;
      },
    },
    of: (length) => {
      const start = starts.get(length)!;
      return (index) => start === 0 ? `twiddles[${index}]` : `twiddles[${start}u + ${index}]`;
    },
  };
}
