/**
 * What the documents say of the code, held to the code.
 *
 * @module
 */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { readReference, reference, withReference } from "../docs/kernels.ts";
import { linearMethods, methodTables, readMethods, withMethods } from "../docs/methods.ts";
import { picture, pictureOf, places } from "../docs/picture.ts";
import { cacheFormats, formats, type Kernel, kernels } from "../kernels/mod.ts";
import { methods } from "../src/adapters/methods/mod.ts";
import { commands } from "../src/cli/commands.ts";
import { defaultLimits } from "../src/server/limits.ts";
import { root } from "./architecture.ts";

const textOf = (name: string): string => readFileSync(join(root, "docs", name), "utf8");

type Of = (format: unknown) => Kernel;

/** The text under a heading, up to the next one of its level. */
function under(document: string, heading: string): string {
  const [, text] = document.split(new RegExp(`^## ${heading}\\n`, "m"));
  assert.ok(text !== undefined, `there is no "## ${heading}"`);
  return text.split(/^## /m)[0];
}

test("docs/kernels.md is what `deno task docs:kernels` makes", () => {
  const document = readReference();
  assert.ok(document === withReference(document), "run `deno task docs:kernels`");
});

test("docs/methods.md is what `deno task docs:methods` makes, of every method of linears", async () => {
  const document = readMethods(), made = await withMethods(document);
  assert.ok(document === made, "run `deno task docs:methods`");
  for (const { name, peftType } of linearMethods) {
    assert.ok(made.includes(`| ${name} | \`${peftType}\` |`), name);
  }
  await assert.rejects(withMethods("no markers"), /Cannot make docs\/methods.md: it must have a/);
  await assert.rejects(
    methodTables([{ ...methods[0], facts: undefined }]),
    /the method FourierFT has no facts/,
  );
  await assert.rejects(methodTables([{ ...methods[0] }]), /no adapter of FourierFT in test/);
});

test("docs/kernels.ts: the reference has every buffer and uniform word of every kernel", () => {
  const sections = new Map(reference().split(/^### /m).slice(1).map((s) => [s.split("\n")[0], s]));
  const caches = Object.values(cacheFormats).slice(1);
  const others = kernels.flatMap((kernel) => {
    const packed: readonly unknown[] = "keys" in kernel.buffers ? caches : formats.slice(1);
    return "of" in kernel ? packed.map(kernel.of as Of) : [];
  });
  const own = kernels.filter((kernel) => !others.includes(kernel));
  assert.deepEqual(
    [...sections.keys()],
    [...own.map(({ name }) => name).sort(), ...[...formats, ...caches].map(({ name }) => name)],
  );
  for (const { name } of others) assert.ok(reference().includes(`\`${name}\``), name);
  for (const { name, buffers, uniforms } of own) {
    for (const [buffer, { dtypes }] of Object.entries(buffers)) {
      assert.match(
        sections.get(name)!,
        new RegExp(`^\\| \`${buffer}\` \\| .* \\| ${dtypes.join(", ")} \\| .+ \\|$`, "m"),
      );
    }
    for (const [word, type] of Object.entries(uniforms)) {
      assert.ok(sections.get(name)!.includes(`\`${word}\` ${type}`));
    }
  }
  assert.throws(() => withReference("no markers"), /Cannot make docs\/kernels.md/);
});

test("docs/command-line.md and docs/training.md name every command and every option", async () => {
  const document = textOf("command-line.md"), options = under(textOf("training.md"), "Options");
  for (const [name, { args }] of commands) {
    const section = name === "train" ? options : under(document, name);
    const known = await (typeof args === "function" ? args() : args) ?? {};
    const given = Object.entries(known).map(([flag, { type, valueHint }]) =>
      type === "positional" ? `${name} ${valueHint}` : `--${flag}`
    );
    assert.ok(given.length > 0, name);
    // A whole flag: `--max-body-bytes` does not tell of `--max`.
    const missing = given.filter((flag) =>
      !new RegExp(`${flag.replaceAll("|", "\\|")}(?![\\w-])`).test(section)
    );
    assert.deepEqual(missing, [], `of ${name}`);
    const named = [...section.matchAll(/(?<=^\|.*`)--[a-z-]+/gm)].map(([flag]) => flag);
    assert.deepEqual(named.filter((flag) => !given.includes(flag)), [], `that ${name} does not have`);
  }
});

test("docs/pictures are what `deno task docs:picture` makes, of sources that are there", () => {
  for (const scheme of ["light", "dark"] as const) {
    const path = join(root, pictureOf(scheme));
    assert.ok(readFileSync(path, "utf8") === picture(scheme), "run `deno task docs:picture`");
  }
  const files = places.flatMap(({ files }) => {
    const [first, ...beside] = files.split(", ");
    return [first, ...beside.map((name) => join(dirname(first), name))];
  }).filter((file) => file !== "");
  assert.ok(files.includes("server/auth.ts"));
  assert.deepEqual(files.filter((file) => !existsSync(join(root, "src", file))), []);
});

/** Examples that need packages of their own stand in a document as parts of their files. */
const excerpt = /^```ts ignore (examples\/\S+)\n([\s\S]*?)^```$/gm;

/** Text whose lines begin where the first one does. */
const unindented = (text: string): string => text.replace(/^[ \t]+/gm, "").trim();

test("docs: a part of an example stands in the example", () => {
  const found = readdirSync(join(root, "docs")).filter((name) => name.endsWith(".md")).flatMap((name) =>
    [...textOf(name).matchAll(excerpt)].map(([, path, code]) => ({ name, path, code: unindented(code) }))
  );
  assert.ok(found.length >= 4);
  const wrong = found.filter(({ path, code }) =>
    code === "" || !unindented(readFileSync(join(root, path), "utf8")).includes(code)
  );
  assert.deepEqual(wrong, []);
});

test("docs/serving.md names every limit of a server", () => {
  const named = [...under(textOf("serving.md"), "Limits").matchAll(/^\| `(\w+)` +\|/gm)].map(([, name]) =>
    name
  );
  assert.deepEqual(named.sort(), Object.keys(defaultLimits).sort());
});

test("README names every door of the package", () => {
  const own: { name: string; exports: Record<string, string> } = JSON.parse(
    readFileSync(join(root, "package.json"), "utf8"),
  );
  const rows = readFileSync(join(root, "README.md"), "utf8").match(/^\| `fourierft[^`]*`/gm) ?? [];
  const doors = Object.keys(own.exports).map((door) => `| \`${own.name}${door.slice(1)}\``);
  assert.deepEqual([...rows].sort(), [...doors, "| `fourierft/kernels.wasm`"].sort());
});

test("CONTRIBUTING.md names every task of deno.json but those that README starts", () => {
  const { tasks } = JSON.parse(readFileSync(join(root, "deno.json"), "utf8")) as {
    tasks: Record<string, unknown>;
  };
  const document = readFileSync(join(root, "CONTRIBUTING.md"), "utf8");
  const isNamed = (name: string) => new RegExp(`(?:deno task |\`)${name}(?![\\w:-])`).test(document);
  const known = Object.keys(tasks).filter((name) => name !== "serve" && name !== "fourierft");
  assert.deepEqual(known.filter((name) => !isNamed(name)), []);
});
