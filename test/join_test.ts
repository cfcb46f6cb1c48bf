import assert from "node:assert/strict";
import { test } from "node:test";
import {
  adaptedLinears,
  adaptedLinearsRmsNorm,
  anyKernel,
  fourierLinears,
  linear,
  portableLimits,
  rmsNorm,
  ropeCache,
  siluGateUp,
} from "../kernels/mod.ts";
import { joins } from "../kernels/joins.ts";
import { joinNeighbours } from "../src/device/join.ts";
import { uniforms } from "../src/engine/random.ts";
import { type Plan, step } from "../src/plan.ts";
import { elements, tensor } from "../src/tensor.ts";
import { testDevices } from "./devices.ts";

const [cpu, gpu] = await testDevices();

const zeros = (...shape: number[]) => tensor(new Float32Array(shape.reduce((a, b) => a * b, 1)), shape);
const words = (count: number) => tensor(new Uint32Array(count));

/** A projection of `rows` rows with an adapter, onto a y of 32 columns. */
function projection(rows: number) {
  const x = zeros(rows, 16), y = zeros(rows, 32);
  const adapters = { slots: words(rows), records: words(4), tables: words(64), values: zeros(4) };
  const product = step(linear, { x, weight: zeros(32, 16), y }, { rows, in: 16, out: 32, accumulate: 1 });
  const sizes = { rows, in: 16, out0: 32, out1: 0, out2: 0, layer: 0, capacity: 1 };
  return { y, product, adapted: step(fourierLinears, { x, ...adapters, y }, sizes) };
}

const norm = (x: ReturnType<typeof zeros>, rows: number) =>
  step(rmsNorm, { x, weight: zeros(32), y: zeros(rows, 32) }, { rows, dim: 32, eps: 1e-5 });
const names = (plan: Plan): string[] => joinNeighbours(plan, portableLimits).map(({ kernel }) => kernel.name);

test("joinNeighbours makes one step of a product, its adapters, and what reads both", () => {
  const { y, product, adapted } = projection(1);
  const [kv, positions, index] = [zeros(4, 8), words(1), words(1)];
  const turned = step(
    ropeCache,
    { qkv: y, table: zeros(8, 8), positions, index, keys: kv, values: zeros(4, 8) },
    { rows: 1, heads: 2, kvHeads: 1, headDim: 8, cacheRows: 4 },
  );
  const gated = step(siluGateUp, { gateUp: y, y: zeros(1, 16) }, { rows: 1, dim: 16 });
  assert.deepEqual(names([product, adapted]), ["adapted_linears"]);
  assert.deepEqual(names([product, adapted, norm(y, 1), product]), ["adapted_linears_rms_norm", "linear"]);
  assert.deepEqual(names([product, adapted, turned]), ["adapted_linears_rope_cache"]);
  assert.deepEqual(names([product, adapted, gated]), ["adapted_linears_silu_gate_up"]);
});

test("joinNeighbours leaves apart what works on other tensors, or gains nothing together", () => {
  const { y, product, adapted } = projection(1);
  const other = projection(1);
  assert.deepEqual(names([product, other.adapted]), ["linear", "fourier_linears"]);
  assert.deepEqual(names([adapted, product]), ["fourier_linears", "linear"]);
  assert.deepEqual(names([product, adapted, norm(other.y, 1)]), ["adapted_linears", "rms_norm"]);
  assert.deepEqual(names([product, norm(y, 1)]), ["linear", "rms_norm"]);
  const nothing = projection(0);
  assert.deepEqual(names([nothing.product, nothing.adapted]), ["linear", "fourier_linears"]);
  const many = projection(2);
  assert.deepEqual(names([many.product, many.adapted]), ["linear", "fourier_linears"]);
  // By itself it may have as many rows as it likes, and then has a dispatch of its own for each part.
  const { buffers: { x, weight, y: sum }, uniforms: own } = many.product;
  const { slots, records, tables, values } = many.adapted.buffers;
  const both = step(adaptedLinears, { x, weight, y: sum, slots, records, tables, values }, {
    ...own as Record<"rows" | "in" | "out" | "accumulate", number>,
    ...many.adapted.uniforms as Record<"out0" | "out1" | "out2" | "layer" | "capacity", number>,
  });
  assert.deepEqual(names([both, norm(many.y, 2)]), ["adapted_linears", "rms_norm"]);
});

test("joins name buffers that their kernels have, all of them", () => {
  const known = new Map(
    [linear, fourierLinears, rmsNorm, ropeCache, siluGateUp].map((kernel) =>
      [kernel.name, anyKernel(kernel as never)] as const
    ),
  );
  for (const { kernel } of joins) known.set(kernel.name, kernel);
  for (const { first, second, same, kernel, buffers } of joins) {
    const of = [first, second].map((name) => known.get(name)!.buffers);
    assert.deepEqual(Object.keys(buffers).sort(), Object.keys(kernel.buffers).sort(), kernel.name);
    for (const [call, name] of Object.values(buffers)) assert.ok(of[call][name], `${kernel.name}: ${name}`);
    for (const [a, b] of same) assert.ok(of[0][a] && of[1][b], `${kernel.name}: ${a} and ${b}`);
  }
});

test("adapted_linears_rms_norm has a text for each type of the norm's weight", () => {
  const { uniforms: words } = adaptedLinearsRmsNorm.cases[0];
  const dtypes = Object.fromEntries(
    Object.keys(adaptedLinearsRmsNorm.buffers).map((name) => [name, "float32" as const]),
  );
  const texts = (["float32", "float16", "bfloat16"] as const).map((normWeight) =>
    adaptedLinearsRmsNorm.launch({ uniforms: words, dtypes: { ...dtypes, normWeight } }, portableLimits)
      .dispatches[1].wgsl
  );
  assert.equal(new Set(texts).size, 3);
});

test("a WebGPU device gives a joined plan's numbers in the joined kernel's launches", async () => {
  const testCase = adaptedLinearsRmsNorm.cases[0];
  const { rows, in: inSize, out, accumulate, dim, eps, ...adapters } = testCase.uniforms;
  const arrays = testCase.make(uniforms(5));
  const results = [];
  for (const device of [cpu, gpu]) {
    const held = Object.fromEntries(
      Object.entries(arrays).map(([name, data]) => [name, device.upload(tensor(data.slice()))]),
    );
    const { x, weight, y, slots, records, tables, values, normWeight, normed } = held;
    const program = await device.prepare([
      step(linear, { x, weight, y }, { rows, in: inSize, out, accumulate }),
      step(fourierLinears, { x, slots, records, tables, values, y }, {
        ...adapters as Record<"out0" | "out1" | "out2" | "layer" | "capacity", number>,
        rows,
        in: inSize,
      }),
      step(rmsNorm, { x: y, weight: normWeight, y: normed }, { rows, dim, eps }),
    ]);
    assert.equal(program.launches, device.kind === "cpu" ? 3 : 2);
    device.run(program);
    results.push(await device.read(normed), await device.read(y));
    assert.equal(results.at(-1)!.length, elements(y.shape));
  }
  const [normed, y, gpuNormed, gpuY] = results;
  for (const [want, got] of [[normed, gpuNormed], [y, gpuY]]) {
    for (let i = 0; i < want.length; i++) {
      assert.ok(Math.abs(want[i] - got[i]) < 1e-4, `${i}: ${want[i]}, ${got[i]}`);
    }
  }
});
