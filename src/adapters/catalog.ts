/**
 * What is known of the adapters of a store, by name: an entry for the newest version that was seen of each.
 *
 * @module
 */
import { NotFoundError } from "../errors.ts";
import { forEachAtMost } from "./at_most.ts";
import { type AdapterFacts, describeAdapter, factsOf } from "./describe.ts";
import { Entry } from "./entry.ts";
import { nameFault, normalName, quotedName } from "./names.ts";
import { loadAdapter, type LoadedAdapter, type LoadOptions } from "./peft.ts";
import type { PageOptions } from "./service.ts";
import type { AdapterStore, OpenStoredOptions, StoredAdapter } from "./store.ts";

/** Adapters looked at together: new ones that are waited for, and known ones. */
const atOnce = 32, againAtOnce = 8;

/** A list waits so long for known adapters to be looked at again; then it says what was known before. */
const patienceMs = 30;

/** Looking takes at most one part of so many of the time, where it takes longer than a list waits. */
const restFactor = 10;

/** What a name was when it was last looked at; later looks have higher numbers. */
interface Seen {
  readonly look: number;
  /** When the look began, by `performance.now()`. */
  readonly beganMs: number;
  /** Absent when there was no adapter. */
  readonly entry?: Entry;
}

/** An adapter of a list. */
export interface Listed {
  readonly id: string;
  readonly entry: Entry;
  readonly facts: AdapterFacts;
}

/** How a catalog is set up. */
export interface CatalogOptions {
  readonly load: LoadOptions;
  /** Checks an adapter that was read, and gives what is kept of it; throws when it cannot be used. */
  readonly check: (adapter: LoadedAdapter) => Promise<LoadedAdapter>;
  readonly log?: (line: string) => void;
}

