/**
 * Adapters that are added up, between their names and the device.
 *
 * @module
 */
import { CombinationError } from "../errors.ts";
import type { Bank } from "./bank.ts";
import { checkAdds, type Group, groupsOf, type KnownTerm, type ReadTerm, summed } from "./combination.ts";
import type { Entry } from "./entry.ts";
import type { Found } from "./found.ts";
import type { LinearShape } from "./method.ts";
import type { Holding, Lease, Placeable, Residents } from "./residents.ts";

/** One version of an adapter, and its scale. */
export interface FoundTerm {
  readonly id: string;
  readonly scale: number;
  readonly entry: Entry;
}

/** What combinations share. */
export interface CombinationDeps {
  readonly residents: Residents;
  /** Sums that are made now, by their digests: who needs the same one waits for it. */
  readonly sums: Map<string, Promise<Placeable>>;
  /** The shape of the base model's linear at a path. */
  readonly shapeOf: (path: string) => LinearShape;
}

/** A combination for one user; what was read and summed is kept for as long as this is. */
export class FoundCombination implements Found {
  readonly id: string;
  /** What was read: files may be other ones than those that were described. */
  #read: readonly KnownTerm[] | undefined;
  /** Parts that were not on the device when they were asked for, by their digests. */
  readonly #made = new Map<string, Placeable>();
  /** The bank that had no room, and how many releases there had been. */
  #full: { readonly bank: Bank; readonly at: number } | undefined;

  constructor(private readonly terms: readonly FoundTerm[], private readonly deps: CombinationDeps) {
    this.id = terms.map(({ id, scale }) => scale === 1 ? id : `${scale} * ${id}`).join(" + ");
  }

  get needsReading(): boolean {
    const known = this.#known();
    return !known || groupsOf(known).some((group) => !this.#isThere(group) && !this.#made.has(group.digest));
  }

  /**
   * Reads the adapters' files, and makes the sums that are not on the device.
   *
   * @throws CombinationError for adapters that cannot be added up; ConfigError, SafetensorsError for broken files.
   */
  async read(): Promise<void> {
    const terms = await Promise.all(this.terms.map(async ({ id, scale, entry }): Promise<ReadTerm> => {
      const { method, digest, modules } = await entry.adapter();
      return { id, scale, method, digest, modules };
    }));
    checkAdds(terms);
    for (const group of groupsOf(terms)) {
      if (!this.#isThere(group)) this.#made.set(group.digest, await this.#sum(group));
    }
    this.#read = terms.map(({ id, scale, method, digest }) => ({ id, scale, method, digest }));
  }

  /** As {@linkcode Found.hold}; throws CombinationError for adapters that cannot be added up, or a sum that is too large. */
  hold(full?: Set<Bank>): Holding | "unread" | "full" {
    const known = this.#known();
    if (!known || this.needsReading) return "unread";
    checkAdds(known);
    const groups = groupsOf(known), leases = new Map<Group<KnownTerm>, Lease>();
    const release = (): void => leases.forEach((lease) => lease.release());
    try {
      // What is missing comes first: only there may be no room.
      const missing = groups.filter((group) => !this.#isThere(group));
      for (const group of new Set([...missing, ...groups])) {
        const lease = this.#holdPart(group, full);
        if (lease) {
          leases.set(group, lease);
          continue;
        }
        release();
        this.#full = { bank: this.#bankOf(group), at: this.deps.residents.releases };
        return "full";
      }
    } catch (error) {
      release();
      throw error;
    }
    return { id: this.id, placed: groups.flatMap((group) => leases.get(group)!.placed), release };
  }

  whyFull(): string {
    const { size, method } = this.#full!.bank;
    return `Cannot load adapters "${this.id}": ${size} ${method.peftType} adapters in use take all slots or all the room`;
  }

  /** The adapters as far as they are known without reading; undefined where one was never read. */
  #known(): readonly KnownTerm[] | undefined {
    if (this.#read) return this.#read;
    const known: KnownTerm[] = [];
    for (const { id, scale, entry } of this.terms) {
      const { method, digest } = entry.known ?? {};
      if (!method || digest === undefined) return undefined;
      known.push({ id, scale, method, digest });
    }
    return known;
  }

  #isThere({ digest }: Pick<Placeable, "digest">): boolean {
    return this.deps.residents.has(digest);
  }

  #bankOf(part: Pick<Placeable, "method">): Bank {
    return this.deps.residents.bankOf(this.id, part);
  }

  /** Holds a part that is on the device, or was made; undefined while there is no room. */
  #holdPart(group: Group<KnownTerm>, full?: Set<Bank>): Lease | undefined {
    const { residents } = this.deps;
    const held = residents.hold(this.id, group.digest);
    if (held) return held;
    const bank = this.#bankOf(group);
    const triedSince = this.#full?.bank === bank && this.#full.at === residents.releases;
    const lease = full?.has(bank) || triedSince ? undefined : this.#place(this.#made.get(group.digest)!);
    if (!lease) full?.add(bank);
    return lease;
  }

  #place(part: Placeable): Lease | undefined {
    try {
      return this.deps.residents.place(this.id, part);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      throw new CombinationError(error.message, { cause: error });
    }
  }

  /** The sum of a part's adapters; one that someone makes now is waited for. */
  async #sum(group: Group<ReadTerm>): Promise<Placeable> {
    const { sums, shapeOf } = this.deps;
    let making = sums.get(group.digest);
    if (!making) {
      making = summed(group, shapeOf).finally(() => sums.delete(group.digest));
      sums.set(group.digest, making);
    }
    return await making;
  }
}
