/**
 * An adapter between its name and the device: looked up, read if it must be, held once there is room.
 *
 * @module
 */
import type { Entry } from "./entry.ts";
import { naming } from "./naming.ts";
import type { LoadedAdapter } from "./peft.ts";
import type { FullBank, Holding, Lease, Residents } from "./residents.ts";

/** What a request's adapters are between their names and the device. */
export interface Found {
  /** The adapter's name, or a sum of names. */
  readonly id: string;
  /** Whether something has to be read before it can be held. */
  readonly needsReading: boolean;
  /** Reads what is needed; throws for what cannot be used. */
  read(): Promise<void>;
  /**
   * Holds everything on the device, or nothing: `unread` when it has to be read first, `full` while what is in use takes
   * all the room.
   *
   * @param full Banks known to be full: nothing is put into them. Those found to be are added.
   * @throws ConfigError where no base model is loaded; RangeError when it is too large for the device even alone.
   */
  hold(full?: Set<FullBank>): Holding | "unread" | "full";
  /** What to say where it is full. */
  whyFull(): string;
}

/** One version of an adapter, for one user; what was read is kept for as long as this is. */
export class FoundAdapter implements Found {
  #adapter: LoadedAdapter | undefined;
  /** How many releases there had been when there was no room. */
  #fullAt = -1;
  /** The bank that had no room. */
  #full: FullBank | undefined;

  /**
   * @param id The adapter's name.
   * @param watcher.onHold Called whenever it is held, with the digest of its files.
   */
  constructor(
    readonly id: string,
    private readonly entry: Entry,
    private readonly residents: Residents,
    private readonly watcher: { readonly onHold?: (digest: string) => void } = {},
  ) {}

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
    this.#adapter = await naming(this.id, this.entry.adapter());
  }

  /**
   * Holds the adapter on the device: `unread` when it has to be read first, `full` while those in use take all the room.
   *
   * @param full Banks known to be full: nothing is put into them. Those found to be are added.
   * @throws ConfigError where no base model is loaded; RangeError when it is too large for the device even alone.
   */
  hold(full?: Set<FullBank>): Lease | "unread" | "full" {
    const held = this.#hold(full);
    if (typeof held === "object") this.watcher.onHold?.(held.digest);
    return held;
  }

  #hold(full?: Set<FullBank>): Lease | "unread" | "full" {
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
    return this.residents.whyFull(`adapter "${this.id}"`, this.#full!);
  }
}
