/**
 * Products with x rounded to 8 bits, which a CPU device makes where it is asked to.
 *
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { weightCases } from "../kernels/cases/mod.ts";
import { blocksOf } from "../kernels/formats/q32/blocks.ts";
import { q4_32, q8_32 } from "../kernels/formats/mod.ts";
import { linear, linearBias } from "../kernels/mod.ts";
import { relaxedWasmBytes, wasmBytes } from "../kernels/wasm_bytes.ts";
import { perplexity } from "../src/perplexity.ts";
import { cpuDevice } from "../src/device/cpu.ts";
import { type Device, DeviceError } from "../src/device/device.ts";
import { importingShared } from "../src/device/shared_memory.ts";
import { threadedCpuDevice } from "../src/device/threaded_cpu.ts";
import { Wasm } from "../src/device/wasm.ts";
import { hasRelaxedSimd } from "../src/device/wasm_module.ts";
import { openFolder } from "../src/runtime/mod.ts";
import { openCpuDevice, startCpuThreads } from "../src/runtime/open_cpu.ts";
import { tensor, type TypedArray } from "../src/tensor.ts";
import { checkCase, randomSource } from "./kernel_contract.ts";

const ifRelaxed = { skip: hasRelaxedSimd() ? false : "the runtime has no relaxed SIMD" };

/** A product whose x has 8 bits by itself: whole numbers, and 127 in each block. */
interface Product {
  readonly rows: number;
  readonly in: number;
  readonly out: number;
  readonly accumulate: number;
  readonly seed: number;
}

const products = fc.record({
  rows: fc.integer({ min: 1, max: 10 }),
  in: fc.integer({ min: 1, max: 140 }),
  out: fc.integer({ min: 1, max: 21 }),
  accumulate: fc.nat(1),
  seed: fc.nat(),
});

type Bits = 8 | 4;

/** Numbers from 0 to below a count, the first and the last one most often. */
function extremes(random: () => number, count: number): number {
  const most = count - 1;
  return Math.max(0, Math.min(most, Math.floor((random() * 1.6 - 0.3) * count)));
}

/** Arrays of a product: its weight has all numbers that its bits can say, and scales that are powers of two. */
function arraysOf({ rows, in: inSize, out, seed }: Product, bits: Bits) {
  const random = randomSource(seed), blocks = blocksOf(inSize);
  const x = Float32Array.from(
    { length: rows * inSize },
    (_, i) => i % inSize % 32 === 0 ? 127 : extremes(random, 255) - 127,
  );
  const words = new Uint32Array(out * blocks * bits);
  const bytes = new Uint8Array(words.buffer);
  for (let i = 0; i < bytes.length; i++) {
    bytes[i] = bits === 8 ? extremes(random, 256) - 128 : extremes(random, 16) << 4 | extremes(random, 16);
  }
  const scales = Float32Array.from({ length: out * blocks }, () => 2 ** -Math.floor(random() * 4));
  const y = Float32Array.from({ length: rows * out }, () => Math.floor(random() * 9));
  return { x, words, scales, y };
}

const formatOf = { 8: q8_32, 4: q4_32 } as const;

async function productOn(device: Device, product: Product, bits: Bits): Promise<TypedArray> {
  const { rows, in: inSize, out, accumulate } = product;
  const buffers = Object.fromEntries(
    Object.entries(arraysOf(product, bits)).map(([name, data]) => [name, device.upload(tensor(data))]),
  );
  const uniforms = { rows, in: inSize, out, accumulate };
  const program = await device.prepare([{ kernel: linear.of(formatOf[bits]), buffers, uniforms }]);
  const y = await device.runAndRead(program, buffers.y);
  program.release();
  for (const t of Object.values(buffers)) device.release(t);
  return y;
}

function expected(product: Product, bits: Bits): Float32Array {
  const arrays = arraysOf(product, bits), { rows, in: inSize, out, accumulate } = product;
  linear.of(formatOf[bits]).reference(arrays, { rows, in: inSize, out, accumulate });
  return arrays.y;
}

test("products with x of 8 bits are within what rounding costs, in every case", ifRelaxed, async () => {
  const device = cpuDevice({ products: "int8" });
  let count = 0;
  for (const format of [q8_32, q4_32]) {
    for (const { kernel, cases } of weightCases(format)) {
      if (kernel !== linear.of(format) && kernel !== linearBias.of(format)) continue;
      for (const testCase of cases) {
        await checkCase(device, { kernel, testCase, seed: 3 });
        count++;
      }
    }
  }
  assert.ok(count > 20, "no cases were found");
});

/** Whether weights of 8 bits have such products here, too. */
const takesBytes = hasRelaxedSimd() && !/of 4-bit/.test(cpuDevice({ products: "int8" }).description);

for (
  const [bits, skip] of [[8, takesBytes ? false : "the runtime takes 7 bits"], [4, ifRelaxed.skip]] as const
) {
  test(`x that has 8 bits is multiplied exactly by any weight of ${bits} bits`, { skip }, async () => {
    const device = cpuDevice({ products: "int8" });
    await fc.assert(fc.asyncProperty(products, async (product) => {
      assert.deepEqual([...await productOn(device, product, bits)], [...expected(product, bits)]);
    }));
  });
}

