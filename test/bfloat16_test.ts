/**
 * Weights of bfloat16 on the CPU device: they stay 16 bits in memory, and give the bits that widened ones give.
 *
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { narrow, widen } from "../kernels/half.ts";
import {
  anyKernel,
  crossEntropyHead,
  crossEntropyLoss,
  embedding,
  type Kernel,
  linear,
  linearBias,
  linearTransposed,
  normals,
  rowSquares,
  type TypedArray,
} from "../kernels/mod.ts";
import { relaxedWasmBytes, wasmBytes } from "../kernels/wasm_bytes.ts";
import { cpuDevice } from "../src/device/cpu.ts";
import type { Device } from "../src/device/device.ts";
import { hasRelaxedSimd } from "../src/device/wasm_module.ts";
import { step } from "../src/plan.ts";
import { type HostTensor, tensor } from "../src/tensor.ts";
import { randomSource } from "./kernel_contract.ts";

/** A call of a kernel by a weight. */
interface Call {
  readonly kernel: Kernel;
  readonly weight: HostTensor;
  readonly others: Readonly<Record<string, HostTensor>>;
  readonly uniforms: Readonly<Record<string, number>>;
}

/** What a call writes, with its weight as it is stored, or widened first. */
async function written(device: Device, { kernel, weight, others, uniforms }: Call, isWidened: boolean) {
  const held = isWidened ? device.upload(weight) : device.upload(weight, "weight");
  assert.equal(held.dtype, isWidened ? "float32" : "bfloat16");
  const rest = Object.entries(others).map(([name, t]) => [name, device.upload(t)] as const);
  const buffers = { weight: held, ...Object.fromEntries(rest) };
  device.run(await device.prepare([step(kernel, buffers, uniforms)]));
  const outputs = rest.filter(([name]) => kernel.buffers[name].access === "read_write");
  const read = await Promise.all(outputs.map(([, t]) => device.read(t)));
  for (const t of Object.values(buffers)) device.release(t);
  return read;
}

const devices = Object.entries({
  plain: wasmBytes,
  ...(hasRelaxedSimd() ? { relaxed: relaxedWasmBytes } : {}),
})
  .map(([name, bytes]) => ({ name, device: cpuDevice({ wasm: new WebAssembly.Module(bytes()) }) }));

const sizes = fc.record({
  rows: fc.oneof(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 6, max: 30 })),
  inSize: fc.integer({ min: 1, max: 70 }),
  out: fc.integer({ min: 1, max: 40 }),
  accumulate: fc.constantFrom(0, 1),
  seed: fc.nat(),
});

const norm = (values: TypedArray): number => Math.hypot(...values);

const numbers = (count: number, random: () => number): HostTensor => tensor(normals(count, random), [count]);

function randomWeight(out: number, inSize: number, random: () => number): HostTensor {
  const data = narrow(normals(out * inSize, random), "bfloat16");
  return tensor(data, [out, inSize], { dtype: "bfloat16" });
}

