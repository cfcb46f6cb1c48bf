/**
 * An adapter between its name and the device: looked up, read if it must be, held once there is room.
 *
 * @module
 */
import type { Bank } from "./bank.ts";
import type { OwnBank } from "./own_bank.ts";
import type { Entry } from "./entry.ts";
import type { LoadedAdapter } from "./peft.ts";
import type { Lease, Residents } from "./residents.ts";

/** One version of an adapter, for one user; what was read is kept for as long as this is. */
export class FoundAdapter {
  #adapter: LoadedAdapter | undefined;
  /** How many releases there had been when there was no room. */
  #fullAt = -1;
  /** The bank that had no room. */
  #full: Bank | OwnBank | undefined;

  /** @param id The adapter's name. */
  constructor(readonly id: string, private readonly entry: Entry, private readonly residents: Residents) {}

  get #digest(): string | undefined {
    // Read again, the files may be other ones than those that were described.
    return this.#adapter?.digest ?? this.entry.known?.digest;
  }

  /** Whether it is neither on the device nor read. */
  get needsReading(): boolean {
    const digest = this.#digest;
    return !this.#adapter && !(digest !== undefined && this.residents.has(digest));
  }

  /**
   * Reads the adapter's files; who asks at the same time shares the reading.
   *
   * @throws ConfigError, SafetensorsError; RangeError when it does not fit the base model.
   */
  async read(): Promise<void> {
    this.#adapter = await this.entry.adapter();
  }

  /**
   * Holds the adapter on the device: `unread` when it has to be read first, `full` while those in use take all the room.
   *
   * @param full Banks known to be full: nothing is put into them. Those found to be are added.
   * @throws ConfigError where no base model is loaded; RangeError when it is too large for the device even alone.
   */
  hold(full?: Set<Bank | OwnBank>): Lease | "unread" | "full" {
    const digest = this.#digest;
    const held = digest === undefined ? undefined : this.residents.hold(this.id, digest);
    if (held) return held;
    if (!this.#adapter) return "unread";
    const { own } = this.#adapter, bank = this.residents.bankOf(this.id, this.#adapter);
    const triedSince = this.#fullAt === this.residents.releases;
    const known = full?.has(bank)
      ? bank
      : own && full?.has(this.residents.own!)
      ? this.residents.own
      : undefined;
    const placed = known || triedSince
      ? { full: known ?? this.#full! }
      : this.residents.place(this.id, this.#adapter);
    if (!("full" in placed)) return placed;
    this.#full = placed.full;
    full?.add(placed.full);
    this.#fullAt = this.residents.releases;
    return "full";
  }

  /** What to say where it is full. */
  whyFull(): string {
    const bank = this.#full ?? this.residents.bankOf(this.id, this.#adapter!), { size } = bank;
    if (!("method" in bank)) {
      return `Cannot load adapter "${this.id}": ${size} adapters in use that have biases, norms, embeddings or heads of their ` +
        "own take all slots or all the room";
    }
    const { method } = bank;
    return `Cannot load adapter "${this.id}": ${size} ${method.peftType} adapters in use take all slots or all the room`;
  }
}
