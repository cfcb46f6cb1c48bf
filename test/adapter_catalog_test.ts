/**
 * What a list of adapters tells of a store: names, reasons, and when files are looked at again.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { AdapterRegistry, type AdapterStore, cpuDevice, type StoredAdapter, tensor } from "../mod.ts";
import { memoryFolder, weightsFile } from "./model_folders.ts";

const files = {
  "adapter_config.json": JSON.stringify({ peft_type: "FOURIERFT" }),
  "adapter_model.safetensors": weightsFile({
    "base_model.model.a.fourierft_spectrum": tensor(Float32Array.of(1, 2)),
  }),
};

/** A store whose names and looks are changed as tests want. */
interface Fake extends AdapterStore {
  names: readonly string[];
  left: readonly { readonly name: string; readonly reason: string }[];
  /** Names that were looked at. */
  looks: string[];
  /** In place of a look. */
  look: (id: string) => Promise<StoredAdapter | undefined>;
}

const stored = (version = "1", folder = memoryFolder(files)): Promise<StoredAdapter> =>
  Promise.resolve({ folder, version, modifiedUnixSeconds: 3 });

function opened(...names: string[]): { store: Fake; registry: AdapterRegistry; lines: string[] } {
  const lines: string[] = [];
  const store: Fake = {
    names,
    left: [],
    looks: [],
    look: () => stored(),
    list: () => Promise.resolve(store.names),
    leftOut: () => store.left,
    open(id) {
      store.looks.push(id);
      return store.look(id);
    },
  };
  const log = (line: string): void => void lines.push(line);
  return { store, lines, registry: new AdapterRegistry(cpuDevice(), store, { log }) };
}

const ids = async (registry: AdapterRegistry): Promise<string[]> =>
  (await registry.list()).map(({ id }) => id);

/** Runs `work` with a clock that stands still but for what `work` adds to it. */
async function withClock(work: (pass: (ms: number) => void) => Promise<void>): Promise<void> {
  const { now } = performance;
  let ms = 1000;
  Object.assign(performance, { now: () => ms });
  try {
    await work((more) => ms += more);
  } finally {
    Object.assign(performance, { now });
  }
}

test("AdapterRegistry.list is sorted, and says once why a name is left out", async () => {
  const { store, registry, lines } = opened("c", "a", ".b", "b");
  assert.deepEqual(await ids(registry), ["a", "b", "c"]);
  assert.deepEqual(await ids(registry), ["a", "b", "c"]);
  assert.deepEqual(lines, ['adapter ".b" is left out: names that begin with a dot are hidden']);
  // Gone and back, it is told of again.
  store.names = ["a"];
  assert.deepEqual(await ids(registry), ["a"]);
  store.names = ["a", ".b"];
  assert.deepEqual(await ids(registry), ["a"]);
  assert.equal(lines.length, 2);
});

test("AdapterRegistry.list tells what the store itself leaves out, and again when the reason is another", async () => {
  const { store, registry, lines } = opened("a");
  store.left = [{ name: "x\u009b", reason: "a link leads out" }];
  for (let i = 0; i < 2; i++) assert.deepEqual(await ids(registry), ["a"]);
  store.left = [{ name: "x\u009b", reason: "it is a file" }];
  store.names = ["a"];
  assert.deepEqual(await ids(registry), ["a"]);
  assert.deepEqual(lines, [
    'adapter "x\\u009b" is left out: a link leads out',
    'adapter "x\\u009b" is left out: it is a file',
  ]);
});

test("AdapterRegistry.list has one of two names that differ in how their letters are written", async () => {
  const composed = "\u00e9", decomposed = "e\u0301";
  const { registry, lines } = opened(decomposed, composed);
  assert.deepEqual(await ids(registry), [composed]);
  assert.deepEqual(lines, [
    `adapter "${composed}" is left out: another adapter's name differs only in how its letters are written`,
  ]);
  assert.equal((await registry.card(decomposed)).id, composed);
});

test("AdapterRegistry.find takes a look that began since it was asked", async () => {
  const { store, registry } = opened("a");
  await withClock(async (pass) => {
    await registry.card("a");
    pass(1);
    const askedMs = performance.now();
    await registry.find("a", { askedMs });
    assert.equal(store.looks.length, 2);
    pass(1);
    await registry.find("a", { askedMs });
    await registry.find([{ id: "a", scale: 2 }], { askedMs });
    assert.equal(store.looks.length, 2);
    await registry.find("a");
    assert.equal(store.looks.length, 3);
  });
});

