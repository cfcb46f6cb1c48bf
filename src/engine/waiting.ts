/**
 * Sequences that wait for a lane, and for their adapters.
 *
 * A waiting sequence holds nothing on the device. Its adapter is looked up at once, read while it waits if it is among the
 * first, and takes a slot when the sequence is admitted. One whose adapter finds no room waits on, and lets pass those
 * behind it that can run, but only so many: then no adapter behind it is admitted before its own.
 *
 * @module
 */
import type { AdapterTerm, Found, FullBank } from "../adapters/registry.ts";
import { OverloadedError } from "../errors.ts";
import type { Sequence } from "./schedule.ts";

/** First waiting sequences whose adapters are read ahead, and readings under way at most. */
const readAhead = 16;

/** Sequences with adapters that may pass one that waits for a slot. */
const maxPassed = 64;

/** What waiting sequences need of others. */
export interface WaitingDeps {
  readonly registry: { find(adapter: string | readonly AdapterTerm[]): Promise<Found> };
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
}

/** See the module's documentation. */
export class Waiting {
  readonly #sequences: Sequence[] = [];
  #reading = 0;

  constructor(private readonly deps: WaitingDeps) {}

  get length(): number {
    return this.#sequences.length;
  }

  /**
   * Queues a sequence, and looks its adapter up.
   *
   * @throws OverloadedError when the queue is full.
   */
  push(sequence: Sequence): void {
    const { length } = this.#sequences;
    if (length >= this.deps.most) {
      throw new OverloadedError(`Cannot queue another sequence: ${length} are waiting already`);
    }
    this.#sequences.push(sequence);
    const { adapter } = sequence.request;
    if (adapter === undefined) return;
    void this.#preparing(sequence, async () => {
      sequence.found = await this.deps.registry.find(adapter);
    });
  }

  /** Takes a sequence out, if it waits. */
  remove(sequence: Sequence): void {
    const at = this.#sequences.indexOf(sequence);
    if (at >= 0) this.#sequences.splice(at, 1);
    sequence.found = undefined;
  }

  /** Takes up to `lanes` sequences that can run out of the queue, each with its adapter held. */
  admit(lanes: number, { holding }: { readonly holding: boolean }): readonly Sequence[] {
    const round: Round = { holding, admitted: [], blocked: [], full: new Set(), closed: false };
    // Failing one takes it out of the queue.
    for (const [place, sequence] of [...this.#sequences].entries()) {
      if (round.admitted.length >= lanes && place >= readAhead) break;
      this.#consider(sequence, { place, lanes, round });
    }
    for (const sequence of round.admitted) this.remove(sequence);
    return round.admitted;
  }

  #consider(
    sequence: Sequence,
    { place, lanes, round }: { readonly place: number; readonly lanes: number; readonly round: Round },
  ): void {
    const { found, request } = sequence;
    const hasLane = round.admitted.length < lanes;
    if (request.adapter === undefined) {
      if (hasLane) round.admitted.push(sequence);
      return;
    }
    if (!found) return;
    if (!hasLane || round.closed) {
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
      round.admitted.push(sequence);
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
