// Every door, imported by each runtime and bundled for a page.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { build } from "esbuild";

const cpu = String.raw`CPU \(WASM (relaxed )?SIMD, .+ threads? of its own\)`;
const said = new RegExp(
  `^true 2x3 function,function,function,function,function\n0 model_not_found\n${cpu} true\n$`,
);
const commands = JSON.parse(process.env.RUNTIMES);

for (const [name, [command, ...args]] of Object.entries(commands)) {
  test(`doors: ${name} imports every one`, () => {
    assert.match(execFileSync(command, [...args, "doors.mjs"], { encoding: "utf8" }), said);
  });
}

const pictures = 'import { cardOf } from "fourierft/pictures";';

/** Doors that a page's bundle takes as they are; Observable Plot needs packages that name a `main` alone. */
const pageOf = (platform) => `
${platform === "browser" ? pictures : "const cardOf = undefined;"}
import * as fourierft from "fourierft";
import { kernels } from "fourierft/kernels";
import { parseSafetensors } from "fourierft/safetensors";
import { createClient } from "fourierft/client";
import { createApp } from "fourierft/server";
import { referenceDelta, spectralProperties } from "fourierft/testing";
export const all = [fourierft, kernels, parseSafetensors, createApp, createClient, cardOf];
export const holds = () => spectralProperties.linearity(referenceDelta, { numRuns: 5 });
`;

/** A bundle without conditions, plugins, or modules left out. */
async function bundled(contents, platform) {
  const { outputFiles, warnings } = await build({
    stdin: { contents, resolveDir: "." },
    bundle: true,
    format: "esm",
    platform,
    logLevel: "silent",
    write: false,
  });
  assert.deepEqual(warnings, []);
  return outputFiles[0].text;
}

for (const platform of ["browser", "neutral"]) {
  test(`doors: a bundle for the platform ${platform} has no module of a runtime, and computes`, async () => {
    const text = await bundled(pageOf(platform), platform);
    assert.doesNotMatch(text, /(?:from|import|require)\s*\(?\s*["'](?:node:|fs|path)/);
    const { all, holds } = await import(
      `data:text/javascript;base64,${Buffer.from(text).toString("base64")}`
    );
    const module = all[0].fourierModule({ coefficients: new Float32Array([1]), seed: 1, scaling: 6 });
    const linear = { method: all[0].fourierft, module, shape: { out: 2, in: 3 } };
    assert.deepEqual((await all[0].deltaOf(all[0].cpuDevice(), linear)).shape, [2, 3]);
    // A program that is no page has no thread by this door.
    const cpu = await all[0].openDevice();
    assert.match(cpu.description, /^CPU \(WASM (relaxed )?SIMD, one thread: .+\)$/);
    assert.deepEqual((await all[0].deltaOf(cpu, linear)).shape, [2, 3]);
    await holds();
  });
}

test("doors: a bundle for a page that imports fourierft/node is refused by the bundler", async () => {
  await assert.rejects(
    bundled('export { openFolder } from "fourierft/node";', "browser"),
    /Could not resolve "(node:)?fs(\/promises)?"/,
  );
});