/** The place of the first name after a name, among sorted ones. */
function firstAfter(names: readonly string[], after: string): number {
  let low = 0, high = names.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (names[middle] > after) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** See the module's documentation. */
export class Catalog {
  readonly #seen = new Map<string, Seen>();
  #looks = 0;
  /** Names of the last list. */
  #names: ReadonlySet<string> = new Set();
  #lastList: { readonly found: readonly string[]; readonly names: readonly string[] } | undefined;
  /** Why names are left out, as it was told. */
  readonly #told = new Map<string, string>();
  #listing: Promise<readonly Listed[]> | undefined;
  #looking: Promise<void> | undefined;
  #lastLook = { tookMs: 0, endedMs: -Infinity };
  /** Adapters that were read and checked, and how long that took together. */
  readonly loaded = { count: 0, seconds: 0 };

  constructor(private readonly store: AdapterStore, private readonly options: CatalogOptions) {}

  /**
   * The newest version of an adapter.
   *
   * @param options.askedMs What a look saw that began since then is new enough; by default a look that begins now.
   * @throws NotFoundError when there is none of that name, or no adapter may have it.
   */
  async entry(
    name: string,
    { askedMs = Infinity, ...options }: OpenStoredOptions & { readonly askedMs?: number } = {},
  ): Promise<Entry> {
    const id = normalName(name), known = this.#seen.get(id);
    if (known?.entry && known.beganMs >= askedMs) return known.entry;
    const look = ++this.#looks, beganMs = performance.now();
    const stored = nameFault(id) === undefined ? await this.store.open(id, options) : undefined;
    const seen = this.#seen.get(id);
    // Looks may end in another order than they began: the later one saw more.
    const entry = seen && seen.look > look ? seen.entry : this.#note(id, { look, beganMs, stored });
    if (!entry) throw new NotFoundError(`Cannot find adapter "${name}"`);
    return entry;
  }

  #note(
    id: string,
    { look, beganMs, stored }: Omit<Seen, "entry"> & { readonly stored?: StoredAdapter },
  ): Entry | undefined {
    const known = this.#seen.get(id)?.entry;
    const entry = stored && (known?.version === stored.version ? known : this.#entryOf(id, stored));
    // Any name may be asked for; that it is missing is remembered of those that the store itself names. Nobody asks again
    // by a name that an adapter was tried by.
    const kept = (entry && stored?.triedAs === undefined) || this.#names.has(id);
    if (kept) this.#seen.set(id, { look, beganMs, entry });
    else this.#seen.delete(id);
    return entry;
  }

  #entryOf(id: string, stored: StoredAdapter): Entry {
    const { version, modifiedUnixSeconds, folder, described, triedAs } = stored;
    const { load, check } = this.options;
    return new Entry(version, modifiedUnixSeconds, {
      isDescribed: described !== undefined,
      read: async () => {
        const beganMs = performance.now();
        const [read] = await Promise.allSettled([loadAdapter(folder, load).then(check)]);
        this.loaded.count++;
        this.loaded.seconds += (performance.now() - beganMs) / 1000;
        // What was read while files were replaced may be neither the old adapter nor the new one.
        const now = await this.entry(id, { anew: true });
        if (now.version !== version) return await now.adapter();
        if (read.status === "fulfilled") return read.value;
        // Its header was right, so that lists had it: who asks is told, and so is the log.
        const { message } = read.reason as Error;
        if (triedAs === undefined) this.#tell(id, message);
        else this.options.log?.(`adapter ${quotedName(triedAs)} is not taken: ${message}`);
        throw read.reason;
      },
      describe: async () => {
        if (described) return factsOf(described, load);
        const [read] = await Promise.allSettled([describeAdapter(folder, load)]);
        if (read.status === "fulfilled") return read.value;
        const now = await this.entry(id, { anew: true });
        if (now.version !== version) return await now.facts();
        throw read.reason;
      },
    });
  }

  /** Names that may be adapters, sorted; a line in the log says once of each other one why it is left out. */
  async names(): Promise<readonly string[]> {
    const found = await this.store.list();
    // The very same list that nobody can have changed.
    if (found === this.#lastList?.found && Object.isFrozen(found)) return this.#lastList.names;
    const names = new Set<string>();
    const leftOut = [...this.store.leftOut?.() ?? []];
    for (const name of found) {
      const id = normalName(name);
      const reason = nameFault(id) ??
        (names.has(id) ? "another adapter's name differs only in how its letters are written" : undefined);
      if (reason === undefined) names.add(id);
      else leftOut.push({ name, reason });
    }
    const all = new Set([...names, ...leftOut.map(({ name }) => name)]);
    for (const name of this.#told.keys()) if (!all.has(name)) this.#told.delete(name);
    for (const { name, reason } of leftOut) this.#tell(name, reason);
    this.#lastList = { found, names: [...names].sort() };
    return this.#lastList.names;
  }

  /**
   * Every adapter that can be used, sorted by name. Names are the store's of now, and who comes while a list is made gets
   * the same one. What is known of an adapter is that of now where looking at all of them is quick; where it takes more
   * than a moment, of the last look, and the next one is under way. Failures are remembered until files change.
   */
  async list(): Promise<readonly Listed[]> {
    return await (this.#listing ??= this.#list().finally(() => this.#listing = undefined));
  }

  /** Adapters that can be used, sorted by name, after a name; one more than `limit` where there are more. */
  async page({ after, limit, mayShow = () => true }: PageOptions): Promise<readonly Listed[]> {
    const names = await this.names(), page: Listed[] = [];
    let at = after === undefined ? 0 : firstAfter(names, after);
    while (page.length <= limit && at < names.length) {
      const wanted: string[] = [];
      for (; wanted.length <= limit - page.length && at < names.length; at++) {
        if (mayShow(names[at])) wanted.push(names[at]);
      }
      await forEachAtMost(wanted, atOnce, (id) => this.#look(id));
      page.push(...wanted.flatMap((id) => this.#listed(id) ?? []));
    }
    return page;
  }

  async #list(): Promise<readonly Listed[]> {
    const names = await this.names();
    this.#names = new Set(names);
    for (const id of this.#seen.keys()) if (!this.#names.has(id)) this.#seen.delete(id);
    const isNew = (id: string): boolean => {
      const seen = this.#seen.get(id);
      return !seen || (seen.entry !== undefined && !seen.entry.known && !seen.entry.failure);
    };
    const known = names.filter((id) => !isNew(id));
    await Promise.all([
      forEachAtMost(names.filter(isNew), atOnce, (id) => this.#look(id)),
      this.#lookAgain(known),
    ]);
    return names.flatMap((id) => this.#listed(id) ?? []);
  }

  /** Looks at known names again, and waits for a moment. */
  async #lookAgain(known: readonly string[]): Promise<void> {
    const { tookMs, endedMs } = this.#lastLook;
    const rests = tookMs > patienceMs && performance.now() - endedMs < restFactor * tookMs;
    if (!rests) this.#looking ??= this.#lookAtAll(known).finally(() => this.#looking = undefined);
    if (!this.#looking) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const patience = new Promise<void>((resolve) => timer = setTimeout(resolve, patienceMs));
    await Promise.race([this.#looking, patience]);
    clearTimeout(timer);
  }

  async #lookAtAll(known: readonly string[]): Promise<void> {
    const begin = performance.now();
    await forEachAtMost(known, againAtOnce, (id) => this.#look(id));
    const endedMs = performance.now();
    this.#lastLook = { tookMs: endedMs - begin, endedMs };
  }

  /** Looks at one adapter; what goes wrong is noted where it is listed. */
  async #look(id: string): Promise<void> {
    try {
      await (await this.entry(id)).facts();
    } catch (error) {
      if (!this.#seen.get(id)?.entry && !(error instanceof NotFoundError)) {
        this.#tell(id, (error as Error).message);
      }
    }
  }

  #listed(id: string): Listed | undefined {
    const entry = this.#seen.get(id)?.entry;
    if (!entry) {
      if (!this.#told.has(id)) this.#tell(id, "no adapter_config.json is found in it");
      return undefined;
    }
    const { known: facts, failure } = entry;
    if (failure) this.#tell(id, failure.message);
    if (failure || !facts) return undefined;
    this.#told.delete(id);
    return { id, entry, facts };
  }

  /** Tells once of a name that is left out, and again when the reason is another. */
  #tell(name: string, reason: string): void {
    if (this.#told.get(name) === reason) return;
    this.#told.set(name, reason);
    this.options.log?.(`adapter ${quotedName(name)} is left out: ${reason}`);
  }
}
