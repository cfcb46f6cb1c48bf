/**
 * What a folder, a store of adapters and a store of checkpoints must do, as tests for an implementation of one's own.
 *
 * @module
 */
import type { AdapterStore } from "../adapters/store.ts";
import { ConfigError } from "../errors.ts";
import { MissingFileError, type ReadableFolder } from "../folder.ts";
import type { CheckpointStore, Files } from "../training/checkpoint.ts";

/** A test framework's function: `test` of `node:test`, of `bun:test`, of Vitest, or `Deno.test`. */
export type DefineTest = (name: string, run: () => Promise<void>) => unknown;

/** What is opened for one test. */
export interface Opened {
  /** Called at the test's end. */
  release?(): unknown;
}

/** A folder with the files that a test asked for. */
export interface OpenedFolder extends Opened {
  readonly folder: ReadableFolder;
}

/** A store with the adapters that a test asked for. */
export interface OpenedAdapterStore extends Opened {
  readonly store: AdapterStore;
  /** Writes an adapter's files, new or in place of the old. Where absent, stores are taken for such as never change. */
  put?(name: string, files: Files): Promise<void>;
  /** Takes an adapter away. */
  remove?(name: string): Promise<void>;
}

/** A store without a checkpoint. */
export interface OpenedCheckpointStore extends Opened {
  readonly store: CheckpointStore;
  /** The same place, opened as by a later process. Where absent, nothing outlives the store. */
  reopen?(): Promise<CheckpointStore>;
}

function holds(condition: boolean, rule: string): void {
  if (!condition) throw new Error(`Broken: ${rule}`);
}

function same(found: unknown, expected: unknown, rule: string): void {
  const [is, was] = [found, expected].map((value) => JSON.stringify(value));
  if (is !== was) throw new Error(`Broken: ${rule}; it is ${is}, not ${was}`);
}

function sameBytes(found: Uint8Array, expected: Uint8Array, rule: string): void {
  same([...found], [...expected], rule);
}

type ErrorClass = abstract new (...args: never[]) => Error;

async function refuses(act: () => Promise<unknown>, of: ErrorClass, rule: string): Promise<void> {
  let thrown: unknown;
  try {
    await act();
  } catch (error) {
    thrown = error;
  }
  if (thrown instanceof of) return;
  throw new Error(
    `Broken: ${rule} is a ${of.name}; ${thrown === undefined ? "nothing was thrown" : `it was ${thrown}`}`,
  );
}

/** Opens, runs a test's body, and releases. */
async function using<T extends Opened>(
  open: () => Promise<T>,
  body: (opened: T) => Promise<void>,
): Promise<void> {
  const opened = await open();
  try {
    await body(opened);
  } finally {
    await opened.release?.();
  }
}

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);
const text = (value: string): Uint8Array => new TextEncoder().encode(value);

const someFiles: Files = new Map([
  ["some.bin", bytes(1, 2, 3, 4, 5)],
  ["empty", bytes()],
  ["text.json", text('{"é": "😀"}')],
  ["not-utf8", bytes(0x7b, 0xff)],
]);

async function readWhole(folder: ReadableFolder, name: string): Promise<Uint8Array> {
  const source = await folder.open(name);
  try {
    return await source.read(0, source.sizeBytes);
  } finally {
    await source.close?.();
  }
}

async function readsFiles(folder: ReadableFolder): Promise<void> {
  for (const [name, expected] of someFiles) {
    sameBytes(await readWhole(folder, name), expected, `"${name}" has its bytes`);
    same(await folder.exists(name), true, `"${name}" exists`);
  }
  const source = await folder.open("some.bin");
  const other = await folder.open("some.bin");
  same(source.sizeBytes, 5, "sizeBytes is the file's length");
  sameBytes(await source.read(1, 3), bytes(2, 3, 4), "read(1, 3) has three bytes from byte 1 on");
  await source.close?.();
  sameBytes(
    await other.read(4, 1),
    bytes(5),
    "a file is read after it was closed where it was opened before",
  );
  await other.close?.();
}

async function readsTexts(folder: ReadableFolder): Promise<void> {
  same(await folder.readText("text.json"), '{"é": "😀"}', "readText decodes UTF-8");
  same(await folder.readText("empty"), "", "readText of an empty file is the empty text");
  const { length } = someFiles.get("text.json")!;
  same((await folder.readText("text.json", { maxBytes: length })).length, 11, "a text of maxBytes is read");
  await refuses(
    () => folder.readText("text.json", { maxBytes: length - 1 }),
    ConfigError,
    "a text above maxBytes",
  );
  await refuses(() => folder.readText("not-utf8"), ConfigError, "a text that is not UTF-8");
}

async function tellsMissing(folder: ReadableFolder): Promise<void> {
  same(await folder.exists("none"), false, "a file that is not there does not exist");
  await refuses(() => folder.open("none"), MissingFileError, "open of a file that is not there");
  await refuses(() => folder.readText("none"), MissingFileError, "readText of a file that is not there");
}

