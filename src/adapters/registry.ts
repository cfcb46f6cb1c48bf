/**
 * Adapters by name: found in a store, read once, put on a device when used, taken off when others need the room.
 *
 * @module
 */
import { widen } from "../../kernels/half.ts";
import { baseOptions } from "./base_options.ts";
import { breathe } from "../breathe.ts";
import type { Device } from "../device/device.ts";
import { ConfigError, NotFoundError, OverloadedError } from "../errors.ts";
import type { HostTensor } from "../tensor.ts";
import { orAborted } from "../abandon.ts";
import type { LinearModule } from "./alone.ts";
import type { AdaptedLinear } from "./apply.ts";
import type { Bank, Linear } from "./bank.ts";
import { Catalog, type Listed } from "./catalog.ts";
import { type CopyFault, withoutCopies } from "./copies.ts";
import { type AdapterTerm, checkedTerms, maxTerms } from "./combination.ts";
import { type Found, FoundAdapter } from "./found.ts";
import type { AdapterModule, LinearShape } from "./method.ts";
import { lazyMethods } from "./methods/lazy.ts";
import { naming } from "./naming.ts";
import { normalName } from "./names.ts";
import type { OwnBank } from "./own_bank.ts";
import { type OwnBase, ownChanges, readOnce } from "./own_changes.ts";
import type { Parameter } from "./parameters.ts";
import type { LoadedAdapter, LoadOptions } from "./peft.ts";
import { type BaseOf, madeReady } from "./ready.ts";
import { type Holding, type Lease, type Placeable, Residents } from "./residents.ts";
import type { AdapterCard, AdapterPage, AdapterService, AdapterStats, PageOptions } from "./service.ts";
import type { AdapterStore } from "./store.ts";

export type { AdapterTerm } from "./combination.ts";
export type { Found, FoundAdapter } from "./found.ts";
export type { FullBank, Holding, Lease } from "./residents.ts";
export type { AdapterStore, LeftOut, OpenStoredOptions, StoredAdapter } from "./store.ts";

/** How a registry is set up. */
export interface RegistryOptions extends LoadOptions {
  /** The base model's linears; empty for a registry that only applies single modules. */
  readonly linears?: readonly Linear[];
  /** The base model's linears as products, for adapters that act on its weights; without it those are refused. */
  readonly base?: BaseOf;
  /** The base model's parameters that adapters may have their own of; those of others are refused. */
  readonly parameters?: readonly Parameter[];
  /** Replaced parameters that the registry's user puts in place: it neither checks them nor loads them. */
  readonly isOthers?: (parameter: string) => boolean;
  /** Compares copies of base weights in adapters' files; without it they are not looked at. */
  readonly copyFault?: CopyFault;
  /** Adapters of one method on the device at most; default 256. */
  readonly capacity?: number;
  /**
   * Bytes of whole embeddings and heads of adapters on the device at most: 1 GiB by default on a GPU, 256 MiB on a CPU.
   */
  readonly tableBytes?: number;
  /** Names of adapters that stay on the device; shared where a model is opened again. */
  readonly pins?: Set<string>;
  readonly log?: (line: string) => void;
}

/** Modules are checked for so long before other work has its turn: some fold many numbers. */
const breathAfterMs = 20;

const defaultTableBytes = { webgpu: 2 ** 30, cpu: 2 ** 28 } as const;

/** A stored adapter that does not fit its base is a broken one, whoever asks, and no fault of a request. */
function checkFit(module: AdapterModule, path: string, shape: LinearShape): void {
  try {
    module.check(path, shape);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new ConfigError(error.message, { cause: error });
  }
}

/** See the module's documentation. */
export class AdapterRegistry implements AdapterService {
  readonly #catalog: Catalog;
  readonly #residents: Residents;
  readonly #linears: ReadonlyMap<string, LinearShape>;
  readonly #base: BaseOf;
  readonly #ownBase: OwnBase;
  readonly #isOthers: (parameter: string) => boolean;
  /** Sums of adapters that are made now, by their digests. */
  readonly #sums = new Map<string, Promise<Placeable>>();
  readonly #pins: Set<string>;
  readonly #capacity: number;

