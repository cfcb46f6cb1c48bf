/**
 * The adapters that are on a device, by the digest of their files, and who holds them.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import { ConfigError } from "../errors.ts";
import { Bank, type Linear, type Placed } from "./bank.ts";
import { OwnBank } from "./own_bank.ts";
import type { Parameter } from "./parameters.ts";
import { checkedMethods, hasBanksApart, type ListedMethod } from "./method_list.ts";
import type { LoadedAdapter } from "./peft.ts";
import type { AdapterStats, ResidentAdapter } from "./service.ts";

/** What is held on the device for a user: its slots stay its own until `release`. */
export interface Holding {
  readonly id: string;
  /** At most one of a bank; what they add to a weight is added up. */
  readonly placed: readonly Placed[];
  /** Its slot in the bank of own parameters; absent where it has none of its own. */
  readonly own?: number;
  /** What it is made of: SHA-256 of its files, hex; of a sum those of all, with their scales. */
  readonly digest: string;
  /** Gives it back; more than once is once. */
  release(): void;
}

/** An adapter held on the device. */
export interface Lease extends Holding, Placed {}

/** What a resident is made of, and known by. */
export type Placeable = Pick<LoadedAdapter, "method" | "modules" | "own" | "digest"> & {
  /** Which of the method's banks it goes to; 0 unless told. */
  readonly bankNumber?: number;
};

/** A bank whose slots or room those that are held take. */
export type FullBank = Bank | OwnBank;

interface Resident extends Placed {
  /** The name it was put there by. */
  readonly id: string;
  /** Whether it leaves as soon as nobody holds it. */
  leaving?: boolean;
  /** Itself alone; one list for all who hold it. */
  readonly placed: readonly Placed[];
  readonly own?: number;
  users: number;
}

/** See the module's documentation. */
export class Residents {
  /** Least recently used first. */
  readonly #residents = new Map<string, Resident>();
  /** By the names of their methods, which are loaded with their first adapters. */
  readonly #banks: ReadonlyMap<string, readonly Bank[]>;
  /** Own parameters of adapters of any method; absent where no base model has parameters. */
  readonly own: OwnBank | undefined;
  #releases = 0;
  /** Digests that stay, by the name that is pinned. */
  readonly #pinned = new Map<string, string>();
  readonly #counts = { hits: 0, misses: 0, evictions: { capacity: 0, unload: 0 } };

