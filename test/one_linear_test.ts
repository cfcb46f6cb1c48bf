/**
 * An adapter on one linear, without a model: dW in pieces, forward, merge and unmerge, and the registry's answers.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { normals } from "../kernels/kernel.ts";
import {
  type AdaptedLinear,
  AdapterRegistry,
  type AdapterStore,
  applyModule,
  cpuDevice,
  deltaOf,
  type Device,
  fourierft,
  fourierModule,
  loadAdapter,
  merge,
  NotFoundError,
  tensor,
  unmerge,
} from "../mod.ts";
import { deltaPieces } from "../src/adapters/apply.ts";
import { distance, randomSource } from "./kernel_contract.ts";
import { memoryFolder, weightsFile } from "./model_folders.ts";
import { naiveProduct } from "./naive.ts";

const shape = { out: 11, in: 6 };

const numbers = (count: number, seed: number): Float32Array => normals(count, randomSource(seed));

/** LoRA's factors of a linear named `a`, whose dW is 3 B A. */
const factors = {
  "base_model.model.a.lora_A.weight": tensor(numbers(2 * shape.in, 1), [2, shape.in]),
  "base_model.model.a.lora_B.weight": tensor(numbers(shape.out * 2, 2), [shape.out, 2]),
};
const loraConfig = { peft_type: "LORA", r: 2, lora_alpha: 6 };

function fourierLinear(): AdaptedLinear {
  const module = fourierModule({ coefficients: numbers(9, 3), seed: 5, scaling: 40 });
  return { method: fourierft, module, shape };
}

const loraFolder = memoryFolder({
  "adapter_config.json": JSON.stringify(loraConfig),
  "adapter_model.safetensors": weightsFile(factors),
});

async function loraLinear(): Promise<AdaptedLinear> {
  const { method, modules } = await loadAdapter(loraFolder);
  return { method, module: modules.get("a")!, shape };
}

/** A CPU whose tensors hold no more than `rows` of dW. */
const withRows = (rows: number): Device => ({ ...cpuDevice(), maxTensorBytes: 4 * shape.in * rows + 3 });

test("deltaPieces gives each row once, in as few pieces as there can be, none too large", () => {
  for (let out = 1; out <= 40; out++) {
    for (let most = 1; most <= 45; most++) {
      const pieces = deltaPieces(out, most);
      const rows = pieces.flatMap(({ first, count }) =>
        Array.from({ length: count }, (_, i) => (first + i) % out)
      );
      assert.deepEqual(
        rows.sort((a, b) => a - b),
        Array.from({ length: out }, (_, i) => i),
        `${out}, ${most}`,
      );
      assert.ok(pieces.every(({ count }) => count <= most), `${out}, ${most}`);
      // As few as there can be, or fewer where even pieces end before the last row.
      assert.ok(pieces.length <= Math.ceil(out / most), `${out}, ${most}`);
    }
  }
  assert.deepEqual(deltaPieces(8, 8), [{ first: 0, count: 8 }]);
  // Row p and row 8 - p lie in one piece of the two.
  assert.deepEqual(deltaPieces(8, 4), [{ first: 6, count: 4 }, { first: 2, count: 4 }]);
});

