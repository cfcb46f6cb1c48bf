/**
 * Blocks of the key-value cache: who holds them, and which of them hold the beginnings of texts that may come again.
 *
 * A block whose rows are all written may be kept under its tokens and all that came before them. Sequences that begin alike
 * hold such blocks together. A kept block that nobody holds is idle: it is found again until its room is needed.
 *
 * @module
 */

/** What came before a block: who may share it, and its text. */
export type Chain = string;

/** The chain of a text's first block. Texts of different salts have no block in common. */
export const chainOf = (salt: string): Chain => JSON.stringify(salt);

/** See the module's documentation. */
export class BlockPool {
  readonly #holders: Uint32Array;
  /** Blocks without contents. */
  readonly #empty: number[];
  /** Kept blocks that nobody holds, least recently held first. */
  readonly #idle = new Set<number>();
  readonly #byKey = new Map<string, number>();
  readonly #keys: (string | undefined)[];
  /** Numbers of kept contents, none given twice: a block's next contents have another. */
  readonly #serials: number[];
  #lastSerial = 0;

  /**
   * @param size Blocks.
   * @param blockSize Positions of a block.
   */
  constructor(readonly size: number, readonly blockSize: number) {
    this.#holders = new Uint32Array(size);
    // The lowest come first, and so neighbours: attention reads them as one run.
    this.#empty = Array.from({ length: size }, (_, i) => size - 1 - i);
    this.#keys = Array(size).fill(undefined);
    this.#serials = Array(size).fill(0);
  }

  /** Blocks that nobody holds. */
  get free(): number {
    return this.#empty.length + this.#idle.size;
  }

  /** Holds a block for new contents; undefined when all are held. */
  take(): number | undefined {
    let block = this.#empty.pop();
    if (block === undefined) {
      block = this.#idle.values().next().value;
      if (block === undefined) return undefined;
      this.#idle.delete(block);
      this.#byKey.delete(this.#keys[block]!);
      this.#keys[block] = undefined;
    }
    this.#holders[block] = 1;
    return block;
  }

  /** Gives a sequence's blocks back. The end of a text is forgotten before its beginning. */
  release(blocks: readonly number[]): void {
    for (let i = blocks.length - 1; i >= 0; i--) {
      const block = blocks[i];
      if (--this.#holders[block] > 0) continue;
      if (this.#keys[block] === undefined) this.#empty.push(block);
      else this.#idle.add(block);
    }
  }

  /** Holds the kept blocks that a text begins with; at least its last token is in none of them. */
  find(salt: string, tokens: readonly number[]): { readonly blocks: number[]; readonly chain: Chain } {
    const blocks: number[] = [];
    let chain = chainOf(salt);
    for (let end = this.blockSize; end < tokens.length; end += this.blockSize) {
      const block = this.#byKey.get(this.#keyOf(chain, tokens, end));
      if (block === undefined) break;
      blocks.push(block);
      chain = `${this.#serials[block]}`;
    }
    for (const block of blocks) {
      this.#holders[block]++;
      this.#idle.delete(block);
    }
    return { blocks, chain };
  }

  /**
   * Keeps a block that is held, whose rows have the tokens before `end`; where others have the same contents, theirs stay
   * kept.
   *
   * @returns the chain of the next block.
   */
  keep(
    block: number,
    { chain, tokens, end }: {
      readonly chain: Chain;
      readonly tokens: readonly number[];
      readonly end: number;
    },
  ): Chain {
    const key = this.#keyOf(chain, tokens, end), known = this.#byKey.get(key);
    if (known !== undefined) return `${this.#serials[known]}`;
    this.#byKey.set(key, block);
    this.#keys[block] = key;
    this.#serials[block] = ++this.#lastSerial;
    return `${this.#lastSerial}`;
  }

  /** Finds no block any more that is kept now: a device's failure may have left its rows unwritten. */
  forget(): void {
    this.#byKey.clear();
    this.#keys.fill(undefined);
    this.#empty.push(...this.#idle);
    this.#idle.clear();
  }

  #keyOf(chain: Chain, tokens: readonly number[], end: number): string {
    return `${chain} ${tokens.slice(end - this.blockSize, end).join(",")}`;
  }
}
