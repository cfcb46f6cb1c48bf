/**
 * The CPU device's WASM: the committed bytes, its memory, and what it does where there is none.
 *
 * @module
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { casesOf } from "../kernels/cases/mod.ts";
import type { WeightFormat, WeightShape } from "../kernels/formats/format.ts";
import { formats } from "../kernels/formats/mod.ts";
import { mixedArrays, mixedBank } from "../kernels/cases/fourier_adapters.ts";
import {
  add,
  anyKernel,
  attention,
  fourierLinear,
  fourierLinears,
  kernels,
  linear,
  loraLinear,
} from "../kernels/mod.ts";
import { relaxedWasmBytes, wasmBytes } from "../kernels/wasm_bytes.ts";
import { cpuDevice } from "../src/device/cpu.ts";
import type { Device } from "../src/device/device.ts";
import { WasmHeap } from "../src/device/wasm_heap.ts";
import { hasRelaxedSimd, ownWasmBytes } from "../src/device/wasm_module.ts";
import { step } from "../src/plan.ts";
import { type HostTensor, slice, type Tensor, tensor, type TypedArray } from "../src/tensor.ts";
import { root } from "./architecture.ts";
import { distance, randomSource, wasmOf } from "./kernel_contract.ts";
import { bytesModule, compile } from "./wasm/build.ts";

/** The arrays of a CPU device's tensors. */
const dataOf = (t: Tensor): Float32Array => (t as HostTensor).data as Float32Array;

// The build is Deno's.
const builds = { skip: "Bun" in globalThis };

test("kernels/wasm_bytes.ts is what `deno task build:wasm` makes of kernels/assembly/", builds, async () => {
  const committed = readFileSync(join(root, "kernels/wasm_bytes.ts"), "utf8");
  assert.equal(committed, bytesModule(await compile()), "run `deno task build:wasm`");
});

for (const [name, bytes] of Object.entries({ wasmBytes, relaxedWasmBytes })) {
  test(`${name} exports every function that a kernel's wasm names, and those alone`, () => {
    const named = new Set(
      kernels.flatMap((kernel) =>
        casesOf(kernel).cases.flatMap((testCase) => {
          const calls = [wasmOf(kernel, testCase), wasmOf(kernel, testCase, {})];
          return calls.flatMap((call) =>
            call ? [...call.before ?? [], call].map((step) => step.function) : []
          );
        })
      ),
    );
    const exported = WebAssembly.Module.exports(new WebAssembly.Module(bytes()))
      .filter(({ kind }) => kind === "function").map(({ name }) => name);
    assert.deepEqual(exported.sort(), [...named].sort());
  });
}

test("the modules have no data of their own: it would lie where tensors do", () => {
  for (const bytes of [wasmBytes(), relaxedWasmBytes()]) {
    const ids: number[] = [];
    for (let at = 8; at < bytes.length;) {
      ids.push(bytes[at++]);
      let size = 0;
      for (let factor = 1;; factor *= 128) {
        size += factor * (bytes[at] % 128);
        if (bytes[at++] < 128) break;
      }
      at += size;
    }
    assert.ok(ids.includes(10), "no code section was found");
    assert.ok(!ids.includes(11), "there is a data section");
  }
});

test("hasRelaxedSimd says what the runtime takes: cpuDevice then has that module", () => {
  assert.equal(WebAssembly.validate(relaxedWasmBytes()), hasRelaxedSimd());
  const { description } = cpuDevice();
  assert.equal(description, `CPU (WASM ${hasRelaxedSimd() ? "relaxed " : ""}SIMD, one thread)`);
});

test("cpuDevice takes the plain module where the runtime has no relaxed SIMD", () => {
  const { validate } = WebAssembly;
  Object.defineProperty(WebAssembly, "validate", { value: () => false, configurable: true, writable: true });
  try {
    assert.deepEqual(ownWasmBytes(), wasmBytes());
  } finally {
    Object.defineProperty(WebAssembly, "validate", { value: validate, configurable: true, writable: true });
  }
});

test("cpuDevice says how it computes, and takes a module compiled beforehand", async () => {
  const module = new WebAssembly.Module(wasmBytes());
  assert.match(cpuDevice().description, /WASM/);
  assert.match(cpuDevice({ wasm: module }).description, /WASM/);
  assert.match(cpuDevice({ wasm: false }).description, /TypeScript/);
  const device = cpuDevice({ wasm: module });
  const x = device.upload(tensor(Float32Array.of(1, 2, 3)));
  const program = await device.prepare([step(add, { x, y: x }, { count: 3 })]);
  device.run(program);
  assert.deepEqual(await device.read(x), Float32Array.of(2, 4, 6));
});

