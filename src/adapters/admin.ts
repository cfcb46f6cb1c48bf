/**
 * What an operator does with adapters while they are served: load, unload, pin.
 *
 * @module
 */
import { BrokenAdapterError, NameTakenError, NotFoundError, OverloadedError, StoreError } from "../errors.ts";
import type { AdapterChange } from "./change.ts";
import type { ManagedStore } from "./managed_store.ts";
import { normalName, quotedName } from "./names.ts";
import type { AdapterCard, AdapterService } from "./service.ts";
import type { SentFiles } from "./uploads.ts";

/** See the module's documentation. Changes are made one after the other. */
export class AdapterAdmin {
  #last: Promise<unknown> = Promise.resolve();

  /**
   * @param adapters Serves the adapters of `store`.
   * @param options.tell Takes each change that other servers have to make, too, once it is made here.
   */
  constructor(
    private readonly store: ManagedStore,
    private readonly adapters: AdapterService,
    private readonly options: { readonly tell?: (change: AdapterChange) => void } = {},
  ) {}

  /** Whether an adapter is served by that name. */
  async has(name: string): Promise<boolean> {
    try {
      await this.adapters.card(name);
      return true;
    } catch (error) {
      if (error instanceof NotFoundError) return false;
      // It is there, and broken.
      return true;
    }
  }

  /**
   * Serves an adapter of the store by a name, and puts it on the device if there is room. Whoever uses another adapter of
   * that name goes on with that.
   *
   * @param key The adapter's name in the store; by default the same.
   * @param options Without `replace`, which is true by default, a name that is served stays as it is.
   * @throws NameTakenError for such a name; NotFoundError when the store has no such adapter; ConfigError, SafetensorsError when its files are broken;
   * RangeError for a name that no adapter may have. Nothing has changed then.
   */
  async load(
    name: string,
    key: string = name,
    { replace = true }: { readonly replace?: boolean } = {},
  ): Promise<AdapterCard> {
    return await this.#inTurn(async () => {
      // Looked at in its turn: of two loads of a name at once the second must see the first.
      if (!replace && await this.has(name)) {
        throw new NameTakenError(`Cannot load adapter ${quotedName(name)}: it is served already`);
      }
      const card = await this.#load(name, key);
      this.options.tell?.({ kind: "loaded", name: normalName(name), source: normalName(key) });
      return card;
    });
  }

  async #load(name: string, key: string): Promise<AdapterCard> {
    return await this.#change(name, () => this.store.add(name, key, (tried) => this.#check(key, tried)));
  }

  /**
   * Makes a change that another server told of.
   *
   * @throws as {@linkcode load}; nothing where there is nothing to unload.
   */
  async follow(change: AdapterChange): Promise<void> {
    await this.#inTurn(async () => {
      const { kind, name } = change;
      if (kind === "published") this.store.changed(name);
      else if (kind === "loaded") await this.#load(name, change.source);
      else await this.#unloadAnyway(name);
    });
  }

  /**
   * As {@linkcode load}, of files that somebody sent: `adapter_config.json` and `adapter_model.safetensors`. They stay in
   * memory until the name stands for another adapter, or for none.
   *
   * @throws as `load`; OverloadedError where such files have no more room.
   */
  async send(name: string, files: SentFiles): Promise<AdapterCard> {
    return await this.#inTurn(() =>
      this.#change(name, () => this.store.send(name, files, (tried) => this.#check(name, tried)))
    );
  }

  /** Changes what a name stands for, and takes the change back where the adapter cannot be used. */
  async #change(name: string, change: () => Promise<() => void>): Promise<AdapterCard> {
    try {
      // What is broken must show now, and nobody else may meet it.
      const undo = await change();
      try {
        return await this.#ready(name);
      } catch (error) {
        undo();
        throw error;
      }
    } finally {
      this.store.forget();
    }
  }

  /** Reads the adapter of a key by the name that it is tried by, which no message may have. */
  async #check(key: string, tried: string): Promise<void> {
    try {
      await this.adapters.modules(tried);
    } catch (error) {
      throw error instanceof BrokenAdapterError ? new BrokenAdapterError(key, error.fault) : error;
    }
  }

  /** Puts an adapter on the device if there is room, or reads it: its digest is known then. */
  async #ready(name: string): Promise<AdapterCard> {
    await this.adapters.preload?.(name).catch((error) => {
      if (!(error instanceof OverloadedError)) throw error;
    });
    await this.adapters.modules(name);
    return await this.adapters.card(name);
  }

  /**
   * Serves nothing by that name any more. Who uses the adapter goes on; then it leaves the device.
   *
   * @throws NotFoundError when there is none of that name.
   */
  async unload(name: string): Promise<void> {
    await this.#inTurn(async () => {
      if (!await this.has(name)) throw new NotFoundError(`Cannot find adapter "${normalName(name)}"`);
      await this.#unload(name);
      this.options.tell?.({ kind: "unloaded", name: normalName(name) });
    });
  }

  /** A server that never had the adapter, or whose store is away, must not serve it later. */
  async #unloadAnyway(name: string): Promise<void> {
    try {
      await this.#unload(name);
    } catch (error) {
      if (!(error instanceof NotFoundError || error instanceof StoreError)) throw error;
      this.store.remove(name);
      this.store.forget();
    }
  }

  async #unload(name: string): Promise<void> {
    await this.adapters.pin?.(name, false);
    await this.adapters.unload?.(name);
    this.store.remove(name);
    this.store.forget();
  }

  /**
   * Keeps an adapter on the device, or no longer.
   *
   * @throws NotFoundError; ConfigError for broken files; OverloadedError when what is in use takes all the room.
   */
  async pin(name: string, pinned: boolean): Promise<AdapterCard> {
    return await this.#inTurn(async () => {
      await this.adapters.card(name);
      await this.adapters.pin?.(name, pinned);
      return await this.adapters.card(name);
    });
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work, work);
    this.#last = done.catch(() => {});
    return await done;
  }
}
