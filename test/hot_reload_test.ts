import assert from "node:assert/strict";
import { cp, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { loadAdapter } from "../src/adapters/peft.ts";
import { AdapterRegistry } from "../src/adapters/registry.ts";
import { cpuDevice } from "../src/device/cpu.ts";
import { uniforms } from "../src/engine/random.ts";
import { ConfigError } from "../src/errors.ts";
import { openAdapterStore } from "../src/runtime/adapter_store.ts";
import { openCheckpoints } from "../src/runtime/checkpoints.ts";
import { openFolder } from "../src/runtime/file.ts";
import {
  ended,
  says,
  send,
  start,
  startScript,
  tinyRun,
  trainingFixture,
  withTinyModel,
  wordsOf,
} from "./train_process.ts";

const prompt = "w5 w17 w29";

async function succeeds(args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await ended(start(args));
  assert.equal(code, 0, stderr);
  return stdout;
}

interface Server {
  /** Status and text of a completion by an adapter. */
  complete(adapter: string): Promise<{ status: number; text?: string }>;
  models(): Promise<string[]>;
}

/** Runs `body` with a server process of the tiny model in `folder` and the adapters in its sub-folder. */
async function withServer(folder: string, body: (server: Server) => Promise<void>): Promise<void> {
  const child = start([
    ...["serve", "--model", join(folder, "base"), "--adapters", join(folder, "adapters")],
    ...["--device", "cpu", "--port", "0"],
    // Folders are looked at again at every request.
    ...["--store-ttl-seconds", "0.000001"],
  ]);
  const end = ended(child);
  try {
    const [, address] = await says(child, /listening on (http:\/\/[\d.]+:\d+)\n/);
    await body({
      async complete(adapter) {
        const response = await fetch(`${address}/v1/completions`, {
          method: "POST",
          body: JSON.stringify({ model: adapter, prompt, temperature: 0, max_tokens: 12 }),
        });
        const { choices } = await response.json() as { choices?: { text: string }[] };
        return { status: response.status, text: choices?.[0].text };
      },
      async models() {
        const { data } = await (await fetch(`${address}/v1/models`)).json() as { data: { id: string }[] };
        return data.map(({ id }) => id).sort();
      },
    });
  } finally {
    send(child, "SIGTERM");
  }
  const { code, stderr } = await end;
  assert.equal(code, 0, stderr);
}

/** What the model says with an adapter, by a process of its own that has seen no other. */
async function spoken(folder: string, adapter: string): Promise<string> {
  const path = join(folder, "adapters", adapter);
  const stdout = await succeeds([
    ...["generate", "--model", join(folder, "base"), "--adapter", path, "--prompt", prompt],
    ...["--device", "cpu", "--max-tokens", "12"],
  ]);
  return stdout.slice(prompt.length, -1);
}

test("serve answers with an adapter that was trained anew in its folder, and with one that newly appears", async () => {
  await withTinyModel(async (folder) => {
    const adapters = join(folder, "adapters");
    await mkdir(join(adapters, "soon"), { recursive: true });
    await cp(trainingFixture("fourierft/trained"), join(adapters, "one"), { recursive: true });
    const run = [...await tinyRun(folder, wordsOf(100)), "--steps", "12"];
    await withServer(folder, async ({ complete, models }) => {
      const texts = [await spoken(folder, "one")];
      assert.deepEqual(await complete("one"), { status: 200, text: texts[0] });
      assert.equal((await complete("soon")).status, 404);
      // Anew with other settings; with the same settings, so that its config stays; and by another method.
      for (const how of [["--lr", "2"], ["--lr", "1"], ["--method", "lora", "--lr", "0.1"]]) {
        await succeeds([...run, "--out", join(adapters, "one"), "--overwrite", ...how]);
        texts.push(await spoken(folder, "one"));
        assert.deepEqual(await complete("one"), { status: 200, text: texts[texts.length - 1] }, how.join());
      }
      assert.equal(new Set(texts).size, texts.length, "every adapter speaks otherwise");
      assert.deepEqual(await models(), ["base", "one"]);
      await succeeds([...run, "--out", join(adapters, "soon"), "--lr", "1"]);
      assert.deepEqual(await complete("soon"), { status: 200, text: await spoken(folder, "soon") });
      assert.deepEqual(await models(), ["base", "one", "soon"]);
    });
  });
});

/** Two adapters of one method whose files, mixed, would load and be neither. */
async function twoAdapters(folder: string): Promise<[string, string]> {
  const [one, other] = [trainingFixture("fourierft/trained"), join(folder, "other")];
  await cp(trainingFixture("fourierft/start"), other, { recursive: true });
  const config = JSON.parse(await readFile(join(other, "adapter_config.json"), "utf8"));
  await writeFile(join(other, "adapter_config.json"), JSON.stringify({ ...config, random_loc_seed: 8 }));
  return [one, other];
}

const digestOf = async (folder: string): Promise<string> =>
  (await loadAdapter(await openFolder(folder))).digest;

/** Whether an adapter's weights are missing, as they are for a moment while others are published. */
const isMissing = (error: unknown): boolean =>
  error instanceof ConfigError && /Cannot find adapter_model\.safetensors/.test(error.message);

test("AdapterRegistry reads one adapter or the other, never a mixture, while a process publishes both in turn", async () => {
  await withTinyModel(async (folder) => {
    const adapters = join(folder, "adapters");
    const both = await twoAdapters(folder);
    const [one, other] = await Promise.all(both.map(digestOf));
    await cp(both[0], join(adapters, "x"), { recursive: true });
    const registry = new AdapterRegistry(cpuDevice(), await openAdapterStore(adapters));
    const child = startScript("test/publish_forever.ts", [join(adapters, "x"), ...both]);
    const end = ended(child);
    const seen = new Map([[one, 0], [other, 0]]);
    try {
      while (Math.min(...seen.values()) < 100) {
        const digest = await registry.load("x").then((adapter) => adapter.digest, (error) => {
          if (!isMissing(error)) throw error;
        });
        if (digest === undefined) continue;
        assert.ok(seen.has(digest), "neither of the two");
        seen.set(digest, seen.get(digest)! + 1);
      }
    } finally {
      send(child, "SIGKILL");
    }
    await end;
  });
});

test("publish killed at any moment leaves one adapter or the other, or no weights, never a mixture", async () => {
  const seed = Date.now() % 2 ** 31;
  console.log(`seed ${seed}`);
  const random = uniforms(seed);
  await withTinyModel(async (folder) => {
    const out = join(folder, "out");
    const both = await twoAdapters(folder);
    const digests = await Promise.all(both.map(digestOf));
    for (let kill = 0; kill < 20; kill++) {
      const child = startScript("test/publish_forever.ts", [out, ...both]);
      const end = ended(child);
      while (!(await readdir(out).catch(() => [])).some((name) => name.endsWith(".partial"))) {
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      await new Promise((resolve) => setTimeout(resolve, Math.floor(20 * random())));
      send(child, "SIGKILL");
      await end;
      const digest = await digestOf(out).catch((error) =>
        assert.ok(isMissing(error) || /Cannot find/.test(error))
      );
      if (digest !== undefined) assert.ok(digests.includes(digest), `kill ${kill}`);
      await openCheckpoints(out);
      assert.ok((await readdir(out)).every((name) => !name.endsWith(".partial")), `kill ${kill}`);
    }
  });
});

test("publish that cannot take the weights away leaves the config that is there", async () => {
  await withTinyModel(async (folder) => {
    const out = join(folder, "out");
    const { publish } = await openCheckpoints(out);
    await mkdir(join(out, "weights"));
    await writeFile(join(out, "config"), "old");
    const bytes = new TextEncoder().encode("new");
    await assert.rejects(publish(new Map([["config", bytes], ["weights", bytes]])));
    assert.equal(await readFile(join(out, "config"), "utf8"), "old");
  });
});