test("cpuDevice refuses a module that lacks a kernel's function, by its name", () => {
  // The smallest module: a magic number and a version.
  const empty = new WebAssembly.Module(Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0));
  const device = cpuDevice({ wasm: empty });
  const x = device.alloc([4], "float32");
  assert.throws(() => device.prepare([step(add, { x, y: x }, { count: 4 })]), /Cannot run "add": the WASM/);
});

test("cpuDevice keeps to TypeScript where the runtime refuses WASM, but not with a module of the caller's", () => {
  const { Instance } = WebAssembly;
  const module = new WebAssembly.Module(wasmBytes());
  const refuse = function (): never {
    throw new WebAssembly.LinkError("not here");
  };
  Object.defineProperty(WebAssembly, "Instance", { value: refuse, configurable: true, writable: true });
  try {
    assert.match(cpuDevice().description, /TypeScript/);
    assert.throws(() => cpuDevice({ wasm: module }), /not here/);
  } finally {
    Object.defineProperty(WebAssembly, "Instance", { value: Instance, configurable: true, writable: true });
  }
});

test("cpuDevice: tensors, slices and programs live through a growth of the memory", async () => {
  const device = cpuDevice();
  const x = device.upload(tensor(Float32Array.of(1, 2, 3, 4)));
  const y = device.upload(tensor(Float32Array.of(10, 20, 30, 40)));
  const half = slice(y, 2, 2);
  const program = await device.prepare([step(add, { x, y }, { count: 4 })]);
  const before = dataOf(y);
  const large = device.alloc([2 ** 22], "float32");
  assert.equal(before.length, 0, "the memory did not grow: this test shows nothing");
  device.run(program);
  assert.deepEqual([...dataOf(y)], [11, 22, 33, 44]);
  assert.deepEqual([...dataOf(half)], [33, 44]);
  assert.ok(dataOf(large).every((value) => value === 0));
  device.write(half, Float32Array.of(7), 1);
  assert.deepEqual(await device.read(y, { at: 2, count: 2 }), Float32Array.of(33, 7));
});

test("cpuDevice: a step whose tensors lie outside the memory runs in TypeScript", async () => {
  const device = cpuDevice();
  const outside = tensor(Float32Array.of(1, 2, 3));
  const inside = device.upload(outside);
  device.run(await device.prepare([step(add, { x: inside, y: outside }, { count: 3 })]));
  assert.deepEqual([...outside.data], [2, 4, 6]);
});

test("cpuDevice: a released tensor's room is used again, zeroed, and releasing it twice frees nothing else", () => {
  const device = cpuDevice();
  const first = device.upload(tensor(new Float32Array(1000).fill(5)));
  const at = dataOf(first).byteOffset;
  device.release(first);
  const second = device.alloc([1000], "float32");
  assert.equal(dataOf(second).byteOffset, at);
  assert.ok(dataOf(second).every((value) => value === 0));
  device.release(first);
  const third = device.alloc([1000], "float32");
  assert.notEqual(dataOf(third).byteOffset, at);
});

test("cpuDevice: programs share their scratch, since one runs at a time", async () => {
  const device = cpuDevice();
  const { uniforms, make } = casesOf(anyKernel(fourierLinear)).cases.find(({ name }) =>
    name === "mixed rows 256 x 768"
  )!;
  const buffers = Object.fromEntries(
    Object.entries(make(Math.random)).map(([name, data]) => [name, device.upload(tensor(data))]),
  );
  const plan = [{ kernel: anyKernel(fourierLinear), buffers, uniforms }];
  const programs = [await device.prepare(plan)];
  const places = [];
  for (let i = 0; i < 3; i++) {
    programs.push(await device.prepare(plan));
    const next = device.alloc([1], "float32");
    places.push(dataOf(next).byteOffset);
    device.release(next);
  }
  assert.equal(new Set(places).size, 1);
});

/** A weight on a device, with scales of float32 where there are any. */
function uploaded(device: Device, format: WeightFormat, values: Float32Array, shape: WeightShape) {
  const types = Object.fromEntries(Object.keys(format.buffers).map((name) => [name, "float32" as const]));
  const packed = format.pack(values, shape, { ...types, words: "uint32" });
  const tensors = Object.entries(packed).map(([name, data]) => [name, device.upload(tensor(data))] as const);
  return { packed, tensors: Object.fromEntries(tensors) };
}