  constructor(private readonly device: Device, store: AdapterStore, options: RegistryOptions = {}) {
    const { linears = [], base = () => undefined, capacity = 256, log, copyFault, ...rest } = options;
    const {
      parameters = [],
      tableBytes = defaultTableBytes[device.kind],
      isOthers = () => false,
      pins = new Set<string>(),
      ...load
    } = rest;
    this.#isOthers = isOthers;
    this.#pins = pins;
    this.#capacity = capacity;
    const { methods = lazyMethods } = load;
    this.#ownBase = { parameters, read: readOnce(async (t) => widen(await device.read(t), t.dtype)) };
    this.#linears = new Map(linears.map(({ path, shape }) => [path, shape]));
    const holds = { linears, parameters, capacity, tableBytes, mostTerms: maxTerms };
    this.#residents = new Residents(device, { methods, ...holds });
    this.#base = base;
    this.#catalog = new Catalog(store, {
      load: linears.length === 0 ? load : { ...load, ...baseOptions(linears) },
      check: async (adapter) => {
        await this.#check(adapter);
        const own = await withoutCopies(adapter, copyFault);
        return linears.length === 0 ? own : await this.#ready(own);
      },
      log,
    });
  }

  /** One bank for each method; of methods that take scales one for each adapter of a row. */
  get banks(): readonly Bank[] {
    return this.#residents.banks;
  }

  /** Own parameters of adapters of any method. */
  get own(): OwnBank | undefined {
    return this.#residents.own;
  }

  /** Names that may be adapters, sorted, without a look at their files. */
  async names(): Promise<readonly string[]> {
    return await this.#catalog.names();
  }

  linear(module: string): LinearShape | undefined {
    return this.#linears.get(module);
  }

  async list(): Promise<readonly AdapterCard[]> {
    return (await this.#catalog.list()).map((listed) => this.#card(listed));
  }

  async page(options: PageOptions): Promise<AdapterPage> {
    const listed = await this.#catalog.page(options);
    return {
      cards: listed.slice(0, options.limit).map((one) => this.#card(one)),
      hasMore: listed.length > options.limit,
    };
  }

  async card(id: string): Promise<AdapterCard> {
    const entry = await this.#catalog.entry(id);
    const name = normalName(id);
    return this.#card({ id: name, entry, facts: await naming(name, entry.facts()) });
  }

  async modules(id: string): Promise<readonly string[]> {
    return [...(await this.load(id)).modules.keys()];
  }

  async module(id: string, path: string): Promise<LinearModule> {
    const { method, module, shape } = await this.#module(id, { path });
    return { method, module, shape };
  }

  async apply(
    id: string,
    module: string,
    { x, y, shape }: { readonly x: HostTensor; readonly y?: HostTensor; readonly shape?: LinearShape },
  ): Promise<HostTensor> {
    const found = await this.#module(id, { path: module, shape }),
      { applyModule } = await import("./apply.ts");
    return await applyModule(this.device, found, { x, y });
  }

  async delta(id: string, module: string, shape?: LinearShape): Promise<HostTensor> {
    const { deltaOf } = await import("./apply.ts");
    return await deltaOf(this.device, await this.#module(id, { path: module, shape }));
  }

  /**
   * The adapter's checked modules; read once for each version of its files, and again if they were not in use since.
   *
   * @throws NotFoundError; ConfigError for broken files, and when it does not fit the base model.
   */
  async load(id: string): Promise<LoadedAdapter> {
    return await naming(normalName(id), (await this.#catalog.entry(id)).adapter());
  }

  /**
   * Looks an adapter up, or several that are added up, to read and hold them when there is room.
   *
   * @param options.askedMs A look that began since then is new enough, in ms by `performance.now()`; default: a new look.
   * @throws NotFoundError when there is none of that name; CombinationError for a list that breaks a rule.
   */
  find(id: string, options?: { readonly askedMs?: number }): Promise<FoundAdapter>;
  find(asked: string | readonly AdapterTerm[], options?: { readonly askedMs?: number }): Promise<Found>;
  async find(
    asked: string | readonly AdapterTerm[],
    { askedMs }: { readonly askedMs?: number } = {},
  ): Promise<Found> {
    if (typeof asked === "string") return await this.#findOne(asked, askedMs);
    const terms = checkedTerms(asked);
    if (terms.length === 1 && terms[0].scale === 1) return await this.#findOne(terms[0].id, askedMs);
    const found = await Promise.all(terms.map(async ({ id, scale }) => {
      return { id, scale, entry: await this.#catalog.entry(id, { askedMs }) };
    }));
    const { FoundCombination } = await import("./found_combination.ts");
    return new FoundCombination(found, {
      residents: this.#residents,
      sums: this.#sums,
      // Modules were checked when they were read: each has its linear.
      shapeOf: (path) => this.#linears.get(path)!,
    });
  }

  async #findOne(id: string, askedMs?: number): Promise<FoundAdapter> {
    const name = normalName(id);
    return new FoundAdapter(name, await this.#catalog.entry(id, { askedMs }), this.#residents, {
      onHold: (digest) => {
        if (this.#pins.has(name)) this.#residents.pin(name, digest);
      },
    });
  }

  stats(): AdapterStats {
    const { count, seconds } = this.#catalog.loaded;
    return { ...this.#residents.stats, capacity: this.#capacity, loads: count, loadSeconds: seconds };
  }

  async preload(id: string): Promise<void> {
    // Without a base there is no device's bank to put it into.
    if (this.#linears.size === 0) await this.load(id);
    else (await this.acquire(id)).release();
  }

  async unload(id: string): Promise<void> {
    const digest = (await this.#catalog.entry(id)).known?.digest;
    if (digest !== undefined) this.#residents.unload(normalName(id), digest);
  }

  async pin(id: string, pinned: boolean): Promise<void> {
    const name = normalName(id);
    if (!pinned) {
      this.#pins.delete(name);
      this.#residents.unpin(name);
      return;
    }
    await this.#catalog.entry(id);
    const had = this.#pins.has(name);
    this.#pins.add(name);
    try {
      await this.preload(id);
    } catch (error) {
      if (!had) await this.pin(id, false);
      throw error;
    }
  }

  /**
   * Holds an adapter on the device, or several that are added up.
   *
   * @param options.signal Aborting it gives up at once; nothing is held then. Reading goes on for whoever else waits.
   * @throws as {@linkcode load} and {@linkcode find}, and the signal's reason; OverloadedError when every slot is in use.
   */
  acquire(id: string, options?: { readonly signal?: AbortSignal }): Promise<Lease>;
  acquire(asked: readonly AdapterTerm[], options?: { readonly signal?: AbortSignal }): Promise<Holding>;
  async acquire(
    asked: string | readonly AdapterTerm[],
    { signal }: { readonly signal?: AbortSignal } = {},
  ): Promise<Holding> {
    const found = await orAborted(this.find(asked), signal);
    for (;;) {
      const lease = found.hold();
      if (lease === "full") throw new OverloadedError(found.whyFull());
      if (lease !== "unread") return lease;
      await orAborted(found.read(), signal);
    }
  }

  #card({ id, entry, facts }: Listed): AdapterCard {
    const { method, sizeBytes, digest } = facts;
    return {
      id,
      peftType: method.peftType,
      sizeBytes,
      digest,
      resident: digest !== undefined && this.#residents.has(digest),
      ...(this.#pins.has(id) ? { pinned: true } : {}),
      createdUnixSeconds: entry.createdUnixSeconds,
    };
  }

  /** An adapter made ready for the device. */
  async #ready(adapter: LoadedAdapter): Promise<LoadedAdapter> {
    const ready = await madeReady(this.device, adapter, this.#base);
    const replacements = new Map([...adapter.replacements].filter(([name]) => !this.#isOthers(name)));
    const own = await ownChanges({ ...adapter, replacements }, this.#ownBase);
    return own ? { ...ready, own } : ready;
  }

  async #check(adapter: LoadedAdapter): Promise<void> {
    if (this.#linears.size === 0) return;
    let sinceMs = performance.now();
    for (const [path, module] of adapter.modules) {
      const shape = this.#linears.get(path);
      if (!shape) {
        throw new ConfigError(`Cannot use adapter module "${path}": the base model has no such linear layer`);
      }
      checkFit(module, path, shape);
      if (performance.now() - sinceMs < breathAfterMs) continue;
      await breathe();
      sinceMs = performance.now();
    }
  }

  async #module(
    id: string,
    { path, shape }: { path: string; shape?: LinearShape },
  ): Promise<AdaptedLinear> {
    const adapter = await this.load(id);
    const module = adapter.modules.get(path);
    if (!module) throw new NotFoundError(`Cannot find module "${path}" in adapter "${id}"`);
    const known = this.#linears.get(path);
    if (known && shape && (known.out !== shape.out || known.in !== shape.in)) {
      throw new RangeError(
        `Cannot use shape ${shape.out}x${shape.in} for module "${path}": the base model's is ${known.out}x${known.in}`,
      );
    }
    const used = known ?? shape;
    if (!used) {
      throw new RangeError(`Cannot tell the shape of module "${path}": no base model is loaded, give OUTxIN`);
    }
    module.check(path, used);
    return { path, method: adapter.method, module, shape: used, base: this.#base(path) };
  }
}
