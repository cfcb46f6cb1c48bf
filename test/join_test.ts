import assert from "node:assert/strict";
import { test } from "node:test";
import { mixedArrays, mixedBank } from "../kernels/cases/fourier_adapters.ts";
import { unpacked } from "../kernels/caches/format.ts";
import { cacheFormats } from "../kernels/caches/mod.ts";
import { narrow } from "../kernels/half.ts";
import { anyKernel, type DType, type Kernel, nans, normals, type TypedArray } from "../kernels/kernel.ts";
import {
  add,
  circulantLinear,
  copy,
  fourierLinears,
  geluGateUp,
  geluNewGateUp,
  kernels,
  kronLinear,
  linear,
  loraLinear,
  portableLimits,
  reluGateUp,
  rmsNorm,
  ropeCache,
  rotateBlocks,
  rotatePairs,
  scaleOutputs,
  siluGateUp,
  sparseLinear,
  waveletLinear,
} from "../kernels/mod.ts";
import { bitsOf } from "../kernels/record.ts";
import { turns } from "../kernels/cases/turns.ts";
import { cpuDevice } from "../src/device/cpu.ts";
import type { Device } from "../src/device/device.ts";
import { joinNeighbours } from "../src/device/join.ts";
import { callOf, type Plan, type Step, step } from "../src/plan.ts";
import { tensor } from "../src/tensor.ts";
import { everyGpuCase, testDevices } from "./devices.ts";
import { distance, randomSource } from "./kernel_contract.ts";

const cpu = cpuDevice(), gpu = (await testDevices()).find(({ kind }) => kind === "webgpu")!;

const zeros = (...shape: number[]) => tensor(new Float32Array(shape.reduce((a, b) => a * b, 1)), shape);
const words = (count: number) => tensor(new Uint32Array(count));

/** A projection of `rows` rows with an adapter, onto a y of 32 columns. */
function projection(rows: number) {
  const x = zeros(rows, 16), y = zeros(rows, 32);
  const adapters = { slots: words(rows), records: words(4), tables: words(64), values: zeros(4) };
  const product = step(linear, { x, weight: zeros(32, 16), y }, { rows, in: 16, out: 32, accumulate: 1 });
  const sizes = { rows, in: 16, out0: 32, out1: 0, out2: 0, linear: 0, capacity: 1 };
  return { y, product, adapted: step(fourierLinears, { x, ...adapters, y }, sizes) };
}

const norm = (x: ReturnType<typeof zeros>, rows: number) =>
  step(rmsNorm, { x, weight: zeros(32), y: zeros(rows, 32) }, { rows, dim: 32, eps: 1e-5 });

/** Every launch of a plan: its step's name, and `of sums` where it reads a result in parts. */
function launches(plan: Plan): string[] {
  return joinNeighbours(plan, portableLimits).flatMap((joined) =>
    joined.kernel.launch(callOf(joined), portableLimits).dispatches.map(({ bindings }) => {
      const reads = bindings.some(({ name, access }) => name === "sums" && access === "read");
      return joined.kernel.name + (reads ? " of sums" : "");
    })
  );
}

const made = "linear + fourier_linears";

test("joinNeighbours makes a product and its adapters one launch, whose sum is taken by what reads the result", () => {
  const { y, product, adapted } = projection(1);
  const [kv, positions, index] = [zeros(4, 8), words(1), words(1)];
  const turned = step(
    ropeCache,
    { qkv: y, table: zeros(8, 8), positions, index, keys: kv, values: zeros(4, 8) },
    { rows: 1, heads: 2, kvHeads: 1, headDim: 8, rotaryDim: 8, cacheRows: 4 },
  );
  const packed = step(
    ropeCache.of(cacheFormats.int8),
    { qkv: y, table: zeros(8, 8), positions, index, keys: words(12), values: words(12) },
    { rows: 1, heads: 2, kvHeads: 1, headDim: 8, rotaryDim: 8, cacheRows: 4 },
  );
  const gated = step(siluGateUp, { gateUp: y, y: zeros(1, 16) }, { rows: 1, dim: 16 });
  assert.deepEqual(launches([product, adapted]), [made, `${made} of sums`]);
  assert.deepEqual(launches([product, adapted, norm(y, 1), product]), [made, "rms_norm of sums", "linear"]);
  assert.deepEqual(launches([product, adapted, turned]), [made, "rope_cache of sums"]);
  assert.deepEqual(launches([product, adapted, packed]), [made, "rope_cache_int8 of sums"]);
  assert.deepEqual(launches([product, adapted, gated]), [made, "silu_gate_up of sums"]);
  const twice = launches([product, adapted, product, adapted, norm(y, 1)]);
  assert.deepEqual(twice, [made, `${made} of sums`, made, "rms_norm of sums"]);
});

