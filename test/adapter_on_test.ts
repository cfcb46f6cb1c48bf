/**
 * Adapters on buffers of the caller's own GPU: with the numbers of the CPU device, and refused where they do not fit.
 *
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { kernelRunner, normals } from "../kernels/mod.ts";
import {
  type AdaptedLinear,
  adapterOn,
  applyModule,
  baseLinear,
  cpuDevice,
  loadAdapter,
  type LoadedAdapter,
  type OwnLinear,
  tensor,
  tensorOf,
} from "../mod.ts";
import { onGpu, testGpu } from "./devices.ts";
import { distance, randomSource } from "./kernel_contract.ts";
import { methodFixture } from "./method_fixtures.ts";
import { memoryFolder, weightsFile } from "./model_folders.ts";

const numbers = (count: number, seed: number): Float32Array => normals(count, randomSource(seed));

const shapes = { a: { out: 11, in: 6 }, b: { out: 5, in: 8 } };

/** LoRA of rank 2 on linears `a` and `b`; `b` has a bias. */
function loraFolder(more: Readonly<Record<string, ReturnType<typeof tensor>>> = {}) {
  const factors = Object.entries(shapes).flatMap(([name, { out, in: inSize }], i) => [
    [`base_model.model.${name}.lora_A.weight`, tensor(numbers(2 * inSize, 2 * i), [2, inSize])],
    [`base_model.model.${name}.lora_B.weight`, tensor(numbers(2 * out, 2 * i + 1), [out, 2])],
  ]);
  const config = { peft_type: "LORA", r: 2, lora_alpha: 6, lora_bias: true };
  return memoryFolder({
    "adapter_config.json": JSON.stringify(config),
    "adapter_model.safetensors": weightsFile({
      ...Object.fromEntries(factors),
      "base_model.model.b.lora_B.bias": tensor(numbers(5, 9)),
      ...more,
    }),
  });
}

const lora = await loadAdapter(loraFolder());

/** y + x dW^T of a module by the CPU device, and the module's bias. */
async function expected(
  { method, modules }: LoadedAdapter,
  { path, shape, weight, x, y }: {
    readonly path: string;
    readonly shape: AdaptedLinear["shape"];
    readonly weight?: Float32Array;
    readonly x: Float32Array;
    readonly y: Float32Array;
  },
): Promise<Float32Array> {
  const device = cpuDevice(), module = modules.get(path)!, rows = x.length / shape.in;
  const base = weight && baseLinear(device, device.upload(tensor(weight, [shape.out, shape.in])));
  const made = await applyModule(device, { path, method, module, shape, base }, {
    x: tensor(x, [rows, shape.in]),
    y: tensor(y, [rows, shape.out]),
  });
  const { bias } = module;
  return Float32Array.from(made.data, (value, i) => value + (bias ? bias[i % shape.out] : 0));
}

test("adapterOn adds each of its modules to y where the caller's buffers hold it", onGpu, async () => {
  const { gpu } = await testGpu();
  const runner = kernelRunner(gpu), on = await adapterOn(gpu, lora, shapes);
  assert.deepEqual(on.modules, ["a", "b"]);
  for (const [path, shape] of Object.entries(shapes)) {
    const rows = 3, x = numbers(rows * shape.in, 5), y = numbers(rows * shape.out, 6);
    // Both begin at byte 256 of their buffers.
    const [held, made] = [x, y].map((data) =>
      runner.upload(Float32Array.of(...new Array(64).fill(7), ...data))
    );
    const inputs = tensorOf(held, [rows, shape.in], { offsetBytes: 256 });
    const outputs = tensorOf(made, [rows, shape.out], { offsetBytes: 256 });
    await on.apply(inputs, outputs, { module: path });
    const found = new Float32Array(await runner.read(made));
    const right = await expected(lora, { path, shape, x, y });
    assert.ok(distance(found.subarray(64), right) < 1e-6, path);
    assert.deepEqual(new Set(found.subarray(0, 64)), new Set([7]));
    assert.deepEqual(new Float32Array(await runner.read(held)).slice(64), x);
  }
  on.release();
});

test("adapterOn's prepare records into the caller's encoder and passes, and again", onGpu, async () => {
  const { gpu } = await testGpu();
  const runner = kernelRunner(gpu), on = await adapterOn(gpu, lora, { a: shapes.a });
  const x = numbers(2 * 6, 1), y = numbers(2 * 11, 2), made = runner.upload(y);
  const prepared = await on.prepare(tensorOf(runner.upload(x), [2, 6]), tensorOf(made, [2, 11]));
  assert.ok(prepared.launches > 0);
  const encoder = gpu.createCommandEncoder();
  prepared.encode(encoder);
  const pass = encoder.beginComputePass();
  prepared.encode(pass);
  pass.end();
  gpu.queue.submit([encoder.finish()]);
  const once = await expected(lora, { path: "a", shape: shapes.a, x, y });
  const twice = await expected(lora, { path: "a", shape: shapes.a, x, y: once });
  assert.ok(distance(new Float32Array(await runner.read(made)), twice) < 1e-6);
  prepared.release();
  assert.throws(() => prepared.encode(gpu.createCommandEncoder()), /^Error: Cannot encode a module that was/);
  const other = await on.prepare(tensorOf(runner.upload(x), [2, 6]), tensorOf(made, [2, 11]));
  on.release();
  on.release();
  assert.throws(() => other.encode(gpu.createCommandEncoder()), /^Error: Cannot encode a module that was/);
  const inputs = tensorOf(runner.upload(x), [2, 6]);
  await assert.rejects(on.apply(inputs, tensorOf(made, [2, 11])), /^Error: Cannot apply an adapter that was/);
});

