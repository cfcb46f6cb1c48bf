import type { Frequencies } from "../fourier_table.ts";

/** `n` different frequencies of an (out, in) matrix from a source of uniform random numbers. */
export function randomFrequencies(
  n: number,
  shape: { out: number; in: number },
  random: () => number,
): Frequencies {
  const seen = new Set<number>();
  while (seen.size < n) seen.add(Math.floor(random() * shape.out * shape.in));
  const flat = [...seen];
  return {
    u: Uint32Array.from(flat, (i) => Math.floor(i / shape.in)),
    v: Uint32Array.from(flat, (i) => i % shape.in),
  };
}
