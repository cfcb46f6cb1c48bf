/**
 * Adapters in a storage of objects, under every fault that a storage has.
 */
import assert from "node:assert/strict";
import { memoryFolder } from "../src/testing/mod.ts";
import { test } from "node:test";
import fc from "fast-check";
import { AdapterRegistry, ConfigError, cpuDevice, NotFoundError, ObjectStore, StoreError } from "../mod.ts";
import { isAdapterName } from "../src/adapters/names.ts";
import { nameOfKey, recordKey } from "../src/adapters/object_record.ts";
import { RecordCache } from "../src/adapters/record_cache.ts";
import { createApp } from "../src/server/mod.ts";
import { gate, HandStorage, linears, smallAdapter } from "./hand_storage.ts";

const device = cpuDevice();
const weights = "adapter_model.safetensors";

async function setUp(names: Readonly<Record<string, number>> = { one: 1 }, options = {}) {
  const storage = new HandStorage(), clock = { ms: 0 }, log: string[] = [];
  const store = new ObjectStore(storage, {
    now: () => clock.ms,
    log: (line) => log.push(line),
    ...options,
  });
  // By another store: what this one knows, it has looked up.
  const publisher = new ObjectStore(storage);
  for (const [name, seed] of Object.entries(names)) await publisher.publish(name, smallAdapter(seed));
  storage.calls.length = 0;
  const registry = new AdapterRegistry(device, store, { linears, capacity: 4 });
  return { storage, store, registry, clock, log, publisher };
}

const digestOf = async (seed: number): Promise<string> => {
  const { registry } = await setUp({ it: seed });
  return (await registry.load("it")).digest;
};

test("ObjectStore serves what was published, replaced and removed, once the record's time is over", async () => {
  const { registry, clock, publisher } = await setUp({ one: 1, "Zwei v2": 2 });
  const [first, second] = [await digestOf(1), await digestOf(2)];
  assert.equal((await registry.load("one")).digest, first);
  assert.deepEqual((await registry.list()).map(({ id }) => id), ["Zwei v2", "one"]);
  await publisher.publish("one", smallAdapter(2));
  assert.equal((await registry.load("one")).digest, first, "a known record is good for its time");
  clock.ms += 5000;
  assert.equal((await registry.load("one")).digest, second);
  await publisher.remove("one");
  clock.ms += 5000;
  await assert.rejects(registry.load("one"), NotFoundError);
  assert.deepEqual((await registry.list()).map(({ id }) => id), ["Zwei v2"]);
});

test("ObjectStore looks again at a name that is told to have changed, and serves what it knew where that fails", async () => {
  const { storage, store, registry, publisher } = await setUp({ one: 1 });
  const [first, second] = [await digestOf(1), await digestOf(2)];
  assert.equal((await registry.load("one")).digest, first);
  await assert.rejects(registry.load("new"), NotFoundError);
  assert.deepEqual((await registry.list()).map(({ id }) => id), ["one"]);
  await publisher.publish("one", smallAdapter(2));
  await publisher.publish("new", smallAdapter(1));
  store.changed("one");
  store.changed("new");
  assert.equal((await registry.load("one")).digest, second);
  assert.equal((await registry.load("new")).digest, first);
  assert.deepEqual((await registry.list()).map(({ id }) => id), ["new", "one"]);
  storage.before = () => {
    throw new Error("away");
  };
  store.changed("one");
  assert.equal((await registry.load("one")).digest, second);
});

test("ObjectStore has one object for equal files, and reads an object once for all names and versions", async () => {
  const { storage, registry, clock, publisher } = await setUp({ one: 1, same: 1, two: 2 });
  assert.equal(storage.objects.length, 3, "one config, two weights");
  await registry.load("one");
  await registry.load("same");
  for (const seed of [2, 1]) {
    await publisher.publish("one", smallAdapter(seed));
    storage.calls.length = 0;
    clock.ms += 5000;
    await registry.load("one");
  }
  assert.deepEqual(
    storage.objects.map((key) => storage.reads(key)),
    [0, 0, 0],
    "the first version is still kept",
  );
});

test("ObjectStore keeps as many bytes as it may, the least recently used leave first", async () => {
  const sizeBytes = await (await smallAdapter(1).open(weights)).sizeBytes;
  const { storage, store } = await setUp({ one: 1, two: 2 }, { cacheBytes: sizeBytes });
  const read = async (name: string): Promise<void> => {
    const source = await (await store.open(name))!.folder.open(weights);
    await source.read(0, 1);
  };
  for (const name of ["one", "one", "two", "one"]) await read(name);
  const [, first, second] = storage.objects;
  assert.deepEqual([storage.reads(first), storage.reads(second)], [2, 1]);
});

