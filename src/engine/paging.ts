/**
 * Which running sequences have which blocks of the key-value cache.
 *
 * A sequence starts when there are blocks for all its known tokens, and takes one more whenever it has filled its last. Where
 * none is left, the youngest sequence gives all its blocks back. It starts anew from its tokens later: the text is the same.
 * A pool holds one sequence of the greatest length at least, so that the oldest one always goes on.
 *
 * A model may have layers that carry a state from token to token. Then each sequence with blocks has a state, too. What it
 * holds when a sequence starts is no matter: a sequence's first token has position 0, and kernels start from zeros there. A
 * state is that of its sequence's last token alone, so that sequences of such a model share no blocks.
 *
 * @module
 */
import { BlockPool } from "./block_pool.ts";
import type { Sequence } from "./schedule.ts";

/** How much is in the cache, and how often it was found there; counts since the engine was opened. */
export interface CacheCounts {
  readonly blocks: number;
  /** Blocks that sequences hold now. */
  readonly usedBlocks: number;
  readonly blockSize: number;
  /** Tokens of sequences that started, and those whose keys and values were in the cache. */
  readonly prefixQueries: number;
  readonly prefixHits: number;
  /** How often a sequence had to give its blocks back before its end. */
  readonly preemptions: number;
}

/** Sequences that are let in at one look at the queue. */
export interface Admission {
  /** Whether there are blocks for a sequence's tokens, beside those let in before it. */
  fits(sequence: Sequence): boolean;
  take(sequence: Sequence): void;
}

/** One in so many blocks is not given to an owner who runs already. */
const reservedPart = 8;

const ownerOf = ({ request }: Sequence): string | undefined => request.owner?.id;

/**
 * Where a sequence that is let in stands among those that run: the last, or, as its owner's first, behind the first of other
 * owners. Those behind give their blocks to those before.
 */
export function placeOf(sequence: Sequence, running: readonly Sequence[]): number {
  if (!sequence.request.owner || running.some((one) => ownerOf(one) === ownerOf(sequence))) {
    return running.length;
  }
  const seen = new Set<string | undefined>();
  const other = running.findIndex((one) => seen.size === seen.add(ownerOf(one)).size);
  return other < 0 ? running.length : other;
}

/** See the module's documentation. */
export class Paging {
  readonly #pool: BlockPool;
  /** States that no sequence has. */
  readonly #states: number[];
  #queries = 0;
  #hits = 0;
  #preemptions = 0;

  constructor(
    private readonly options: {
      readonly blocks: number;
      readonly blockSize: number;
      /** Whether sequences that begin alike share blocks. */
      readonly prefixCaching: boolean;
      /** The longest sequence whose keys depend on their positions alone; longer ones share nothing. */
      readonly fixedLength: number;
      /** States, one for each sequence that runs at once; 0 of models without states, which is the default. */
      readonly states?: number;
    },
  ) {
    const { blocks, blockSize, states = 0 } = options;
    this.#pool = new BlockPool(blocks, blockSize);
    this.#states = Array.from({ length: states }, (_, i) => states - 1 - i);
  }

  get counts(): CacheCounts {
    const { blocks, blockSize } = this.options;
    return {
      ...{ blocks, blockSize, usedBlocks: blocks - this.#pool.free },
      ...{ prefixQueries: this.#queries, prefixHits: this.#hits, preemptions: this.#preemptions },
    };
  }

  /**
   * Room for sequences that wait. A spare block stays for each that runs: else they would soon be preempted. A part of all
   * blocks stays for owners that have none. Where that is used up, too, an owner's first sequence takes those of the youngest
   * of owners who have several.
   */
  admission(running: readonly Sequence[]): Admission {
    const isShort = running.some(({ blocks }) => blocks.length === 0);
    const owners = new Set(running.map(ownerOf));
    const reserved = Math.floor(this.options.blocks / reservedPart);
    let promised = 0, spares = running.length;
    const needs = ({ tokens }: Sequence): number => this.#blocksFor(tokens.length);
    const free = (): number => this.#pool.free - promised - spares;
    const isFirst = (sequence: Sequence): boolean =>
      sequence.request.owner !== undefined && !owners.has(ownerOf(sequence));
    return {
      fits: (sequence) => {
        if (spares === 0) return true;
        if (isFirst(sequence)) return needs(sequence) <= free() + this.#reclaimable(running);
        const others = sequence.request.owner ? reserved : 0;
        return !isShort && needs(sequence) <= free() - others;
      },
      take: (sequence) => {
        if (isFirst(sequence) && spares > 0) {
          while (needs(sequence) > free() && this.#reclaim(running)) spares--;
        }
        owners.add(ownerOf(sequence));
        promised += needs(sequence);
        spares++;
      },
    };
  }

  /** The youngest sequence with blocks whose owner has others with blocks. */
  #spared(running: readonly Sequence[], taken: ReadonlySet<Sequence> = new Set()): Sequence | undefined {
    const holding = running.filter((one) => one.blocks.length > 0 && !taken.has(one));
    return holding.findLast((one) =>
      holding.some((other) => other !== one && ownerOf(other) === ownerOf(one))
    );
  }

  /** Blocks that an owner's first sequence may take from others, with the spare ones of these. */
  #reclaimable(running: readonly Sequence[]): number {
    const taken = new Set<Sequence>();
    let blocks = 0;
    for (let one = this.#spared(running); one; one = this.#spared(running, taken)) {
      taken.add(one);
      blocks += one.blocks.length + 1;
    }
    return blocks;
  }

  #reclaim(running: readonly Sequence[]): boolean {
    const spared = this.#spared(running);
    if (!spared) return false;
    this.release(spared);
    this.#preemptions++;
    return true;
  }

