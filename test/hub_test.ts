import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, readlink, rm, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { ConfigError, MissingFileError } from "../mod.ts";
import { type HubProgress, openHubFolder, type OpenHubFolderOptions } from "../src/runtime/mod.ts";
import { parseHubName } from "../src/runtime/hub/repository.ts";
import { type FakeHub, fakeHub, goodToken } from "./fake_hub.ts";

const text = (content: string): Uint8Array => new TextEncoder().encode(content);
const weights = Uint8Array.from({ length: 50_000 }, (_, i) => (i * 31) & 255);
const repo = "some-org/some.model";
const files: ReadonlyMap<string, Uint8Array> = new Map([
  ["config.json", text('{"a": 1}')],
  ["tokenizer.json", text("{}")],
  ["model.safetensors", weights],
  ["original/params.json", text('{"b": 2}')],
  ["pytorch_model.bin", new Uint8Array(2000)],
]);

interface Setting {
  readonly hub: FakeHub;
  readonly cache: string;
  readonly place: string;
  open(options?: OpenHubFolderOptions): ReturnType<typeof openHubFolder>;
}

async function inSetting(body: (setting: Setting) => Promise<void>, isPrivate = false): Promise<void> {
  const cache = await mkdtemp(join(tmpdir(), "fourierft-hub-"));
  const hub = await fakeHub(repo, files, { isPrivate });
  const open: Setting["open"] = (options) =>
    openHubFolder(repo, { endpoint: hub.endpoint, cache, token: "", pauseMs: 0, ...options });
  try {
    await body({ hub, cache, place: join(cache, "models--some-org--some.model"), open });
  } finally {
    await hub.close();
    await rm(cache, { recursive: true });
  }
}

async function wholeFile(
  folder: Awaited<ReturnType<typeof openHubFolder>>,
  name: string,
): Promise<Uint8Array> {
  const source = await folder.open(name);
  try {
    return await source.read(0, source.sizeBytes);
  } finally {
    await source.close?.();
  }
}

const same = (a: Uint8Array, b: Uint8Array): void => assert.equal(Buffer.compare(a, b), 0);
const resolved = (asked: readonly string[]): string[] =>
  asked.filter((one) => one.includes("/resolve/") && !one.endsWith("bytes=0-0"));

test("parseHubName takes org/name and org/name@revision, and no path", () => {
  assert.deepEqual(parseHubName("org/name"), { repo: "org/name", revision: "main" });
  assert.deepEqual(parseHubName("Org-1/a.b_c@v1.0"), { repo: "Org-1/a.b_c", revision: "v1.0" });
  assert.deepEqual(parseHubName("org/name@refs/pr/1"), { repo: "org/name", revision: "refs/pr/1" });
  for (
    const path of [
      "name",
      "./org/name",
      "../x",
      "/org/name",
      "a/b/c",
      "a/..",
      "a--b/c",
      "a/b@",
      "a/b@../c",
      "-a/b",
      "a/b@c@d",
    ]
  ) {
    assert.equal(parseHubName(path), undefined, path);
  }
});

test("openHubFolder downloads what is opened, into the cache of huggingface_hub", () =>
  inSetting(async ({ hub, place, open }) => {
    const folder = await open();
    assert.equal(await folder.readText("config.json"), '{"a": 1}');
    same(await wholeFile(folder, "model.safetensors"), weights);
    assert.equal(await folder.exists("pytorch_model.bin"), true);
    assert.equal(await folder.exists("nothing.json"), false);
    await assert.rejects(folder.open("nothing.json"), MissingFileError);
    await assert.rejects(folder.open("../config.json"), ConfigError);
    assert.ok(!hub.asked.some((one) => one.includes("pytorch_model.bin")), "what nobody opens is left there");
    const inner = await folder.folder!("original");
    assert.equal(await inner!.readText("params.json"), '{"b": 2}');
    assert.equal(await folder.folder!("nothing"), undefined);

    assert.equal(await readFile(join(place, "refs/main"), "utf8"), hub.commit);
    const digest = createHash("sha256").update(weights).digest("hex");
    assert.equal(
      await readlink(join(place, "snapshots", hub.commit, "model.safetensors")),
      join("../../blobs", digest),
    );
    same(await readFile(join(place, "blobs", digest)), weights);
    assert.deepEqual((await readdir(join(place, "blobs"))).filter((name) => name.includes(".")), []);
  }));

