/**
 * `fourierft train` of encoders as processes: CSV, images, metrics, and what is refused.
 *
 * @module
 */
import assert from "node:assert/strict";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { textExamples } from "../src/cli/examples.ts";
import { confusionTable, metricLines } from "../src/cli/metrics.ts";
import { type Ended, ended, start } from "./train_process.ts";

const fixture = (name: string): string => fileURLToPath(new URL(`fixtures/${name}`, import.meta.url));
const run = (args: readonly string[]): Promise<Ended> => ended(start(["train", "--device", "cpu", ...args]));

async function withFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "heads-"));
  try {
    await body(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

test("train --task classify learns a CSV, and shows metrics and a confusion matrix", async () => {
  await withFolder(async (folder) => {
    const data = join(folder, "data.csv"), out = join(folder, "out");
    const rows = Array.from(
      { length: 8 },
      (_, i) => `"${i % 2 ? "a, wheel" : "the mill"} ${i}",${i % 2 ? "no" : "yes"}`,
    );
    await writeFile(data, `text,label\n${rows.join("\n")}\n`);
    const args = [
      "--task",
      "classify",
      "--model",
      fixture("families/roberta/base"),
      "--data",
      data,
      "--out",
      out,
    ];
    const { code, stderr } = await run([
      ...[...args, "--eval-data", data, "--n-frequency", "40", "--lr", "0.1", "--head-lr", "0.02"],
      ...["--steps", "25", "--batch-size", "8", "--packing", "none"],
    ]);
    assert.equal(code, 0, stderr);
    assert.match(stderr, /--packing is not read: not of the task classify/);
    assert.match(
      stderr,
      /FOURIERFT: \d+ numbers in \d+ modules; head: \d+ numbers, 2 classes; data: 8 examples/,
    );
    assert.match(stderr, /step 25: held-out loss 0\.\d+, accuracy 1\.0000, F1 1\.0000, Matthews 1\.0000/);
    assert.match(stderr, /\n {5}no {2}yes\nno {4}4 {4}0\nyes {3}0 {4}4\n/);
    const names = (await readdir(out)).sort();
    assert.deepEqual(names, [
      "adapter_config.json",
      "adapter_model.safetensors",
      "checkpoint-00000025",
      "labels.json",
    ]);
    assert.deepEqual(JSON.parse(await readFile(join(out, "labels.json"), "utf8")).id2label, {
      0: "no",
      1: "yes",
    });
  });
});

test("train --task images learns folders of images, head alone; other tasks and data are refused", async () => {
  await withFolder(async (folder) => {
    const images = join(folder, "images"), model = fixture("families/vit/base");
    for (
      const [label, names] of Object.entries({
        loud: ["rgb.png", "palette.png"],
        soft: ["soft.jpg", "grey.jpg"],
      })
    ) {
      await mkdir(join(images, label), { recursive: true });
      for (const name of names) await cp(fixture(`images/${name}`), join(images, label, name));
    }
    const out = ["--out", join(folder, "out")], sizes = ["--steps", "2", "--batch-size", "4"];
    const done = await run([
      "--task",
      "images",
      "--model",
      model,
      "--data",
      images,
      "--method",
      "head",
      ...out,
      ...sizes,
    ]);
    assert.equal(done.code, 0, done.stderr);
    assert.match(done.stderr, /\nhead: \d+ numbers, 2 classes; data: 4 examples/);
    const fails = async (rule: RegExp, args: readonly string[], code = 1): Promise<void> => {
      const { code: found, stderr } = await run([...args, "--out", join(folder, "none")]);
      assert.equal(found, code, stderr);
      assert.match(stderr, rule);
    };
    await fails(/Cannot read --task "rank": it must be lm or classify or regress or images/, [
      ...["--task", "rank", "--model", model, "--data", images],
    ], 2);
    await fails(/fourierft: Cannot read examples of ".*": it must be JSON lines \(.jsonl\) or CSV/, [
      ...["--task", "classify", "--model", model, "--data", images],
    ]);
  });
});

test("textExamples reads CSV by its first line, and refuses rows without a text or a label by their line", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "data.csv");
    const read = async (text: string) => {
      await writeFile(path, text);
      return await textExamples(path);
    };
    assert.deepEqual(await read('\ufefftext,text_pair,label\n"a ""b"", c",d,1.5\n'), [
      { text: 'a "b", c', textPair: "d", label: 1.5, place: "line 2" },
    ]);
    assert.deepEqual((await read("label,text\n-3,a\nx1,b\n")).map(({ label }) => label), [-3, "x1"]);
    await assert.rejects(
      read("words,class\nb,2\n"),
      /data.csv: .* must name the columns text and label, it names words, class$/,
    );
    await assert.rejects(
      textExamples(join(folder, "no.csv")),
      /Cannot open file ".*no.csv": there is no such/,
    );
    await assert.rejects(read("text,label\na,1\n,2\n"), /data.csv: Cannot read "text" of line 3: .*empty/);
    await assert.rejects(read("text,label\na,\n"), /"label" of line 2/);
    await assert.rejects(read("text\na\n"), /"label" of line 2: .*absent/);
    await assert.rejects(read("text,label\na,1,2\n"), /Cannot read the CSV: .*line 2/);
    await assert.rejects(textExamples(join(folder, "data.tsv")), /must be JSON lines \(.jsonl\) or CSV/);
  });
});

test("metricLines shortens long names, and leaves out the matrix of many classes", () => {
  assert.equal(
    confusionTable([[1, 20], [3, 4]], ["a", "a very long name"]),
    [
      "              a  a very long…",
      "a             1            20",
      "a very long…  3             4",
    ].join("\n"),
  );
  const many = Array.from({ length: 21 }, () => new Array<number>(21).fill(1));
  const metrics = { task: "classify", accuracy: 1, f1: 1, matthews: 1, confusion: many } as const;
  assert.equal(metricLines({ loss: 0, metrics }, many.map((_, i) => `${i}`)).length, 1);
  const numbers = { task: "regress", mse: 1, mae: 1, pearson: NaN, spearman: 0.5 } as const;
  assert.match(metricLines({ loss: 1, metrics: numbers }, [""])[0], /Pearson undefined, Spearman 0.5000/);
});
