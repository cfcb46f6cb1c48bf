/**
 * Opens what `--adapter` and `--adapters` arguments name, as stores of adapters.
 *
 * @module
 */
import { isAdapterName, nameFault, normalName } from "../adapters/names.ts";
import { RecentStore } from "../adapters/recent_store.ts";
import type { AdapterStore } from "../adapters/store.ts";
import type { ObjectStoreOptions } from "../adapters/object_store.ts";
import { ConfigError } from "../errors.ts";
import { openAdapterStore, openSingleAdapter, storeOfAdapter } from "../runtime/adapter_store.ts";
import { openObjectStore, type StorageOptions } from "../runtime/object_storage.ts";
import { UsageError } from "./arguments.ts";
import { isHubName, openNamedFolder } from "./folder.ts";

/** A store of one adapter, and its name there. */
interface Named {
  readonly store: AdapterStore;
  readonly id: string;
}

/**
 * Opens one adapter: a folder, or `org/name[@revision]` of the hub.
 *
 * @throws ConfigError when there is none.
 */
export async function openNamedAdapter(text: string): Promise<Named> {
  if (!await isHubName(text)) return await openSingleAdapter(text);
  return await storeOfAdapter(await openNamedFolder(text), text.split("@")[0].split("/")[1]);
}

/** Opens `DIR` or `ID=DIR`. */
async function openAs(text: string): Promise<Named> {
  const [, id, rest] = /^([^=/\\]+)=(.+)$/s.exec(text) ?? [];
  if (id === undefined) return await openNamedAdapter(text);
  const name = normalName(id);
  if (!isAdapterName(name)) {
    throw new ConfigError(`Cannot use --adapter ${JSON.stringify(text)}: ${nameFault(name)}`);
  }
  const { store, id: own } = await openNamedAdapter(rest);
  return {
    id: name,
    store: {
      list: () => Promise.resolve([name]),
      open: (asked, options) => asked === name ? store.open(own, options) : Promise.resolve(undefined),
    },
  };
}

/** A store of objects, and how it is asked. */
interface NamedStore {
  readonly storage: string | StorageOptions;
  readonly options: ObjectStoreOptions;
}

/** Where the adapters of a server are from. */
interface From {
  readonly folder?: string;
  readonly followLinks?: boolean;
  readonly store?: NamedStore;
  /** Seconds after which folders are looked at again, 1 by default; a store of objects has its own. */
  readonly ttlSeconds?: number;
}

/** The adapters of a folder, or of a store of objects. */
async function openMany(
  { folder, followLinks, store, ttlSeconds }: Required<Pick<From, "ttlSeconds">> & From,
): Promise<AdapterStore | undefined> {
  if (folder !== undefined && store) {
    throw new UsageError("Cannot use --adapters together with --store: adapters come from one of the two");
  }
  if (store) return await openObjectStore(store.storage, store.options);
  if (folder === undefined) return undefined;
  return new RecentStore(await openAdapterStore(folder, { followLinks }), { ttlSeconds });
}

/**
 * Opens the adapters of a server: those of a folder or a store, and single ones, which come first.
 *
 * @throws ConfigError where one cannot be opened, or two single ones have one name; UsageError for a folder and a store.
 */
export async function openNamedAdapters(
  { single = [], ttlSeconds = 1, ...from }: From & { readonly single?: readonly string[] },
): Promise<AdapterStore | undefined> {
  const many = await openMany({ ...from, ttlSeconds });
  const byName = new Map<string, AdapterStore>();
  for (const text of single) {
    const { id, store } = await openAs(text);
    if (byName.has(id)) {
      throw new ConfigError(`Cannot serve two adapters of the name "${id}": ID=DIR gives another`);
    }
    byName.set(id, new RecentStore(store, { ttlSeconds }));
  }
  if (byName.size === 0) return many;
  return {
    list: async () => [...byName.keys(), ...(await many?.list() ?? []).filter((id) => !byName.has(id))],
    leftOut: () => many?.leftOut?.() ?? [],
    open: async (id, options) => await (byName.get(id) ?? many)?.open(id, options),
    changed: (id) => (byName.get(id) ?? many)?.changed?.(id),
  };
}