test("ObjectStore asks once for an adapter that many ask for, and others do not wait", async () => {
  const { storage, registry } = await setUp({ one: 1, two: 2 });
  const slow = gate(), [, first] = storage.objects;
  storage.before = (_, key) => key === first ? slow.opened : undefined;
  const many = Array.from({ length: 50 }, () => registry.load("one"));
  assert.ok(await registry.load("two"));
  slow.open();
  assert.equal(new Set(await Promise.all(many)).size, 1);
  assert.equal(storage.reads(first), 1);
  assert.equal(storage.reads("adapters:one.json"), 1);
});

test("ObjectStore gives up a store that does not answer, and serves once it does", async () => {
  const { storage, registry } = await setUp({ one: 1 }, { timeoutSeconds: 0.001 });
  const slow = gate();
  storage.before = () => slow.opened;
  await assert.rejects(registry.load("one"), (error: Error) => {
    assert.ok(error instanceof StoreError);
    return /"adapters:one.json".*did not answer in 1 ms/.test(error.message);
  });
  slow.open();
  storage.before = () => {};
  const other = await setUp({ one: 1 });
  assert.equal((await other.registry.load("one")).digest, await digestOf(1));
});

test("ObjectStore remembers missing names for a while, and none of a store that failed", async () => {
  const { storage, registry, clock, publisher, store } = await setUp({});
  for (let i = 0; i < 3; i++) await assert.rejects(registry.load("soon"), NotFoundError);
  assert.equal(storage.reads("adapters:soon.json"), 1);
  await publisher.publish("soon", smallAdapter(1));
  clock.ms += 5000;
  assert.ok(await registry.load("soon"));
  // What this very store publishes is there at once.
  await assert.rejects(registry.load("now"), NotFoundError);
  await store.publish("now", smallAdapter(1));
  assert.ok(await registry.load("now"));
  storage.before = () => Promise.reject(new Error("no route"));
  await assert.rejects(registry.load("else"), StoreError);
  storage.before = () => {};
  await assert.rejects(registry.load("else"), NotFoundError);
  for (let i = 0; i < 10_050; i++) await store.open(`guess-${i}`);
  storage.calls.length = 0;
  await store.open("guess-0");
  await store.open("guess-10049");
  assert.deepEqual(storage.calls, ["get adapters:guess-0.json"], "the oldest are forgotten");
});

test("ObjectStore serves what it knows while the store fails, for a while, and says so once", async () => {
  const { storage, registry, clock, log, publisher } = await setUp({ one: 1 }, { staleSeconds: 60 });
  const first = (await registry.load("one")).digest;
  await publisher.publish("one", smallAdapter(2));
  storage.before = () => {
    throw new Error("secret address");
  };
  for (clock.ms = 5000; clock.ms < 60_000; clock.ms += 5000) {
    assert.equal((await registry.load("one")).digest, first);
  }
  assert.deepEqual(log, [
    'adapter "one" is served as it was last seen: ' +
    'Cannot read "adapters:one.json" in the store of adapters: the store failed',
  ]);
  await assert.rejects(registry.load("one"), StoreError);
  storage.before = () => {};
  assert.equal((await registry.load("one")).digest, await digestOf(2));
});

test("ObjectStore refuses truncated and changed objects by name, and serves them once they are right", async () => {
  const changes: readonly ((bytes: Uint8Array) => unknown)[] = [
    (bytes) => bytes.slice(0, -1),
    (bytes) => bytes.slice(0, 0),
    (bytes) => Uint8Array.of(...bytes, 0),
    (bytes) => bytes.map((byte, i) => i === 40 ? byte ^ 1 : byte),
    () => null,
  ];
  for (const change of changes) {
    const { storage, registry, store } = await setUp();
    const [, object] = storage.objects;
    storage.garble = (bytes) => bytes.length < 120 ? bytes : change(bytes);
    await assert.rejects(registry.load("one"), (error: Error) => {
      assert.ok(error instanceof ConfigError);
      assert.match(error.message, /"adapter_model.safetensors" of adapter "one".*the record says \d+ bytes/);
      return true;
    });
    assert.equal(storage.reads(object), 2, "a transfer may have been cut: it was read twice");
    const app = createApp({ adapters: new AdapterRegistry(device, store) });
    assert.equal((await app.request("/v1/adapters/one/delta?module=a&shape=6x4")).status, 422);
    storage.garble = (bytes) => bytes;
    assert.equal((await registry.load("one")).digest, await digestOf(1));
    // Cut once, and right the second time: nobody is told.
    const again = await setUp();
    let cuts = 0;
    again.storage.garble = (bytes) => bytes.length >= 120 && cuts++ === 0 ? change(bytes) : bytes;
    assert.equal((await again.registry.load("one")).digest, await digestOf(1));
  }
});

