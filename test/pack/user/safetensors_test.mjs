// The package of the safetensors module alone, as its users get it.
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { checkPackage, createPackageFromTarballData } from "@arethetypeswrong/core";
import { publint } from "publint";
import * as own from "fourierft/safetensors";
import * as alone from "safetensors-ts";

const folder = "node_modules/safetensors-ts";

test("safetensors-ts: has what the door has, no dependency, and nothing of models", () => {
  assert.deepEqual(Object.keys(alone).sort(), Object.keys(own).sort());
  const manifest = JSON.parse(readFileSync(`${folder}/package.json`, "utf8"));
  assert.equal(manifest.dependencies, undefined);
  const code = readdirSync(folder, { recursive: true }).filter((path) => path.endsWith(".js"));
  assert.ok(code.length <= 12, code.join());
});

// Each example of its README, with a check of what it prints.
const examples = [...readFileSync(`${folder}/README.md`, "utf8").matchAll(/^```js\n([\s\S]*?)^```/gm)]
  .map(([, code], i) => {
    const path = `safetensors_${i}.mjs`;
    writeFileSync(path, code);
    return path;
  });
const printed = [/2, 2[\s\S]*pt[\s\S]*1, 2, 3, 4/, /^I64 8$/, /w/];

for (const [name, [command, ...args]] of Object.entries(JSON.parse(process.env.RUNTIMES))) {
  test(`safetensors-ts: ${name} runs the examples of its README`, () => {
    assert.equal(examples.length, printed.length);
    examples.forEach((path, i) => {
      const text = execFileSync(command, [...args, path], {
        encoding: "utf8",
        env: { ...process.env, NO_COLOR: "1" },
      });
      assert.match(text.trim(), printed[i]);
    });
  });
}

test("safetensors-ts: TypeScript checks a program without the types of pages", () => {
  writeFileSync(
    "safetensors_user.ts",
    `import { parseSafetensors, SafetensorsError, toTensor, type TensorView } from "safetensors-ts";
    const view: TensorView = parseSafetensors(new Uint8Array(0)).read("a");
    // @ts-expect-error: a shape is made of numbers
    const wrong: string = view.shape[0];
    void [wrong, SafetensorsError, toTensor(view).shape];\n`,
  );
  const compiler = "node_modules/typescript-7/lib/tsc.js";
  const options =
    "--strict --noEmit --target es2024 --lib es2024 --module nodenext --types node --ignoreConfig";
  const { status, stdout } = spawnSync("node", [compiler, ...options.split(" "), "safetensors_user.ts"], {
    encoding: "utf8",
  });
  assert.equal(status, 0, stdout);
});

test("safetensors-ts: attw and publint find no fault", async () => {
  const tarball = createPackageFromTarballData(new Uint8Array(readFileSync(process.env.SAFETENSORS_TARBALL)));
  const { problems } = await checkPackage(tarball);
  // The package is for import alone, and the oldest resolution does not read exports.
  const faults = problems.filter(({ kind, resolutionKind }) =>
    kind !== "CJSResolvesToESM" && !(kind === "NoResolution" && resolutionKind === "node10")
  );
  assert.deepEqual(faults, []);
  const { messages } = await publint({ pkgDir: folder, strict: true });
  assert.deepEqual(messages, []);
});
