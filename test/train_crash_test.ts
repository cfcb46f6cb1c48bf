import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { type FSWatcher, watch } from "node:fs";
import { mkdir, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { loadAdapter } from "../src/adapters/peft.ts";
import { uniforms } from "../src/engine/random.ts";
import { openFolder } from "../src/runtime/file.ts";
import { parseSafetensors, toFloat32 } from "../src/safetensors/mod.ts";
import {
  type Ended,
  ended,
  everyLinear,
  send,
  start,
  tinyRun,
  withTinyModel,
  wordsOf,
} from "./train_process.ts";

/** Kills at least, each at a moment that is drawn anew, and those of them that leave a checkpoint half written. */
// What a kill leaves is the disk's matter, not the runtime's: Bun is killed less often.
const kills = "Bun" in globalThis ? 4 : 12, killsWithin = 4;

const stepOf = (name: string): number => Number(/^checkpoint-(\d+)/.exec(name)?.[1] ?? 0);

const checkpointsIn = async (path: string): Promise<string[]> =>
  (await readdir(path)).filter((name) => /^checkpoint-\d+$/.test(name)).sort();

async function adapterBytes(folder: string): Promise<Uint8Array[]> {
  const names = ["adapter_config.json", "adapter_model.safetensors"];
  return await Promise.all(names.map(async (name) => new Uint8Array(await readFile(join(folder, name)))));
}

/** Checks that every checkpoint there is complete; returns the step of the newest. */
async function checkCheckpoints(path: string): Promise<number> {
  const names = await checkpointsIn(path);
  for (const name of names) {
    const folder = join(path, name);
    const adapter = await loadAdapter(await openFolder(folder));
    assert.equal(adapter.modules.size, 21, name);
    const optimizer = parseSafetensors(new Uint8Array(await readFile(join(folder, "optimizer.safetensors"))));
    for (const part of ["params", "m", "v"]) {
      const numbers = toFloat32(optimizer.read(part));
      assert.ok(numbers.length >= 21 * 20 && numbers.every(Number.isFinite), `${name}: ${part}`);
    }
    const state = JSON.parse(await readFile(join(folder, "trainer_state.json"), "utf8"));
    assert.equal(state.step, stepOf(name));
  }
  return names.length === 0 ? 0 : stepOf(names[names.length - 1]);
}

/** Kills a training process at a sign of its writing a checkpoint after step `after`; `whole` is the newest that had its name. */
async function killAt(
  child: ChildProcess,
  { out, after, signs, delayMs }: { out: string; after: number; signs: number; delayMs: number },
): Promise<Ended & { readonly whole: number }> {
  const end = ended(child);
  let watcher: FSWatcher | undefined;
  let whole = after;
  const sign = new Promise<void>((resolve) => {
    let seen = 0;
    watcher = watch(out, (_, name) => {
      if (/^checkpoint-\d+$/.test(String(name))) whole = Math.max(whole, stepOf(String(name)));
      if ((seen > 0 || stepOf(String(name)) > after) && ++seen === signs) resolve();
    });
  });
  const early = end.then(({ code, stderr }) => {
    throw new Error(`the process ended by itself with ${code}: ${stderr}`);
  });
  try {
    await Promise.race([early, sign]);
    if (delayMs > 0) await new Promise((resolve) => setTimeout(resolve, delayMs));
    send(child, "SIGKILL");
  } finally {
    watcher?.close();
  }
  return { ...await end, whole };
}

test(`train killed ${kills} times and more while it writes checkpoints always goes on from a whole one, to the same bytes`, async () => {
  const seed = Date.now() % 2 ** 31;
  console.log(`seed ${seed}`);
  const random = uniforms(seed);
  const draw = (count: number): number => Math.floor(count * random());
  await withTinyModel(async (folder) => {
    const targets = ["--target-modules", everyLinear];
    const args = [...await tinyRun(folder, wordsOf(400)), ...targets, "--steps", "200", "--lr", "0.02"];
    const whole = ended(start([...args, "--out", join(folder, "whole")]));
    const out = join(folder, "out");
    await mkdir(out);
    let newest = 0;
    let interrupted = 0, kill = 0;
    // Whether a kill comes within a checkpoint is luck: there are more kills until enough did.
    for (; kill < kills || interrupted < killsWithin; kill++) {
      const resume = newest > 0 ? ["--resume"] : [];
      const child = start([...args, "--out", out, "--checkpoint-every", "1", ...resume]);
      // A checkpoint gives four signs and more: the folder beside, its new name, and an old one's two.
      const { stderr, whole: reported } = await killAt(child, {
        out,
        after: newest,
        signs: 1 + draw(12),
        delayMs: draw(2) * draw(6),
      });
      // A process may be killed while it takes away what the one before left, before it says where it goes on.
      const resumed = /resuming after step (\d+)/.exec(stderr);
      if (resumed) assert.equal(Number(resumed[1]), newest, `kill ${kill}`);
      const left = await readdir(out);
      if (left.some((name) => name.endsWith(".partial"))) interrupted++;
      const found = await checkCheckpoints(out);
      assert.ok(
        found >= reported && (found === newest || newest === 0 || resumed),
        `kill ${kill}: step ${found}, after step ${newest} and a whole checkpoint of step ${reported}`,
      );
      newest = found;
    }
    console.log(`${interrupted} of ${kill} kills within a checkpoint; the last at step ${newest}`);
    const last = await ended(start([...args, "--out", out, "--resume"]));
    assert.equal(last.code, 0, last.stderr);
    const { code, stderr } = await whole;
    assert.equal(code, 0, stderr);
    assert.deepEqual(await adapterBytes(out), await adapterBytes(join(folder, "whole")));
    assert.deepEqual((await readdir(out)).filter((name) => name.endsWith(".partial")), []);
  });
});
