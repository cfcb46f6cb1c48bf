import assert from "node:assert/strict";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { openCheckpoints } from "../src/runtime/checkpoints.ts";
import { parseSafetensors, toFloat32 } from "../src/safetensors/mod.ts";
import {
  type Ended,
  ended,
  everyLinear,
  says,
  send,
  start,
  tinyRun,
  withTinyModel,
  wordsOf,
} from "./train_process.ts";

const run = (args: readonly string[]): Promise<Ended> => ended(start(args));

async function succeeds(args: readonly string[]): Promise<Ended> {
  const result = await run(args);
  assert.equal(result.code, 0, result.stderr);
  return result;
}

/** What a folder holds, undefined when there is none. */
const namesIn = (path: string): Promise<string[] | undefined> => readdir(path).catch(() => undefined);

/** Training that must end with a status, 1 unless told, one line that says why, and nothing written. */
async function fails(
  rule: RegExp,
  { args, out, status = 1 }: { args: readonly string[]; out: string; status?: number },
): Promise<void> {
  const { code, stdout, stderr } = await run([...args, "--out", out]);
  assert.equal(code, status, stderr);
  assert.equal(stdout, "");
  assert.match(stderr, rule);
  assert.match(stderr, /(^|\n)fourierft: Cannot [^\n]*\n$/, "one line");
  assert.deepEqual(await namesIn(out) ?? [], [], "nothing is written");
}

async function adapterBytes(folder: string): Promise<Uint8Array[]> {
  const names = ["adapter_config.json", "adapter_model.safetensors"];
  return await Promise.all(names.map(async (name) => new Uint8Array(await readFile(join(folder, name)))));
}

test("train stopped by Ctrl-C keeps a checkpoint, and --resume ends at the bytes of a run without a stop", async () => {
  await withTinyModel(async (folder) => {
    const args = [...await tinyRun(folder, wordsOf(400)), "--steps", "200", "--lr", "0.02"];
    const [whole, out] = [join(folder, "whole"), join(folder, "out")];
    await succeeds([...args, "--out", whole]);
    const child = start([...args, "--out", out]);
    const end = ended(child);
    await says(child, /step 1\/200/);
    send(child, "SIGINT");
    const { code, stderr } = await end;
    assert.equal(code, 0, stderr);
    assert.match(stderr, /\nstopping when the running step has ended\n/);
    const stopped = Number(/stopped after step (\d+); go on with --resume\n$/.exec(stderr)?.[1]);
    assert.ok(stopped >= 1 && stopped < 200, stderr);
    const kept = (await readdir(out)).filter((name) => name.startsWith("checkpoint"));
    assert.deepEqual(kept, [`checkpoint-${String(stopped).padStart(8, "0")}`]);
    const resumed = await succeeds([...args, "--out", out, "--resume"]);
    assert.match(resumed.stderr, new RegExp(`resuming after step ${stopped}\n`));
    assert.deepEqual(await adapterBytes(out), await adapterBytes(whole));
  });
});

test("train --overwrite in a folder with another run's checkpoints keeps its own, and --resume goes on from these", async () => {
  await withTinyModel(async (folder) => {
    const out = join(folder, "out");
    const args = [...await tinyRun(folder, wordsOf(100)), "--out", out, "--checkpoint-every", "2"];
    await succeeds([...args, "--steps", "9", "--lr", "0.02"]);
    await succeeds([...args, "--steps", "5", "--lr", "0.01", "--overwrite"]);
    const kept = (await readdir(out)).filter((name) => name.startsWith("checkpoint")).sort();
    assert.deepEqual(kept, ["checkpoint-00000004", "checkpoint-00000005"]);
    const { stderr } = await succeeds([...args, "--steps", "5", "--lr", "0.01", "--resume"]);
    assert.match(stderr, /resuming after step 5\n/);
  });
});

test("train --resume with other settings is refused by the setting's name, and the checkpoints stay", async () => {
  await withTinyModel(async (folder) => {
    const out = join(folder, "out");
    const args = [...await tinyRun(folder, wordsOf(100)), "--out", out, "--steps", "4", "--lr", "0.01"];
    await succeeds(args);
    const before = (await readdir(out)).sort();
    for (
      const [what, ...other] of [
        ['"lr" = 0.01, this one has 0.02', "--lr", "0.02"],
        ['"config.scaling" = 30, this one has 31', "--scaling", "31"],
        ['"weightDecay" = 0, this one has 0.1', "--weight-decay", "0.1"],
        ['"maxNorm" = 1, this one has 0', "--max-norm", "0"],
        ['"batchSize" = 2, this one has 4', "--batch-size", "4", "--context-length", "4"],
        ['"packing" = "concatenate", this one has "documents"', "--packing", "documents"],
        ['"lossOn" = "all", this one has "completion"', "--loss-on", "completion"],
        ['"seed" = "0", this one has "1"', "--seed", "1"],
      ]
    ) {
      const { code, stderr } = await run([...args, ...other, "--resume"]);
      assert.equal(code, 1, what);
      assert.ok(stderr.includes(`Cannot resume: the checkpoint's run had ${what}`), `${what}: ${stderr}`);
    }
    assert.deepEqual((await readdir(out)).sort(), before);
  });
});