test("joinNeighbours leaves apart what works on other tensors, or gains nothing together", () => {
  const { y, product, adapted } = projection(1);
  const other = projection(1);
  assert.deepEqual(launches([product, other.adapted]), ["linear", "fourier_linears"]);
  assert.deepEqual(launches([adapted, product]), ["fourier_linears", "linear"]);
  assert.deepEqual(launches([product, adapted, norm(other.y, 1)]), [made, `${made} of sums`, "rms_norm"]);
  assert.deepEqual(launches([product, norm(y, 1)]), ["linear", "rms_norm"]);
  const nothing = projection(0);
  assert.deepEqual(launches([nothing.product, nothing.adapted]), ["linear", "fourier_linears"]);
  const many = projection(2);
  assert.deepEqual(launches([many.product, many.adapted]), ["linear", "fourier_linears"]);
});

test("a reader that does not read every element of the result once gets it stored", () => {
  const { y, product, adapted } = projection(1);
  const part = step(rmsNorm, { x: y, weight: zeros(16), y: zeros(1, 16) }, { rows: 1, dim: 16, eps: 1e-5 });
  assert.deepEqual(launches([product, adapted, part]), [made, `${made} of sums`, "rms_norm"]);
  const less = step(siluGateUp, { gateUp: y, y: zeros(1, 8) }, { rows: 1, dim: 8 });
  assert.deepEqual(launches([product, adapted, less]), [made, `${made} of sums`, "silu_gate_up"]);
});

/** A step that scales y (rows, 32) by factors of a bank. */
function scaling(y: ReturnType<typeof zeros>, bank: Parameters<typeof step>[1], factors: number) {
  const sizes = { rows: y.shape[0], in: 16, out0: 32, out1: 0, out2: 0, linear: 0, capacity: 1, factors };
  const { slots, records, values } = bank;
  return step(scaleOutputs, { slots, records, values, y }, sizes);
}

test("joinNeighbours takes steps that change a result element by element into the launch that reads the result", () => {
  const { y, product } = projection(1);
  const adapters = { slots: words(1), records: words(4), values: zeros(4) };
  const sizes = { rows: 1, in: 16, out0: 32, out1: 0, out2: 0, linear: 0, capacity: 1 };
  const lowRank = step(loraLinear, { x: product.buffers.x, ...adapters, y }, sizes);
  const made = "linear + lora_linear", other = zeros(1, 32);
  const scaled = scaling(y, adapters, 1), apart = scaling(y, { ...adapters, values: zeros(4) }, 1);
  const added = step(add, { x: y, y: other }, { count: 32 });
  assert.deepEqual(launches([product, lowRank, scaled, norm(y, 1)]), [made, "rms_norm"]);
  assert.deepEqual(launches([product, lowRank, scaled, added, norm(other, 1)]), [made, "rms_norm"]);
  assert.deepEqual(
    launches([product, lowRank, scaled, added]),
    Array(2).fill(`${made} + scale_outputs + add`),
  );
  // With a bank of its own the reader would bind nine buffers: the sum is stored before.
  assert.deepEqual(launches([product, lowRank, apart, added, norm(other, 1)]), [
    ...Array(2).fill(`${made} + scale_outputs + add`),
    "rms_norm",
  ]);
  assert.deepEqual(launches([product, lowRank, apart, apart]), [
    ...Array(2).fill(`${made} + scale_outputs`),
    "scale_outputs",
  ]);
});

