import assert from "node:assert/strict";
import { test } from "node:test";
import {
  AdapterRegistry,
  type AdapterStore,
  cpuDevice,
  RecentStore,
  type StoredAdapter,
  tensor,
} from "../mod.ts";
import { memoryFolder, weightsFile } from "./model_folders.ts";

const filesOf = (...spectrum: number[]) => ({
  "adapter_config.json": JSON.stringify({ peft_type: "FOURIERFT" }),
  "adapter_model.safetensors": weightsFile({
    "base_model.model.a.fourierft_spectrum": tensor(Float32Array.from(spectrum)),
  }),
});

const stored = (version: string, files = filesOf(1, 2)): StoredAdapter => ({
  folder: memoryFolder(files),
  version,
  modifiedUnixSeconds: 3,
});

/** A store that a test answers for, and one that remembers its looks by the test's clock. */
function opened(ttlSeconds = 1) {
  const looks: ((found: StoredAdapter | undefined) => void)[] = [];
  const clock = { ms: 1000 };
  const store: AdapterStore = {
    list: () => Promise.resolve(["x"]),
    open: () => new Promise((resolve) => looks.push(resolve)),
  };
  const recent = new RecentStore(store, { ttlSeconds, now: () => clock.ms });
  return { looks, clock, recent };
}

const versionOf = async (look: Promise<StoredAdapter | undefined>): Promise<string | undefined> =>
  (await look)?.version;

test("RecentStore looks once for all who ask, and again when the look is old", async () => {
  const { looks, clock, recent } = opened();
  const first = [recent.open("x"), recent.open("x"), recent.open("y")];
  assert.equal(looks.length, 2);
  looks[0](stored("1"));
  looks[1](undefined);
  assert.deepEqual(await Promise.all(first.map(versionOf)), ["1", "1", undefined]);
  // As old as its beginning.
  clock.ms += 999;
  assert.equal(await versionOf(recent.open("x")), "1");
  assert.equal(looks.length, 2);
  clock.ms += 1;
  const again = recent.open("x");
  looks[2](stored("2"));
  assert.equal(await versionOf(again), "2");
  // A name that was missing is looked at again.
  const missing = recent.open("y");
  looks[3](stored("3"));
  assert.equal(await versionOf(missing), "3");
});

test("RecentStore asked anew looks, and whoever asks meanwhile gets what that look sees", async () => {
  const { looks, recent } = opened();
  const first = recent.open("x");
  looks[0](stored("1"));
  await first;
  const anew = recent.open("x", { anew: true }), meanwhile = recent.open("x");
  assert.equal(looks.length, 2);
  looks[1](stored("2"));
  assert.deepEqual([await versionOf(anew), await versionOf(meanwhile)], ["2", "2"]);
  assert.equal(await versionOf(recent.open("x")), "2");
  assert.equal(looks.length, 2);
});

test("RecentStore keeps what the last begun look saw, whichever ends last", async () => {
  const { looks, recent } = opened();
  const early = recent.open("x");
  const late = recent.open("x", { anew: true });
  looks[1](stored("new"));
  assert.equal(await versionOf(late), "new");
  looks[0](stored("old"));
  await early;
  assert.equal(await versionOf(recent.open("x")), "new");
});

test("RecentStore looks again at a name that is told to have changed", async () => {
  const { looks, recent } = opened();
  const first = recent.open("x");
  recent.changed("x");
  // The look that began before saw less.
  const second = recent.open("x");
  looks[0](stored("1"));
  looks[1](stored("2"));
  assert.deepEqual([await versionOf(first), await versionOf(second)], ["1", "2"]);
  assert.equal(await versionOf(recent.open("x")), "2");
  recent.changed("x");
  const third = recent.open("x");
  looks[2](stored("3"));
  assert.equal(await versionOf(third), "3");
});

test("RecentStore keeps no failure, and what has left is missing", async () => {
  let answer: () => Promise<StoredAdapter | undefined> = () => Promise.reject(new Error("away"));
  const clock = { ms: 0 };
  const recent = new RecentStore({ list: () => Promise.resolve([]), open: () => answer() }, {
    ttlSeconds: 1,
    now: () => clock.ms,
  });
  await assert.rejects(recent.open("x"), /away/);
  answer = () => Promise.resolve(stored("1"));
  assert.equal(await versionOf(recent.open("x")), "1");
  answer = () => Promise.resolve(undefined);
  clock.ms = 1000;
  assert.equal(await recent.open("x"), undefined);
});

test("AdapterRegistry gives what an adapter became while it was read, though the look before is recent", async () => {
  let current = stored("1");
  const half = filesOf(5, 6);
  const folder = memoryFolder(half);
  // Files are replaced once the first is open: what is read of the rest is another version's.
  const changing: StoredAdapter = {
    ...stored("1"),
    folder: {
      ...folder,
      open: async (name) => {
        current = stored("2", filesOf(7, 8));
        return await folder.open(name);
      },
    },
  };
  current = changing;
  const store: AdapterStore = { list: () => Promise.resolve(["x"]), open: () => Promise.resolve(current) };
  const registry = new AdapterRegistry(cpuDevice(), new RecentStore(store, { ttlSeconds: 1e9 }));
  const { digest } = await registry.load("x");
  const undisturbed = new AdapterRegistry(cpuDevice(), {
    list: () => Promise.resolve(["x"]),
    open: () => Promise.resolve(stored("2", filesOf(7, 8))),
  });
  assert.equal(digest, (await undisturbed.load("x")).digest);
});