/** Names that could lead out of a folder, on some system. */
const leadingElsewhere = [
  "..",
  ".",
  "",
  "../some.bin",
  "a/some.bin",
  "/etc/hostname",
  "a\\some.bin",
  "C:some.bin",
];

async function staysInside(folder: ReadableFolder): Promise<void> {
  for (const name of leadingElsewhere) {
    const told = JSON.stringify(name);
    await refuses(() => folder.open(name), ConfigError, `open of ${told}`);
    await refuses(() => folder.readText(name), ConfigError, `readText of ${told}`);
    await refuses(() => folder.exists(name), ConfigError, `exists of ${told}`);
  }
}

/** Folders within a folder are optional: where there are such, files and paths are none. */
async function opensInnerFolders(folder: ReadableFolder): Promise<void> {
  if (!folder.folder) return;
  for (const name of ["none", "some.bin"]) {
    same(await folder.folder(name) === undefined, true, `folder(${JSON.stringify(name)}) is undefined`);
  }
  for (const name of leadingElsewhere) {
    await refuses(() => folder.folder!(name), ConfigError, `folder of ${JSON.stringify(name)}`);
  }
}

/**
 * Tests of a {@linkcode ReadableFolder}.
 *
 * @param open A folder with exactly these files.
 */
export function testReadableFolder(
  name: string,
  { test, open }: { readonly test: DefineTest; readonly open: (files: Files) => Promise<OpenedFolder> },
): void {
  const rules: Readonly<Record<string, (folder: ReadableFolder) => Promise<void>>> = {
    "reads files, whole and in parts": readsFiles,
    "reads texts of UTF-8, up to a limit": readsTexts,
    "says which files are missing": tellsMissing,
    "refuses names that could lead elsewhere": staysInside,
    "has no folder of a file's name": opensInnerFolders,
  };
  for (const [rule, check] of Object.entries(rules)) {
    test(`${name} ${rule}`, () => using(() => open(someFiles), ({ folder }) => check(folder)));
  }
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

const checkpointOf = (step: number): Files =>
  new Map([["state.json", text(`{"step":${step}}`)], ["numbers.bin", bytes(step, 0, 255)], [
    "empty",
    bytes(),
  ]]);

function sameFiles(found: Files | undefined, expected: Files, rule: string): void {
  if (!found) throw new Error(`Broken: ${rule}; there is none`);
  same([...found.keys()].sort(), [...expected.keys()].sort(), `${rule}, with every file's name`);
  for (const [name, content] of expected) {
    sameBytes(found.get(name)!, content, `${rule}, with "${name}" whole`);
  }
}

async function keepsNewest({ store }: OpenedCheckpointStore): Promise<void> {
  for (const step of [100, 200, 300]) {
    await store.save(step, checkpointOf(step % 251));
    sameFiles(await store.latest(), checkpointOf(step % 251), `latest is what was saved at step ${step}`);
  }
}

/** A run that goes on from an older checkpoint, or begins anew, replaces what another left. */
async function keepsLastSaved({ store }: OpenedCheckpointStore): Promise<void> {
  for (const step of [100, 200, 50, 50]) {
    const files = new Map([...checkpointOf(step), ["saved", bytes(step)]]);
    await store.save(step, files);
    sameFiles(await store.latest(), files, `latest is what was saved last, at step ${step}`);
  }
}

async function keepsItsOwnBytes({ store }: OpenedCheckpointStore): Promise<void> {
  const numbers = bytes(1, 2, 3);
  await store.save(1, new Map([["numbers.bin", numbers]]));
  numbers.fill(0);
  const kept = new Map([["numbers.bin", bytes(1, 2, 3)]]);
  sameFiles(await store.latest(), kept, "what was saved stays, though the caller's bytes change");
}

async function outlivesItself({ store, reopen }: OpenedCheckpointStore): Promise<void> {
  if (!reopen) return;
  await store.save(7, checkpointOf(7));
  sameFiles(
    await (await reopen()).latest(),
    checkpointOf(7),
    "latest of a store opened anew is what was saved",
  );
}

/**
 * Tests of a {@linkcode CheckpointStore}.
 *
 * @param open A store without a checkpoint.
 */
export function testCheckpointStore(
  name: string,
  { test, open }: { readonly test: DefineTest; readonly open: () => Promise<OpenedCheckpointStore> },
): void {
  const rules: Readonly<Record<string, (opened: OpenedCheckpointStore) => Promise<void>>> = {
    "has no checkpoint at first": async ({ store }) =>
      same(await store.latest() === undefined, true, "latest is undefined"),
    "gives back the newest checkpoint": keepsNewest,
    "takes what was saved last for the newest": keepsLastSaved,
    "keeps its own copy of the bytes": keepsItsOwnBytes,
    "has its checkpoint when it is opened anew": outlivesItself,
  };
  for (const [rule, check] of Object.entries(rules)) test(`${name} ${rule}`, () => using(open, check));
}
