// Every door, imported by each runtime and bundled for a page.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { build } from "esbuild";

const said = `true 2x3 function,function,function
CPU (WASM SIMD, one thread of its own) true
`;
const commands = JSON.parse(process.env.RUNTIMES);

for (const [name, [command, ...args]] of Object.entries(commands)) {
  test(`doors: ${name} imports every one`, () => {
    assert.equal(execFileSync(command, [...args, "doors.mjs"], { encoding: "utf8" }), said);
  });
}

const page = `
import * as fourierft from "fourierft";
import { kernels } from "fourierft/kernels";
import { parseSafetensors } from "fourierft/safetensors";
import { createApp } from "fourierft/server";
export const all = [fourierft, kernels, parseSafetensors, createApp];
`;

for (const conditions of [["browser"], ["workerd", "worker", "browser"]]) {
  test(`doors: a bundle for ${conditions[0]} has no module of a runtime, and refuses files by name`, async () => {
    const { outputFiles, warnings } = await build({
      stdin: { contents: page, resolveDir: "." },
      bundle: true,
      format: "esm",
      platform: conditions[0] === "browser" ? "browser" : "neutral",
      mainFields: ["browser", "module", "main"],
      conditions,
      write: false,
    });
    assert.deepEqual(warnings, []);
    const text = outputFiles[0].text;
    assert.doesNotMatch(text, /(?:from|import|require)\s*\(?\s*["'](?:node:|fs|path)/);
    const { all } = await import(`data:text/javascript;base64,${Buffer.from(text).toString("base64")}`);
    const module = all[0].fourierModule({ coefficients: new Float32Array([1]), seed: 1, scaling: 6 });
    const linear = { method: all[0].fourierft, module, shape: { out: 2, in: 3 } };
    assert.deepEqual((await all[0].deltaOf(all[0].cpuDevice(), linear)).shape, [2, 3]);
    // A bundle of one file has no module for the thread.
    const cpu = await all[0].openCpuDevice();
    assert.match(cpu.description, /^CPU \(WASM SIMD, one thread: .+\)$/);
    assert.deepEqual((await all[0].deltaOf(cpu, linear)).shape, [2, 3]);
    await assert.rejects(
      all[0].openFolder("x"),
      /Cannot call "stat": this platform has no node:fs\/promises/,
    );
    await assert.rejects(all[0].openFile("x"), /Cannot open file "x": the system says ENOSYS/);
  });
}