  /** Gives blocks to sequences that have none, in order, as long as there are enough for all tokens of each. */
  start(running: readonly Sequence[]): void {
    let holders = running.reduce((count, { blocks }) => count + Number(blocks.length > 0), 0);
    for (const sequence of running) {
      if (sequence.blocks.length > 0) continue;
      if (!this.#start(sequence, holders)) return;
      holders++;
    }
  }

  #start(sequence: Sequence, holders: number): boolean {
    const { tokens, salt } = sequence;
    const found = salt === undefined ? undefined : this.#pool.find(salt, tokens);
    const { blocks = [], chain } = found ?? {};
    const missing = this.#blocksFor(tokens.length) - blocks.length;
    if (holders > 0 && missing + holders > this.#pool.free) {
      this.#pool.release(blocks);
      return false;
    }
    const hits = blocks.length * this.options.blockSize;
    this.#queries += tokens.length;
    this.#hits += hits;
    for (let i = 0; i < missing; i++) blocks.push(this.#pool.take()!);
    const state = this.#states.pop();
    Object.assign(sequence, { blocks, state, chain, cached: hits, kept: hits / this.options.blockSize });
    return true;
  }

  /** How many of the rows that a sequence wants next have blocks, once younger ones that have no share gave theirs back. */
  grant(
    sequence: Sequence,
    wanted: number,
    { running, shared }: { readonly running: readonly Sequence[]; readonly shared: ReadonlySet<Sequence> },
  ): number {
    const { blocks, cached } = sequence;
    if (blocks.length === 0) return 0;
    const needed = this.#blocksFor(cached + wanted);
    while (blocks.length < needed) {
      const block = this.#pool.take();
      if (block !== undefined) blocks.push(block);
      else if (!this.#preempt(running, { below: sequence, shared })) break;
    }
    return Math.min(wanted, blocks.length * this.options.blockSize - cached);
  }

  /** Takes its blocks from the youngest sequence that may lose them; false where there is none. */
  #preempt(
    running: readonly Sequence[],
    { below, shared }: { readonly below: Sequence; readonly shared: ReadonlySet<Sequence> },
  ): boolean {
    for (let i = running.length - 1; running[i] !== below; i--) {
      if (running[i].blocks.length === 0 || shared.has(running[i])) continue;
      this.release(running[i]);
      this.#preemptions++;
      return true;
    }
    return false;
  }

  /** Takes all of a sequence's blocks; its tokens are in the cache no more. */
  release(sequence: Sequence): void {
    this.#pool.release(sequence.blocks);
    if (sequence.state !== undefined) this.#states.push(sequence.state);
    Object.assign(sequence, { blocks: [], state: undefined, chain: undefined, cached: 0, kept: 0 });
  }

  /** Keeps the blocks of a sequence that are full, once the steps that were submitted have run, for others that begin alike. */
  keep(sequence: Sequence): void {
    if (sequence.chain === undefined) return;
    const { blockSize, fixedLength } = this.options, { blocks, tokens } = sequence;
    const known = Math.min(sequence.cached, tokens.length, fixedLength);
    for (let end = (sequence.kept + 1) * blockSize; end <= known; end += blockSize) {
      const block = blocks[sequence.kept++];
      sequence.chain = this.#pool.keep(block, { chain: sequence.chain, tokens, end });
    }
  }

  /** What a sequence shares blocks by; undefined where it shares none. */
  saltOf({ request, lease }: Pick<Sequence, "request" | "lease">): string | undefined {
    const { prefixCaching, fixedLength, states = 0 } = this.options;
    // Log-probabilities of a prompt need its rows; keys of longer sequences depend on the length.
    if (
      !prefixCaching || states > 0 || request.promptLogprobs || request.promptTokenIds.length > fixedLength
    ) {
      return undefined;
    }
    return JSON.stringify([request.owner?.id ?? null, request.cacheSalt ?? null, lease?.digest ?? null]);
  }

  /** Shares no block any more that was written before. */
  forget(): void {
    this.#pool.forget();
  }

  #blocksFor(tokens: number): number {
    return Math.ceil(tokens / this.options.blockSize);
  }
}