test("train --resume in a folder without a checkpoint is refused by the folder's name", async () => {
  await withTinyModel(async (folder) => {
    const args = [...await tinyRun(folder, wordsOf(100)), "--steps", "2", "--resume"];
    await fails(/Cannot resume: ".*out" holds no checkpoint/, { args, out: join(folder, "out") });
  });
});

test("train --resume names the checkpoint's file that is broken", async () => {
  await withTinyModel(async (folder) => {
    const out = join(folder, "out");
    const args = [...await tinyRun(folder, wordsOf(100)), "--out", out, "--steps", "2"];
    await succeeds(args);
    const [newest] = (await readdir(out)).filter((name) => name.startsWith("checkpoint-"));
    for (
      const [name, bytes, what] of [
        ["optimizer.safetensors", (whole: Uint8Array) => whole.subarray(0, 100), "Cannot read safetensors: "],
        ["trainer_state.json", (whole: Uint8Array) => whole.subarray(0, 10), ""],
        ["trainer_state.json", () => new TextEncoder().encode("null"), 'it must have "step"'],
      ] as const
    ) {
      const file = join(out, newest, name), whole = await readFile(file);
      await writeFile(file, bytes(whole));
      const { code, stderr } = await run([...args, "--resume"]);
      assert.equal(code, 1, name);
      assert.ok(stderr.includes(`Cannot resume: the checkpoint's ${name} is broken: ${what}`), stderr);
      await writeFile(file, whole);
    }
    await succeeds([...args, "--resume"]);
  });
});

test("train refuses data that is empty, too short, not UTF-8 or no JSON, says where, and writes nothing", async () => {
  await withTinyModel(async (folder) => {
    const refuses = async (rule: RegExp, data: string | Uint8Array, name = "data.txt") => {
      const args = [...await tinyRun(folder, data, name), "--steps", "2"];
      await fails(rule, { args, out: join(folder, "out") });
    };
    await refuses(/Cannot find a document: the data is empty/, "");
    await refuses(/Cannot find a document: the data is empty/, "\n \n\n", "data.jsonl");
    await refuses(/Cannot fill a sequence of 8 tokens: the data has 4 tokens in 1 document/, "w1 w2 w3");
    const broken = new TextEncoder().encode(wordsOf(100));
    broken[57] = 0xff;
    await refuses(/Cannot read text as UTF-8: byte 57 breaks its rules/, broken);
    const line = JSON.stringify({ text: wordsOf(20) });
    await refuses(/Cannot read line 3 as JSON/, `${line}\n\n{"text": "w1\n${line}\n`, "data.jsonl");
    await refuses(
      /Cannot read line 2 as a document: its fields are "texts"/,
      `${line}\n{"texts": ""}\n`,
      "data.jsonl",
    );
    await refuses(
      /Cannot read "text" of line 1: it must be a text, it is a number/,
      '{"text": 1}',
      "data.jsonl",
    );
  });
});

test("train reads one line of 10 MB, as text and as JSON", async () => {
  await withTinyModel(async (folder) => {
    const words = `${wordsOf(1000)} `;
    const text = words.repeat(Math.ceil(1e7 / words.length)).trim();
    for (const [name, data] of [["data.txt", text], ["data.jsonl", JSON.stringify({ text })]]) {
      const args = [
        ...await tinyRun(folder, data, name),
        "--steps",
        "2",
        "--out",
        join(folder, `of ${name}`),
      ];
      const { stderr } = await succeeds(args);
      // A word is a token, and one ends the document.
      assert.match(stderr, new RegExp(`1 document, ${text.split(" ").length + 1} tokens`));
    }
  });
});

test("train cuts a document longer than the context into sequences and loses none of it, in both packings", async () => {
  await withTinyModel(async (folder) => {
    const text = (count: number, seed: number) => JSON.stringify({ text: wordsOf(count, seed) });
    const run = await tinyRun(folder, `${text(35, 1)}\n${text(3, 2)}\n`, "data.jsonl");
    const args = [...run, "--steps", "2", "--batch-size", "1"];
    // Of 8 rows each: 36 + 4 tokens in a row; 8, 8, 8, 8, 4 and 4 tokens, the last two in one.
    for (const packing of ["concatenate", "documents"]) {
      const { stderr } = await succeeds([...args, "--packing", packing, "--out", join(folder, packing)]);
      assert.match(stderr, /2 documents, 40 tokens, 5 steps an epoch/, packing);
    }
  });
});

