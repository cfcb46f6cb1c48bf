/**
 * Random numbers for sampling: a seeded stream for each sequence, the same in every runtime.
 *
 * @module
 */

/** 32 random bits a call (splitmix32). */
function splitmix(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x9e3779b9) >>> 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return (z ^ (z >>> 15)) >>> 0;
  };
}

/**
 * A stream of uniform numbers in [0, 1) with 24 random bits, exact in float32.
 *
 * @param seed An integer. Its low 64 bits count: two seeds that differ there give two streams.
 */
export function uniforms(seed: number | bigint): () => number {
  const bits = BigInt.asUintN(64, BigInt(typeof seed === "bigint" ? seed : Math.trunc(seed)));
  const low = splitmix(Number(bits & 0xffffffffn));
  const highBits = Number(bits >> 32n);
  if (highBits === 0) return () => (low() >>> 8) / 2 ** 24;
  const high = splitmix(highBits);
  return () => {
    const bits = high();
    // Turned, so that the halves may not change places, and do not cancel out where they are equal.
    return ((low() ^ (bits << 13 | bits >>> 19)) >>> 8) / 2 ** 24;
  };
}

/** A seed nobody chose. */
export function randomSeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0];
}
