import assert from "node:assert/strict";
import { test } from "node:test";
import {
  bitsOf,
  fourierDelta,
  fourierLinear,
  fourierTable,
  frequencies,
  inOrder,
  kernelRunner,
  normals,
  noSlot,
  scale,
  type TypedArray,
} from "../kernels/mod.ts";
import { testGpu } from "./devices.ts";
import { distance, randomSource } from "./kernel_contract.ts";

const { gpu } = await testGpu();
const runner = kernelRunner(gpu);

test("kernelRunner runs a kernel of tables and several dispatches on buffers of the caller", async () => {
  const shape = { out: 96, in: 80 }, rows = 3, n = 50, random = randomSource(1);
  const { u, v } = frequencies(n, shape, { seed: 777 });
  const { table, order } = fourierTable({ destination: u, source: v }, {
    destination: shape.out,
    source: shape.in,
  });
  const arrays = {
    x: normals(rows * shape.in, random),
    slots: Uint32Array.of(0, noSlot, 0),
    records: Uint32Array.of(0, 0, n, bitsOf(0.02)),
    tables: table,
    values: inOrder(normals(n, random), order),
    y: normals(rows * shape.out, random),
  };
  const uniforms = { rows, ...shape, linear: 0, capacity: 1 };
  const uploaded = Object.entries<TypedArray>(arrays).map(([name, data]) =>
    [name, runner.upload(data)] as const
  );
  const buffers = Object.fromEntries(uploaded) as Record<keyof typeof arrays, GPUBuffer>;
  await runner.run(fourierLinear, { buffers, uniforms });
  const y = new Float32Array(await runner.read(buffers.y));
  fourierLinear.reference(arrays, uniforms);
  assert.ok(distance(y, arrays.y) <= fourierLinear.tolerance);
});

test("kernelRunner runs calls in their order, on parts of buffers", async () => {
  const numbers = Float32Array.from({ length: 128 }, (_, i) => i);
  const buffer = runner.upload(numbers);
  const buffers = {
    y: { buffer, offset: 256, size: 16 },
    factor: runner.upload(Float32Array.of(2)),
  };
  for (let i = 0; i < 3; i++) await runner.run(scale, { buffers, uniforms: { count: 4 } });
  const found = new Float32Array(await runner.read(buffer));
  assert.deepEqual(found, numbers.map((value, i) => i >= 64 && i < 68 ? 8 * value : value));
});

test("kernelRunner refuses what is missing and what a kernel does not take, by name", async () => {
  const y = runner.upload(new Float32Array(4)), factor = runner.upload(new Float32Array(1));
  const buffers = { y, factor };
  const refuses = (call: unknown, message: RegExp, kernel: unknown = scale) =>
    assert.rejects(runner.run(kernel as typeof scale, call as Parameters<typeof runner.run>[1]), message);
  await refuses(
    { buffers: { y }, uniforms: { count: 4 } },
    /^RangeError: Cannot run scale: its buffer "factor" is missing/,
  );
  await refuses(
    { buffers, uniforms: {} },
    /^RangeError: Cannot run scale: its uniform word "count" is missing/,
  );
  await refuses(
    { buffers, uniforms: { count: 4 }, dtypes: { y: "uint32" } },
    /^TypeError: Cannot bind "y" of scale as uint32: it takes float32/,
  );
  const rowless = { out: 1, in: 1, scale: 1, accumulate: 0, first: 0, rows: 0 };
  await refuses(
    { buffers: { table: y, values: y, weight: factor }, uniforms: rowless },
    /^RangeError: Cannot build 0 rows of dW/,
    fourierDelta,
  );
});
