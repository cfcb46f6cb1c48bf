/**
 * The examples run as their users run them, and the index names each, and the test that runs it.
 *
 * @module
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { root } from "./architecture.ts";
import { onGpu } from "./devices.ts";

const isDeno = "Deno" in globalThis;
/** Programs are the same on Bun, where a run of each would take twice the time. */
const onDeno = { skip: isDeno ? false : "Deno's tests run the examples" };

/** What a program prints. */
function run(program: string, args: readonly string[] = []): string {
  const { status, stdout, stderr } = spawnSync(process.execPath, ["run", "-A", program, ...args], {
    cwd: root,
    encoding: "utf8",
    env: { ...process.env, NO_COLOR: "1" },
  });
  assert.equal(status, 0, `${program}: ${stderr}`);
  return stdout;
}

/** What `use` gives for a folder that is there while it runs. */
function inFolder<T>(use: (folder: string) => T): T {
  const folder = mkdtempSync(join(tmpdir(), "fourierft-examples-"));
  try {
    return use(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("examples/kernels_alone.ts finds the reference's numbers on a GPU", {
  skip: onDeno.skip || onGpu.skip,
}, () => {
  assert.match(run("examples/kernels_alone.ts"), /: y \(3, 96\), largest \d+\.\d+, error \d\.\de-\d+\n$/);
});

test("examples/train.ts trains an adapter that writes on otherwise than the base", onDeno, () => {
  inFolder((folder) => {
    const out = join(folder, "jack"), printed = run("examples/train.ts", [out]);
    assert.deepEqual(readdirSync(out).filter((name) => name.startsWith("adapter_")).sort(), [
      "adapter_config.json",
      "adapter_model.safetensors",
    ]);
    const losses = [...printed.matchAll(/^step \d+: loss (\S+)$/gm)].map(([, loss]) => Number(loss));
    assert.equal(losses.length, 20);
    assert.ok(losses[19] < losses[0] / 2, `${losses}`);
    const [, base, jack] = /^base: (".*")\njack: (".*")$/m.exec(printed)!;
    assert.notEqual(base, jack);
  });
});

test("examples/demo/prepare_kjv.ts keeps every tenth chapter of a program's text apart", {
  skip: onDeno.skip || (process.platform === "win32" ? "the program is a shell's" : false),
}, () => {
  inFolder((folder) => {
    const chapters = Array.from({ length: 1189 }, (_, i) => `Book${i + 1}:1 verse ${i} a\nBook${i + 1}:2 b`);
    writeFileSync(join(folder, "text"), chapters.join("\n"));
    const program = join(folder, "bible");
    writeFileSync(program, `#!/bin/sh\ncat "${join(folder, "text")}"\n`, { mode: 0o755 });
    run("examples/demo/prepare_kjv.ts", [folder, program]);
    const heldOut = readFileSync(join(folder, "kjv_held_out.txt"), "utf8").split("\f");
    assert.equal(heldOut.length, 118);
    assert.equal(heldOut[0].trim(), "verse 9 a b");
    assert.equal(readFileSync(join(folder, "kjv.txt"), "utf8").split("\f").length, 1071);
  });
});

/** A row of the index: the files that it links to, and the test that runs them. */
interface Row {
  readonly files: readonly string[];
  readonly task?: string;
  readonly test?: string;
}

function rowsOf(index: string): Row[] {
  return index.split("\n").filter((line) => /^\| \[/.test(line)).map((line) => {
    const [first, , last] = line.split(" | ");
    const [, task, path] = /`([\w:]+)` \(`([\w./]+)`\)/.exec(last) ?? [];
    return { files: [...first.matchAll(/\]\(([^)]+)\)/g)].map(([, file]) => file), task, test: path };
  });
}

test("examples/README.md names every example, and a test of CI that runs it", () => {
  const rows = rowsOf(readFileSync(join(root, "examples/README.md"), "utf8"));
  const named = new Set(rows.flatMap(({ files }) => files));
  const sources = readdirSync(join(root, "examples"), { recursive: true, encoding: "utf8" })
    .filter((path) => /\.(?:ts|html|py|toml)$/.test(path) && !/node_modules|^paper/.test(path));
  assert.ok(sources.length >= 12, `${sources}`);
  assert.deepEqual(sources.filter((path) => !named.has(path)), []);

  const ci = readFileSync(join(root, ".ci/run"), "utf8");
  for (const { files, task, test } of rows) {
    if (files[0] === "checkpoint_to_safetensors.py") continue;
    assert.ok(task !== undefined && test !== undefined && existsSync(join(root, test)), `${files}: ${test}`);
    assert.ok(new RegExp(`[" ]${task}[" ;]`).test(ci), `${files}: CI does not run ${task}`);
    const text = readFileSync(join(root, test), "utf8");
    const name = basename(files[0]).replace(/^README\.md$/, files[0].split("/")[0]);
    assert.ok(
      text.includes(name) || text.includes(name.replace(/\.\w+$/, "")),
      `${test} does not run ${name}`,
    );
  }
});