for (const [simd, bytes] of Object.entries({ plain: wasmBytes, relaxed: relaxedWasmBytes })) {
  const skip = simd === "relaxed" && !hasRelaxedSimd() ? "no relaxed SIMD" : false;

  test(
    `fourier_linears: four rows of one adapter have the bits of each alone, ${simd}`,
    { skip },
    async () => {
      const device = cpuDevice({ wasm: new WebAssembly.Module(bytes()) }),
        slots = [0, 0, 0, 0, 0, 1, 1, 1, 1, 0, 1];
      const rows = slots.length, size = { rows, in: 352, outs: [256, 96] as const, adapters: [50, 20] };
      const arrays = { ...mixedArrays(size, randomSource(4)), slots: Uint32Array.from(slots) };
      const words = { in: 352, out0: 256, out1: 96, out2: 0, ...mixedBank(size) };
      const run = async (own: typeof arrays, rows: number): Promise<Float32Array> => {
        const buffers = Object.fromEntries(
          Object.entries(own).map(([name, data]) => [name, device.upload(tensor(data))]),
        );
        device.run(
          await device.prepare([{
            kernel: anyKernel(fourierLinears),
            buffers,
            uniforms: { ...words, rows },
          }]),
        );
        return await device.read(buffers.y) as Float32Array;
      };
      const all = await run(arrays, rows), y = arrays.y.slice();
      fourierLinears.reference({ ...arrays, y }, { ...words, rows });
      assert.ok(distance(all, y) < 1e-6);
      for (let r = 0; r < rows; r++) {
        const part = (data: TypedArray, width: number) => data.slice(r * width, (r + 1) * width);
        const own = {
          ...arrays,
          x: part(arrays.x, 352),
          slots: part(arrays.slots, 1),
          y: part(arrays.y, 352),
        } as typeof arrays;
        assert.deepEqual(await run(own, 1), part(all, 352), `row ${r}`);
      }
    },
  );

  test(`lora_linear: rows have the bits of each alone, ${simd}`, { skip }, async () => {
    const device = cpuDevice({ wasm: new WebAssembly.Module(bytes()) });
    const { cases } = casesOf(anyKernel(loraLinear));
    const { uniforms, make } = cases.find(({ name }) => name.includes("130 to 70,65"))!;
    const arrays = make(randomSource(8)), width = 135;
    const run = async (begin: number, rows: number): Promise<Float32Array> => {
      const part = (data: TypedArray, width: number) => data.slice(begin * width, (begin + rows) * width);
      const own = { x: part(arrays.x, 130), slots: part(arrays.slots, 1), y: part(arrays.y, width) };
      const buffers = Object.fromEntries(
        Object.entries({ ...arrays, ...own }).map(([name, data]) => [name, device.upload(tensor(data))]),
      );
      device.run(
        await device.prepare([{ kernel: anyKernel(loraLinear), buffers, uniforms: { ...uniforms, rows } }]),
      );
      return await device.read(buffers.y) as Float32Array;
    };
    const rows = arrays.slots.length, all = await run(0, rows);
    for (let r = 0; r < rows; r++) {
      assert.deepEqual(await run(r, 1), all.subarray(r * width, (r + 1) * width), `row ${r}`);
    }
  });

  for (const more of [{}, { headDim: 20 }, { window: 9 }, { softcap: 3 }]) {
    const name = Object.entries(more).map((field) => `, ${field.join(" ")}`).join("");
    test(`attention: rows have the bits of each alone${name}, ${simd}`, { skip }, async () => {
      const device = cpuDevice({ wasm: new WebAssembly.Module(bytes()) }), random = randomSource(6);
      const words = { heads: 4, kvHeads: 2, headDim: 32, window: 0, softcap: 0, scale: 0.3, ...more };
      const width = words.heads * words.headDim, cacheRows = 64, lanes = words.kvHeads * words.headDim;
      const numbers = (count: number) => Float32Array.from({ length: count }, () => 4 * random() - 2);
      // Two sequences that share blocks: eight rows of a prompt, three rows of another, and a row each.
      const first = Uint32Array.from([0, 0, 0, 0, 0, 0, 0, 0, 5, 5, 5, 0, 5]);
      const lastKey = Uint32Array.from([5, 6, 7, 8, 9, 10, 11, 12, 0, 1, 2, 30, 17]), rows = first.length;
      const q = numbers(rows * width);
      const same = {
        keys: device.upload(tensor(numbers(cacheRows * lanes))),
        values: device.upload(tensor(numbers(cacheRows * lanes))),
        blockTable: device.upload(tensor(Uint32Array.from([3, 0, 1, 7, 2, 6, 5, 4, 0, 1]))),
      };
      const run = async (begin: number, rows: number): Promise<Float32Array> => {
        const part = <A extends TypedArray>(data: A, width: number) =>
          device.upload(tensor(data.slice(begin * width, (begin + rows) * width) as A));
        const y = device.alloc([rows, width], "float32");
        const buffers = { ...same, q: part(q, width), first: part(first, 1), lastKey: part(lastKey, 1), y };
        const sizes = { rows, qStride: width, cacheRows, blockSize: 8, tableSize: 10 };
        device.run(
          await device.prepare([{ kernel: anyKernel(attention), buffers, uniforms: { ...words, ...sizes } }]),
        );
        return await device.read(y) as Float32Array;
      };
      const all = await run(0, rows);
      for (let r = 0; r < rows; r++) {
        assert.deepEqual(await run(r, 1), all.subarray(r * width, (r + 1) * width), `row ${r}`);
      }
    });
  }

  for (const format of formats) {
    test(
      `a row's product by ${format.name} has equal bits among any number of rows, ${simd}`,
      { skip },
      async () => {
        const device = cpuDevice({ wasm: new WebAssembly.Module(bytes()) });
        const shape = { in: 83, out: 53 }, most = 28, random = randomSource(3);
        const values = Float32Array.from({ length: shape.in * shape.out }, () => random() - 0.5);
        const { tensors: weight } = uploaded(device, format, values, shape);
        const x = device.upload(tensor(Float32Array.from({ length: most * shape.in }, () => random() - 0.5)));
        const of = async (rows: number): Promise<Float32Array> => {
          const y = device.alloc([rows, shape.out], "float32");
          const uniforms = { rows, ...shape, accumulate: 0 };
          device.run(
            await device.prepare([{ kernel: linear.of(format), buffers: { x, ...weight, y }, uniforms }]),
          );
          return await device.read(y) as Float32Array;
        };
        const all = await of(most);
        for (const rows of [1, 2, 3, 4, 5, 7, 13, 25, 27]) {
          assert.deepEqual(await of(rows), all.subarray(0, rows * shape.out), `${rows} rows`);
        }
      },
    );

    test(
      `a product by ${format.name} of the largest numbers that blocks can have overflows nowhere, ${simd}`,
      { skip },
      async () => {
        const device = cpuDevice({ wasm: new WebAssembly.Module(bytes()) });
        const shape = { in: 256, out: 9 };
        for (const sign of [1, -1]) {
          const values = new Float32Array(shape.in * shape.out).fill(sign);
          const { packed, tensors: weight } = uploaded(device, format, values, shape);
          const numbers = format.rows(packed, shape).subarray(0, shape.in);
          const expected = 3 * numbers.reduce((sum, value) => sum + value);
          for (const rows of [1, 4]) {
            const x = device.upload(tensor(new Float32Array(rows * shape.in).fill(3)));
            const y = device.alloc([rows, shape.out], "float32"),
              uniforms = { rows, ...shape, accumulate: 0 };
            device.run(
              await device.prepare([{ kernel: linear.of(format), buffers: { x, ...weight, y }, uniforms }]),
            );
            for (const value of await device.read(y)) {
              assert.ok(Math.abs(value / expected - 1) < 1e-4, `${rows} rows: ${value} is not ${expected}`);
            }
          }
        }
      },
    );
  }
}