for (const name of ["dora", "hra", "oft"]) {
  test(`adapterOn applies a method that acts on the product, given its weight: ${name}`, onGpu, async () => {
    const device = await testGpu(), adapter = await loadAdapter(await methodFixture(name));
    const [path, module] = [...adapter.modules][0];
    const shape = module.shape ?? { out: 64, in: 96 };
    const runner = kernelRunner(device.gpu), weight = numbers(shape.out * shape.in, 3);
    const x = numbers(2 * shape.in, 4), y = numbers(2 * shape.out, 5), made = runner.upload(y);
    const linear: OwnLinear = {
      ...shape,
      weight: tensorOf(runner.upload(weight), [shape.out, shape.in]),
    };
    const on = await adapterOn(device, adapter, { [path]: linear });
    await on.apply(tensorOf(runner.upload(x), [2, shape.in]), tensorOf(made, [2, shape.out]));
    const right = await expected(adapter, { path, shape, weight, x, y });
    assert.ok(distance(new Float32Array(await runner.read(made)), right) < 1e-5);
    on.release();
    await assert.rejects(
      adapterOn(device, adapter, { [path]: shape }),
      /^ConfigError: Cannot (?:use|apply) module ".*" without its (?:base model's )?weight: (DoRA|HRA|OFT) /,
    );
  });
}

test("adapterOn refuses modules and tensors that do not fit, by name", onGpu, async () => {
  const { gpu } = await testGpu();
  const refuses = (linears: Parameters<typeof adapterOn>[2], rule: RegExp, adapter = lora) =>
    assert.rejects(adapterOn(gpu, adapter, linears), rule);
  await refuses({ c: shapes.a }, /^RangeError: Cannot apply module "c": the adapter has a, b/);
  await refuses({ a: shapes.b }, /^RangeError: Cannot use .*"a"/);
  await refuses(
    { a: { ...shapes.a, weight: tensor(new Float32Array(66), [11, 6]) } },
    /^TypeError: Cannot use a weight of the host for "a"/,
  );
  const saved = await loadAdapter(
    memoryFolder({
      "adapter_config.json": JSON.stringify({ peft_type: "LORA", r: 2, lora_alpha: 6, bias: "all" }),
      "adapter_model.safetensors": weightsFile({
        "base_model.model.a.lora_A.weight": tensor(numbers(12, 1), [2, 6]),
        "base_model.model.a.lora_B.weight": tensor(numbers(22, 1), [11, 2]),
        "base_model.model.a.bias": tensor(numbers(11, 2)),
      }),
    }),
  );
  await refuses(
    { a: shapes.a },
    /^ConfigError: Cannot apply module "a" by itself: .* a "a.bias" of its own/,
    saved,
  );

  const on = await adapterOn(gpu, lora, shapes), runner = kernelRunner(gpu);
  const x = tensorOf(runner.upload(new Float32Array(128)), [2, 6]);
  const y = tensorOf(runner.upload(new Float32Array(128)), [2, 11]);
  const fails = (args: Parameters<typeof on.apply>, rule: RegExp) => assert.rejects(on.apply(...args), rule);
  await fails([x, y], /^RangeError: Cannot apply a module without its name: the linears are of a, b/);
  await fails([x, y, { module: "c" }], /^RangeError: Cannot apply a module "c": the linears are of a, b/);
  const a = { module: "a" };
  await fails(
    [{ ...x, shape: [2, 7] }, y, a],
    /^RangeError: Cannot use "x" of shape \[2,7\]: it must be \(rows, 6\)/,
  );
  await fails([x, { ...y, shape: [1, 11] }, a], /^RangeError: Cannot add to "y" of 1 rows: "x" has 2/);
  await fails(
    [x, { ...y, dtype: "float16" }, a],
    /^TypeError: Cannot use "y" as float16: it must be float32/,
  );
  await fails([tensor(new Float32Array(12), [2, 6]), y, a], /^TypeError: Cannot use "x" of the host/);
  await fails([x, { ...y, data: x.data }, a], /^RangeError: Cannot use one buffer for "x" and "y"/);
  on.release();
});

test("tensorOf takes a part of a buffer, and refuses what the buffer does not hold", () => {
  const buffer = { size: 512, usage: 0x80 } as GPUBuffer;
  assert.deepEqual(tensorOf(buffer, [2, 64]), {
    shape: [2, 64],
    dtype: "float32",
    data: { buffer, offsetBytes: 0 },
  });
  assert.equal(tensorOf(buffer, [128], { dtype: "float16", offsetBytes: 256 }).dtype, "float16");
  const refuses = (rule: RegExp, ...args: Parameters<typeof tensorOf>) =>
    assert.throws(() => tensorOf(...args), rule);
  refuses(/^RangeError: .*\[129\].*ends at byte 516 as float32, and the buffer has 512/, buffer, [129]);
  refuses(/ends at byte 516/, buffer, [257], { dtype: "float16" });
  refuses(/ends at byte 516/, buffer, [65], { offsetBytes: 256 });
  refuses(/offsetBytes is 128, and must be a multiple of 256/, buffer, [1], { offsetBytes: 128 });
  refuses(/offsetBytes is -256/, buffer, [1], { offsetBytes: -256 });
  refuses(/sizes are integers from 0 on/, buffer, [1.5]);
  refuses(/sizes are integers from 0 on/, buffer, [-1, 2]);
  refuses(/there is no dtype "float64"/, buffer, [1], { dtype: "float64" as "float32" });
  refuses(/must have usage STORAGE/, { size: 512, usage: 0x8 } as GPUBuffer, [1]);
});