test("openHubFolder downloads a file once for all who ask, and again for nobody", () =>
  inSetting(async ({ hub, open }) => {
    const folder = await open();
    const [a, b] = await Promise.all([
      wholeFile(folder, "model.safetensors"),
      wholeFile(folder, "model.safetensors"),
    ]);
    same(a, b);
    await wholeFile(await open(), "model.safetensors");
    assert.equal(resolved(hub.asked).filter((one) => one.includes("model.safetensors")).length, 1);
  }));

test("openHubFolder tells how far a download is", () =>
  inSetting(async ({ open }) => {
    const told: HubProgress[] = [];
    await wholeFile(await open({ onProgress: (one) => told.push(one) }), "model.safetensors");
    assert.deepEqual(told.at(-1), { file: "model.safetensors", doneBytes: 50_000, totalBytes: 50_000 });
  }));

test("a download goes on after broken connections", () =>
  inSetting(async ({ hub, open }) => {
    const folder = await open();
    hub.faults.cut = { bytes: 20_000, times: 2 };
    same(await wholeFile(folder, "model.safetensors"), weights);
    // What a runtime held of a broken answer it may lose: where the next begins is its own.
    assert.equal(resolved(hub.asked).filter((one) => one.includes("model.safetensors")).length, 3);
  }));

test("a download goes on where another process left it", () =>
  inSetting(async ({ hub, place, open }) => {
    const digest = createHash("sha256").update(weights).digest("hex");
    const partial = join(place, "blobs", `${digest}.incomplete`);
    await mkdir(dirname(partial), { recursive: true });
    await writeFile(partial, weights.subarray(0, 30_000));
    // A process that is gone: no system has so many.
    await writeFile(`${partial}.lock`, `${hostname()} 2147483646`);
    same(await wholeFile(await open(), "model.safetensors"), weights);
    assert.match(resolved(hub.asked).at(-1)!, /bytes=30000-49999$/);
  }));

test("a download that another process is at is done beside it", () =>
  inSetting(async ({ place, open }) => {
    const digest = createHash("sha256").update(weights).digest("hex");
    const partial = join(place, "blobs", `${digest}.incomplete`);
    await mkdir(dirname(partial), { recursive: true });
    await writeFile(partial, weights.subarray(0, 10));
    await writeFile(`${partial}.lock`, `${hostname()} ${process.pid}`);
    same(await wholeFile(await open(), "model.safetensors"), weights);
    assert.equal((await readFile(partial)).length, 10, "the other's file is left alone");
  }));

test("what was left of another file is thrown away by its hash", () =>
  inSetting(async ({ place, open }) => {
    const digest = createHash("sha256").update(weights).digest("hex");
    const partial = join(place, "blobs", `${digest}.incomplete`);
    await mkdir(dirname(partial), { recursive: true });
    await writeFile(partial, new Uint8Array(30_000));
    same(await wholeFile(await open(), "model.safetensors"), weights);
  }));

test("a hub that takes no ranges serves whole files, and broken ones from their start", () =>
  inSetting(async ({ hub, open }) => {
    hub.faults.noRanges = true;
    const folder = await open();
    hub.faults.cut = { bytes: 20_000, times: 1 };
    same(await wholeFile(folder, "model.safetensors"), weights);
  }));

test("a file with other bytes than the hub's list says is refused, and not kept", () =>
  inSetting(async ({ hub, place, open }) => {
    const folder = await open();
    hub.faults.wrongBytes = true;
    await assert.rejects(folder.open("model.safetensors"), /its sha256 is not/);
    assert.deepEqual((await readdir(join(place, "blobs"))).filter((name) => name.includes(".")), []);
    hub.faults.wrongBytes = false;
    same(await wholeFile(folder, "model.safetensors"), weights);
  }));

test("a connection that brings nothing is given up", () =>
  inSetting(async ({ hub, open }) => {
    const folder = await open({ stallMs: 20 });
    hub.faults.stall = true;
    await assert.rejects(folder.open("model.safetensors"), /cannot be reached/);
  }));

test("a hub that says nothing counts as unreachable: the cache serves", () =>
  inSetting(async ({ hub, open }) => {
    await open();
    hub.faults.silent = true;
    const lines: string[] = [];
    const folder = await open({ stallMs: 20, log: (line) => lines.push(line) });
    assert.equal(await folder.readText("config.json"), '{"a": 1}');
    assert.match(lines.join(), /cannot be reached.*; the cached files are used/);
    await assert.rejects(open({ stallMs: 20, revision: "v1" }), /cannot be reached/);
  }));

