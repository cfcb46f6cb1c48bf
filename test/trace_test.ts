import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { openModel } from "../mod.ts";
import { openFolder } from "../src/runtime/mod.ts";
import { traceTable } from "../src/cli/trace.ts";
import { cpuDevice } from "../src/device/cpu.ts";
import type { Device } from "../src/device/device.ts";
import { webgpuDevice } from "../src/device/webgpu.ts";
import { Runner } from "../src/engine/runner.ts";
import { openGpu } from "../src/runtime/gpu.ts";
import { testDevices } from "./devices.ts";
import { lane } from "./lanes.ts";

const layer = [
  "rms_norm",
  "linear",
  "rope_cache",
  "attention",
  "linear",
  "rms_norm",
  "linear",
  "silu_gate_up",
  "linear",
];
const launched = [
  "next_tokens",
  "embedding",
  ...layer,
  ...layer,
  "embedding",
  "rms_norm",
  "linear",
  "sample",
];

async function tiny(device: Device) {
  const folder = await openFolder(fileURLToPath(new URL("fixtures/tiny/llama", import.meta.url)));
  return await openModel(device, { folder, engine: { maxSequences: 2 } });
}

async function traces(device: Device, clock: "gpu" | "host" | "any"): Promise<void> {
  const { model } = await tiny(device);
  const runner = new Runner(device, model, {
    banks: [],
    maxRows: 4,
    maxOutputs: 4,
    cacheRows: 8,
    blockSize: 1,
  });
  await assert.rejects(runner.trace(), { name: "RangeError", message: "Cannot trace a step: none was run" });
  const choice = { temperature: 0, topP: 1, topK: 0, uniform: 0 };
  await runner.step(
    [{ token: 3, position: 0, blocks: lane(0) }, { token: 5, position: 1, blocks: lane(0) }],
    [{
      row: 1,
      ...choice,
    }],
  );
  await runner.step([{ token: 7, position: 2, blocks: lane(0) }], [{ row: 0, ...choice }]);
  const before = await runner.logits(0);
  const trace = await runner.trace();
  assert.deepEqual(await runner.logits(0), before, "the step is the same once more");
  assert.ok(trace.wholeUs > 0);
  // A GPU samples in two launches.
  const expected = device.kind === "cpu" ? launched : [...launched, "sample"];
  assert.deepEqual(trace.launches.map(({ kernel }) => kernel), expected);
  if (clock !== "any") assert.equal(trace.clock, clock);
  for (const [i, { beginUs, endUs, grid }] of trace.launches.entries()) {
    assert.ok(endUs >= beginUs && beginUs >= 0, `launch ${i}: ${beginUs} to ${endUs}`);
    assert.equal(grid?.length, device.kind === "cpu" ? undefined : 3);
  }
}

for (const device of await testDevices()) {
  test(`Runner.trace on ${device.kind}: every launch of the last step, which leaves the same numbers`, async () => {
    await traces(device, device.kind === "cpu" ? "host" : "any");
  });
}

test("Runner.trace goes by the host's clock where a GPU has no timestamps", async () => {
  const { device, destroy } = await openGpu({ features: [] });
  await traces(webgpuDevice(device), "host");
  destroy();
});

test("BatchEngine.trace waits for what is generated, and shows its last step", async () => {
  const { engine } = await tiny(cpuDevice());
  const sampling = { temperature: 0, topP: 1, topK: 0 };
  const tokens = Array.fromAsync(engine.generate({ promptTokenIds: [1, 2, 3], maxTokens: 3, sampling }));
  await tokens;
  assert.deepEqual((await engine.trace()).launches.map(({ kernel }) => kernel), launched);
});

test("traceTable counts a launch from where the last one ended, and sums times and gaps by kernel", () => {
  const table = traceTable({
    clock: "gpu",
    wholeUs: 7.5,
    launches: [
      { kernel: "linear", grid: [64, 1, 1], beginUs: 10, endUs: 14 },
      { kernel: "rope", grid: [3, 1, 2], beginUs: 13, endUs: 15 },
      { kernel: "linear", grid: [8, 2, 1], beginUs: 17.5, endUs: 18.5 },
    ],
  }, "a GPU");
  const words = table.split("\n").map((line) => line.trim().split(/\s{2,}/));
  assert.match(table, /^The last step on a GPU, by GPU timestamps, each launch in a pass of its own:\n/);
  assert.deepEqual(words.slice(3, 6), [
    ["1", "linear", "64 x 1", "4.0", "0.0"],
    ["2", "rope", "3 x 1 x 2", "1.0", "0.0"],
    ["3", "linear", "8 x 2", "1.0", "2.5"],
  ]);
  assert.deepEqual(words.slice(8), [
    ["linear", "2", "5.0", "83.3 %"],
    ["rope", "1", "1.0", "16.7 %"],
    ["all", "3", "6.0"],
    ["gaps", "2.5"],
    ["the step in one pass", "7.5"],
  ]);
});