test("train with a learning rate that breaks it names the step, and its last checkpoint is whole", async () => {
  const rule =
    /fourierft: Cannot go on training at step (\d+): ([^\n;]*); the checkpoint of step (\d+) is kept\. Try a smaller learning rate\.\n$/;
  await withTinyModel(async (folder) => {
    const targets = ["--target-modules", everyLinear];
    const args = [
      ...await tinyRun(folder, wordsOf(400)),
      ...targets,
      "--steps",
      "40",
      "--checkpoint-every",
      "1",
    ];
    // In warm-up it is within what float32 can hold, then above that.
    for (const [lr, what] of [["1e39", "its loss is NaN"], ["1e41", "it made numbers that are not finite"]]) {
      const out = join(folder, lr);
      const { code, stderr } = await run([...args, "--out", out, "--warmup-steps", "30", "--lr", lr]);
      assert.equal(code, 1, stderr);
      const [, step, found, kept] = rule.exec(stderr) ?? assert.fail(stderr);
      assert.equal(found, what);
      assert.equal(Number(kept), Number(step) - 1);
      const names = (await readdir(out)).sort();
      assert.ok(names.every((name) => /^checkpoint-\d{8}$/.test(name)), `no adapter is published: ${names}`);
      const newest = names[names.length - 1];
      assert.equal(newest, `checkpoint-${kept.padStart(8, "0")}`);
      const files = await (await openCheckpoints(out)).latest();
      const optimizer = parseSafetensors(files!.get("optimizer.safetensors")!);
      for (const part of ["params", "m", "v"]) {
        assert.ok(toFloat32(optimizer.read(part)).every(Number.isFinite), part);
      }
      // Its numbers are finite, though their sum may be past float32: such an adapter is not served.
      const adapter = parseSafetensors(files!.get("adapter_model.safetensors")!);
      assert.equal(adapter.tensors.size, 21);
    }
  });
});

test("train --loss-on completion skips sequences of prompts alone, and refuses data of nothing else", async () => {
  await withTinyModel(async (folder) => {
    const line = (prompt: number, completion: string) =>
      JSON.stringify({ prompt: wordsOf(prompt), completion }) + "\n";
    const common = ["--loss-on", "completion", "--batch-size", "1", "--steps", "12"];
    const out = join(folder, "out");
    // 100 tokens of a prompt and 4 to learn: 13 sequences of 8, and only the last has targets.
    const long = await tinyRun(folder, line(100, " w1 w2 w3"), "data.jsonl");
    const { stderr } = await succeeds([...long, ...common, "--out", out]);
    assert.match(stderr, /1 document, 104 tokens, 1 step an epoch/);
    assert.match(stderr, /trained 12 steps/);
    // A turn without a word, by a template that writes words alone.
    await writeFile(
      join(folder, "base/chat_template.jinja"),
      "{% for m in messages %}{{ m.content }}{% endfor %}",
    );
    const messages = [{ role: "user", content: wordsOf(20) }, { role: "assistant", content: "" }];
    const none = await tinyRun(folder, JSON.stringify({ messages }), "none.jsonl");
    await fails(/Cannot train on 1 document of 21 tokens: the loss is on none of the tokens they predict/, {
      args: [...none, ...common],
      out: join(folder, "none"),
    });
    await fails(
      /Cannot evaluate on 1 document of 21 tokens: the loss is on none of the tokens they predict/,
      {
        args: [...long, ...common, "--eval-data", join(folder, "none.jsonl")],
        out: join(folder, "none"),
      },
    );
  });
});

test("train refuses settings that cannot be, by their names, and writes nothing", async () => {
  await withTinyModel(async (folder) => {
    const args = await tinyRun(folder, wordsOf(100));
    const refuses = (rule: RegExp, ...more: string[]) =>
      fails(rule, { args: [...args, ...more], out: join(folder, "out") });
    const misuses = (rule: RegExp, ...more: string[]) =>
      fails(rule, { args: [...args, ...more], out: join(folder, "out"), status: 2 });
    await mkdir(join(folder, "empty"));
    await misuses(/Cannot read --steps "many"/, "--steps", "many");
    await misuses(
      /Cannot read --trainable-token-indices "b"/,
      ...["--method", "lora", "--trainable-token-indices", "3,b"],
    );
    await misuses(/Cannot read --lr "-1": it must be a number of 0 or more/, "--lr", "-1");
    await refuses(
      /Cannot train on sequences of 64 tokens: the model has positions for 32/,
      "--context-length",
      "64",
    );
    await misuses(/Cannot train method "oft": it must be fourierft, lora, dora/, "--method", "oft");
    await refuses(/Cannot train target module "c_attn"/, "--target-modules", "c_attn");
    await refuses(/Cannot find adapter_config\.json/, "--init", join(folder, "empty"));
    await misuses(
      /Cannot read --batch-size "0": it must be a whole number of 1 or more/,
      "--batch-size",
      "0",
    );
  });
});

test("train leaves a folder of another adapter alone, unless told to replace it", async () => {
  await withTinyModel(async (folder) => {
    const out = join(folder, "out"), config = join(out, "adapter_config.json");
    await mkdir(out);
    await writeFile(config, "another's");
    const args = [...await tinyRun(folder, wordsOf(100)), "--steps", "1", "--out", out];
    const { code, stderr } = await run(args);
    assert.equal(code, 1, stderr);
    assert.match(
      stderr,
      /holds files already \(adapter_config\.json\); go on with --resume, or replace them with --overwrite/,
    );
    assert.equal(await readFile(config, "utf8"), "another's");
    await succeeds([...args, "--overwrite"]);
    assert.equal(JSON.parse(await readFile(config, "utf8")).peft_type, "FOURIERFT");
  });
});
