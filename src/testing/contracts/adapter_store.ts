/**
 * What a store of adapters must do, as tests for a store of one's own.
 *
 * @module
 */
import type { AdapterStore } from "../../adapters/store.ts";
import type { Files } from "../../training/checkpoint.ts";
import { type DefineTest, holds, type Opened, readWhole, same, sameBytes, text, using } from "./checks.ts";

/** A store with the adapters that a test asked for. */
export interface OpenedAdapterStore extends Opened {
  readonly store: AdapterStore;
  /** Writes an adapter's files, new or in place of the old. Where absent, stores are taken for such as never change. */
  put?(name: string, files: Files): Promise<void>;
  /** Takes an adapter away. */
  remove?(name: string): Promise<void>;
}

const adapterOf = (label: string): Files =>
  new Map([["adapter_config.json", text(`{"label":"${label}"}`)], [
    "adapter_model.safetensors",
    text(label),
  ]]);

const someAdapters: ReadonlyMap<string, Files> = new Map(
  ["one", "Two v2", "drei-ß"].map((name) => [name, adapterOf(name)]),
);

async function hasAdapter(store: AdapterStore, name: string, files: Files): Promise<string> {
  const found = await store.open(name);
  if (!found) throw new Error(`Broken: "${name}" is in the store; open has undefined`);
  for (const [file, expected] of files) {
    sameBytes(await readWhole(found.folder, file), expected, `${file} of "${name}" has its bytes`);
  }
  const { modifiedUnixSeconds } = found;
  holds(
    Number.isInteger(modifiedUnixSeconds) && modifiedUnixSeconds >= 0,
    "modifiedUnixSeconds is whole seconds",
  );
  return found.version;
}

async function listsAdapters({ store }: OpenedAdapterStore): Promise<void> {
  const names = (await store.list()).map((name) => name.normalize("NFC"));
  same(names.sort(), [...someAdapters.keys()].sort(), "list has every adapter's name once");
  for (const [name, files] of someAdapters) await hasAdapter(store, name, files);
}

async function keepsVersions({ store }: OpenedAdapterStore): Promise<void> {
  const files = someAdapters.get("one")!;
  const version = await hasAdapter(store, "one", files);
  same(await hasAdapter(store, "one", files), version, "an adapter's version stays while its files do");
}

async function knowsNoOther({ store }: OpenedAdapterStore): Promise<void> {
  for (const name of ["none", "", ".", "..", "../one", "one/adapter_config.json", "constructor"]) {
    same(await store.open(name) === undefined, true, `open of ${JSON.stringify(name)} is undefined`);
  }
}

async function seesChanges({ store, put, remove }: OpenedAdapterStore): Promise<void> {
  if (!put) return;
  const old = await hasAdapter(store, "one", someAdapters.get("one")!);
  await put("one", adapterOf("one, anew"));
  const version = await hasAdapter(store, "one", adapterOf("one, anew"));
  holds(version !== old, "an adapter's version changes when its files do");
  await put("new", adapterOf("new"));
  holds((await store.list()).includes("new"), "an adapter that is added is in the next list");
  await hasAdapter(store, "new", adapterOf("new"));
  if (!remove) return;
  await remove("one");
  holds(!(await store.list()).includes("one"), "an adapter that was taken away is in no list");
  same(await store.open("one") === undefined, true, "open of an adapter that was taken away is undefined");
}

/**
 * Tests of an {@linkcode AdapterStore}.
 *
 * @param open A store with exactly these adapters, each the files of its folder.
 */
export function testAdapterStore(
  name: string,
  { test, open }: {
    readonly test: DefineTest;
    readonly open: (adapters: ReadonlyMap<string, Files>) => Promise<OpenedAdapterStore>;
  },
): void {
  const rules: Readonly<Record<string, (opened: OpenedAdapterStore) => Promise<void>>> = {
    "lists and opens adapters by name": listsAdapters,
    "keeps an adapter's version while its files stay": keepsVersions,
    "opens nothing by other names": knowsNoOther,
    "sees adapters that change, come and go": seesChanges,
  };
  for (const [rule, check] of Object.entries(rules)) {
    test(`${name} ${rule}`, () => using(() => open(someAdapters), check));
  }
  test(`${name} lists nothing where there is nothing`, () =>
    using(() => open(new Map()), async ({ store }) => same(await store.list(), [], "the list is empty")));
}