for (const [name, linear] of [["FourierFT", fourierLinear()], ["LoRA", await loraLinear()]] as const) {
  test(`deltaOf is the same from a device whose tensors hold a part of dW: ${name}`, async () => {
    const whole = await deltaOf(cpuDevice(), linear);
    assert.deepEqual(whole.shape, [shape.out, shape.in]);
    for (const rows of [1, 2, 4, 6, 10, 11]) {
      const { data, shape: built } = await deltaOf(withRows(rows), linear);
      assert.deepEqual(built, whole.shape);
      assert.ok(distance(data, whole.data) < 1e-6, `${rows} rows`);
    }
  });

  test(`applyModule is x dW^T, and y + x dW^T: ${name}`, async () => {
    const delta = await deltaOf(cpuDevice(), linear);
    const x = tensor(numbers(3 * shape.in, 7), [3, shape.in]);
    const y = tensor(numbers(3 * shape.out, 8), [3, shape.out]);
    const product = naiveProduct(x.data, delta.data, shape);
    const alone = await applyModule(cpuDevice(), linear, { x });
    assert.deepEqual(alone.shape, [3, shape.out]);
    assert.ok(distance(alone.data, product) < 1e-5);
    const sum = await applyModule(cpuDevice(), linear, { x, y });
    assert.ok(distance(sum.data, product.map((value, i) => value + y.data[i])) < 1e-5);
  });

  test(`merge adds dW to a weight and unmerge takes it out; each leaves the device's memory as it was: ${name}`, async () => {
    const cpu = cpuDevice();
    let tensors = 0;
    const device: Device = {
      ...cpu,
      alloc: (...args) => (tensors++, cpu.alloc(...args)),
      upload: (...args) => (tensors++, cpu.upload(...args)),
      release: (t) => (tensors--, cpu.release(t)),
    };
    const delta = await deltaOf(device, linear);
    const before = numbers(shape.out * shape.in, 9);
    const weight = device.upload(tensor(before, [shape.out, shape.in]));
    await merge(device, linear, weight);
    assert.ok(distance(await device.read(weight), before.map((value, i) => value + delta.data[i])) < 1e-6);
    await unmerge(device, linear, weight);
    assert.ok(distance(await device.read(weight), before) < 1e-6);
    await applyModule(device, linear, { x: tensor(numbers(shape.in, 1), [1, shape.in]) });
    assert.equal(tensors, 1);
  });
}

test("merge and unmerge refuse a weight that is not the linear's, and leave it", async () => {
  const device = cpuDevice(), linear = await loraLinear();
  for (const wrong of [[6, 11], [11, 5], [10, 6], [66], [1, 11, 6]]) {
    const zeros = new Float32Array(wrong.reduce((a, b) => a * b, 1));
    const weight = device.upload(tensor(zeros, wrong));
    for (const change of [merge, unmerge]) {
      await assert.rejects(change(device, linear, weight), {
        name: "RangeError",
        message: `Cannot merge into a weight of shape [${wrong}]: the adapted linear is (11, 6)`,
      });
    }
    assert.deepEqual(await device.read(weight), zeros);
  }
});

/** A store of one LoRA adapter, "x". */
const store: AdapterStore = {
  list: () => Promise.resolve(["x"]),
  open: (id) =>
    Promise.resolve(
      id !== "x" ? undefined : {
        folder: loraFolder,
        version: "1",
        modifiedUnixSeconds: 12,
      },
    ),
};

test("AdapterRegistry answers for one module: its names, shape, dW and forward", async () => {
  const registry = new AdapterRegistry(cpuDevice(), store, { linears: [{ path: "a", shape }] });
  assert.deepEqual(await registry.names(), ["x"]);
  assert.deepEqual(await registry.modules("x"), ["a"]);
  assert.deepEqual(registry.linear("a"), shape);
  assert.equal(registry.linear("b"), undefined);
  const delta = await registry.delta("x", "a");
  const x = tensor(numbers(2 * shape.in, 7), [2, shape.in]);
  const y = tensor(numbers(2 * shape.out, 8), [2, shape.out]);
  const product = naiveProduct(x.data, delta.data, shape);
  assert.ok(distance((await registry.apply("x", "a", { x, shape })).data, product) < 1e-5);
  const sum = await registry.apply("x", "a", { x, y });
  assert.ok(distance(sum.data, product.map((value, i) => value + y.data[i])) < 1e-5);
  await assert.rejects(registry.apply("x", "b", { x }), NotFoundError);
});

test("AdapterRegistry refuses a shape that differs from the base's in either number", async () => {
  const registry = new AdapterRegistry(cpuDevice(), store, { linears: [{ path: "a", shape }] });
  for (const wrong of [{ out: 11, in: 7 }, { out: 12, in: 6 }]) {
    await assert.rejects(registry.delta("x", "a", wrong), {
      name: "RangeError",
      message: `Cannot use shape ${wrong.out}x${wrong.in} for module "a": the base model's is 11x6`,
    });
  }
});
