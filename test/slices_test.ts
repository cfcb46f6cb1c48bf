/**
 * Products that are made in slices, which a GPU leaves to the call that reads the product.
 *
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { unpacked } from "../kernels/caches/format.ts";
import { cacheFormats } from "../kernels/caches/mod.ts";
import { casesOf } from "../kernels/cases/mod.ts";
import { mixedArrays, mixedBank } from "../kernels/cases/fourier_adapters.ts";
import { turns } from "../kernels/cases/turns.ts";
import { narrow } from "../kernels/half.ts";
import { anyKernel, type DType, nans, normals, type TypedArray } from "../kernels/kernel.ts";
import {
  add,
  fourierLinears,
  kernels,
  linear,
  linearBias,
  loraLinear,
  portableLimits,
  rmsNorm,
  ropeCache,
  scaleOutputs,
  siluGateUp,
} from "../kernels/mod.ts";
import { bitsOf } from "../kernels/record.ts";
import { cpuDevice } from "../src/device/cpu.ts";
import type { Device } from "../src/device/device.ts";
import { joinNeighbours } from "../src/device/join.ts";
import { Launches } from "../src/device/launches.ts";
import { callOf, type Plan, type Step, step } from "../src/plan.ts";
import { tensor } from "../src/tensor.ts";
import { testDevices } from "./devices.ts";
import { distance, randomSource } from "./kernel_contract.ts";

const cpu = cpuDevice(), gpu = (await testDevices()).find(({ kind }) => kind === "webgpu")!;

/** A product of so many inputs has two slices; of half as many it has one. */
const rows = 16, inputs = 256;

const zeros = (...shape: number[]) => tensor(new Float32Array(shape.reduce((a, b) => a * b, 1)), shape);
const words = (count: number) => tensor(new Uint32Array(count));

/** A product onto a y of 32 columns, and adapters that add to the same y. */
function projection(inSize = inputs) {
  const x = zeros(rows, inSize), y = zeros(rows, 32);
  const bank = { slots: words(rows), records: words(4), values: zeros(4) };
  const sizes = { rows, in: inSize, out0: 32, out1: 0, out2: 0, linear: 0, capacity: 1 };
  return {
    y,
    product: step(linear, { x, weight: zeros(32, inSize), y }, { rows, in: inSize, out: 32, accumulate: 0 }),
    fourier: step(fourierLinears, { x, ...bank, tables: words(64), y }, sizes),
    lora: step(loraLinear, { x, ...bank, y }, sizes),
    scaled: step(scaleOutputs, { ...bank, y }, { ...sizes, factors: 0 }),
  };
}

const norm = (x: ReturnType<typeof zeros>, dim = 32) =>
  step(rmsNorm, { x, weight: zeros(dim), y: zeros(rows, dim) }, { rows, dim, eps: 1e-5 });

/** Every launch of a plan: its step's name, and `of slices` where it reads some. */
function launches(plan: Plan, ways = new Map<Step, string>()): string[] {
  const chosen = { ways, launches: new Launches(portableLimits) };
  return joinNeighbours(plan, portableLimits, chosen).flatMap((joined) =>
    joined.kernel.launch(callOf(joined), portableLimits, ways.get(joined as Step)).dispatches.map(
      ({ bindings }) => {
        const reads = bindings.some(({ name, access }) => name === "slices" && access === "read");
        return joined.kernel.name + (reads ? " of slices" : "");
      },
    )
  );
}

test("a product's slices are added up by what reads the product, past adapters that add to it", () => {
  const { y, product, fourier, lora, scaled } = projection();
  assert.deepEqual(launches([product, norm(y)]), ["linear", "rms_norm of slices"]);
  assert.deepEqual(launches([product, fourier, lora, norm(y)]), [
    ...["linear", "fourier_linears", "lora_linear", "lora_linear", "rms_norm of slices"],
  ]);
  const other = zeros(rows, 32), added = step(add, { x: y, y: other }, { count: 32 * rows });
  assert.deepEqual(launches([product, lora, added, norm(other)]), [
    ...["linear", "lora_linear", "lora_linear", "rms_norm of slices"],
  ]);
  assert.deepEqual(launches([product, fourier, scaled, added, norm(other)]), [
    ...["linear", "fourier_linears", "rms_norm of slices"],
  ]);
  // With the scales' bank this reader would bind too many buffers: the sum is stored before.
  const [keys, values, positions, index] = [zeros(20, 8), zeros(20, 8), words(rows), words(rows)];
  const turned = step(
    ropeCache,
    { qkv: y, table: zeros(16, 8), positions, index, keys, values },
    { rows, heads: 2, kvHeads: 1, headDim: 8, rotaryDim: 8, cacheRows: 20 },
  );
  assert.deepEqual(launches([product, fourier, turned]), [
    "linear",
    "fourier_linears",
    "rope_cache of slices",
  ]);
  assert.deepEqual(launches([product, fourier, scaled, turned]), [
    ...["linear", "fourier_linears", "scale_outputs of slices", "rope_cache"],
  ]);
});

