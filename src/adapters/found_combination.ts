/**
 * Adapters that are added up, between their names and the device.
 *
 * @module
 */
import { CombinationError } from "../errors.ts";
import { checkAdds, type Group, groupsOf, type KnownTerm, type ReadTerm, summed } from "./combination.ts";
import type { Entry } from "./entry.ts";
import type { Found } from "./found.ts";
import type { LinearShape } from "./method.ts";
import { naming } from "./naming.ts";
import type { FullBank, Holding, Lease, Placeable, Residents } from "./residents.ts";

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
  #full: { readonly bank: FullBank; readonly at: number } | undefined;

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
      const { method, digest, modules, own } = await naming(id, entry.adapter());
      return { id, scale, method, digest, modules, hasOwn: own !== undefined };
    }));
    checkAdds(terms);
    for (const group of groupsOf(terms)) {
      if (!this.#isThere(group)) this.#made.set(group.digest, await this.#sum(group));
    }
    this.#read = terms.map(({ modules: _, ...known }) => known);
  }

  /** As {@linkcode Found.hold}; throws CombinationError for adapters that cannot be added up, or a sum that is too large. */
  hold(full?: Set<FullBank>): Holding | "unread" | "full" {
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
        if (!("full" in lease)) {
          leases.set(group, lease);
          continue;
        }
        release();
        this.#full = { bank: lease.full, at: this.deps.residents.releases };
        return "full";
      }
    } catch (error) {
      release();
      throw error;
    }
    const placed = groups.flatMap((group) => leases.get(group)!.placed);
    return { id: this.id, placed, digest: groups.map(({ digest }) => digest).join(" and "), release };
  }

  whyFull(): string {
    return this.deps.residents.whyFull(`adapters "${this.id}"`, this.#full!.bank);
  }

  /** The adapters as far as they are known without reading; undefined where one was never read. */
  #known(): readonly KnownTerm[] | undefined {
    if (this.#read) return this.#read;
    const known: KnownTerm[] = [];
    for (const { id, scale, entry } of this.terms) {
      const { method, digest, hasOwn } = entry.known ?? {};
      if (!method || "load" in method || digest === undefined || hasOwn === undefined) return undefined;
      known.push({ id, scale, method, digest, hasOwn });
    }
    return known;
  }

  #isThere({ digest }: Pick<Placeable, "digest">): boolean {
    return this.deps.residents.has(digest);
  }

  /** Holds a part that is on the device, or was made; while there is no room, the bank that has none. */
  #holdPart(group: Group<KnownTerm>, full?: Set<FullBank>): Lease | { readonly full: FullBank } {
    const { residents } = this.deps;
    const held = residents.hold(this.id, group.digest);
    if (held) return held;
    const bank = residents.bankOf(this.id, group);
    const triedSince = this.#full?.bank === bank && this.#full.at === residents.releases;
    const placed = full?.has(bank) || triedSince
      ? { full: bank }
      : this.#place(this.#made.get(group.digest)!);
    if ("full" in placed) full?.add(placed.full);
    return placed;
  }

  #place(part: Placeable): Lease | { readonly full: FullBank } {
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