test("joinNeighbours joins steps that change what a buffer holds, of any number of rows", () => {
  const { y, product } = projection(3);
  const adapters = { slots: words(3), records: words(4), values: zeros(4) };
  const scaled = scaling(y, adapters, 0), other = zeros(3, 32);
  const copied = step(copy, { x: other, y }, { count: 96 });
  assert.deepEqual(launches([product, scaled]), ["linear", "scale_outputs"]);
  assert.deepEqual(launches([product, scaled, norm(y, 3)]), ["linear", "rms_norm"]);
  assert.deepEqual(launches([copied, scaled, product]), ["copy + scale_outputs", "linear"]);
  // A reader that writes to what the copy reads could meet its own numbers.
  const back = step(rmsNorm, { x: y, weight: zeros(32), y: other }, { rows: 3, dim: 32, eps: 1e-5 });
  assert.deepEqual(launches([copied, back]), ["copy", "rms_norm"]);
});

/** A call of a kernel that reads a result. */
interface Reader {
  readonly kernel: Kernel;
  readonly words: Readonly<Record<string, number>>;
  /** Its other buffers. */
  readonly arrays: (random: () => number) => Readonly<Record<string, TypedArray>>;
  readonly dtypes?: Readonly<Record<string, DType>>;
  /** The numbers of what is written in words. */
  readonly numbers?: (words: TypedArray) => TypedArray;
}

/** Sizes of a product with FourierFT adapters, and what reads the result. */
interface Joined {
  readonly in: number;
  readonly outs: readonly number[];
  /** Coefficients of each adapter. */
  readonly adapters: readonly number[];
  readonly weight?: DType;
  readonly accumulate?: number;
  readonly reader?: Reader;
}

const normOf = (dim: number, weight: DType = "float32"): Reader => ({
  kernel: anyKernel(rmsNorm),
  words: { rows: 1, dim, eps: 1e-5 },
  arrays: (random) => ({ weight: narrow(normals(dim, random), weight), y: nans(dim) }),
  dtypes: { weight },
});

/** A packed cache. */
const kept = { cacheRows: 5, kvHeads: 2, headDim: 8 };

const cases: readonly Joined[] = [
  { in: 16, outs: [12], adapters: [0] },
  { in: 12, outs: [7, 16, 6], adapters: [30], accumulate: 1 },
  { in: 256, outs: [256, 64, 64], adapters: [3], weight: "float16" },
  { in: 256, outs: [768, 768], adapters: [200], weight: "bfloat16" },
  { in: 2048, outs: [260], adapters: [1000], weight: "float16", accumulate: 1 },
  { in: 24, outs: [256], adapters: [30], accumulate: 1, reader: normOf(256) },
  { in: 24, outs: [64], adapters: [30], reader: normOf(64, "bfloat16") },
  { in: 24, outs: [37], adapters: [9], reader: normOf(37, "float16") },
  ...[siluGateUp, geluGateUp, geluNewGateUp, reluGateUp].map((kernel) => ({
    ...{ in: 24, outs: [64, 64], adapters: [30] },
    reader: { kernel: anyKernel(kernel), words: { rows: 1, dim: 64 }, arrays: () => ({ y: nans(64) }) },
  })),
  {
    ...{ in: 24, outs: [32, 16, 16], adapters: [30] },
    reader: {
      kernel: anyKernel(ropeCache),
      words: { rows: 1, heads: 4, kvHeads: 2, headDim: 8, rotaryDim: 6, cacheRows: 5 },
      arrays: (random) => ({
        table: turns(9, 8),
        positions: Uint32Array.of(7),
        index: Uint32Array.of(4),
        keys: normals(80, random),
        values: normals(80, random),
      }),
    },
  },
  ...[cacheFormats.float16, cacheFormats.int8].map((format): Joined => ({
    ...{ in: 24, outs: [32, 16, 16], adapters: [30] },
    reader: {
      kernel: anyKernel(ropeCache.of(format)),
      words: { rows: 1, heads: 4, kvHeads: 2, headDim: 8, rotaryDim: 6, cacheRows: 5 },
      arrays: () => ({
        table: turns(9, 8),
        positions: Uint32Array.of(7),
        index: Uint32Array.of(4),
        keys: new Uint32Array(5 * format.rowElements(kept)),
        values: new Uint32Array(5 * format.rowElements(kept)),
      }),
      numbers: (words) => unpacked(format, words, kept),
    },
  })),
];