test("a hub that is busy is asked again for a file", () =>
  inSetting(async ({ hub, open }) => {
    const folder = await open();
    hub.faults.status = { code: 503, times: 2 };
    same(await wholeFile(folder, "model.safetensors"), weights);
  }));

test("without the network the cache serves, and says so; offline it is not asked", () =>
  inSetting(async ({ hub, open }) => {
    await wholeFile(await open(), "model.safetensors");
    const lines: string[] = [];
    hub.faults.status = { code: 500, times: 1 };
    const folder = await open({ log: (line) => lines.push(line) });
    same(await wholeFile(folder, "model.safetensors"), weights);
    assert.match(lines.join(), /cannot be reached.*; the cached files are used/);

    const asked = hub.asked.length;
    same(await wholeFile(await open({ offline: true }), "model.safetensors"), weights);
    same(await wholeFile(await open({ offline: true, revision: hub.commit }), "model.safetensors"), weights);
    assert.equal(hub.asked.length, asked);
    await assert.rejects(open({ offline: true, revision: "v1" }), /not in the cache, and HF_HUB_OFFLINE/);
  }));

test("a model that was opened half is not in the cache", () =>
  inSetting(async ({ hub, open }) => {
    hub.faults.wrongBytes = true;
    await assert.rejects(open(), ConfigError);
    await assert.rejects(open({ offline: true }), /not in the cache/);
    await assert.rejects(open({ offline: true, revision: hub.commit }), /not in the cache/);
  }));

test("revisions: a tag and a commit are taken, an unknown one is refused by the hub's words", () =>
  inSetting(async ({ hub, open }) => {
    for (const revision of ["v1", "refs/pr/1", hub.commit]) {
      assert.equal(await (await open({ revision })).readText("config.json"), '{"a": 1}');
    }
    await assert.rejects(open({ revision: "v2" }), /says 404: Invalid rev id: v2/);
    await assert.rejects(open({ revision: "../x" }), /a revision is a branch, a tag or a commit/);
  }));

test("a private repository needs a token, and the error says which", () =>
  inSetting(async ({ open }) => {
    await assert.rejects(open(), /no such repository, or it is private or gated; HF_TOKEN gives access/);
    const folder = await open({ token: goodToken });
    same(await wholeFile(folder, "model.safetensors"), weights);
  }, true));

test("a hub's list cannot lead out of the cache", () =>
  inSetting(async ({ hub, open, place }) => {
    const oid = "0".repeat(40);
    for (
      const entry of [
        { type: "file", path: "../../evil.json", size: 1, oid },
        { type: "file", path: "a/../b.json", size: 1, oid },
        { type: "file", path: "a.json", size: 1, oid: "../../../evil" },
        { type: "file", path: "a.json", size: -1, oid },
        {
          type: "file",
          path: "a.safetensors",
          size: 1,
          oid,
          lfs: { oid: "../../x", size: 1, pointerSize: 1 },
        },
      ]
    ) {
      hub.faults.listing = [entry];
      await assert.rejects(open(), /is no file of one/);
    }
    assert.deepEqual(await readdir(place).catch(() => []), []);
  }));

test("the environment gives endpoint, token and cache as it does to huggingface_hub", () =>
  inSetting(async ({ hub, cache, place }) => {
    const names = ["HF_ENDPOINT", "HF_TOKEN", "HF_HUB_CACHE", "HF_HUB_OFFLINE"];
    const before = names.map((name) => [name, process.env[name]] as const);
    try {
      Object.assign(process.env, {
        HF_ENDPOINT: `${hub.endpoint}/`,
        HF_TOKEN: goodToken,
        HF_HUB_CACHE: cache,
      });
      assert.equal(await (await openHubFolder(repo)).readText("config.json"), '{"a": 1}');
      assert.equal(await readFile(join(place, "refs/main"), "utf8"), hub.commit);
      process.env.HF_HUB_OFFLINE = "1";
      await assert.rejects(openHubFolder("some-org/other"), /not in the cache/);
    } finally {
      for (const [name, value] of before) {
        if (value === undefined) delete process.env[name];
        else process.env[name] = value;
      }
    }
  }, true));
