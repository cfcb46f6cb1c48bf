/**
 * `torch.randperm` on the CPU, bit for bit: a FourierFT checkpoint holds no frequencies, only the seed they come from.
 *
 * @module
 */

const stateWords = 624;
const shift = 397;

/** The Mersenne Twister with 32-bit words, as C++'s `std::mt19937` and PyTorch's CPU generator run it. */
export class Mt19937 {
  // Signed: engines keep an int32 in a register where a uint32 may become a float64.
  readonly #state = new Int32Array(stateWords);
  #next = stateWords;

  /** @param seed 32 bits. */
  constructor(seed: number) {
    const state = this.#state;
    state[0] = seed;
    for (let i = 1; i < stateWords; i++) {
      const previous = state[i - 1];
      state[i] = Math.imul(1812433253, previous ^ (previous >>> 30)) + i;
    }
  }

  /** The next word, 0 to 2^32 - 1. */
  next(): number {
    if (this.#next === stateWords) this.#refill();
    let word = this.#state[this.#next++];
    word ^= word >>> 11;
    word ^= (word << 7) & 0x9d2c5680;
    word ^= (word << 15) & 0xefc60000;
    return (word ^ (word >>> 18)) >>> 0;
  }

  #refill(): void {
    const state = this.#state;
    for (let i = 0; i < stateWords - shift; i++) state[i] = twist(state[i], state[i + 1], state[i + shift]);
    for (let i = stateWords - shift; i < stateWords - 1; i++) {
      state[i] = twist(state[i], state[i + 1], state[i + shift - stateWords]);
    }
    state[stateWords - 1] = twist(state[stateWords - 1], state[0], state[shift - 1]);
    this.#next = 0;
  }
}

function twist(high: number, low: number, far: number): number {
  const bits = (high & 0x80000000) | (low & 0x7fffffff);
  return far ^ (bits >>> 1) ^ (-(bits & 1) & 0x9908b0df);
}

/** From this length on, torch 2.6 draws 64 bits a step: floor((2^32 - 1) / 20). */
const longPermutation = 214748364;

/** Which permutation to take the first entries of. */
export interface RandpermOptions {
  /**
   * As given to `Generator.manual_seed`: -2^63 to 2^64 - 1, of which the low 32 bits count. A `number` must be a safe
   * integer: past 2^53 it would no longer be the seed that was written; pass a `bigint` there.
   */
  readonly seed: number | bigint;
  /** How many entries, 0 to the length. */
  readonly count: number;
  /** The PyTorch that made the permutation. It matters from length 214748364 on. Default `">=2.6"`. */
  readonly torch?: ">=2.6" | "<=2.5";
}

/**
 * The first `count` entries of `torch.randperm(length, generator=torch.Generator().manual_seed(seed))`.
 *
 * Time and memory grow with `count` alone, but for lengths of 214748364 and more on torch 2.6: there every entry is
 * drawn, in memory that grows with `count`. (ATen/native/TensorFactories.cpp, `randperm_cpu`.)
 *
 * @param length 0 to 2^32.
 * @throws RangeError when the length, the count or the seed is out of range.
 */
export function randperm(length: number, options: RandpermOptions): Uint32Array {
  const { seed, count, torch = ">=2.6" } = options;
  checkRange(length, { name: "length", least: 0, most: 2 ** 32 });
  checkRange(count, { name: "count", least: 0, most: length });
  const random = new Mt19937(lowBits(seed));
  return length < longPermutation || torch === "<=2.5"
    ? shuffleForward(random, { length, count })
    : shuffleInsideOut(random, { length, count });
}

function checkRange(
  value: number,
  { name, least, most }: { name: string; least: number; most: number },
): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  throw new RangeError(
    `Cannot draw a permutation: its ${name} is ${value}, the rule is an integer from ${least} to ${most}`,
  );
}

/** The low 32 bits of a seed, a negative one as two's complement. */
export function lowBits(seed: number | bigint): number {
  if (typeof seed === "number" && !Number.isSafeInteger(seed)) {
    throw new RangeError(
      `Cannot draw a permutation: its seed is ${seed}, which is no integer or was rounded on the way; ` +
        `numbers are exact from -(2^53 - 1) to 2^53 - 1, a bigint beyond`,
    );
  }
  const exact = BigInt(seed);
  if (exact < -(2n ** 63n) || exact >= 2n ** 64n) {
    throw new RangeError(`Cannot draw a permutation: its seed is ${seed}, torch takes -2^63 to 2^64 - 1`);
  }
  return Number(BigInt.asUintN(32, exact));
}

interface Sizes {
  readonly length: number;
  readonly count: number;
}

/** Entry i is swapped with one at or after it; only what was displaced is kept. */
function shuffleForward(random: Mt19937, { length, count }: Sizes): Uint32Array {
  const out = new Uint32Array(count);
  const displaced = new Map<number, number>();
  for (let i = 0; i < count; i++) {
    const from = i + random.next() % (length - i);
    const here = displaced.get(i) ?? i;
    out[i] = from === i ? here : displaced.get(from) ?? from;
    displaced.delete(i);
    if (from !== i) displaced.set(from, here);
  }
  return out;
}

/** Entry i takes the place of one at or before it; what moves beyond the first `count` places is never seen again. */
function shuffleInsideOut(random: Mt19937, { length, count }: Sizes): Uint32Array {
  const out = new Uint32Array(count);
  for (let i = 0; i < length; i++) {
    const high = random.next();
    const low = random.next();
    // Most draws land far beyond `count`, and one rounded division tells: the sum is off by up to 2^10, the quotient by
    // up to 2^11 / (i + 1) more, so the remainder they give is off by less than 2^12 (and may wrap around).
    const quotient = (high * 4294967296 + low) / (i + 1);
    const near = (quotient - Math.floor(quotient)) * (i + 1);
    if (near > count + 4096 && near < i - 4096) continue;
    const to = remainder64(high, low, i + 1);
    if (to >= count) continue;
    if (i < count) out[i] = out[to];
    out[to] = i;
  }
  return out;
}

/**
 * (high 2^32 + low) mod divisor in float64: Horner's rule over pieces of `low` so short that every product stays
 * under 2^53, where the floor of a rounded quotient of integers is exact.
 */
function remainder64(high: number, low: number, divisor: number): number {
  const first = high - Math.floor(high / divisor) * divisor;
  const middle = first * 65536 + (low >>> 16);
  const second = middle - Math.floor(middle / divisor) * divisor;
  const last = second * 65536 + (low & 65535);
  return last - Math.floor(last / divisor) * divisor;
}