test("AdapterRegistry.names trusts a frozen list that it has seen, and no other", async () => {
  const { store, registry } = opened();
  const names = ["b"];
  store.names = names;
  assert.deepEqual(await registry.names(), ["b"]);
  names.push("a");
  assert.deepEqual(await registry.names(), ["a", "b"]);
  store.names = Object.freeze(["c"]);
  const first = await registry.names();
  assert.deepEqual(first, ["c"]);
  assert.equal(await registry.names(), first);
});

test("AdapterRegistry.list leaves out an adapter that cannot be looked at, with the reason, and has the rest", async () => {
  const { store, registry, lines } = opened("a", "b", "c");
  store.look = (id) => {
    if (id === "b") return Promise.reject(new Error("permission denied"));
    return id === "c" ? Promise.resolve(undefined) : stored();
  };
  for (let i = 0; i < 2; i++) assert.deepEqual(await ids(registry), ["a"]);
  assert.deepEqual(lines, [
    'adapter "b" is left out: permission denied',
    'adapter "c" is left out: no adapter_config.json is found in it',
  ]);
  store.look = () => stored();
  assert.deepEqual(await ids(registry), ["a", "b", "c"]);
  // What was told is forgotten once an adapter is listed.
  store.look = (id) => id === "c" ? Promise.resolve(undefined) : stored();
  assert.deepEqual(await ids(registry), ["a", "b"]);
  assert.equal(lines.length, 3);
});

test("AdapterRegistry.list looks again at known adapters, but rests ten times as long as a slow look took", async () => {
  await withClock(async (pass) => {
    const { store, registry } = opened("a");
    const lookMs = { value: 30 };
    store.look = () => (pass(lookMs.value), stored());
    /** How often a list looked. */
    const looks = async (): Promise<number> => {
      store.looks = [];
      assert.deepEqual(await ids(registry), ["a"]);
      return store.looks.length;
    };
    assert.equal(await looks(), 1, "a new one");
    assert.equal(await looks(), 1, "a known one");
    assert.equal(await looks(), 1, "30 ms are quick");
    lookMs.value = 31;
    assert.equal(await looks(), 1);
    assert.equal(await looks(), 0, "31 ms are slow");
    pass(309);
    assert.equal(await looks(), 0);
    pass(1);
    assert.equal(await looks(), 1, "310 ms later");
  });
});

test("AdapterRegistry.list waits a moment for known adapters, and says what was known where that is not enough", async () => {
  const { store, registry } = opened("a");
  assert.deepEqual(await ids(registry), ["a"]);
  let open = (): void => {};
  const passed = new Promise<void>((resolve) => open = resolve);
  store.look = async () => {
    await passed;
    return undefined;
  };
  assert.deepEqual(await ids(registry), ["a"]);
  const { length } = store.looks;
  // One look at a time.
  assert.deepEqual(await ids(registry), ["a"]);
  assert.equal(store.looks.length, length);
  open();
  await assert.rejects(registry.card("a"), { name: "NotFoundError", message: 'Cannot find adapter "a"' });
  assert.deepEqual(await ids(registry), []);
});

test("AdapterRegistry remembers for a minute that files could not be read, or until they change", async () => {
  await withClock(async (pass) => {
    const { store, registry, lines } = opened("a");
    let version = "1", fails = true, reads = 0;
    store.look = () => {
      const folder = memoryFolder(files);
      return stored(version, {
        ...folder,
        readText(...args) {
          reads++;
          return fails ? Promise.reject(new Error(`no ${version}`)) : folder.readText(...args);
        },
      });
    };
    for (let i = 0; i < 3; i++) assert.deepEqual(await ids(registry), []);
    assert.equal(reads, 1);
    await assert.rejects(registry.card("a"), { message: "no 1" });
    version = "2";
    assert.deepEqual(await ids(registry), []);
    assert.equal(reads, 2);
    fails = false;
    pass(59_999);
    assert.deepEqual(await ids(registry), []);
    pass(1);
    assert.deepEqual(await ids(registry), ["a"]);
    assert.equal(reads, 3);
    assert.deepEqual(lines, ['adapter "a" is left out: no 1', 'adapter "a" is left out: no 2']);
  });
});

test("AdapterRegistry.card is of an adapter that was not read: its size, its time, and no digest", async () => {
  const { registry } = opened("a");
  const sizeBytes = files["adapter_config.json"].length + files["adapter_model.safetensors"].length;
  const known = { id: "a", peftType: "FOURIERFT", sizeBytes, resident: false, createdUnixSeconds: 3 };
  assert.deepEqual(await registry.card("a"), { ...known, digest: undefined });
  const { digest } = await registry.load("a");
  assert.match(digest, /^[0-9a-f]{64}$/);
  assert.deepEqual(await registry.card("a"), { ...known, digest });
});
