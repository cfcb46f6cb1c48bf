/**
 * What thousands of adapters in a folder cost a server: start, and lists of them. `deno task bench:listing [COUNT]`.
 *
 * Every adapter is a copy of a demo adapter of its own, on this machine's disk of temporary files. The first list reads
 * headers in the background at the start; "cold" is the time until the list has all adapters. Then the same number of names
 * in a store in memory: the names, and a page.
 *
 * @module
 */
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { openAdapterStore, openCpuDevice, openFolder } from "../src/runtime/mod.ts";
import { createStorage } from "unstorage";
import { AdapterRegistry, cpuDevice, ObjectStore } from "../mod.ts";
import { openModel } from "../src/open.ts";
import { createApp } from "../src/server/mod.ts";
import { median } from "./measurement.ts";

const count = Number(process.argv[2] ?? 10_000), atOnce = 20, rounds = 9;
const folder = await mkdtemp(join(tmpdir(), "fourierft-listing-"));

async function since(work: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  await work();
  return performance.now() - begin;
}

const print = (what: string, ms: number): void => console.log(`${what.padEnd(44)} ${ms.toFixed(0)} ms`);

try {
  for (let i = 0; i < count; i++) {
    await cp("examples/demo/adapters/fourierft-kjv-qv", join(folder, `adapter-${i}`), { recursive: true });
  }
  let app: ReturnType<typeof createApp>;
  print(
    `start with ${count} adapters`,
    await since(async () => {
      const model = await openModel(await openCpuDevice(), {
        folder: await openFolder("examples/demo/base"),
        adapters: await openAdapterStore(folder),
      });
      app = createApp({ model: { id: "base", createdUnixSeconds: 0, ...model }, adapters: model.registry });
      await model.registry.names();
    }),
  );
  const list = async (): Promise<number> => {
    const { data } = await (await app.request("/v1/models")).json();
    return data.length;
  };
  print(
    "the first list, until all are there",
    await since(async () => {
      while (await list() < count + 1);
    }),
  );
  const times: number[] = [];
  for (let i = 0; i < rounds; i++) times.push(await since(list));
  print(`a list, median of ${rounds}`, median(times));
  print(
    "a page of 100",
    await since(async () => await (await app.request("/v1/models?limit=100&after=adapter-5")).json()),
  );
  print(`${atOnce} lists at once`, await since(() => Promise.all(Array.from({ length: atOnce }, list))));
} finally {
  await rm(folder, { recursive: true });
}

const storage = createStorage();
const store = new ObjectStore(storage);
await store.publish("adapter-0", await openFolder("examples/demo/adapters/fourierft-kjv-qv"));
const record = JSON.stringify(await storage.getItem("adapters:adapter-0.json"));
for (let i = 1; i < count; i++) await storage.setItem(`adapters:adapter-${i}.json`, record);
const registry = new AdapterRegistry(cpuDevice(), new ObjectStore(storage));
print(`names of a store of ${count}`, await since(() => registry.names()));
const served = createApp({ adapters: registry });
for (const page of ["the first", "another"]) {
  print(
    `${page} page of 100`,
    await since(async () => await (await served.request("/v1/models?limit=100&after=adapter-5")).json()),
  );
}
process.exit(0);
