/**
 * Every type in a public signature can be imported from the door that has the signature, or, where the door is used beside
 * others, from those.
 *
 * @module
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { root } from "./architecture.ts";

const doors: Readonly<Record<string, string>> =
  JSON.parse(readFileSync(join(root, "package.json"), "utf8")).exports;

const skip = "Deno" in globalThis ? false : "deno doc finds them";

/** Sentences of `deno doc --lint` about types that are not exported. */
function hiddenTypes(door: string): string[] {
  const { stderr } = spawnSync(process.execPath, ["doc", "--lint", door], {
    cwd: root,
    encoding: "utf8",
    env: { ...process.env, NO_COLOR: "1" },
  });
  const found = [...stderr.matchAll(/^error\[private-type-ref\]: (.*)\n\s*--> (\S+)/gm)];
  return found.map(([, sentence, at]) => `${sentence} (${at.slice(at.indexOf(root) + root.length + 1)})`);
}

/** A kernel's own names of buffers and uniform words: texts, which nobody has to import to write. */
const namesOfKernel = /private type '(?:\w*Buffers?|[Uu]niforms)' \(kernels\/\w+\.ts/;

/** A package's, to be imported from there. */
const ofPackage = /private type '(?:Hono|MiddlewareHandler|fc|Arbitrary)'|\(.*node_modules\//;

/** Doors to what stands on others: the types of those are imported from there. */
const besideMain = ["./node", "./server", "./testing"];

/** Names that `fourierft` and `fourierft/safetensors` export. */
const ofMain = new Set(
  [".", "./safetensors"].map((name) => readFileSync(join(root, doors[name]), "utf8"))
    .flatMap((code) => [...code.matchAll(/^export (?:type )?\{([^}]*)\}/gm)])
    .flatMap(([, names]) => names.split(",").map((name) => name.trim().replace(/^type /, ""))),
);

function isOfMain(sentence: string): boolean {
  const type = /references private type '(\w+)'/.exec(sentence)?.[1];
  return type !== undefined && ofMain.has(type);
}

for (const [name, door] of Object.entries(doors)) {
  test(`doors: every type in a signature of "${name}" is exported by it`, { skip }, () => {
    const hidden = hiddenTypes(door).filter((one) => !namesOfKernel.test(one) && !ofPackage.test(one));
    assert.deepEqual(besideMain.includes(name) ? hidden.filter((one) => !isOfMain(one)) : hidden, []);
  });
}

test("doors: the reader of hidden types sees them", { skip }, () => {
  assert.ok(hiddenTypes("src/open.ts").some((one) => /'OpenModel\["tokenizer"\]' .*'Tokenizer'/.test(one)));
});