test("a product is summed by itself where nothing is spared by leaving its slices", () => {
  const { y, product, fourier, lora } = projection(), other = projection(), short = projection(inputs / 2);
  const whole = ["linear", "linear"];
  assert.deepEqual(launches([product]), whole);
  assert.deepEqual(launches([product, lora, product]), [...whole, "lora_linear", "lora_linear", ...whole]);
  assert.deepEqual(launches([product, norm(other.y)]), [...whole, "rms_norm"]);
  // Adapters that change another result, or that read this one, come between.
  assert.deepEqual(launches([product, other.fourier, norm(y)]), [...whole, "fourier_linears", "rms_norm"]);
  const reads = { ...fourier, buffers: { ...fourier.buffers, x: y } };
  assert.deepEqual(launches([product, reads, norm(y)]), [...whole, "fourier_linears", "rms_norm"]);
  // A reader of a part of the result would leave the rest.
  assert.deepEqual(launches([product, norm(y, 16)]), [...whole, "rms_norm"]);
  assert.deepEqual(launches([short.product, norm(short.y)]), ["linear", "rms_norm"]);
});

test("a product in a way without slices is not joined with its reader", () => {
  const { y, product } = projection();
  const ways = (way: string) => new Map([[product, way]]);
  assert.deepEqual(launches([product, norm(y)], ways("16x128")), ["linear", "rms_norm of slices"]);
  assert.deepEqual(launches([product, norm(y)], ways("8 columns")), ["linear", "rms_norm"]);
});

/** A product with adapters, and what reads it. */
interface Case {
  readonly outs: readonly number[];
  readonly weight?: DType;
  readonly bias?: boolean;
  readonly accumulate?: number;
  /** Coefficients of each adapter of FourierFT; default: no adapters. */
  readonly adapters?: readonly number[];
  /** The steps that read y (rows, sum of outs), and what they leave. */
  readonly read: (y: Step["buffers"][string], upload: (data: TypedArray, dtype?: DType) => typeof y) => Plan;
  /** Launches on a GPU. */
  readonly launches: number;
  readonly numbers?: (words: TypedArray) => TypedArray;
}

const normed = (dim: number, dtype: DType = "float32"): Case["read"] => (x, upload) => [
  step(rmsNorm, {
    x,
    weight: upload(narrow(normals(dim, randomSource(7)), dtype), dtype),
    y: upload(nans(rows * dim)),
  }, { rows, dim, eps: 1e-5 }),
];

const kept = { cacheRows: rows + 3, kvHeads: 2, headDim: 8 };

/** Steps that put keys and values in a cache. */
const cached =
  (kernel: ReturnType<typeof ropeCache.of>, cache: () => TypedArray): Case["read"] => (qkv, upload) => [
    step(kernel, {
      qkv,
      table: upload(turns(rows, 8)),
      positions: upload(Uint32Array.from({ length: rows }, (_, i) => i)),
      index: upload(Uint32Array.from({ length: rows }, (_, i) => rows + 2 - i)),
      keys: upload(cache()),
      values: upload(cache()),
    }, { rows, heads: 4, ...kept, rotaryDim: 8 }),
  ];

/** Scales of y's rows in a bank of their own: every third row has none. */
const scales: Case["read"] = (y, upload) => [
  step(scaleOutputs, {
    slots: upload(Uint32Array.from({ length: rows }, (_, i) => i % 3)),
    records: upload(Uint32Array.of(0, 3, 1, bitsOf(1), 0, 9, 1, bitsOf(1))),
    values: upload(normals(64, randomSource(8))),
    y,
  }, { rows, in: inputs, out0: 32, out1: 0, out2: 0, linear: 0, capacity: 2, factors: 0 }),
];

