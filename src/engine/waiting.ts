/**
 * Sequences that wait for their turn, for blocks of the cache, and for their adapters.
 *
 * A waiting sequence holds nothing on the device. Its adapter is looked up at once, read while it waits if it is among the
 * first, and takes a slot when the sequence is admitted. One whose adapter finds no room waits on, and lets pass those
 * behind it that can run, but only so many: then no adapter behind it is admitted before its own.
 *
 * @module
 */
import type { AdapterRegistry, Found, FullBank } from "../adapters/registry.ts";
import { OverloadedError } from "../errors.ts";
import { FairQueue, mayTake } from "./fair_queue.ts";
import type { Admission } from "./paging.ts";
import type { Sequence } from "./schedule.ts";

/** First waiting sequences whose adapters are read ahead, and readings under way at most. */
const readAhead = 16;

/** Sequences with adapters that may pass one that waits for a slot. */
const maxPassed = 64;

/** What waiting sequences need of others. */
export interface WaitingDeps {
  readonly registry: Pick<AdapterRegistry, "find">;
  /** Sequences that wait at most. */
  readonly most: number;
  /** Called when a sequence may have become ready to run. */
  readonly wake: () => void;
  /** Ends a sequence with an error. */
  readonly fail: (sequence: Sequence, error: unknown) => void;
}

/** One look at the queue. */
interface Round {
  /** Whether a running sequence holds a slot, so that there may be room later. */
  readonly holding: boolean;
  readonly admitted: Sequence[];
  /** Sequences that found no room, in order. */
  readonly blocked: Sequence[];
  /** Banks without room. */
  readonly full: Set<FullBank>;
  /** Whether one that is blocked was passed so often that no adapter behind it may go on. */
  closed: boolean;
  /** Lanes at first. */
  readonly lanes: number;
  /** Lanes of all sequences, free or not. */
  readonly total: number;
  /** Lanes that owners have, with those of this round. */
  readonly taken: Map<string, number>;
  /** Owners who may take no lane now, and whose first sequences were looked at. */
  readonly passed: Set<string>;
  readonly room: Admission;
  /** Whether one found no blocks of the cache: none behind it may take them. */
  short: boolean;
}

/** What runs when the queue is looked at. */
export interface Running {
  readonly sequences: readonly Sequence[];
  /** Lanes of all sequences, free or not. */
  readonly total: number;
  /** Blocks of the cache for those that wait. */
  readonly room: Admission;
}

function count(counts: Map<string, number>, id: string): void {
  counts.set(id, (counts.get(id) ?? 0) + 1);
}

/** See the module's documentation. */
export class Waiting {
  readonly #queue = new FairQueue<Sequence>({
    ownerOf: ({ request }) => request.owner,
    costOf: ({ request, mostNew }) => request.promptTokenIds.length + mostNew,
  });
  #reading = 0;

  constructor(private readonly deps: WaitingDeps) {}

  get length(): number {
    return this.#queue.length;
  }

  /** Those that wait. */
  get sequences(): readonly Sequence[] {
    return this.#queue.items;
  }

  /**
   * Queues a sequence, and looks its adapter up.
   *
   * @throws OverloadedError when the queue is full; one that is resumed had its place before.
   */
  push(sequence: Sequence): void {
    const { length } = this.#queue;
    if (length >= this.deps.most && !sequence.request.resumeTokenIds) {
      throw new OverloadedError(`Cannot queue another sequence: ${length} are waiting already`);
    }
    this.#queue.push(sequence);
    const { adapter, askedMs } = sequence.request;
    if (adapter === undefined) return;
    void this.#preparing(sequence, async () => {
      sequence.found = await this.deps.registry.find(adapter, { askedMs });
    });
  }

  /** Takes a sequence out, if it waits. */
  remove(sequence: Sequence): void {
    this.#queue.remove(sequence);
    sequence.found = undefined;
  }

  /** Takes up to `lanes` sequences that can run out of the queue, each with its adapter held. */
  admit(lanes: number, { sequences, total, room }: Running): readonly Sequence[] {
    const taken = new Map<string, number>();
    for (const { request: { owner } } of sequences) if (owner) count(taken, owner.id);
    const holding = sequences.some(({ lease }) => lease);
    const round: Round = {
      holding,
      admitted: [],
      blocked: [],
      full: new Set(),
      closed: false,
      lanes,
      total,
      taken,
      passed: new Set(),
      room,
      short: false,
    };
    let place = 0;
    // Failing one takes it out of the queue.
    for (const sequence of this.#queue.inOrder(round.passed)) {
      if ((round.admitted.length >= lanes || round.short) && place >= readAhead) break;
      this.#consider(sequence, { place: place++, round });
    }
    for (const sequence of round.admitted) {
      this.#queue.take(sequence);
      sequence.found = undefined;
    }
    return round.admitted;
  }

  /** Notes a sequence that runs from now on. */
  #admit(sequence: Sequence, { admitted, taken, room }: Round): void {
    admitted.push(sequence);
    room.take(sequence);
    if (sequence.request.owner) count(taken, sequence.request.owner.id);
  }

  #consider(sequence: Sequence, { place, round }: { readonly place: number; readonly round: Round }): void {
    const { found, request, request: { owner } } = sequence;
    const { lanes, total, taken, admitted } = round;
    const hasLane = mayTake(owner, {
      free: lanes - admitted.length,
      total,
      taken: owner ? taken.get(owner.id) ?? 0 : 0,
    });
    if (!hasLane && owner && place >= readAhead) round.passed.add(owner.id);
    const isReady = request.adapter === undefined || found;
    if (isReady && hasLane && !round.room.fits(sequence)) round.short = true;
    const mayRun = hasLane && !round.short;
    if (request.adapter === undefined) {
      if (mayRun) this.#admit(sequence, round);
      return;
    }
    if (!found) return;
    if (!mayRun || round.closed) {
      if (place < readAhead && found.needsReading) this.#read(sequence, found);
      return;
    }
    try {
      this.#hold(sequence, { found, place, round });
    } catch (error) {
      this.deps.fail(sequence, error);
    }
  }

  #hold(
    sequence: Sequence,
    { found, place, round }: { readonly found: Found; readonly place: number; readonly round: Round },
  ): void {
    const lease = found.hold(round.full);
    if (lease === "unread") {
      if (place < readAhead) this.#read(sequence, found);
    } else if (lease === "full") {
      const mayComeFree = round.holding || round.admitted.some(({ lease }) => lease);
      if (!mayComeFree) throw new OverloadedError(found.whyFull());
      round.blocked.push(sequence);
      round.closed ||= sequence.passed >= maxPassed;
    } else {
      sequence.lease = lease;
      this.#admit(sequence, round);
      for (const passed of round.blocked) round.closed ||= ++passed.passed >= maxPassed;
    }
  }

  #read(sequence: Sequence, found: Found): void {
    if (sequence.reading || this.#reading >= readAhead) return;
    sequence.reading = true;
    this.#reading++;
    void this.#preparing(sequence, () =>
      found.read().finally(() => {
        sequence.reading = false;
        this.#reading--;
      }));
  }

  /** Does something for a waiting sequence in the background. */
  async #preparing(sequence: Sequence, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.deps.fail(sequence, error);
    }
    this.deps.wake();
  }
}
