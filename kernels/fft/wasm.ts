/**
 * Real transforms in WASM: which lengths there are, and the numbers they read (kernels/assembly/fft.ts).
 *
 * @module
 */
import type { Table } from "../kernel.ts";

/** Largest prime whose pass has room for its work. */
const largestPrime = 61;

/** Radices of the passes after the first, which has 4; as `nextRadix` in kernels/assembly/fft.ts. */
function radices(size: number): number[] {
  const found: number[] = [];
  for (let rest = size / 4; rest > 1; rest /= found.at(-1)!) {
    let p = rest % 8 === 0 && rest % 32 !== 16 ? 8 : rest % 4 === 0 ? 4 : 2;
    while (rest % p !== 0) p++;
    found.push(p);
  }
  return found;
}

/** Whether WASM transforms real rows of this length: multiples of 32 without a prime over 61. */
export function transformsInWasm(length: number): boolean {
  return length > 0 && length % 32 === 0 && Math.max(4, ...radices(length / 2)) <= largestPrime;
}

/**
 * What a transform of an even real length reads, with h = length / 2: cos, then sin (2 pi k / length), k < h; then for
 * each pass of radix p after `done` points, for t = 1..p-1, cos, then sin (2 pi t k / (p done)), k < done; and behind
 * those of an odd pass the pairs cos, sin (2 pi j / p), j < p.
 */
export function turnsTable(length: number): Table {
  return { key: `turns:${length}`, make: () => makeTurns(length) };
}

/** The pairs cos, sin (2 pi k / length), k < length. */
export function phasesTable(length: number): Table {
  const angle = (k: number): number => 2 * Math.PI * k / length;
  return {
    key: `phases:${length}`,
    make: () =>
      Float32Array.from(
        { length: 2 * length },
        (_, i) => i % 2 === 0 ? Math.cos(angle(i / 2)) : Math.sin(angle((i - 1) / 2)),
      ),
  };
}

function makeTurns(length: number): Float32Array {
  const numbers: number[] = [];
  const push = (count: number, period: number, step: number): void => {
    const angle = (k: number): number => 2 * Math.PI * (step * k % period) / period;
    for (let k = 0; k < count; k++) numbers.push(Math.cos(angle(k)));
    for (let k = 0; k < count; k++) numbers.push(Math.sin(angle(k)));
  };
  push(length / 2, length, 1);
  let done = 4;
  for (const p of radices(length / 2)) {
    for (let t = 1; t < p; t++) push(done, p * done, t);
    if (p % 2 !== 0) {
      for (let j = 0; j < p; j++) {
        numbers.push(Math.cos(2 * Math.PI * j / p), Math.sin(2 * Math.PI * j / p));
      }
    }
    done *= p;
  }
  return Float32Array.from(numbers);
}
