import assert from "node:assert/strict";
import { test } from "node:test";
import {
  ConfigError,
  MissingFileError,
  openUrlFolder,
  type ReadableFolder,
  type UrlProgress,
} from "../mod.ts";
import { cacheOf, type FileServer, fileServer, type FileServerOptions } from "./file_server.ts";

const large = Uint8Array.from({ length: 3_000_000 }, (_, i) => (i * 31) & 255);

async function withFiles(
  body: (server: FileServer, files: Map<string, Uint8Array>) => Promise<void>,
  options?: FileServerOptions,
): Promise<void> {
  const files = new Map<string, Uint8Array>([["large.bin", large], [
    "small.json",
    new Uint8Array([123, 125]),
  ]]);
  const server = await fileServer(files, options);
  try {
    await body(server, files);
  } finally {
    await server.close();
  }
}

async function whole(folder: ReadableFolder, name: string): Promise<Uint8Array> {
  const source = await folder.open(name);
  return await source.read(0, source.sizeBytes);
}

const same = (a: Uint8Array, b: Uint8Array): void => assert.equal(Buffer.compare(a, b), 0);
const asksFor = ({ asked }: FileServer, name: string): number =>
  asked.filter((one) => one.startsWith(`/files/${name}`)).length;

test("openUrlFolder reads what is asked for of a large file, and a small one by one answer", () =>
  withFiles(async (server) => {
    const folder = openUrlFolder(server.url);
    const source = await folder.open("large.bin");
    assert.equal(source.sizeBytes, large.length);
    same(await source.read(2_000_000, 10), large.slice(2_000_000, 2_000_010));
    same(await source.read(1_000_000, 100_000), large.slice(1_000_000, 1_100_000));
    assert.deepEqual(server.asked, [
      "/files/large.bin bytes=0-1048575",
      "/files/large.bin bytes=2000000-2000009",
      "/files/large.bin bytes=1000000-1099999",
    ]);
    await folder.readText("small.json");
    assert.equal(asksFor(server, "small.json"), 1);
  }));

test("openUrlFolder takes a page for a missing file", () =>
  withFiles(async (server) => {
    const folder = openUrlFolder(server.url);
    assert.equal(await folder.exists("none.json"), false);
    await assert.rejects(folder.open("none.json"), MissingFileError);
    await assert.rejects(
      openUrlFolder(server.url, { cache: cacheOf("cache") }).open("none"),
      MissingFileError,
    );
  }, { pages: true }));

test("openUrlFolder refuses a file that changes while it is read", () =>
  withFiles(async (server, files) => {
    const source = await openUrlFolder(server.url).open("large.bin");
    files.set("large.bin", large.map((byte) => byte ^ 1));
    await assert.rejects(source.read(2_000_000, 10), /it has changed while it was read/);
  }));

test("openUrlFolder refuses a server that is not there, and what is no http URL", async () => {
  const { url, close } = await fileServer(new Map());
  await close();
  await assert.rejects(openUrlFolder(url).open("a"), /the server cannot be reached/);
  for (const bad of ["file:///etc/", "nothing", "data:,x"]) {
    assert.throws(() => openUrlFolder(bad), ConfigError);
  }
});

test("openUrlFolder keeps the query of a signed URL", () =>
  withFiles(async (server) => {
    const folder = openUrlFolder(`${server.url}?sig=1`);
    same(await whole(folder, "small.json"), new Uint8Array([123, 125]));
  }));

test("openUrlFolder tells how far a file is, over ranges", () =>
  withFiles(async (server) => {
    const told: UrlProgress[] = [];
    await whole(openUrlFolder(server.url, { onProgress: (one) => told.push(one) }), "large.bin");
    assert.deepEqual(told.at(-1), { file: "large.bin", doneBytes: large.length, totalBytes: large.length });
  }));

for (const kind of ["cache", "folder"] as const) {
  test(`a ${kind} keeps a file: it comes once, and is there when the server is gone`, () =>
    withFiles(async (server) => {
      const cache = cacheOf(kind);
      const told: UrlProgress[] = [];
      const folder = openUrlFolder(server.url, { cache, onProgress: (one) => told.push(one) });
      same(await whole(folder, "large.bin"), large);
      assert.deepEqual(told.at(-1), { file: "large.bin", doneBytes: large.length, totalBytes: large.length });
      const { length } = server.asked;
      same(await whole(openUrlFolder(server.url, { cache }), "large.bin"), large);
      assert.equal(await folder.exists("large.bin"), true);
      assert.equal(server.asked.length, length);
    }));

  test(`a ${kind} keeps nothing of an answer that breaks off`, () =>
    withFiles(async (server) => {
      const folder = openUrlFolder(server.url, { cache: cacheOf(kind) });
      server.cut = { bytes: 1_000_000, times: 1 };
      await assert.rejects(folder.open("large.bin"));
      same(await whole(folder, "large.bin"), large);
      const again = kind === "folder" ? /^\/files\/large.bin bytes=[1-9]\d*-$/ : /^\/files\/large.bin$/;
      assert.match(server.asked.at(-1)!, again, "a folder goes on where it was");
    }));
}

test("a folder begins anew where the file has changed since", () =>
  withFiles(async (server, files) => {
    const folder = openUrlFolder(server.url, { cache: cacheOf("folder") });
    server.cut = { bytes: 1_000_000, times: 1 };
    await assert.rejects(folder.open("large.bin"), /broke off/);
    const other = large.map((byte) => byte ^ 1);
    files.set("large.bin", other);
    same(await whole(folder, "large.bin"), other);
  }));
