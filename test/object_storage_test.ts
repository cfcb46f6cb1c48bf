/**
 * Object stores through unstorage's drivers: folders, memory, web servers and S3, the command line, and a killed publisher.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtemp, readdir, rename, rm } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import {
  AdapterRegistry,
  ConfigError,
  cpuDevice,
  loadAdapter,
  type ObjectStore,
  StoreError,
} from "../mod.ts";
import { openFolder, openObjectStore, type StorageOptions } from "../src/runtime/mod.ts";
import { storageOptions } from "../src/runtime/object_storage.ts";
import { smallAdapter } from "./hand_storage.ts";
import { ended, says, send, start, startScript, trainingFixture, withTinyModel } from "./train_process.ts";

async function withFolder(body: (path: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "fourierft-test-"));
  try {
    await body(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

type Handler = (request: IncomingMessage, response: ServerResponse) => Promise<void> | void;

async function withServer(handler: Handler, body: (address: string) => Promise<void>): Promise<void> {
  const server = createServer((request, response) => void handler(request, response));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    await body(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
}

async function bodyOf(request: IncomingMessage): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const part of request) parts.push(part);
  return Buffer.concat(parts);
}

/** Objects by their paths: PUT, GET and DELETE, as a web server or a bucket has them. */
function objects(items: Map<string, Uint8Array>, list: (url: URL) => string | undefined): Handler {
  return async (request, response) => {
    const url = new URL(request.url!, "http://server"), path = decodeURIComponent(url.pathname.slice(1));
    const listed = request.method === "GET" ? list(url) : undefined, found = items.get(path);
    if (request.method === "PUT") items.set(path, await bodyOf(request));
    if (request.method === "DELETE") items.delete(path);
    if (listed !== undefined) response.end(listed);
    else if (request.method === "PUT" || request.method === "DELETE") response.end();
    else if (found) response.end(found);
    else response.writeHead(404).end();
  };
}

/** What every store does, whatever its driver. */
async function servesWhatIsPublished(store: ObjectStore): Promise<void> {
  const registry = new AdapterRegistry(cpuDevice(), store);
  await store.publish("One v1", smallAdapter(1));
  await store.publish("two", smallAdapter(2));
  assert.deepEqual([...await store.list()], ["One v1", "two"]);
  const first = (await registry.load("One v1")).digest;
  assert.equal(first, (await loadAdapter(smallAdapter(1))).digest);
  await store.publish("One v1", smallAdapter(2));
  assert.equal((await registry.load("One v1")).digest, (await registry.load("two")).digest);
  await store.remove("two");
  assert.deepEqual([...await store.list()], ["One v1"]);
  assert.equal(await store.open("two"), undefined);
  assert.equal(await store.open("three"), undefined);
}

test("openObjectStore serves from memory, from a folder, and by its URL", async () => {
  await servesWhatIsPublished(await openObjectStore("memory:"));
  await withFolder(async (path) => {
    await servesWhatIsPublished(await openObjectStore(pathToFileURL(path).href));
    const again = await openObjectStore({ driver: "fs", base: path });
    assert.deepEqual([...await again.list()], ["One v1"]);
    assert.deepEqual(await readdir(join(path, "adapters")), ["~4fne~20v1.json"], "no temporary file stays");
  });
});

test("openObjectStore: a folder that never was is empty, and one that has vanished fails until it is back", async () => {
  await withFolder(async (path) => {
    const base = join(path, "store"), away = join(path, "away");
    const store = await openObjectStore({ driver: "fs", base }, { ttlSeconds: 1e-6, staleSeconds: 1e-6 });
    assert.deepEqual(await store.list(), []);
    assert.equal(await store.open("one"), undefined);
    await store.publish("one", smallAdapter(1));
    await rename(base, away);
    await assert.rejects(store.open("one"), StoreError);
    await assert.rejects(store.open("other"), StoreError);
    await assert.rejects(store.list(), StoreError);
    await assert.rejects(store.publish("two", smallAdapter(2)), StoreError);
    await rename(away, base);
    assert.deepEqual(await store.list(), ["one"]);
    assert.equal(await store.open("other"), undefined);
  });
});

test("openObjectStore serves from a web server", async () => {
  const items = new Map<string, Uint8Array>();
  const list = (url: URL): string | undefined =>
    url.pathname.endsWith(":")
      ? JSON.stringify([...items.keys()].map((key) => key.replaceAll("/", ":")))
      : undefined;
  await withServer(objects(items, list), async (address) => {
    await servesWhatIsPublished(await openObjectStore(address));
  });
  const down = await openObjectStore("http://127.0.0.1:9", { timeoutSeconds: 5 });
  await assert.rejects(async () => await down.open("one"), StoreError);
});

/** Pages of two keys, as ListObjectsV2 gives them. */
function listBucket(items: ReadonlyMap<string, Uint8Array>) {
  return (url: URL): string | undefined => {
    if (url.searchParams.get("list-type") !== "2") return undefined;
    const prefix = url.searchParams.get("prefix")!,
      from = Number(url.searchParams.get("continuation-token") ?? 0);
    const keys = [...items.keys()].map((key) => key.slice("bucket/".length)).filter((key) =>
      key.startsWith(prefix)
    );
    const shown = keys.sort().slice(from, from + 2), more = from + 2 < keys.length;
    return `<?xml version="1.0"?><ListBucketResult><IsTruncated>${more}</IsTruncated>${
      shown.map((key) => `<Contents><Key>${key}</Key></Contents>`).join("")
    }${more ? `<NextContinuationToken>${from + 2}</NextContinuationToken>` : ""}</ListBucketResult>`;
  };
}