/** A case's plan on a device. */
function planOf(device: Device, { reader, ...size }: Joined): Step[] {
  const { in: inSize, outs, weight: dtype = "float32", accumulate = 0 } = size, random = randomSource(3);
  const out = outs.reduce((sum, one) => sum + one, 0), [out0, out1 = 0, out2 = 0] = outs;
  const upload = (data: TypedArray, dtype?: DType) => device.upload(tensor(data, [data.length], { dtype }));
  const { x, y, ...adapters } = Object.fromEntries(
    Object.entries(mixedArrays({ ...size, rows: 1 }, random)).map(([name, data]) => [name, upload(data)]),
  );
  const weight = upload(narrow(normals(out * inSize, random, 1 / Math.sqrt(inSize)), dtype), dtype);
  const { slots, records, tables, values } = adapters;
  const sizes = { rows: 1, in: inSize, out0, out1, out2, ...mixedBank({ ...size, rows: 1 }) };
  const plan = [
    step(linear, { x, weight, y }, { rows: 1, in: inSize, out, accumulate }),
    step(fourierLinears, { x, slots, records, tables, values, y }, sizes),
  ];
  if (!reader) return plan;
  const { kernel, words, arrays, dtypes } = reader;
  const own = Object.entries(arrays(random)).map(([name, data]) => [name, upload(data, dtypes?.[name])]);
  return [...plan, step(kernel, { [kernel.consume!.buffer]: y, ...Object.fromEntries(own) }, words)];
}

/** What a plan's last step, and the product before it, leave in the buffers that they write. */
async function results(device: Device, plan: readonly Step[]): Promise<[string, TypedArray][]> {
  const program = await device.prepare(plan);
  assert.equal(program.launches, device.kind === "cpu" ? plan.length : 2);
  device.run(program);
  const { kernel, buffers } = plan.at(-1)!;
  const written = Object.keys(kernel.buffers).filter((name) => kernel.buffers[name].access !== "read");
  const read: [string, TypedArray][] = [["the product's y", await device.read(plan[0].buffers.y)]];
  for (const name of written) read.push([`${kernel.name}'s ${name}`, await device.read(buffers[name])]);
  program.release();
  return read;
}

for (const testCase of everyGpuCase ? cases : cases.slice(-2)) {
  const { in: inSize, outs, weight = "float32", reader } = testCase;
  const name = `${inSize} to ${outs}, ${weight}${reader ? `, then ${reader.kernel.name}` : ""}`;
  test(`a GPU's two launches of a joined plan give the numbers of its kernels: ${name}`, async () => {
    const expected = await results(cpu, planOf(cpu, testCase));
    const found = await results(gpu, planOf(gpu, testCase));
    assert.deepEqual(found.map(([name]) => name), expected.map(([name]) => name));
    expected.forEach(([name, numbers], i) => {
      const read = numbers instanceof Uint32Array ? reader!.numbers! : (one: TypedArray) => one;
      const off = distance(read(found[i][1]), read(numbers));
      // Packed numbers that two devices round differently are off by a last place.
      assert.ok(off <= (numbers instanceof Uint32Array ? 1e-3 : 1e-5), `${name}: ${off}`);
    });
  });
}