test(
  "a row's product with x of 8 bits does not depend on its company, nor on threads",
  ifRelaxed,
  async () => {
    const one = cpuDevice({ products: "int8" });
    const module = new WebAssembly.Module(importingShared(relaxedWasmBytes()));
    const team = await threadedCpuDevice(module, startCpuThreads, {
      threads: 3,
      workOfChunk: 1,
      products: "int8",
    });
    const random = randomSource(5), rows = 9, inSize = 100, out = 23;
    const x = Float32Array.from({ length: rows * inSize }, () => random() - 0.5);
    for (const bits of [8, 4] as const) {
      const format = formatOf[bits], shape = { out, in: inSize };
      const weight = format.pack(Float32Array.from({ length: out * inSize }, () => random() - 0.5), shape);
      const of = async (device: Device, x: Float32Array) => {
        const rows = x.length / inSize;
        const buffers = {
          x: device.upload(tensor(x)),
          words: device.upload(tensor(weight.words)),
          scales: device.upload(tensor(weight.scales, [weight.scales.length], { dtype: "bfloat16" })),
          y: device.alloc([rows * out], "float32"),
        };
        const uniforms = { rows, in: inSize, out, accumulate: 0 };
        const program = await device.prepare([{ kernel: linear.of(format), buffers, uniforms }]);
        return [...await device.runAndRead(program, buffers.y)];
      };
      const together = await of(one, x);
      for (let r = 0; r < rows; r++) {
        const alone = await of(one, x.slice(r * inSize, (r + 1) * inSize));
        assert.deepEqual(alone, together.slice(r * out, (r + 1) * out), `row ${r}, ${bits} bits`);
      }
      assert.deepEqual(await of(team, x), together, `3 threads, ${bits} bits`);
    }
    team.destroy();
  },
);

test("numbers of 8 bits without sign are the same to runtimes that take bytes with one", ifRelaxed, () => {
  const wasm = new Wasm(new WebAssembly.Module(relaxedWasmBytes()));
  const rows = 5, inSize = 96, out = 11, uniforms = { rows, in: inSize, out, accumulate: 0 };
  for (const held of [1, rows]) {
    const product = { ...uniforms, rows: held, seed: 11 }, arrays = arraysOf(product, 8);
    arrays.words.forEach((word, i) => arrays.words[i] = word & 0x7f7f7f7f);
    const buffers = Object.fromEntries(
      Object.entries(arrays).map(([name, data]) => {
        const made = wasm.alloc([data.length], data instanceof Uint32Array ? "uint32" : "float32")!;
        made.data.set(data);
        return [name, made];
      }),
    );
    const dtypes = { x: "float32", words: "uint32", scales: "float32", y: "float32" } as const;
    const call = linear.of(q8_32).wasm!({ ...uniforms, rows: held }, dtypes, { offset: 0 })!;
    wasm.prepare(call, buffers)!.run();
    linear.of(q8_32).reference(arrays, { ...uniforms, rows: held });
    assert.deepEqual([...buffers.y.data], [...arrays.y]);
  }
});

test(
  "the demo model quantised is off by less than three percent of perplexity with x of 8 bits",
  ifRelaxed,
  async () => {
    const folder = await openFolder("examples/demo/base");
    const content = "The mill turns the wheel, and the wheel turns the mill.";
    for (const quantize of ["int8", "int4"] as const) {
      const costs = await Promise.all([undefined, "int8" as const].map(async (products) => {
        const options = { folder, quantize, data: { content }, contextLength: 16 };
        return (await perplexity(cpuDevice({ products }), options)).perplexity;
      }));
      if (quantize === "int4" || takesBytes) {
        assert.notEqual(
          costs[0],
          costs[1],
          "x was not rounded to 8 bits",
        );
      }
      assert.ok(Math.abs(costs[1] / costs[0] - 1) < 0.03, `${costs}`);
    }
  },
);

test("a device says that it makes 8-bit products, in threads of its own too", ifRelaxed, async () => {
  const said = /^CPU \(WASM relaxed SIMD, 8-bit products( of 4-bit weights)?, /;
  assert.match(cpuDevice({ products: "int8" }).description, said);
  const device = await openCpuDevice({ products: "int8", threads: 1 });
  assert.match(device.description, said);
  device.destroy();
});

test("8-bit products are refused where there is no relaxed SIMD, and other products always", async () => {
  const refused = (error: unknown): boolean => {
    assert.ok(error instanceof DeviceError);
    assert.match(error.message, /^Cannot open the CPU device with "products" = "int8": .*relaxed SIMD\./);
    return true;
  };
  const plain = new WebAssembly.Module(wasmBytes());
  assert.throws(() => cpuDevice({ products: "int8", wasm: plain }), refused);
  assert.throws(() => cpuDevice({ products: "int8", wasm: false }), refused);
  const shared = new WebAssembly.Module(importingShared(wasmBytes()));
  for (const threads of [1, 2]) {
    await assert.rejects(openCpuDevice({ products: "int8", wasm: shared, threads }), refused);
  }
  await assert.rejects(openCpuDevice({ products: "int8", wasm: false }), refused);
  const unknown = { name: "RangeError", message: 'Cannot use "products" = "int4": it must be "int8"' };
  assert.throws(() => cpuDevice({ products: "int4" as "int8" }), unknown);
  await assert.rejects(openCpuDevice({ products: "int4" as "int8", threads: 2 }), unknown);
});
