import assert from "node:assert/strict";
import { test } from "node:test";
import { Losses } from "../playground/worker/curve.ts";
import { parted } from "../playground/worker/held_out.ts";
import { modelKey } from "../playground/worker/model_key.ts";
import {
  checkpointsIn,
  clear,
  type PrivateFolder,
  readRecord,
  writeFile,
  writeRecord,
} from "../playground/worker/run_folder.ts";
import { memoryFolder, testCheckpointStore } from "../src/testing/mod.ts";

type Entries = Map<string, Uint8Array<ArrayBuffer> | Entries>;

const missing = (name: string): DOMException =>
  new DOMException(`There is no entry "${name}"`, "NotFoundError");

/** Private files in memory, as far as a run's folder uses them: a file stands when its writer was closed. */
function privateFolder(entries: Entries = new Map()): PrivateFolder {
  const file = (name: string) => ({
    createWritable() {
      const parts: BlobPart[] = [];
      return Promise.resolve({
        write: (part: BlobPart) => Promise.resolve(void parts.push(new Blob([part]))),
        close: async () => void entries.set(name, new Uint8Array(await new Blob(parts).arrayBuffer())),
        abort: () => Promise.resolve(),
      });
    },
    getFile: () => Promise.resolve(new File([entries.get(name) as Uint8Array<ArrayBuffer>], name)),
  });
  const folder = {
    getFileHandle(name: string, { create = false } = {}) {
      return create || entries.has(name) ? Promise.resolve(file(name)) : Promise.reject(missing(name));
    },
    getDirectoryHandle(name: string, { create = false } = {}) {
      if (create && !entries.has(name)) entries.set(name, new Map());
      const inside = entries.get(name);
      return inside instanceof Map ? Promise.resolve(privateFolder(inside)) : Promise.reject(missing(name));
    },
    removeEntry: (name: string) => entries.delete(name) ? Promise.resolve() : Promise.reject(missing(name)),
    async *keys() {
      yield* [...entries.keys()];
    },
  };
  return folder as unknown as PrivateFolder;
}

test("writeFile says which browsers cannot keep a run", async () => {
  const folder = { getFileHandle: () => Promise.resolve({}) } as unknown as PrivateFolder;
  await assert.rejects(
    writeFile(folder, "data", "text"),
    /^Error: Cannot keep data: .*createWritable\(\).*Safari/,
  );
});

testCheckpointStore("checkpointsIn", {
  test,
  open: () => {
    const folder = privateFolder();
    return Promise.resolve({
      store: checkpointsIn(folder),
      reopen: () => Promise.resolve(checkpointsIn(folder)),
    });
  },
});

test("checkpointsIn takes a checkpoint that was not written whole for none", async () => {
  const entries: Entries = new Map(), store = checkpointsIn(privateFolder(entries));
  for (const step of [3, 6]) await store.save(step, new Map([["a", Uint8Array.of(step)]]));
  (entries.get("checkpoint-00000006") as Entries).delete("complete");
  assert.deepEqual(await store.latest(), new Map([["a", Uint8Array.of(3)]]));
});

test("checkpointsIn keeps the newest two", async () => {
  const entries: Entries = new Map(), store = checkpointsIn(privateFolder(entries));
  for (const step of [1, 2, 3]) await store.save(step, new Map());
  assert.deepEqual([...entries.keys()].sort(), ["checkpoint-00000002", "checkpoint-00000003"]);
});

test("clear leaves no run, and nothing of it", async () => {
  const entries: Entries = new Map(), folder = privateFolder(entries);
  const settings = { steps: 1 }, adapter = { peftType: "FOURIERFT" } as const;
  const job = { id: "1", name: "a", adapter, settings, format: "text", heldOut: 0 } as const;
  await writeFile(folder, "data", "text");
  await writeRecord(folder, { job, model: "m", key: "k" });
  assert.deepEqual(await readRecord(folder), { job, model: "m", key: "k" });
  await clear(folder);
  assert.equal(await readRecord(folder), undefined);
  assert.equal(entries.size, 0);
});

test("Losses thins a long run evenly, and keeps its first step", () => {
  const losses = new Losses();
  for (let step = 1; step <= 5000; step++) losses.step(step, 1 / step);
  const { training, stride } = losses.curve;
  assert.ok(training.length > 500 && training.length <= 1000, `${training.length} points`);
  assert.deepEqual(training.slice(0, 3).map(([step]) => step), [1, stride, 2 * stride]);
  assert.equal(training.at(-1)![0], 5000 - 5000 % stride);
});

test("Losses goes on from a curve, and evaluates a step again in the old one's place", () => {
  const losses = new Losses({ training: [[1, 4], [2, 3]], heldOut: [[1, 5], [2, 4]], stride: 1 });
  losses.step(3, 2);
  losses.evaluation(2, 4.5);
  assert.deepEqual(losses.curve, {
    training: [[1, 4], [2, 3], [3, 2]],
    heldOut: [[1, 5], [2, 4.5]],
    stride: 1,
  });
});

test("parted cuts one document at a line near its end, and loses no letter", async () => {
  const text = Array.from({ length: 100 }, (_, i) => `line ${i}`).join("\n");
  const { data, evaluation } = await parted(new Blob([text]), { format: "text", heldOut: 0.1 });
  const end = (evaluation as { content: string }).content;
  assert.equal(`${data.content}${end}`, text);
  assert.match(end, /^line 9\d\n/);
});

test("parted holds out a part of the documents where there are several, and of records", async () => {
  const several = await parted(new Blob(["one\ftwo"]), { format: "text", heldOut: 0.5 });
  assert.deepEqual(several, { data: { content: "one\ftwo" }, evaluation: 0.5 });
  assert.equal((await parted(new Blob(['{"text":"a"}']), { format: "jsonl", heldOut: 0.5 })).evaluation, 0.5);
});

test("parted refuses a text without content, one that is too short, and a part that is none", async () => {
  const part = (text: string, heldOut: number) => parted(new Blob([text]), { format: "text", heldOut });
  await assert.rejects(part(" \n ", 0.1), /empty/);
  await assert.rejects(part("w", 0.1), /too short/);
  await assert.rejects(part("some words", 1), /0 or more and below 1/);
});

test("modelKey tells models by their configuration and by the start of their weights", async () => {
  const model = { "config.json": "{}", "tokenizer.json": "[]", "model.safetensors": "0123" };
  const keyOf = (changed: Partial<typeof model>): Promise<string> =>
    modelKey(memoryFolder(new Map(Object.entries({ ...model, ...changed }))));
  const key = await keyOf({});
  assert.match(key, /^[0-9a-f]{64}$/);
  assert.equal(await keyOf({}), key);
  for (const changed of [{ "config.json": "{ }" }, { "model.safetensors": "0124" }]) {
    assert.notEqual(await keyOf(changed), key);
  }
});
