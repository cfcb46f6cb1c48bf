/**
 * Python's `random.Random(seed).shuffle`, so that a run has its examples in the order that PEFT's run had.
 *
 * @module
 */

const size = 624, half = 397;

/** MT19937, seeded by an array of one word as Python seeds it. */
function words(seed: number): () => number {
  const state = new Uint32Array(size);
  state[0] = 19650218;
  for (let i = 1; i < size; i++) {
    state[i] = Math.imul(1812433253, state[i - 1] ^ (state[i - 1] >>> 30)) + i;
  }
  let i = 1;
  const mixed = (factor: number): number => Math.imul(state[i - 1] ^ (state[i - 1] >>> 30), factor);
  const next = (): void => {
    if (++i < size) return;
    state[0] = state[size - 1];
    i = 1;
  };
  for (let k = 0; k < size; k++) {
    state[i] = (state[i] ^ mixed(1664525)) + seed;
    next();
  }
  for (let k = 1; k < size; k++) {
    state[i] = (state[i] ^ mixed(1566083941)) - i;
    next();
  }
  state[0] = 0x80000000;
  let at = size;
  return () => {
    if (at === size) {
      for (let k = 0; k < size; k++) {
        const y = (state[k] & 0x80000000) | (state[(k + 1) % size] & 0x7fffffff);
        state[k] = state[(k + half) % size] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
      }
      at = 0;
    }
    let y = state[at++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  };
}

/** A shuffler like Python's, of a seed from 0 to 2^32 - 1; each call goes on in its stream. */
export function pythonShuffle(seed: number): <T>(list: readonly T[]) => T[] {
  const word = words(seed);
  const below = (count: number): number => {
    const bits = 32 - Math.clz32(count);
    let drawn = word() >>> (32 - bits);
    while (drawn >= count) drawn = word() >>> (32 - bits);
    return drawn;
  };
  return (list) => {
    const made = [...list];
    for (let i = made.length - 1; i > 0; i--) {
      const j = below(i + 1);
      [made[i], made[j]] = [made[j], made[i]];
    }
    return made;
  };
}
