/**
 * Random numbers for sampling: a seeded stream for each sequence, the same in every runtime.
 *
 * @module
 */

/** A stream of uniform numbers in [0, 1) with 24 random bits, exact in float32 (splitmix32). */
export function uniforms(seed: number): () => number {
  let state = (Math.trunc(seed) ^ Math.trunc(seed / 2 ** 32)) >>> 0;
  return () => {
    state = (state + 0x9e3779b9) >>> 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return ((z ^ (z >>> 15)) >>> 8) / 2 ** 24;
  };
}

/** A seed nobody chose. */
export function randomSeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0];
}