/** Three rows, of which the second has no adapter, and a copy of x: what stands before a product, and after one. */
function changed(device: Device): Readonly<Record<string, readonly Step[]>> {
  const random = randomSource(4), upload = (data: TypedArray) => device.upload(tensor(data));
  const [x, y] = [0, 1].map(() => upload(normals(3 * 64, random)));
  const slots = upload(Uint32Array.of(1, 0xffffffff, 0)), values = upload(normals(3000, random));
  // Of slot 0 the second linear is not adapted.
  const records = upload(Uint32Array.of(0, 5, 8, bitsOf(2), 0, 40, 16, bitsOf(4), 0, 0, 0, 0, 0, 90, 3, 0));
  const bank = { slots, records, values }, capacity = 2;
  const sizes = { rows: 3, in: 64, linear: 0, capacity };
  const copied = step(copy, { x, y }, { count: 192 });
  const scaled = step(scaleOutputs, { ...bank, y }, { ...sizes, out0: 32, out1: 32, out2: 0, factors: 1 });
  const rotated = step(rotateBlocks, { ...bank, x: y }, { ...sizes, skipped: 7 });
  const gated = step(siluGateUp, { gateUp: y, y: upload(nans(96)) }, { rows: 3, dim: 32 });
  const weight = upload(normals(64, random));
  const normed = step(rmsNorm, { x: y, weight, y: upload(nans(192)) }, { rows: 3, dim: 64, eps: 1e-5 });
  return {
    "copy and rotate_blocks": [copied, rotated],
    "copy and scale_outputs": [copied, scaled],
    "scale_outputs and silu_gate_up": [scaled, gated],
    "scale_outputs, add and rms_norm": [scaled, step(add, { x: y, y: x }, { count: 192 }), {
      ...normed,
      buffers: { ...normed.buffers, x },
    }],
  };
}

for (const name of Object.keys(changed(cpu))) {
  test(`one launch gives the numbers of ${name}`, async () => {
    const [expected, found] = await Promise.all([cpu, gpu].map(async (device) => {
      const plan = changed(device)[name], program = await device.prepare(plan);
      if (device !== cpu) assert.equal(program.launches, 1);
      device.run(program);
      const read: TypedArray[] = [];
      for (const { buffers } of plan) for (const t of Object.values(buffers)) read.push(await device.read(t));
      program.release();
      return read;
    }));
    found.forEach((numbers, i) => assert.ok(distance(numbers, expected[i]) <= 1e-6));
  });
}

test("every kernel that offers to be joined is joined in a case, by names that its kernel has", () => {
  const offering = (offer: "produce" | "consume") => kernels.filter((kernel) => kernel[offer]);
  const changing = Object.values(changed(cpu)).flatMap((plan) => plan.map(({ kernel }) => kernel));
  const readers = new Set([...changing, ...cases.flatMap(({ reader }) => reader ? [reader.kernel] : [])]);
  assert.deepEqual(kernels.filter((kernel) => kernel.relay && !readers.has(kernel)), []);
  assert.deepEqual(offering("consume").filter((kernel) => !readers.has(kernel)), []);
  // Those after the first two have their cases in besides_join_test.ts.
  const produced = [
    ...[fourierLinears, circulantLinear, waveletLinear, sparseLinear, kronLinear].map((kernel) =>
      anyKernel(kernel)
    ),
    ...[anyKernel(loraLinear), anyKernel(rotatePairs)],
  ];
  assert.deepEqual(new Set(offering("produce")), new Set(produced));
  for (const { name, buffers, produce } of offering("produce")) {
    const before = kernels.find((kernel) => kernel.name === produce!.after)!;
    for (const [a, b] of produce!.same) assert.ok(before.buffers[a] && buffers[b], `${name}: ${a} and ${b}`);
    for (const taken of produce!.takes) {
      assert.ok(before.buffers[taken] && !buffers[taken], `${name}: ${taken}`);
    }
    assert.ok(buffers[produce!.result], `${name}: ${produce!.result}`);
  }
  for (const { name, buffers, relay } of kernels.filter((kernel) => kernel.relay)) {
    assert.ok(buffers[relay!.from] && buffers[relay!.to], name);
  }
  for (const { name, buffers, consume } of offering("consume")) assert.ok(buffers[consume!.buffer], name);
});