test("an adapter whose object was cut is refused while it is read so, and not for longer", async () => {
  const { storage, registry } = await setUp({ one: 1 }, { cacheBytes: 0 });
  storage.garble = (bytes) => bytes.slice(0, 10);
  await assert.rejects(registry.load("one"), ConfigError);
  storage.garble = (bytes) => bytes;
  // A request asks for the card first.
  assert.equal((await registry.card("one")).id, "one");
  assert.equal((await registry.load("one")).digest, await digestOf(1));
});

test("ObjectStore refuses broken records by name, and takes values that a driver has parsed", async () => {
  const { storage, registry, clock } = await setUp();
  const right = storage.items.get("adapters:one.json") as string, value = JSON.parse(right);
  const wrong: readonly [unknown, RegExp][] = [
    [right.slice(0, -1), /record of adapter "one" as JSON/],
    ["7", /must be a JSON object/],
    [{ ...value, format: "other" }, /field "format"/],
    [{ ...value, peft_type: 1 }, /field "peft_type"/],
    [{ ...value, created: "now" }, /field "created"/],
    [{ ...value, files: [] }, /field "files"/],
    [{ ...value, files: { ...value.files, [weights]: { sha256: "x", size: 1 } } }, /files.adapter_model/],
    [{ ...value, files: { [weights]: value.files[weights] } }, /files.adapter_config/],
  ];
  for (const [stored, message] of wrong) {
    storage.items.set("adapters:one.json", stored as string);
    await assert.rejects(
      registry.load("one"),
      (error: Error) => error instanceof ConfigError && message.test(error.message),
    );
    assert.deepEqual(await registry.list(), []);
    clock.ms += 5000;
  }
  storage.items.set("adapters:one.json", value);
  assert.ok(await registry.load("one"));
});

test("publish that fails anywhere leaves the name as it was", async () => {
  const full = Object.assign(new Error("no space"), { code: "ENOSPC" });
  const faults: Readonly<Record<string, (storage: HandStorage) => void>> = {
    "the disk is full": (storage) =>
      storage.before = (call) => {
        if (call === "set") throw full;
      },
    "the disk is full at the record": (storage) =>
      storage.before = (call, key) => {
        if (call === "set" && key.startsWith("adapters:")) throw full;
      },
    "the disk keeps half": (storage) =>
      storage.setItemRaw = (key, value) => {
        storage.items.set(key, value.slice(0, value.length / 2));
        return Promise.resolve();
      },
    "the driver keeps nothing, and says nothing": (storage) => storage.setItemRaw = () => Promise.resolve(),
  };
  for (const [fault, make] of Object.entries(faults)) {
    const { storage, store, registry, clock } = await setUp();
    make(storage);
    await assert.rejects(store.publish("one", smallAdapter(2)), StoreError, fault);
    clock.ms += 5000;
    storage.before = () => {};
    assert.equal((await registry.load("one")).digest, await digestOf(1), fault);
    // Half an object that stays from before is written anew.
    storage.setItemRaw = HandStorage.prototype.setItemRaw;
    await store.publish("one", smallAdapter(2));
    assert.equal((await registry.load("one")).digest, await digestOf(2), fault);
  }
  const { store } = await setUp();
  for (const name of ["", "../x", "a/b", "a:b", ".hidden", "é".repeat(100)]) {
    await assert.rejects(store.publish(name, smallAdapter(1)), RangeError, name);
    assert.equal(await store.open(name), undefined);
  }
});

test("ObjectStore lists the latest names that it could, and does not start without any", async () => {
  const { storage, store, registry, clock, publisher } = await setUp({ one: 1 });
  storage.before = () => Promise.reject(new Error("down"));
  await assert.rejects(store.list(), StoreError);
  const app = createApp({ adapters: registry });
  const refused = await app.request("/v1/models");
  assert.deepEqual([refused.status, refused.headers.get("retry-after")], [503, "1"]);
  assert.equal((await refused.json()).error.code, "store_unavailable");
  storage.before = () => {};
  const names = await store.list();
  assert.deepEqual(names, ["one"]);
  await publisher.publish("two", smallAdapter(2));
  storage.items.set("adapters:one~2.json", "no key that this store writes");
  storage.before = () => Promise.reject(new Error("down"));
  clock.ms += 5000;
  assert.equal(await store.list(), names);
  storage.before = () => {};
  assert.deepEqual(await store.list(), ["one", "two"]);
  assert.deepEqual(store.leftOut(), [{ name: "one~2.json", reason: "it is no record of an adapter" }]);
});

