import assert from "node:assert/strict";
import process from "node:process";
import { test } from "node:test";
import { type Case, casesOf } from "../kernels/cases/mod.ts";
import { type Kernel, portableLimits } from "../kernels/kernel.ts";
import { kernels } from "../kernels/mod.ts";
import { callOf, checkCase, checkTexts, inEveryWay, lastCases } from "./kernel_contract.ts";
import { everyDevice, everyGpuCase, everything, testGpu } from "./devices.ts";

const devices = await everyDevice();
const gpu = await testGpu();

test("kernels: every file's kernel is listed once, with cases, on a CPU and a GPU", () => {
  const names = kernels.map(({ name }) => name);
  assert.ok(names.length >= 13, `only ${names}`);
  assert.equal(new Set(names).size, names.length);
  assert.deepEqual([...devices.values()].map(({ kind }) => kind), [
    // Deno's tests by Dawn have run the CPU's.
    ...Array.from({ length: process.env.FOURIERFT_GPU === "navigator" ? 0 : 4 }, () => "cpu"),
    "webgpu",
  ]);
  for (const kernel of kernels) assert.ok(casesOf(kernel).cases.length > 0, `${kernel.name} has no case`);
});

/** Each way but the usual one with one case, its last: a software GPU takes long to compile one. */
function aCaseEach(kernel: Kernel): { readonly way: Kernel; readonly testCase: Case }[] {
  const all = casesOf(kernel).cases.flatMap((testCase) =>
    inEveryWay(kernel, testCase, gpu.limits).slice(1).map((way) => ({ way, testCase }))
  );
  return [...new Map(all.map((one) => [one.way.name, one])).values()];
}

/**
 * Whether a GPU runs every case. A software GPU takes minutes to compile the texts of all formats: the last cases of those
 * that differ from others in few lines stand for them.
 */
const runsEvery = ({ name }: Kernel): boolean =>
  everything || (everyGpuCase && !/q[46]_k|q4z_32|nf4_32/.test(name));

/**
 * Whether a GPU runs a kernel at all. Naga leaves out what adds a bias or a loss to the product by a weight of blocks, but
 * for one format: the product itself runs in each. Bun's Dawn is Deno's, and runs an eighth. Both compile the texts.
 */
function runsSome(kernel: Kernel): boolean {
  if (everything || everyGpuCase) return true;
  if ("Bun" in globalThis) return kernels.indexOf(kernel) % 8 === 0;
  return !/^(linear_bias|cross_entropy_head)_(?!q4_32$)/.test(kernel.name);
}

for (const kernel of kernels) {
  const own = casesOf(kernel);
  for (const [name, device] of devices) {
    if (device === gpu && !runsSome(kernel)) continue;
    const few = device === gpu && !runsEvery(kernel);
    const cases = few ? lastCases(own) : own.cases;
    const which = few ? "a case of each dtype" : "every case";
    test(`${kernel.name} on ${name} gives the reference's numbers, in ${which}`, async () => {
      for (const testCase of cases) await checkCase(device, { kernel, testCase, seed: 1 });
    });
  }

  if (!runsEvery(kernel)) {
    test(`${kernel.name} on webgpu: the GPU's compiler takes every case in every way`, async () => {
      await checkTexts(gpu.gpu, { kernel, limits: gpu.limits });
    });
  }

  if (kernel.ways && runsEvery(kernel)) {
    test(`${kernel.name} on webgpu gives the reference's numbers in every way, in a case each`, async () => {
      for (const { way, testCase } of aCaseEach(kernel)) {
        await checkCase(gpu, { kernel: way, testCase, seed: 1 });
      }
    });
  }

  test(`${kernel.name} launches every case and bench in every way within WebGPU's guaranteed limits`, () => {
    for (const testCase of [...own.cases, ...own.benches]) {
      for (const { name, launch } of inEveryWay(kernel, testCase, portableLimits)) {
        const { dispatches } = launch(callOf(kernel, testCase), portableLimits);
        assert.ok(dispatches.length > 0, name);
        for (const { bindings, grid, wgsl } of dispatches) {
          assert.ok(bindings.length <= 8, `${name}: ${bindings.length} storage buffers`);
          assert.ok(grid.every((size) => size >= 1 && size <= 65535), `${name}: grid ${grid}`);
          assert.doesNotMatch(wgsl, /undefined|\[object/, name);
        }
      }
    }
  });
}
