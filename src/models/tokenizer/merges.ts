/**
 * Merging neighbours of a word, in the order of ranks.
 *
 * @module
 */
import { refuse } from "./fields.ts";
import { type Steps, stepSize } from "./steps.ts";

/** Which pairs of tokens merge, when, and into what. */
export interface Merges {
  /** Ids are below it; the pair (a, b) has the key a * size + b. */
  readonly size: number;
  /** Ranks by pair. */
  readonly ranks: ReadonlyMap<number, number>;
  /** Tokens by rank. */
  readonly merged: Int32Array;
  /** Pairs of characters that stand beside each other within some token: at others a word falls apart. */
  readonly joined: ReadonlySet<number>;
}

/**
 * Reads pairs of tokens in the order in which they merge.
 *
 * @param prefixLength Of the prefix that a word's later tokens have, and a merged one only once.
 * @throws ConfigError when the vocabulary lacks one of a pair, or what they become.
 */
export function mergesOf(
  pairs: readonly (readonly [string, string])[],
  { vocabulary, prefixLength }: {
    readonly vocabulary: ReadonlyMap<string, number>;
    readonly prefixLength: number;
  },
): Merges {
  let size = 1;
  for (const id of vocabulary.values()) size = Math.max(size, id + 1);
  if (size > 1 << 26) throw refuse("vocab", size - 1, `a token's id must be below ${1 << 26}`);
  const idOf = (token: string, pair: unknown): number => {
    const id = vocabulary.get(token);
    if (id === undefined) {
      throw refuse("merges", pair, `the vocabulary does not have ${JSON.stringify(token)}`);
    }
    return id;
  };
  const ranks = new Map<number, number>();
  const triples = pairs.map((pair, rank) => {
    const [left, right] = pair;
    const whole = left + right.slice(prefixLength);
    const a = idOf(left, pair);
    const b = idOf(right, pair);
    ranks.set(a * size + b, rank);
    return { a, b, c: idOf(whole, pair) };
  });
  const parts = new Map(triples.map(({ a, b, c }) => [c, { a, b }]));
  /** A token's first or last character, as a token; each merge makes a longer one, so that this ends. */
  const end = (token: number, side: "a" | "b"): number => {
    let id = token;
    for (let made = parts.get(id); made && made[side] !== id; made = parts.get(id)) id = made[side];
    return id;
  };
  const joined = new Set<number>();
  for (const { a, b } of triples) {
    for (const left of [a, end(a, "b")]) {
      for (const right of [b, end(b, "a")]) joined.add(left * size + right);
    }
  }
  const merged = Int32Array.from(triples, ({ c }) => c);
  return { size, ranks, merged, joined };
}

/**
 * The tokens of a word's characters.
 *
 * Where two characters stand beside each other in no token, no merge crosses: the stretches between merge each alone,
 * and give what the whole would.
 */
export function* mergeSymbols(symbols: Int32Array, merges: Merges): Steps<readonly number[]> {
  const { size, joined } = merges;
  const ids: number[] = [];
  for (let from = 0; from < symbols.length;) {
    let to = from + 1;
    while (to < symbols.length && joined.has(symbols[to - 1] * size + symbols[to])) {
      if (++to % stepSize === 0) yield;
    }
    if (to - from === 1) ids.push(symbols[from]);
    else if (to - from <= fewSymbols) mergeFew([...symbols.subarray(from, to)], { merges, ids });
    else yield* mergeMany(symbols.subarray(from, to), { merges, ids });
    if (Math.floor(to / 1024) > Math.floor(from / 1024)) yield;
    from = to;
  }
  return ids;
}

/** Where the merged tokens go. */
interface Target {
  readonly merges: Merges;
  readonly ids: number[];
}

const fewSymbols = 32;

function mergeFew(symbols: number[], { merges: { size, ranks, merged }, ids }: Target): void {
  for (;;) {
    let best = Infinity;
    let at = -1;
    for (let i = 0; i + 1 < symbols.length; i++) {
      const rank = ranks.get(symbols[i] * size + symbols[i + 1]);
      if (rank !== undefined && rank < best) {
        best = rank;
        at = i;
      }
    }
    if (at < 0) break;
    symbols.splice(at, 2, merged[best]);
  }
  for (const id of symbols) ids.push(id);
}

/** Numbers; the least is taken first. */
class Heap {
  readonly #items: Float64Array;
  #count = 0;

  /** @param most The most numbers held at once; untouched memory costs nothing. */
  constructor(most: number) {
    this.#items = new Float64Array(most);
  }

  push(item: number): void {
    const items = this.#items;
    let at = this.#count++;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (items[parent] <= item) break;
      items[at] = items[parent];
      at = parent;
    }
    items[at] = item;
  }

  /** The least; undefined when there is none. */
  pop(): number | undefined {
    if (this.#count === 0) return undefined;
    const items = this.#items;
    const least = items[0];
    const count = --this.#count;
    const item = items[count];
    let at = 0;
    for (let child = 1; child < count; child = 2 * at + 1) {
      if (child + 1 < count && items[child + 1] < items[child]) child++;
      if (items[child] >= item) break;
      items[at] = items[child];
      at = child;
    }
    items[at] = item;
    return least;
  }
}

/** A rank and a place in one number, so that ranks order them, and places where they are equal. */
const placeFactor = 2 ** 26;

/** As {@linkcode mergeFew}, in a time that grows with the length; works within `symbols`. */
function* mergeMany(symbols: Int32Array, { merges, ids }: Target): Steps<void> {
  const { size, ranks, merged } = merges;
  const count = symbols.length;
  if (count > placeFactor) {
    throw new RangeError(`Cannot encode a word of ${count} characters: at most ${placeFactor}`);
  }
  const next = new Int32Array(count);
  const previous = new Int32Array(count);
  // One for each pair, and each merge takes one and offers two.
  const heap = new Heap(2 * count);
  const rankAt = (at: number): number | undefined =>
    symbols[at] < 0 || next[at] >= count ? undefined : ranks.get(symbols[at] * size + symbols[next[at]]);
  const offer = (at: number): void => {
    const rank = rankAt(at);
    if (rank !== undefined) heap.push(rank * placeFactor + at);
  };
  for (let at = 0; at < count; at++) {
    next[at] = at + 1;
    previous[at] = at - 1;
    if (at > 0) offer(at - 1);
    if (at % stepSize === 0) yield;
  }
  for (let done = 1;; done++) {
    const item = heap.pop();
    if (item === undefined) break;
    const rank = Math.floor(item / placeFactor);
    const at = item % placeFactor;
    if (done % 2048 === 0) yield;
    // Since it was offered one of the two may have merged with another.
    if (rankAt(at) !== rank) continue;
    const gone = next[at];
    symbols[at] = merged[rank];
    symbols[gone] = -1;
    next[at] = next[gone];
    if (next[at] < count) previous[next[at]] = at;
    offer(at);
    if (previous[at] >= 0) offer(previous[at]);
  }
  for (let at = 0, done = 1; at < count; at = next[at], done++) {
    ids.push(symbols[at]);
    if (done % stepSize === 0) yield;
  }
}