test("ObjectStore does not look at the wall's clock", async () => {
  const { registry, clock, storage } = await setUp();
  const now = Date.now;
  try {
    for (const jumpMs of [1e12, -1e12, 0]) {
      Date.now = () => now() + jumpMs;
      await registry.load("one");
      await assert.rejects(registry.load("none"), NotFoundError);
    }
    assert.equal(storage.reads("adapters:one.json"), 1);
    assert.equal(storage.reads("adapters:none.json"), 1);
    clock.ms += 5000;
    await registry.load("one");
    assert.equal(storage.reads("adapters:one.json"), 2);
  } finally {
    Date.now = now;
  }
});

test("a look that began before a publication does not hide it", async () => {
  const { storage, store } = await setUp({ one: 1 });
  const slow = gate();
  storage.getItem = async (key) => {
    const seen = storage.items.get(key) ?? null;
    await slow.opened;
    return seen;
  };
  const early = store.open("one");
  storage.getItem = HandStorage.prototype.getItem;
  await store.publish("one", smallAdapter(2));
  const now = (await store.open("one"))!.version;
  slow.open();
  assert.notEqual((await early)!.version, now);
  assert.equal((await store.open("one"))!.version, now);
});

test("keys of records keep all names apart, and give them back", () => {
  fc.assert(fc.property(fc.string({ unit: "grapheme", maxLength: 60 }), (text) => {
    const name = text.normalize("NFC");
    const key = recordKey(name);
    if (!isAdapterName(name) || key === undefined) return;
    assert.match(key, /^adapters:[a-z0-9._~-]+\.json$/);
    assert.equal(nameOfKey(key), name);
  }));
  for (const [name, key] of [["A b", "~41~20b"], ["a_b-1.2", "a_b-1.2"], ["a?b", "a~3fb"], ["~", "~7e"]]) {
    assert.equal(recordKey(name), `adapters:${key}.json`);
  }
  for (
    const key of ["adapters:~61.json", "adapters:.x.json", "adapters:~ff.json", "objects:x", "adapters:x"]
  ) {
    assert.equal(nameOfKey(key), undefined, key);
  }
});

test("adapters that are held go on while others take their names, in any number of exchanges", async () => {
  const { registry, clock, publisher, storage } = await setUp({ one: 0 });
  const held = await registry.acquire("one");
  const digests = new Set([held.digest]);
  for (let i = 1; i <= 60; i++) {
    await publisher.publish("one", smallAdapter(i % 6));
    clock.ms += 5000;
    const lease = await registry.acquire("one");
    digests.add(lease.digest);
    if (i % 2 === 0) await registry.unload("one");
    lease.release();
    assert.ok(registry.stats().resident.length <= 4);
  }
  assert.equal(digests.size, 6);
  assert.equal(storage.objects.length, 7, "one config, six weights");
  held.release();
  await registry.unload("one");
  const { hits, misses, evictions } = registry.stats();
  assert.equal(hits + misses, 61);
  assert.equal(misses - evictions.capacity - evictions.unload, registry.stats().resident.length);
});

test("/v1/models by pages looks at the records of each page alone, and leaves out what is broken", async () => {
  const names = Array.from({ length: 9 }, (_, i) => `a${i}`);
  const { storage, registry } = await setUp(Object.fromEntries(names.map((name) => [name, 1])));
  storage.items.set("adapters:a3.json", "{}");
  const app = createApp({ adapters: registry });
  const seen: string[] = [];
  for (let more = true; more;) {
    const after = seen.length > 0 ? `&after=${seen.at(-1)}` : "";
    storage.calls.length = 0;
    const { data, has_more } = await (await app.request(`/v1/models?limit=3${after}`)).json();
    // The list of names, a page and one more, one of these broken.
    assert.ok(storage.calls.length <= 6, storage.calls.join());
    seen.push(...data.map(({ id }: { id: string }) => id));
    more = has_more;
  }
  assert.deepEqual(seen, names.filter((name) => name !== "a3"));
  const tenants = [{ id: "t", tokens: ["a-long-secret-of-t"], adapterPrefixes: ["a7", "a1", "a3", "a8"] }];
  const headers = { authorization: "Bearer a-long-secret-of-t" };
  const own = createApp({ adapters: registry, auth: { tenants } });
  const first = await (await own.request("/v1/models?limit=2", { headers })).json();
  assert.deepEqual([first.data.map(({ id }: { id: string }) => id), first.has_more], [["a1", "a7"], true]);
  const last = await (await own.request("/v1/models?limit=2&after=a7", { headers })).json();
  assert.deepEqual([last.data.map(({ id }: { id: string }) => id), last.has_more], [["a8"], false]);
});