test("WasmHeap never gives two owners one byte, joins what is freed, and says when the memory ends", () => {
  const operations = fc.array(
    fc.oneof(
      { weight: 3, arbitrary: fc.record({ alloc: fc.integer({ min: 0, max: 5000 }) }) },
      { weight: 2, arbitrary: fc.record({ free: fc.nat() }) },
    ),
    { maxLength: 80 },
  );
  fc.assert(
    fc.property(operations, (list) => {
      const memory = new WebAssembly.Memory({ initial: 1, maximum: 4 });
      const heap = new WasmHeap(memory);
      const live: { at: number; bytes: number }[] = [];
      for (const operation of list) {
        if ("alloc" in operation) {
          const at = heap.alloc(operation.alloc);
          if (at === undefined) continue;
          const bytes = new Uint8Array(memory.buffer, at, operation.alloc);
          assert.ok(at > 0 && at % 64 === 0 && bytes.every((byte) => byte === 0));
          bytes.fill(1);
          for (const other of live) {
            assert.ok(at + operation.alloc <= other.at || other.at + other.bytes <= at);
          }
          live.push({ at, bytes: operation.alloc });
        } else if (live.length > 0) {
          heap.free(live.splice(operation.free % live.length, 1)[0].at);
        }
      }
      for (const { at } of live) heap.free(at);
      const most = memory.buffer.byteLength - 128;
      assert.notEqual(heap.alloc(Math.min(most, 65536 - 64)), undefined);
      assert.equal(heap.alloc(4 * 65536), undefined);
    }),
    { numRuns: 50 },
  );
});
