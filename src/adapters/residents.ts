/**
 * The adapters that are on a device, by the digest of their files, and who holds them.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import { ConfigError } from "../errors.ts";
import { Bank, type Linear, type Placed } from "./bank.ts";
import type { Method } from "./method.ts";
import { checkedMethods } from "./method_list.ts";
import type { LoadedAdapter } from "./peft.ts";

/** What is held on the device for a user: its slots stay its own until `release`. */
export interface Holding {
  readonly id: string;
  /** At most one of a bank; what they add to a weight is added up. */
  readonly placed: readonly Placed[];
  /** Gives it back; more than once is once. */
  release(): void;
}

/** An adapter held on the device. */
export interface Lease extends Holding, Placed {}

/** What a resident is made of, and known by. */
export type Placeable = Pick<LoadedAdapter, "method" | "modules" | "digest">;

interface Resident extends Placed {
  /** Itself alone; one list for all who hold it. */
  readonly placed: readonly Placed[];
  users: number;
}

/** See the module's documentation. */
export class Residents {
  /** Least recently used first. */
  readonly #residents = new Map<string, Resident>();
  readonly #banks: ReadonlyMap<Method, Bank>;
  #releases = 0;

  constructor(
    device: Device,
    { methods, linears, capacity }: {
      readonly methods: readonly Method[];
      readonly linears: readonly Linear[];
      readonly capacity: number;
    },
  ) {
    this.#banks = new Map(
      linears.length === 0
        ? []
        : checkedMethods(methods).map((method) => [method, new Bank(device, method, { linears, capacity })]),
    );
  }

  /** One bank for each method. */
  get banks(): readonly Bank[] {
    return [...this.#banks.values()];
  }

  /** Changes whenever an adapter is held by nobody any more: there may be room where there was none. */
  get releases(): number {
    return this.#releases;
  }

  has(digest: string): boolean {
    return this.#residents.has(digest);
  }

  /**
   * The bank of an adapter.
   *
   * @throws ConfigError where there are no banks.
   */
  bankOf(id: string, { method }: Pick<Placeable, "method">): Bank {
    const bank = this.#banks.get(method);
    if (bank) return bank;
    throw new ConfigError(`Cannot put adapter "${id}" on the device: no base model is loaded`);
  }

  /** Holds an adapter that is there; undefined when it is not. */
  hold(id: string, digest: string): Lease | undefined {
    const resident = this.#residents.get(digest);
    if (!resident) return undefined;
    this.#residents.delete(digest);
    this.#residents.set(digest, resident);
    resident.users++;
    let held = true;
    const { bank, slot } = resident;
    return {
      id,
      bank,
      slot,
      placed: resident.placed,
      release: () => {
        if (!held) return;
        held = false;
        if (--resident.users === 0) this.#releases++;
      },
    };
  }

  /**
   * Puts an adapter on the device, in the place of others that nobody holds where it needs theirs, and holds it; undefined
   * while those that are held take all slots or all the room.
   *
   * @throws as {@linkcode Bank.load}
   */
  place(id: string, adapter: Placeable): Lease | undefined {
    const bank = this.bankOf(id, adapter);
    let slot = bank.load(adapter.modules);
    while (slot === undefined) {
      if (!this.#evict(bank)) return undefined;
      slot = bank.load(adapter.modules);
    }
    this.#residents.set(adapter.digest, { bank, slot, placed: [{ bank, slot }], users: 0 });
    return this.hold(id, adapter.digest);
  }

  /** Takes the least recently used adapter that nobody holds off the device; false when all are held. */
  #evict(bank: Bank): boolean {
    for (const [digest, resident] of this.#residents) {
      if (resident.bank !== bank || resident.users > 0) continue;
      this.#residents.delete(digest);
      bank.unload(resident.slot);
      return true;
    }
    return false;
  }
}
