import assert from "node:assert/strict";
import { test } from "node:test";
import { portableLimits } from "../kernels/kernel.ts";
import { kernels } from "../kernels/mod.ts";
import { checkCase } from "./kernel_contract.ts";
import { everyDevice } from "./devices.ts";

const devices = await everyDevice();

test("kernels: every file's kernel is listed once, with cases, on a CPU and a GPU", () => {
  const names = kernels.map(({ name }) => name);
  assert.ok(names.length >= 13, `only ${names}`);
  assert.equal(new Set(names).size, names.length);
  assert.deepEqual([...devices.values()].map(({ kind }) => kind), ["cpu", "cpu", "webgpu"]);
  for (const { name, cases } of kernels) assert.ok(cases.length > 0, `${name} has no case`);
});

for (const kernel of kernels) {
  for (const [name, device] of devices) {
    test(`${kernel.name} on ${name} gives the reference's numbers, in every case`, async () => {
      for (const testCase of kernel.cases) await checkCase(device, { kernel, testCase, seed: 1 });
    });
  }

  test(`${kernel.name} launches every case and bench within WebGPU's guaranteed limits`, () => {
    for (const { name, uniforms, dtypes = {} } of [...kernel.cases, ...kernel.benches]) {
      const usual = Object.fromEntries(
        Object.entries(kernel.buffers).map(([buffer, spec]) => [buffer, spec.dtypes[0]]),
      );
      const launch = kernel.launch({ uniforms, dtypes: Object.assign(usual, dtypes) }, portableLimits);
      assert.ok(launch.dispatches.length > 0, name);
      for (const { bindings, grid, wgsl } of launch.dispatches) {
        assert.ok(bindings.length <= 8, `${name}: ${bindings.length} storage buffers`);
        assert.ok(grid.every((size) => size >= 1 && size <= 65535), `${name}: grid ${grid}`);
        assert.doesNotMatch(wgsl, /undefined|\[object/, name);
      }
    }
  });
}