test("a list that was begun before a publication does not hide it", async () => {
  const { storage, store, clock } = await setUp({ one: 1 });
  const slow = gate();
  storage.getKeys = async (base = "") => {
    const seen = [...storage.items.keys()].filter((key) => key.startsWith(base));
    await slow.opened;
    return seen;
  };
  const early = store.list();
  storage.getKeys = HandStorage.prototype.getKeys;
  clock.ms += 1;
  await store.publish("two", smallAdapter(2));
  assert.deepEqual(await store.list(), ["one", "two"]);
  slow.open();
  await early;
  assert.deepEqual(await store.list(), ["one", "two"]);
});

test("a list is as old as the reading that others began", async () => {
  const { storage, store, clock, publisher } = await setUp({ one: 1 });
  const slow = gate();
  storage.getKeys = async (base = "") => {
    const seen = [...storage.items.keys()].filter((key) => key.startsWith(base));
    await slow.opened;
    return seen;
  };
  const first = store.list();
  await publisher.publish("two", smallAdapter(2));
  clock.ms += 4999;
  const second = store.list();
  storage.getKeys = HandStorage.prototype.getKeys;
  slow.open();
  await Promise.all([first, second]);
  clock.ms += 1;
  assert.deepEqual(await store.list(), ["one", "two"]);
});

test("ObjectStore tells of a broken object by the name that was asked for, though others read it, too", async () => {
  const { storage, registry } = await setUp({ one: 1, same: 1 });
  storage.garble = () => new Uint8Array(3);
  const slow = gate();
  storage.before = () => slow.opened;
  const asked = ["one", "same"].map((name) => registry.load(name));
  slow.open();
  const [one, same] = await Promise.allSettled(asked);
  assert.match(String((one as PromiseRejectedResult).reason), /adapter "one"/);
  assert.match(String((same as PromiseRejectedResult).reason), /adapter "same"/);
});

test("ObjectStore keeps an adapter's labels.json, where it has one", async () => {
  const { store, publisher } = await setUp({ one: 1 });
  assert.equal(await (await store.open("one"))!.folder.exists("labels.json"), false);
  const plain = smallAdapter(2), text = '{"id2label": {"0": "sad"}}';
  const labels = memoryFolder(new Map([["labels.json", text]]));
  const isLabels = (name: string): boolean => name === "labels.json";
  await publisher.publish("two", {
    open: (name) => (isLabels(name) ? labels : plain).open(name),
    readText: (name, options) => (isLabels(name) ? labels : plain).readText(name, options),
    exists: (name) => (isLabels(name) ? labels : plain).exists(name),
  });
  const { folder } = (await store.open("two"))!;
  assert.equal(await folder.readText("labels.json"), text);
});

test("ObjectStore.remove waits for no read that began before", async () => {
  const { storage, store } = await setUp({ one: 1 });
  const hung = gate();
  let reads = 0;
  storage.before = (call) => call === "get" && reads++ === 0 ? hung.opened : undefined;
  const reading = store.open("one");
  assert.equal(await store.remove("one"), true);
  assert.equal(await store.open("one"), undefined);
  hung.open();
  assert.equal(await reading, undefined, "what is gone is not served by an old look");
});

test("RecordCache gives no record that was removed while it was looked at again", async () => {
  const record = { peftType: "LORA", createdUnixSeconds: 0, files: new Map() };
  const slow = gate();
  let ms = 0;
  const looks = [
    () => Promise.resolve(record),
    () => slow.opened.then(() => Promise.reject(new Error("down"))),
  ];
  const times = { ttlMs: 5, staleMs: 100, now: () => ms };
  const cache = new RecordCache(() => looks.shift()!(), times, () => assert.fail("nothing old is served"));
  assert.equal(await cache.get("one"), record);
  ms = 5;
  const early = cache.get("one");
  cache.set("one", undefined);
  slow.open();
  assert.equal(await early, undefined);
});