  constructor(
    device: Device,
    { methods, linears, parameters, capacity, tableBytes, mostTerms }: {
      readonly methods: readonly ListedMethod[];
      readonly linears: readonly Linear[];
      readonly parameters: readonly Parameter[];
      readonly capacity: number;
      readonly tableBytes: number;
      /** Adapters of one method that a row has at most. */
      readonly mostTerms: number;
    },
  ) {
    this.own = parameters.length === 0
      ? undefined
      : new OwnBank(device, parameters, { capacity, tableBytes });
    this.#banks = new Map(
      linears.length === 0 ? [] : checkedMethods(methods).map((method) => {
        const count = hasBanksApart(method) ? mostTerms : 1;
        const bank = (number: number): Bank => new Bank(device, method, { linears, capacity, number });
        return [method.name, Array.from({ length: count }, (_, number) => bank(number))];
      }),
    );
  }

  /** One bank for each method; of methods that take scales one for each adapter of a row. */
  get banks(): readonly Bank[] {
    return [...this.#banks.values()].flat();
  }

  /** Changes whenever an adapter is held by nobody any more: there may be room where there was none. */
  get releases(): number {
    return this.#releases;
  }

  has(digest: string): boolean {
    return this.#residents.has(digest);
  }

  /** What is there, and how often it was when it was needed. */
  get stats(): Pick<AdapterStats, "resident" | "hits" | "misses" | "evictions"> {
    const pinned = new Set(this.#pinned.values());
    const resident = [...this.#residents].map(([digest, { id, users }]): ResidentAdapter => ({
      id,
      level: pinned.has(digest) ? "pinned" : users > 0 ? "in_use" : "cached",
    }));
    return { resident, ...this.#counts, evictions: { ...this.#counts.evictions } };
  }

  /** Keeps the adapter of that digest for a pinned name, in place of the one that the name had before. */
  pin(name: string, digest: string): void {
    this.#pinned.set(name, digest);
  }

  /** A name that is pinned no more. */
  unpin(name: string): void {
    this.#pinned.delete(name);
  }

  /** Takes an adapter off the device, once nobody holds it; not one that another name is pinned to. */
  unload(name: string, digest: string): void {
    const resident = this.#residents.get(digest);
    if (!resident) return;
    for (const [pinned, kept] of this.#pinned) if (kept === digest && pinned !== name) return;
    if (resident.users === 0) this.#remove(digest, resident, "unload");
    else resident.leaving = true;
  }

  /**
   * The bank of an adapter.
   *
   * @throws ConfigError where there are no banks.
   */
  bankOf(id: string, { method, bankNumber = 0 }: Pick<Placeable, "method" | "bankNumber">): Bank {
    const bank = this.#banks.get(method.name)?.[bankNumber];
    if (bank) return bank.of(method);
    throw new ConfigError(`Cannot put adapter "${id}" on the device: no base model is loaded`);
  }

  /** Holds an adapter that is there; undefined when it is not. */
  hold(id: string, digest: string): Lease | undefined {
    const held = this.#hold(id, digest);
    if (held) this.#counts.hits++;
    return held;
  }

  #hold(id: string, digest: string): Lease | undefined {
    const resident = this.#residents.get(digest);
    if (!resident) return undefined;
    resident.leaving = false;
    this.#residents.delete(digest);
    this.#residents.set(digest, resident);
    resident.users++;
    let held = true;
    const { bank, slot } = resident;
    return {
      id,
      digest,
      bank,
      slot,
      placed: resident.placed,
      ...(resident.own === undefined ? {} : { own: resident.own }),
      release: () => {
        if (!held) return;
        held = false;
        if (--resident.users > 0) return;
        this.#releases++;
        if (resident.leaving && this.#residents.get(digest) === resident) {
          this.#remove(digest, resident, "unload");
        }
      },
    };
  }

  /**
   * Puts an adapter on the device, in the place of others that nobody holds where it needs theirs, and holds it; where those
   * that are held take all slots or all the room, the bank that has none.
   *
   * @throws as {@linkcode Bank.load} and {@linkcode OwnBank.load}
   */
  place(id: string, adapter: Placeable): Lease | { readonly full: FullBank } {
    const bank = this.bankOf(id, adapter), changes = adapter.own;
    const inBank = (resident: Resident): boolean => resident.bank === bank;
    const slot = this.#loaded(() => bank.load(adapter.modules), inBank);
    if (slot === undefined) return { full: bank };
    let own: number | undefined;
    try {
      if (changes) {
        own = this.#loaded(() => this.own!.load(changes), (resident) => resident.own !== undefined);
      }
    } catch (error) {
      bank.unload(slot);
      throw error;
    }
    if (changes && own === undefined) {
      bank.unload(slot);
      return { full: this.own! };
    }
    this.#residents.set(adapter.digest, { id, bank, slot, placed: [{ bank, slot }], own, users: 0 });
    this.#counts.misses++;
    return this.#hold(id, adapter.digest)!;
  }

  /** A slot, once others have made room; undefined where none can. */
  #loaded(load: () => number | undefined, fits: (resident: Resident) => boolean): number | undefined {
    let slot = load();
    while (slot === undefined) {
      if (!this.#evict(fits)) return undefined;
      slot = load();
    }
    return slot;
  }

  /** What to say where a bank is full. */
  whyFull(what: string, bank: FullBank): string {
    const using = "method" in bank
      ? `${bank.size} ${bank.method.peftType} adapters in use`
      : `${bank.size} adapters in use that have biases, norms, embeddings or heads of their own`;
    return `Cannot load ${what}: ${using} take all slots or all the room`;
  }

  /** Takes the least recently used adapter that nobody holds or pins off the device; false when there is none. */
  #evict(fits: (resident: Resident) => boolean): boolean {
    const pinned = new Set(this.#pinned.values());
    for (const [digest, resident] of this.#residents) {
      if (!fits(resident) || resident.users > 0 || pinned.has(digest)) continue;
      this.#remove(digest, resident, "capacity");
      return true;
    }
    return false;
  }

  #remove(digest: string, resident: Resident, reason: "capacity" | "unload"): void {
    this.#residents.delete(digest);
    resident.bank.unload(resident.slot);
    if (resident.own !== undefined) this.own!.unload(resident.own);
    this.#counts.evictions[reason]++;
  }
}
