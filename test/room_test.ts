import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { cpuDevice } from "../src/device/cpu.ts";
import type { Device } from "../src/device/device.ts";
import { openWeights, readConfig, weightsOf } from "../src/models/families.ts";
import { loadModel, type WeightSource } from "../src/models/model.ts";
import { leavesOf } from "../src/models/spec.ts";
import { openCpuDevice, openFolder } from "../src/runtime/mod.ts";
import { bytesPerElement, elements, type HostTensor } from "../src/tensor.ts";
import { onGpu, testGpu } from "./devices.ts";

const fixture = (path: string): string => fileURLToPath(new URL(`fixtures/${path}`, import.meta.url));

async function load(device: Device, path: string, options: { readonly quantize?: "int8" } = {}) {
  const folder = await openFolder(fixture(path)), config = await readConfig(folder);
  const source = await openWeights(folder, config);
  return await loadModel(device, { config, source, ...options }).finally(() => source.close());
}

/** A device that takes no weights, and knows how many bytes it has room for. */
function smallDevice(room: number, maxTensorBytes = 2 ** 32): Device & { asked?: number } {
  const device: Device & { asked?: number } = {
    ...cpuDevice(),
    maxTensorBytes,
    roomFor(bytes) {
      device.asked = bytes;
      return Promise.resolve(Math.min(room, bytes));
    },
    upload: () => assert.fail("a weight was uploaded"),
  };
  return device;
}

test("loadModel refuses a model over the device's memory before a weight is read, with the numbers", async () => {
  const float = smallDevice(100_000), small = smallDevice(100_000);
  // 512 x 64 and back, and two layers of float32; their biases and tables are not counted.
  const layer = 64 * 64 * 2 + 2 * 32 * 64 + 3 * 96 * 64, floats = 4 * (2 * 512 * 64 + 2 * layer + 5 * 64);
  await assert.rejects(
    load(float, "methods/base"),
    /^ConfigError: Cannot load the model: its weights take 0\.51 MB at least, and the device has room for 0\.10 MB; quantise it, or/,
  );
  assert.equal(float.asked, floats);
  await assert.rejects(load(small, "methods/base", { quantize: "int8" }), /room for 0\.10 MB; take a device/);
  // 36 bytes for 32 numbers, since a CPU widens scales, but for the embedding and norms.
  assert.equal(small.asked, 36 / 32 * (512 * 64 + 2 * layer) + 4 * (512 * 64 + 5 * 64));
});

test("loadModel counts 16-bit weights as the float32 that a CPU makes of them", async () => {
  const folder = await openFolder(fixture("../../examples/demo/base"));
  const source = await openWeights(folder, await readConfig(folder));
  assert.ok(source.names.every((name) => source.info(name).dtype === "F16"));
  const numbers = source.names.reduce((sum, name) => sum + elements(source.info(name).shape), 0);
  await source.close();
  const cpu = smallDevice(4 * numbers - 1), narrow = { ...smallDevice(2 * numbers - 1), heldType: undefined };
  await assert.rejects(load(cpu, "../../examples/demo/base"), /its weights take 29\.38 MB at least/);
  assert.equal(cpu.asked, 4 * numbers);
  await assert.rejects(load(narrow, "../../examples/demo/base"), /its weights take 14\.69 MB at least/);
});

test("the CPU device has room in its WebAssembly memory, and none is told without WebAssembly", async () => {
  for (const device of [cpuDevice(), await openCpuDevice({ threads: 1 })]) {
    const most = await device.roomFor!(2 ** 40);
    assert.ok(most > 2 ** 28 && most < 2 ** 32, `${device.description} has room for ${most} bytes`);
    assert.equal(await device.roomFor!(1000), 1000);
    const t = device.alloc([2 ** 18], "float32");
    assert.equal(await device.roomFor!(2 ** 40), most - 2 ** 20);
    device.release(t);
    assert.equal(await device.roomFor!(2 ** 40), most);
    device.destroy();
  }
  assert.equal(cpuDevice({ wasm: false }).roomFor, undefined);
});

test("loadModel refuses a weight over the device's largest buffer before a weight is read, with the numbers", async () => {
  await assert.rejects(
    load(smallDevice(2 ** 40, 4 * 2 * 96 * 64 - 1), "methods/base"),
    /^ConfigError: Cannot load the model: "model.layers.0.mlp.gate_proj with model.layers.0.mlp.up_proj" takes 0\.05 MB, and one buffer of the device holds at most 0\.05 MB/,
  );
});

/** Bytes of tensors that are read and not yet uploaded, at most. */
async function mostWaiting(path: string, options: { readonly quantize?: "int8" } = {}): Promise<number> {
  const folder = await openFolder(fixture(path)), config = await readConfig(folder);
  const source = await openWeights(folder, config), device = cpuDevice();
  let waiting = 0, most = 0;
  const counted: WeightSource = {
    ...source,
    async read(name) {
      const host = await source.read(name);
      waiting += bytesPerElement[host.dtype] * elements(host.shape);
      most = Math.max(most, waiting);
      return host;
    },
  };
  const upload = (host: HostTensor) => {
    waiting = 0;
    return device.upload(host);
  };
  await loadModel({ ...device, upload }, { config, source: counted, ...options }).finally(() =>
    source.close()
  );
  return most;
}

test("loadModel holds one projection's tensors on the host at a time, or an embedding", async () => {
  const path = "methods/base", tree = weightsOf(await readConfig(await openFolder(fixture(path))));
  const largest = Math.max(
    ...leavesOf(tree).map((leaf) => {
      const count = ({ out, in: inSize }: { out: number; in: number }): number => out * inSize + out;
      if (leaf.kind === "projection") {
        return 4 * leaf.linears.reduce((sum, { shape }) => sum + count(shape), 0);
      }
      return leaf.kind === "embedding" ? 4 * elements(leaf.shape) : 0;
    }),
  );
  assert.ok(await mostWaiting(path) <= largest);
  assert.ok(await mostWaiting(path, { quantize: "int8" }) <= largest);
});

test("a GPU says that it has room for what it has room for, and takes that afterwards", onGpu, async () => {
  const gpu = await testGpu(), bytes = 3 * 2 ** 20 + 5;
  assert.equal(await gpu.roomFor!(bytes), bytes);
  assert.equal(await gpu.roomFor!(0), 0);
  const made = gpu.alloc([4], "float32");
  assert.deepEqual([...await gpu.read(made)], [0, 0, 0, 0]);
  gpu.release(made);
});

const status = "/proc/self/status";
/** Bytes of address space that this process has, a software GPU's memory among them. */
const addressed = (): number => 1024 * Number(/VmSize:\s+(\d+)/.exec(readFileSync(status, "utf8"))![1]);

test(
  "roomFor frees what it allocated before it answers",
  { skip: onGpu.skip || !existsSync(status) },
  async () => {
    const gpu = await testGpu(), bytes = 2 ** 30;
    await gpu.roomFor!(4);
    const before = addressed();
    assert.equal(await gpu.roomFor!(bytes), bytes);
    assert.ok(addressed() - before < bytes / 2);
  },
);
