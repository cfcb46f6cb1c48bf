import assert from "node:assert/strict";
import { test } from "node:test";
import { meterBuffers } from "../bench/buffer_meter.ts";
import { defineKernel, type Dispatch, type Kernel, uniformStruct } from "../kernels/kernel.ts";
import type { Program } from "../src/device/device.ts";
import type { KnownWay } from "../src/device/known_ways.ts";
import type { Tuned } from "../src/device/tuner.ts";
import { webgpuDevice } from "../src/device/webgpu.ts";
import { step } from "../src/plan.ts";
import { tensor } from "../src/tensor.ts";
import { testGpu } from "./devices.ts";

const uniforms = { count: "u32" } as const;

const half = (name: string): Dispatch => ({
  wgsl: `${uniformStruct(uniforms)}
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x < uniforms.count) { y[id.x] += ${name} * x[id.x]; }
}`,
  bindings: [{ name: "x", access: "read" }, { name: "y", access: "read_write" }],
  grid: [16, 1, 1],
});

/**
 * y += x in one dispatch, or in two that each add a half; three other ways do not work on any GPU. Those that do ask for
 * `scratch`, whatever for.
 */
const added = (
  ways: readonly string[],
  scratch: Readonly<Record<string, number>> = {},
): Kernel<"x" | "y", "count"> =>
  defineKernel({
    name: "added",
    doc: "y += x",
    buffers: {
      x: { access: "read", dtypes: ["float32"], doc: "(count)" },
      y: { access: "read_write", dtypes: ["float32"], doc: "(count)" },
    },
    uniforms,
    ways: () => ({ key: "any", ways }),
    launch(_call, _limits, way = "whole") {
      const whole = half("1.0");
      const room = way in scratch ? { scratch: { room: scratch[way] } } : {};
      if (way === "halves") return { dispatches: [half("0.5"), half("0.5")], ...room };
      if (way === "no WGSL") return { dispatches: [{ ...whole, wgsl: "fn main() { nonsense }" }] };
      if (way === "too wide") return { dispatches: [{ ...whole, grid: [2 ** 20, 1, 1] }] };
      if (way === "too large") return { dispatches: [whole], scratch: { huge: 2 ** 45 } };
      return { dispatches: [whole], ...room };
    },
    reference() {},
    tolerance: 0,
  });

const count = 1000;
const x = Float32Array.from({ length: count }, (_, i) => i % 17);
const sum = Float32Array.from(x, (value) => value + 5);

/** Prepares y += x on a device that tunes, and checks that y is touched by the run and by nothing else. */
async function run(kernel: Kernel<"x" | "y", "count">, before?: readonly KnownWay[]) {
  const { gpu } = await testGpu();
  const reports: Tuned[] = [];
  const device = webgpuDevice(gpu, {
    tuning: { known: before, onTuned: (report) => reports.push(report) },
  });
  const buffers = {
    x: device.upload(tensor(x)),
    y: device.upload(tensor(new Float32Array(count).fill(5))),
  };
  const program: Program = await device.prepare([step(kernel, buffers, { count })]);
  assert.deepEqual(new Set(await device.read(buffers.y)), new Set([5]), "tuning leaves y as it is");
  assert.deepEqual(await device.runAndRead(program, buffers.y), sum);
  const { launches } = program;
  program.release();
  device.release(buffers.x);
  device.release(buffers.y);
  return { launches, reports };
}

test("webgpuDevice times ways on scratch in place of a step's outputs, leaves out those that fail, and runs one that works", async () => {
  const ways = ["whole", "no WGSL", "halves", "too wide", "too large"];
  const { launches, reports } = await run(added(ways));
  assert.equal(reports.length, 1);
  const [{ found: [found], ms }] = reports;
  assert.ok(ms > 0);
  assert.equal(launches, found.way === "halves" ? 2 : 1);
  assert.ok(["whole", "halves"].includes(found.way), found.way);
});

test("webgpuDevice keeps what the fastest way works in, and frees what the others asked for", async () => {
  const { gpu } = await testGpu();
  const mebibyte = 2 ** 20;
  const scratch = { whole: 3 * mebibyte, halves: 5 * mebibyte };
  const { result, use } = await meterBuffers(gpu, () => run(added(["whole", "halves"], scratch)));
  const [{ found: [{ way }] }] = result.reports;
  assert.ok(use.peakBytes > 8 * mebibyte, `both were timed: ${use.peakBytes}`);
  assert.equal(Math.floor(use.leftBytes / mebibyte), way === "whole" ? 3 : 5);
});

test("webgpuDevice runs the way that is known, and the only one that works, even if it is not the usual one", async () => {
  const ways = ["whole", "halves"];
  const [{ found: [found] }] = (await run(added(ways))).reports;
  for (const [way, launches] of [["whole", 1], ["halves", 2]] as const) {
    const again = await run(added(ways), [{ ...found, way }]);
    assert.deepEqual(again, { launches, reports: [] });
  }
  assert.equal((await run(added(["no WGSL", "halves"]))).launches, 2);
});

test("webgpuDevice takes the usual way where it is not told to tune", async () => {
  const device = await testGpu();
  const buffers = { x: device.upload(tensor(x)), y: device.upload(tensor(new Float32Array(count).fill(5))) };
  const program = await device.prepare([step(added(["whole", "halves"]), buffers, { count })]);
  assert.equal(program.launches, 1);
  assert.deepEqual(await device.runAndRead(program, buffers.y), sum);
});
