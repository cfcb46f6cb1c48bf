/**
 * The contracts of folders and stores, of those that we have, and that each rule of a contract can be broken.
 */
import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import {
  type AdapterStore,
  cpuDevice,
  deltaOf,
  loadAdapter,
  openUrlFolder,
  type ReadableFolder,
} from "../mod.ts";
import { openAdapterStore, openCheckpoints, openFolder, openHubFolder } from "../src/runtime/mod.ts";
import {
  adapterFolders,
  type DefineTest,
  memoryAdapterStore,
  memoryCheckpoints,
  memoryFolder,
  testAdapterStore,
  testCheckpointStore,
  testReadableFolder,
} from "../src/testing/mod.ts";
import type { CheckpointStore, Files } from "../src/training/checkpoint.ts";
import { fakeHub } from "./fake_hub.ts";
import { cacheOf, fileServer } from "./file_server.ts";
import { assertNear, norm } from "./naive.ts";

async function temporary(): Promise<{ readonly path: string; readonly release: () => Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), "fourierft-contract-"));
  return { path, release: () => rm(path, { recursive: true }) };
}

async function write(path: string, files: Files): Promise<void> {
  await mkdir(path, { recursive: true });
  for (const [name, bytes] of files) await writeFile(join(path, name), bytes);
}

testReadableFolder("memoryFolder", {
  test,
  open: (files) => Promise.resolve({ folder: memoryFolder(files) }),
});

for (const contained of [false, true]) {
  testReadableFolder(`openFolder${contained ? " that contains its files" : ""}`, {
    test,
    async open(files) {
      const { path, release } = await temporary();
      await write(path, files);
      return { folder: await openFolder(path, { contained }), release };
    },
  });
}

for (const options of [{}, { ranges: false }, { cache: "cache" }, { cache: "folder" }] as const) {
  testReadableFolder(`openUrlFolder ${JSON.stringify(options)}`, {
    test,
    async open(files) {
      const { url, close } = await fileServer(files, options);
      const cache = cacheOf("cache" in options ? options.cache : undefined);
      return { folder: openUrlFolder(url, { cache }), release: close };
    },
  });
}

testReadableFolder("openHubFolder", {
  test,
  async open(files) {
    const { path, release } = await temporary();
    const hub = await fakeHub("org/name", files);
    const folder = await openHubFolder("org/name", { endpoint: hub.endpoint, cache: path, token: "" });
    return { folder, release: () => hub.close().then(release) };
  },
});

testAdapterStore("memoryAdapterStore", {
  test,
  open(adapters) {
    const held = new Map(adapters);
    return Promise.resolve({
      store: memoryAdapterStore(held),
      put: (name, files) => Promise.resolve(void held.set(name, files)),
      remove: (name) => Promise.resolve(void held.delete(name)),
    });
  },
});

testAdapterStore("openAdapterStore", {
  test,
  async open(adapters) {
    const { path, release } = await temporary();
    const put = (name: string, files: Files) => write(join(path, name), files);
    for (const [name, files] of adapters) await put(name, files);
    const remove = (name: string) => rm(join(path, name), { recursive: true });
    return { store: await openAdapterStore(path), put, remove, release };
  },
});

testCheckpointStore("memoryCheckpoints", {
  test,
  open: () => Promise.resolve({ store: memoryCheckpoints() }),
});

testCheckpointStore("openCheckpoints", {
  test,
  async open() {
    const { path, release } = await temporary();
    return { store: await openCheckpoints(path), reopen: () => openCheckpoints(path), release };
  },
});

/** The rules of a contract that an implementation breaks, by the ends of their names. */
async function broken(define: (test: DefineTest) => void): Promise<string[]> {
  const rules: [string, () => Promise<void>][] = [];
  define((name, run) => rules.push([name, run]));
  const found: string[] = [];
  for (const [name, run] of rules) {
    await run().catch((error: Error) => {
      assert.match(error.message, /^Broken: /);
      found.push(name.replace(/^it /, ""));
    });
  }
  return found;
}