for (const { name, device } of devices) {
  test(`products by a weight of bfloat16 have the bits of those by it widened (${name} module)`, async () => {
    await fc.assert(fc.asyncProperty(sizes, async ({ rows, inSize, out, accumulate, seed }) => {
      const random = randomSource(seed), weight = randomWeight(out, inSize, random);
      const x = numbers(rows * inSize, random), y = numbers(rows * out, random);
      const bias = numbers(out, random), uniforms = { rows, in: inSize, out, accumulate };
      const calls: Call[] = [
        { kernel: anyKernel(linear), weight, others: { x, y }, uniforms },
        { kernel: anyKernel(linearBias), weight, others: { x, bias, y }, uniforms },
      ];
      for (const call of calls) {
        const [held, wide] = [await written(device, call, false), await written(device, call, true)];
        assert.deepEqual(held, wide, call.kernel.name);
      }
    }));
  });

  test(`lookups, losses and gradients take a weight of bfloat16 (${name} module)`, async () => {
    await fc.assert(fc.asyncProperty(sizes, async ({ rows, inSize, out, accumulate, seed }) => {
      const random = randomSource(seed), weight = randomWeight(out, inSize, random);
      const index = (most: number): HostTensor =>
        tensor(Uint32Array.from({ length: rows }, () => Math.floor(most * random())), [rows]);
      const hidden = numbers(rows * inSize, random),
        lossUniforms = {
          ...{ rows, dim: inSize, vocab: out, scale: 0.5, softcap: 0 },
        };
      const targets = index(out + 1), losses = numbers(rows, random);
      const calls: Call[] = [
        {
          kernel: anyKernel(embedding),
          weight,
          others: { ids: index(out + 2), y: numbers(rows * inSize, random) },
          uniforms: { rows, dim: inSize, vocab: out },
        },
        {
          kernel: anyKernel(linearTransposed),
          weight,
          others: { dy: numbers(rows * out, random), dx: numbers(rows * inSize, random) },
          uniforms: { rows, in: inSize, out, accumulate },
        },
        {
          kernel: anyKernel(crossEntropyLoss),
          weight,
          others: { hidden, targets, losses },
          uniforms: lossUniforms,
        },
        {
          kernel: anyKernel(crossEntropyHead),
          weight,
          others: { hidden, targets, losses, dhidden: numbers(rows * inSize, random) },
          uniforms: lossUniforms,
        },
        // One that the module has no function of.
        {
          kernel: anyKernel(rowSquares),
          weight,
          others: { squares: numbers(out, random) },
          uniforms: { rows: out, dim: inSize },
        },
      ];
      for (const call of calls) {
        const [held, wide] = [await written(device, call, false), await written(device, call, true)];
        wide.forEach((expected: TypedArray, i: number) => {
          if (call.kernel.tolerance === 0) return assert.deepEqual(held[i], expected);
          // The order of a sum may be another; a sum of few numbers may be near zero.
          const off = norm(held[i].map((value, j) => value - expected[j]));
          assert.ok(off <= 1e-5 * (1 + norm(expected)), `${call.kernel.name} is off by ${off}`);
        });
      }
    }));
  });
}

test("CPU devices say which element types they hold, and read back what they were given", async () => {
  const weight = randomWeight(6, 5, randomSource(1)), device = cpuDevice();
  const held = device.upload(weight, "weight");
  assert.equal(device.heldType!("bfloat16", "weight"), "bfloat16");
  assert.equal(device.heldType!("bfloat16"), "float32");
  assert.equal(device.heldType!("float16", "weight"), "float32");
  assert.deepEqual(await device.read(held), weight.data);
  const numbers = widen(weight.data, "bfloat16");
  const script = cpuDevice({ wasm: false });
  assert.equal(script.heldType!("bfloat16", "weight"), "float32");
  const wide = script.upload(weight, "weight");
  assert.equal(wide.dtype, "float32");
  assert.deepEqual(await script.read(wide), numbers);
});

test("a weight of float16 is held as bfloat16 where its numbers are such, subnormal ones too, else as float32", async () => {
  const device = cpuDevice(),
    numbers = Float32Array.of(1.5, -0.0078125, 2 ** -24, -3 * 2 ** -20, 0, -0, 65280);
  const uploaded = (values: Float32Array) =>
    device.upload(tensor(narrow(values, "float16"), [1, values.length], { dtype: "float16" }), "weight");
  const exact = uploaded(numbers);
  assert.equal(exact.dtype, "bfloat16");
  assert.deepEqual(widen(await device.read(exact), "bfloat16"), numbers);
  const finer = numbers.with(3, 1 + 2 ** -10), wide = uploaded(finer);
  assert.equal(wide.dtype, "float32");
  assert.deepEqual(await device.read(wide), finer);
});
