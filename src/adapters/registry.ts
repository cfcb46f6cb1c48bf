/**
 * Adapters by name: found in a store, read once, put on a device when used, taken off when others need the room.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import { ConfigError, NotFoundError, OverloadedError } from "../errors.ts";
import type { ReadableFolder } from "../folder.ts";
import type { HostTensor } from "../tensor.ts";
import { applyModule, deltaOf } from "./apply.ts";
import { Bank, type Linear } from "./bank.ts";
import { type CopyFault, withoutCopies } from "./copies.ts";
import { Entry } from "./entry.ts";
import type { AdapterModule, LinearShape, Method } from "./method.ts";
import { methods } from "./methods/mod.ts";
import { loadAdapter, type LoadedAdapter, type LoadOptions } from "./peft.ts";
import type { AdapterCard, AdapterService } from "./service.ts";

/** An adapter's folder, and a text that changes when its files do. */
export interface StoredAdapter {
  readonly folder: ReadableFolder;
  readonly version: string;
  readonly modifiedUnixSeconds: number;
}

/** Where adapters are found by name: a folder of folders, a bucket, a map. */
export interface AdapterStore {
  /** Names of everything that may be an adapter. */
  list(): Promise<readonly string[]>;
  /** The adapter of that name; undefined when there is none. */
  open(id: string): Promise<StoredAdapter | undefined>;
}

/** An adapter held on the device; its slot stays its own until `release`. */
export interface Lease {
  readonly id: string;
  readonly bank: Bank;
  readonly slot: number;
  release(): void;
}

/** How a registry is set up. */
export interface RegistryOptions extends LoadOptions {
  /** The base model's linears; empty for a registry that only applies single modules. */
  readonly linears?: readonly Linear[];
  /** Compares copies of base weights in adapters' files; without it they are not looked at. */
  readonly copyFault?: CopyFault;
  /** Adapters of one method on the device at most; default 256. */
  readonly capacity?: number;
  readonly log?: (line: string) => void;
}

interface Resident {
  readonly bank: Bank;
  readonly slot: number;
  users: number;
}

