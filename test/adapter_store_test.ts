/**
 * Adapters in folders: which names and links are served, what is told of the rest, and what a list costs.
 */
import assert from "node:assert/strict";
import { cp, mkdir, mkdtemp, readFile, rename, rm, stat, symlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { AdapterRegistry, ConfigError, cpuDevice, NotFoundError, StoreError } from "../mod.ts";
import { openAdapterStore, openSingleAdapter } from "../src/runtime/mod.ts";
import { untilEqual } from "./until.ts";

const demo = fileURLToPath(new URL("../examples/demo/adapters/", import.meta.url));
const weights = "adapter_model.safetensors";

async function withFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "fourierft-store-"));
  try {
    await body(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

const copyTo = (path: string, name = "lora-kjv"): Promise<void> =>
  cp(join(demo, name), path, { recursive: true });

/** A registry of a folder, and the lines it logs. */
async function open(
  path: string,
  followLinks = false,
): Promise<{ registry: AdapterRegistry; lines: string[] }> {
  const lines: string[] = [];
  const store = await openAdapterStore(path, { followLinks });
  const registry = new AdapterRegistry(cpuDevice(), store, { log: (line) => lines.push(line) });
  return { registry, lines };
}

/** Waits until a change of a file would show in its time of change: Deno gives that in seconds. */
async function laterThan(file: string): Promise<void> {
  const { ctimeMs } = await stat(file);
  const probe = `${file}.probe`;
  do await writeFile(probe, ""); while ((await stat(probe)).ctimeMs === ctimeMs);
  await rm(probe);
}

const ids = async (registry: AdapterRegistry): Promise<string[]> =>
  (await registry.list()).map(({ id }) => id);

test("openAdapterStore serves names with capitals, spaces and letters of any script, however those are written", async () => {
  await withFolder(async (folder) => {
    const names = ["My-SQL-LoRA", "sql lora v2", "über-lora".normalize("NFD"), "日本語", "UPPER.v1", "-dash"];
    for (const name of names) await copyTo(join(folder, name));
    const { registry, lines } = await open(folder);
    assert.deepEqual(await ids(registry), names.map((name) => name.normalize("NFC")).sort());
    for (const name of names) {
      assert.equal((await registry.card(name)).id, name.normalize("NFC"));
      assert.ok((await registry.load(name.normalize("NFC"))).modules.size > 0);
    }
    assert.deepEqual(lines, []);
  });
});

test("openAdapterStore says once of everything that it leaves out why, and serves it once that is mended", async () => {
  await withFolder(async (folder) => {
    const root = join(folder, "adapters");
    await copyTo(join(root, "good"));
    await copyTo(join(folder, "elsewhere"));
    await mkdir(join(root, "empty"));
    await mkdir(join(root, ".partial"));
    await copyTo(join(root, "no-weights"));
    await rm(join(root, "no-weights", weights));
    await writeFile(join(root, "notes.txt"), "");
    await symlink(join(folder, "elsewhere"), join(root, "out"));
    await symlink(join(root, "good"), join(root, "alias"));
    await symlink(join(root, "nowhere"), join(root, "dangling"));
    await symlink(join(root, "notes.txt"), join(root, "text"));
    const { registry, lines } = await open(root);
    for (let i = 0; i < 3; i++) assert.deepEqual(await ids(registry), ["alias", "good"]);
    assert.deepEqual(lines.sort(), [
      'adapter ".partial" is left out: names that begin with a dot are hidden',
      'adapter "dangling" is left out: it is a link to nothing',
      'adapter "empty" is left out: no adapter_config.json is found in it',
      'adapter "no-weights" is left out: Cannot find adapter_model.safetensors in the adapter\'s folder',
      'adapter "notes.txt" is left out: it is not a folder',
      'adapter "out" is left out: it is a link that leads out of the folder; followLinks (serve --follow-links) allows it',
      'adapter "text" is left out: it is a link to what is not a folder',
    ]);
    await assert.rejects(registry.load("out"), NotFoundError);
    await cp(join(demo, "lora-kjv", weights), join(root, "no-weights", weights));
    // A list may be that of the last look, where looking takes long.
    await untilEqual(() => ids(registry), ["alias", "good", "no-weights"]);
  });
});

test("openAdapterStore that follows links serves folders of links into a cache, and else refuses their files", async () => {
  await withFolder(async (folder) => {
    const blobs = join(folder, "blobs"), root = join(folder, "adapters");
    await mkdir(join(root, "snapshot"), { recursive: true });
    await copyTo(blobs);
    for (const file of ["adapter_config.json", weights]) {
      await symlink(join(blobs, file), join(root, "snapshot", file));
    }
    await symlink(blobs, join(root, "linked"));
    const strict = await open(root);
    assert.deepEqual(await ids(strict.registry), []);
    assert.match(
      strict.lines.join("\n"),
      /"snapshot" is left out: .*it is a link that leads out of its folder/,
    );
    const { registry, lines } = await open(root, true);
    assert.deepEqual(await ids(registry), ["linked", "snapshot"]);
    for (const id of ["linked", "snapshot"]) assert.ok((await registry.load(id)).modules.size > 0);
    assert.deepEqual(lines, []);
    const { store, id } = await openSingleAdapter(join(root, "snapshot"));
    assert.ok((await new AdapterRegistry(cpuDevice(), store).load(id)).modules.size > 0);
  });
});

test("openSingleAdapter takes any folder, whatever its name, and refuses what is none", async () => {
  await withFolder(async (folder) => {
    for (const [name, expected] of [["My LoRA", "My LoRA"], [".hidden", "adapter"], ["a:b", "adapter"]]) {
      await copyTo(join(folder, name));
      const { store, id } = await openSingleAdapter(join(folder, name));
      assert.equal(id, expected);
      const registry = new AdapterRegistry(cpuDevice(), store);
      assert.deepEqual(await ids(registry), [id]);
      await assert.rejects(registry.load("other"), NotFoundError);
    }
    await mkdir(join(folder, "empty"));
    await assert.rejects(openSingleAdapter(join(folder, "empty")), /it has no adapter_config\.json/);
    await assert.rejects(openSingleAdapter(join(folder, "none")), ConfigError);
  });
});

test("openAdapterStore sees a file that is written in place, of the same size, with its old time set again", async () => {
  await withFolder(async (folder) => {
    const file = join(folder, "one", weights);
    await copyTo(join(folder, "one"));
    const { registry } = await open(folder);
    const old = await registry.load("one");
    await laterThan(file);
    const bytes = await readFile(file), time = new Date(1.7e12);
    bytes[bytes.length - 2] ^= 1;
    await writeFile(file, bytes);
    await utimes(file, time, time);
    const written = await registry.load("one");
    assert.notEqual(written.digest, old.digest);
    await laterThan(file);
    bytes[bytes.length - 2] ^= 1;
    await writeFile(file, bytes);
    await utimes(file, time, time);
    assert.equal((await registry.load("one")).digest, old.digest);
    assert.equal((await registry.list())[0].digest, old.digest);
  });
});

test("openAdapterStore fails where its folder has vanished, and finds what is there once it is back", async () => {
  await withFolder(async (path) => {
    const folder = join(path, "adapters"), away = join(path, "away");
    await copyTo(join(folder, "one"));
    const store = await openAdapterStore(folder);
    assert.equal(await store.open("other"), undefined);
    await rename(folder, away);
    await assert.rejects(store.open("one"), StoreError);
    await assert.rejects(store.list(), StoreError);
    await rename(away, folder);
    assert.notEqual(await store.open("one"), undefined);
    assert.deepEqual(await store.list(), ["one"]);
  });
});

test("openAdapterStore sees what comes and goes though the wall's clock jumps", async () => {
  const now = Date.now;
  try {
    await withFolder(async (folder) => {
      await copyTo(join(folder, "one"));
      const store = await openAdapterStore(folder);
      assert.deepEqual(await store.list(), ["one"]);
      for (const jumpMs of [1e10, -1e10, 0]) {
        Date.now = () => now() + jumpMs;
        await copyTo(join(folder, "two"));
        assert.deepEqual([...await store.list()].sort(), ["one", "two"], `${jumpMs}`);
        await rm(join(folder, "two"), { recursive: true });
        assert.deepEqual(await store.list(), ["one"], `${jumpMs}`);
      }
    });
  } finally {
    Date.now = now;
  }
});

test("openAdapterStore sees names that come, go and change at once, and a folder that is put in place of the other", async () => {
  await withFolder(async (folder) => {
    const root = join(folder, "adapters");
    await copyTo(join(root, "a"));
    // As old as a folder is that is served for a while.
    const old = new Date(Date.now() - 1e6);
    await utimes(root, old, old);
    const { registry } = await open(root);
    assert.deepEqual(await ids(registry), ["a"]);
    await copyTo(join(root, "b"));
    assert.deepEqual(await ids(registry), ["a", "b"]);
    await rename(join(root, "a"), join(root, "c"));
    assert.deepEqual(await ids(registry), ["b", "c"]);
    await rm(join(root, "b"), { recursive: true });
    assert.deepEqual(await ids(registry), ["c"]);
    await copyTo(join(folder, "next", "d"));
    await rename(root, join(folder, "before"));
    await rename(join(folder, "next"), root);
    assert.deepEqual(await ids(registry), ["d"]);
    await assert.rejects(registry.card("c"), NotFoundError);
  });
});

test("AdapterRegistry logs once why an adapter cannot be used, when it is first asked for", async () => {
  await withFolder(async (root) => {
    await copyTo(join(root, "a"));
    const file = join(root, "a", weights), bytes = await readFile(file);
    bytes.writeFloatLE(NaN, bytes.length - 4);
    await writeFile(file, bytes);
    const { registry, lines } = await open(root);
    assert.deepEqual(await ids(registry), ["a"]);
    for (let i = 0; i < 2; i++) await assert.rejects(registry.load("a"), ConfigError);
    assert.equal(lines.length, 1);
    assert.match(lines[0], /^adapter "a" is left out: Cannot read adapter tensor ".*": element 1023 is NaN$/);
    assert.deepEqual(await ids(registry), []);
  });
});