const elsewhere = "refuses names that could lead elsewhere";
const wrongFolders:
  readonly (readonly [string, (good: ReadableFolder) => Partial<ReadableFolder>, string[]])[] = [
    ["reads from the start only", (good) => ({
      async open(name) {
        const source = await good.open(name);
        return { ...source, read: (_, count) => source.read(0, count) };
      },
    }), ["reads files, whole and in parts"]],
    ["has every file", () => ({ exists: () => Promise.resolve(true) }), [
      "says which files are missing",
      elsewhere,
    ]],
    ["reads texts without a limit", (good) => ({ readText: (name) => good.readText(name) }), [
      "reads texts of UTF-8, up to a limit",
    ]],
    ["reads by paths", (good) => ({ open: (name) => good.open(name.split("/").pop()!) }), [elsewhere]],
    ["throws any error for what is missing", (good) => ({
      open: (name) => good.open(name).catch((error) => Promise.reject(new Error(error.message))),
    }), ["says which files are missing", elsewhere]],
  ];

for (const [name, change, rules] of wrongFolders) {
  test(`testReadableFolder finds a folder that ${name}`, async () => {
    const define = (test: DefineTest) =>
      testReadableFolder("it", {
        test,
        open(files) {
          const good = memoryFolder(files);
          return Promise.resolve({ folder: { ...good, ...change(good) } });
        },
      });
    assert.deepEqual(await broken(define), rules);
  });
}

test("testReadableFolder finds a folder that takes any name for a folder in it", async () => {
  const define = (test: DefineTest) =>
    testReadableFolder("it", {
      test,
      open(files) {
        const folder = memoryFolder(files);
        return Promise.resolve({ folder: { ...folder, folder: () => Promise.resolve(folder) } });
      },
    });
  assert.deepEqual(await broken(define), ["has no folder of a file's name"]);
});

const changes = "sees adapters that change, come and go";
const wrongStores: readonly (readonly [string, (good: AdapterStore) => Partial<AdapterStore>, string[]])[] = [
  ["lists one name", () => ({ list: () => Promise.resolve(["one"]) }), [
    "lists and opens adapters by name",
    changes,
    "lists nothing where there is nothing",
  ]],
  ["has one version for ever", (good) => ({
    async open(id) {
      const found = await good.open(id);
      return found && { ...found, version: "1" };
    },
  }), [changes]],
  ["has another version each time", (good) => ({
    async open(id) {
      const found = await good.open(id);
      return found && { ...found, version: `${Math.random()}` };
    },
  }), ["keeps an adapter's version while its files stay"]],
  ["opens any name", (good) => ({ open: async (id) => await good.open(id) ?? await good.open("Two v2") }), [
    "opens nothing by other names",
    changes,
  ]],
];

for (const [name, change, rules] of wrongStores) {
  test(`testAdapterStore finds a store that ${name}`, async () => {
    const define = (test: DefineTest) =>
      testAdapterStore("it", {
        test,
        open(adapters) {
          const held = new Map(adapters), good = memoryAdapterStore(held);
          return Promise.resolve({
            store: { ...good, ...change(good) },
            put: (name, files) => Promise.resolve(void held.set(name, files)),
            remove: (name) => Promise.resolve(void held.delete(name)),
          });
        },
      });
    assert.deepEqual(await broken(define), rules);
  });
}

/** Keeps what it is given: neither a copy, nor by the order of the steps. */
function byStep(): CheckpointStore {
  const kept = new Map<number, Files>();
  return {
    save: (step, files) => Promise.resolve(void kept.set(step, files)),
    latest: () => Promise.resolve(kept.get(Math.max(...kept.keys()))),
  };
}

test("testCheckpointStore finds a store that keeps others' bytes, and the highest step for the newest", async () => {
  const define = (test: DefineTest) =>
    testCheckpointStore("it", {
      test,
      open: () => Promise.resolve({ store: byStep(), reopen: () => Promise.resolve(byStep()) }),
    });
  assert.deepEqual(await broken(define), [
    "takes what was saved last for the newest",
    "keeps its own copy of the bytes",
    "has its checkpoint when it is opened anew",
  ]);
});

test("adapterFolders are read, and have the dW that they say", async () => {
  const device = cpuDevice();
  await fc.assert(
    fc.asyncProperty(adapterFolders(), async ({ files, peftType, modules }) => {
      const loaded = await loadAdapter(memoryFolder(files));
      assert.equal(loaded.method.peftType, peftType);
      assert.deepEqual([...loaded.modules.keys()].sort(), [...modules.keys()].sort());
      for (const [path, { shape, delta }] of modules) {
        const module = loaded.modules.get(path)!;
        module.check(path, shape);
        const { data } = await deltaOf(device, { method: loaded.method, module, shape });
        assertNear(data, delta, 1e-6 * Math.max(norm(delta), peftType === "LORA" ? 0 : 1e-3));
      }
    }),
    { numRuns: 60 },
  );
});