/** Names an adapter may have; they are folder names, never paths. */
export const adapterName = /^[a-z0-9][a-z0-9._-]{0,63}$/;

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
  readonly #entries = new Map<string, Entry>();
  /** By digest, least recently used first. */
  readonly #residents = new Map<string, Resident>();
  /** Why adapters are left out, by id. */
  readonly #told = new Map<string, string>();
  readonly #banks: ReadonlyMap<Method, Bank>;
  readonly #linears: ReadonlyMap<string, LinearShape>;

  constructor(
    private readonly device: Device,
    private readonly store: AdapterStore,
    private readonly options: RegistryOptions = {},
  ) {
    const { linears = [], capacity = 256 } = options;
    this.#linears = new Map(linears.map(({ path, shape }) => [path, shape]));
    this.#banks = new Map(
      linears.length === 0
        ? []
        : methods.map((method) => [method, new Bank(device, method, { linears, capacity })]),
    );
  }

  /** One bank for each method. */
  get banks(): readonly Bank[] {
    return [...this.#banks.values()];
  }

  linear(module: string): LinearShape | undefined {
    return this.#linears.get(module);
  }

  async list(): Promise<readonly AdapterCard[]> {
    const ids = (await this.store.list()).filter((id) => adapterName.test(id)).sort();
    const cards = await Promise.all(ids.map(async (id) => {
      try {
        return await this.#describe(id);
      } catch (error) {
        this.#logOnce(id, error as Error);
        return undefined;
      }
    }));
    return cards.filter((card) => card !== undefined);
  }

  /** Tells once of an adapter that cannot be read, and again when the reason is another. */
  #logOnce(id: string, error: Error): void {
    if (error instanceof NotFoundError || this.#told.get(id) === error.message) return;
    this.#told.set(id, error.message);
    this.options.log?.(`adapter "${id}" is left out: ${error.message}`);
  }

  async card(id: string): Promise<AdapterCard> {
    return await this.#describe(id);
  }

  async modules(id: string): Promise<readonly string[]> {
    return [...(await this.load(id)).modules.keys()];
  }

  async apply(
    id: string,
    module: string,
    { x, y, shape }: { readonly x: HostTensor; readonly y?: HostTensor; readonly shape?: LinearShape },
  ): Promise<HostTensor> {
    const found = await this.#module(id, { path: module, shape });
    return await applyModule(this.device, found, { x, y });
  }

  async delta(id: string, module: string, shape?: LinearShape): Promise<HostTensor> {
    return await deltaOf(this.device, await this.#module(id, { path: module, shape }));
  }

  /**
   * The adapter's checked modules; read once for each version of its files, and again if they were not in use since.
   *
   * @throws NotFoundError; ConfigError for broken files, and when it does not fit the base model.
   */
  async load(id: string): Promise<LoadedAdapter> {
    return await (await this.#entry(id)).adapter();
  }

  /**
   * Holds an adapter on the device.
   *
   * @throws as {@linkcode load}; OverloadedError when every slot is in use.
   */
  async acquire(id: string): Promise<Lease> {
    const entry = await this.#entry(id);
    let { digest } = await entry.facts();
    let resident = this.#residents.get(digest);
    if (!resident) {
      const adapter = await entry.adapter();
      // Read again, the files may be other ones by now.
      digest = adapter.digest;
      // Someone else may have placed it meanwhile.
      resident = this.#residents.get(digest) ?? this.#place(id, adapter);
    }
    this.#residents.delete(digest);
    this.#residents.set(digest, resident);
    resident.users++;
    let held = true;
    return {
      id,
      bank: resident.bank,
      slot: resident.slot,
      release: () => {
        if (held) resident.users--;
        held = false;
      },
    };
  }

  async #describe(id: string): Promise<AdapterCard> {
    const entry = await this.#entry(id);
    const { method, sizeBytes, digest } = await entry.facts();
    return {
      id,
      peftType: method.peftType,
      sizeBytes,
      digest,
      resident: this.#residents.has(digest),
      createdUnixSeconds: entry.createdUnixSeconds,
    };
  }

  async #entry(id: string): Promise<Entry> {
    const stored = adapterName.test(id) ? await this.store.open(id) : undefined;
    if (!stored) {
      this.#entries.delete(id);
      throw new NotFoundError(`Cannot find adapter "${id}"`);
    }
    const known = this.#entries.get(id);
    if (known?.version === stored.version) return known;
    const { version, modifiedUnixSeconds } = stored;
    const entry = new Entry(version, modifiedUnixSeconds, () => this.#read(id, stored));
    this.#entries.set(id, entry);
    return entry;
  }

  /** Reads an adapter; again when files were replaced meanwhile: it may have read an old one and a new one. */
  async #read(id: string, stored: StoredAdapter): Promise<LoadedAdapter> {
    const [read] = await Promise.allSettled([this.#readOnce(stored.folder)]);
    const now = await this.store.open(id);
    if (now && now.version !== stored.version) {
      this.#forget(id, stored.version);
      return await this.load(id);
    }
    if (read.status === "rejected") throw read.reason;
    return read.value;
  }

  async #readOnce(folder: ReadableFolder): Promise<LoadedAdapter> {
    const adapter = this.#checked(await loadAdapter(folder, this.options));
    return await withoutCopies(adapter, this.options.copyFault ?? (() => Promise.resolve(undefined)));
  }

  #forget(id: string, version: string): void {
    if (this.#entries.get(id)?.version === version) this.#entries.delete(id);
  }

  #checked(adapter: LoadedAdapter): LoadedAdapter {
    if (this.#linears.size === 0) return adapter;
    for (const [path, module] of adapter.modules) {
      const shape = this.#linears.get(path);
      if (!shape) {
        throw new ConfigError(`Cannot use adapter module "${path}": the base model has no such linear layer`);
      }
      checkFit(module, path, shape);
    }
    return adapter;
  }

  #place(id: string, adapter: LoadedAdapter): Resident {
    const bank = this.#banks.get(adapter.method);
    if (!bank) throw new ConfigError(`Cannot put adapter "${id}" on the device: no base model is loaded`);
    let slot = bank.load(adapter.modules);
    while (slot === undefined) {
      this.#evict(id, bank);
      slot = bank.load(adapter.modules);
    }
    return { bank, slot, users: 0 };
  }

  #evict(id: string, bank: Bank): void {
    for (const [digest, resident] of this.#residents) {
      if (resident.bank !== bank || resident.users > 0) continue;
      this.#residents.delete(digest);
      bank.unload(resident.slot);
      return;
    }
    throw new OverloadedError(
      `Cannot load adapter "${id}": ${bank.size} ${bank.method.peftType} adapters in use take all slots or all the room`,
    );
  }

  async #module(
    id: string,
    { path, shape }: { path: string; shape?: LinearShape },
  ): Promise<{ method: Method; module: AdapterModule; shape: LinearShape }> {
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
    return { method: adapter.method, module, shape: used };
  }
}