const cases: Readonly<Record<string, Case>> = {
  "float16, then rms_norm": { outs: [256], weight: "float16", read: normed(256), launches: 2 },
  "37 columns, onto y, then rms_norm": {
    outs: [37],
    accumulate: 1,
    read: normed(37, "float16"),
    launches: 2,
  },
  "a bias and adapters, then rms_norm": {
    ...{ outs: [64], weight: "bfloat16", bias: true, adapters: [30, 0, 7], read: normed(64), launches: 3 },
  },
  "adapters, then silu_gate_up": {
    ...{ outs: [64, 64], adapters: [30, 5], launches: 3 },
    read: (gateUp, upload) => [step(siluGateUp, { gateUp, y: upload(nans(64 * rows)) }, { rows, dim: 64 })],
  },
  "adapters, then rope_cache": {
    ...{ outs: [32, 16, 16], adapters: [30], launches: 3 },
    read: cached(ropeCache, () => new Float32Array(16 * kept.cacheRows)),
  },
  "rope_cache_int8": {
    ...{ outs: [32, 16, 16], launches: 2 },
    read: cached(
      ropeCache.of(cacheFormats.int8),
      () => new Uint32Array(kept.cacheRows * cacheFormats.int8.rowElements(kept)),
    ),
    numbers: (words) => unpacked(cacheFormats.int8, words, kept),
  },
  "scales, then rms_norm": {
    ...{ outs: [32], adapters: [9], launches: 3 },
    read: (y, upload) => [...scales(y, upload), ...normed(32)(y, upload)],
  },
  "scales, stored": { outs: [32], adapters: [9], read: scales, launches: 3 },
};

/** A case's plan on a device. */
function planOf(
  device: Device,
  { outs, weight: dtype = "float32", bias, accumulate = 0, ...of }: Case,
): Plan {
  const random = randomSource(3), out = outs.reduce((sum, one) => sum + one, 0);
  const { adapters = [], read } = of, [out0, out1 = 0, out2 = 0] = outs;
  const upload = (data: TypedArray, dtype?: DType) => device.upload(tensor(data, [data.length], { dtype }));
  const size = { in: inputs, outs, adapters: adapters.length > 0 ? adapters : [1], rows };
  const { x, y, ...bank } = Object.fromEntries(
    Object.entries(mixedArrays(size, random)).map(([name, data]) => [name, upload(data)]),
  );
  const weight = upload(narrow(normals(out * inputs, random, 1 / Math.sqrt(inputs)), dtype), dtype);
  const io = { x, weight, y }, sizes = { rows, in: inputs, out, accumulate };
  const { slots, records, tables, values } = bank;
  const adapted = step(fourierLinears, { x, slots, records, tables, values, y }, {
    ...{ rows, in: inputs, out0, out1, out2 },
    ...mixedBank(size),
  });
  return [
    bias
      ? step(linearBias, { ...io, bias: upload(normals(out, random)) }, sizes)
      : step(anyKernel(linear), io, sizes),
    ...(adapters.length > 0 ? [adapted] : []),
    ...read(y, upload),
  ];
}

/** What a plan leaves in the buffers that its steps write. */
async function results(device: Device, plan: Plan): Promise<{ launches: number; written: TypedArray[] }> {
  const program = await device.prepare(plan);
  device.run(program);
  const written: TypedArray[] = [];
  for (const { kernel, buffers } of plan) {
    for (const [name, { access }] of Object.entries(kernel.buffers)) {
      if (access === "read_write") written.push(await device.read(buffers[name]));
    }
  }
  program.release();
  return { launches: program.launches, written };
}

for (const [name, one] of Object.entries(cases)) {
  test(`a GPU that leaves slices to their reader gives the numbers of the kernels: ${name}`, async () => {
    const expected = await results(cpu, planOf(cpu, one)), found = await results(gpu, planOf(gpu, one));
    assert.equal(found.launches, one.launches);
    expected.written.forEach((numbers, i) => {
      const packed = numbers instanceof Uint32Array;
      const read = packed ? one.numbers! : (same: TypedArray) => same;
      const off = distance(read(found.written[i]), read(numbers));
      // Packed numbers that two devices round differently are off by a last place.
      assert.ok(off <= (packed ? 1e-3 : 1e-5), `buffer ${i}: ${off}`);
    });
  });
}

for (const kernel of kernels.filter(({ adds }) => adds !== undefined)) {
  test(`${kernel.name} does nothing with "${kernel.adds}" but add to it`, () => {
    const { uniforms, make } = casesOf(kernel).cases[0], name = kernel.adds!;
    assert.equal(kernel.buffers[name].access, "read_write");
    const [low, high] = [0, 8].map((more) => {
      const arrays = make(randomSource(5));
      arrays[name].set(arrays[name].map((_, i) => i % 3 + more));
      kernel.reference(arrays, uniforms);
      return arrays[name] as Float32Array;
    });
    assert.ok(distance(high, low.map((value) => value + 8)) <= 1e-6);
  });
}