test("openObjectStore serves from an S3-compatible bucket, and lists all pages of it", async () => {
  for (const bucket of ["bucket", "bucket/models/kjv"]) {
    const items = new Map<string, Uint8Array>();
    await withServer(objects(items, listBucket(items)), async (endpoint) => {
      const options: StorageOptions = {
        ...{ driver: "s3", bucket, endpoint, region: "local", accessKeyId: "id", secretAccessKey: "key" },
      };
      const store = await openObjectStore(options);
      await servesWhatIsPublished(store);
      for (const name of ["a", "b", "c", "d"]) await store.publish(name, smallAdapter(1));
      assert.deepEqual([...await store.list()], ["One v1", "a", "b", "c", "d"]);
      const [path] = items.keys();
      assert.equal(path, `${bucket}/objects/${createHash("sha256").update(items.get(path)!).digest("hex")}`);
    });
  }
});

test("openObjectStore refuses unknown drivers, bad URLs and missing options by name", async () => {
  const refusals: readonly [string | StorageOptions, RegExp][] = [
    ["nowhere", /it must be a URL that begins with file:/],
    ["ftp://host", /it must be a URL/],
    [{ driver: "floppy" }, /has no driver "floppy"/],
    [{ driver: "__proto__" }, /has no driver "__proto__"/],
    [{ driver: "fs" }, /driver "fs" needs base/],
    [
      { driver: "s3", bucket: "b", endpoint: "e", region: "r" },
      /driver "s3" needs accessKeyId; .*AWS_ACCESS_KEY_ID$/,
    ],
  ];
  for (const [storage, message] of refusals) {
    await assert.rejects(openObjectStore(storage), (error: Error) => {
      assert.ok(error instanceof ConfigError);
      assert.match(error.message, message);
      return true;
    });
  }
  assert.deepEqual(storageOptions("s3://b/in?endpoint=http://h:1&region=r", { AWS_ACCESS_KEY_ID: "i" }), {
    ...{ driver: "s3", bucket: "b/in", endpoint: "http://h:1", region: "r", accessKeyId: "i" },
    secretAccessKey: undefined,
  });
});

test("a publisher that is killed at any moment leaves one adapter or the other, whole", async () => {
  const folders = [trainingFixture("fourierft/trained"), trainingFixture("fourierft/start")];
  const digests = await Promise.all(
    folders.map(async (path) => (await loadAdapter(await openFolder(path))).digest),
  );
  await withFolder(async (path) => {
    const url = pathToFileURL(path).href;
    for (let run = 0; run < 3; run++) {
      const child = startScript("test/publish_objects_forever.ts", [url, ...folders]), end = ended(child);
      await says(child, /publishing\n/);
      // Reads of another process in the meantime see one or the other, too.
      const store = await openObjectStore(url, { ttlSeconds: 1e-9 });
      const registry = new AdapterRegistry(cpuDevice(), store);
      for (let i = 0; i < 20 * (run + 1); i++) {
        assert.ok(digests.includes((await registry.load("x")).digest), "neither of the two");
      }
      send(child, "SIGKILL");
      await end;
      const after = new AdapterRegistry(cpuDevice(), await openObjectStore(url));
      assert.ok(digests.includes((await after.load("x")).digest));
      assert.deepEqual(await after.names(), ["x"]);
    }
  });
});

test("publish puts an adapter into a store, serve serves it from there, and --remove takes it out", async () => {
  await withTinyModel(async (path) => {
    const store = pathToFileURL(join(path, "store")).href, adapter = trainingFixture("fourierft/trained");
    const publish = async (...args: string[]) => await ended(start(["publish", "--store", store, ...args]));
    const done = await publish("--adapter", adapter, "--name", "kjv");
    assert.equal(done.code, 0, done.stderr);
    process.env.FOURIERFT_STORE = store;
    const child = start(["publish", "--adapter", adapter, "--name", "kjv"]);
    delete process.env.FOURIERFT_STORE;
    assert.equal((await ended(child)).code, 0);
    const wrong = await publish();
    assert.equal(wrong.code, 2);
    assert.match(wrong.stderr, /it needs --adapter DIR or --remove ID/);
    for (const change of [["--adapter", adapter, "--name", "untold"], ["--remove", "kjv"]]) {
      const untold = await publish(...change, "--redis", "http://:secret@127.0.0.1");
      assert.match(untold.stderr, /Cannot use Redis: its address must be a URL that begins with redis:/);
      assert.doesNotMatch(untold.stderr, /secret/);
    }
    const server = start([
      ...["serve", "--model", join(path, "base"), "--store", store, "--store-ttl-seconds", "0.000001"],
      ...["--port", "0", "--device", "cpu"],
    ]);
    const end = ended(server);
    try {
      const [, address] = await says(server, /listening on (http:\/\/[\d.]+:\d+)\n/);
      const ids = async (): Promise<string[]> => {
        const { data } = await (await fetch(`${address}/v1/models`)).json() as { data: { id: string }[] };
        return data.map(({ id }) => id);
      };
      assert.deepEqual(await ids(), ["base", "kjv"]);
      const answer = await fetch(`${address}/v1/completions`, {
        method: "POST",
        body: JSON.stringify({ model: "kjv", prompt: "w5", max_tokens: 2, temperature: 0 }),
      });
      assert.equal(answer.status, 200, await answer.text());
      assert.equal((await publish("--remove", "kjv")).code, 0);
      const again = await publish("--remove", "kjv");
      assert.equal(again.code, 1);
      assert.match(again.stderr, /Cannot take "kjv" out of the store: there is no such name/);
      assert.deepEqual(await ids(), ["base"]);
    } finally {
      send(server, "SIGTERM");
    }
    assert.match((await end).stderr, /store=\*\*\*/, "a URL may hold a password");
  });
});
