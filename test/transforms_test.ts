/**
 * The algebra of block-circulant matrices and of wavelets, by the kernels of C3A and WaveFT.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { circulantSpectra, circulantTable } from "../kernels/circulant/blocks.ts";
import { circulantLinear } from "../kernels/circulant_linear.ts";
import { circulantSpectraOf } from "../kernels/circulant_spectra.ts";
import { inOrder } from "../kernels/fourier_table.ts";
import { normals } from "../kernels/kernel.ts";
import { bitsOf } from "../kernels/record.ts";
import { elementWavelet, type Wavelet, waveletNames, waveletOf } from "../kernels/wavelet/filters.ts";
import { coefficientsOf, waveletPlaces, waveletTable } from "../kernels/wavelet/table.ts";
import { waveletLinear } from "../kernels/wavelet_linear.ts";
import type { LinearShape } from "../src/adapters/method.ts";
import type { Device } from "../src/device/device.ts";
import { type Step, step } from "../src/plan.ts";
import { circulantDelta, spectra, waveletDelta } from "../src/testing/mod.ts";
import { type Tensor, tensor } from "../src/tensor.ts";
import { devicesForLongTests } from "./devices.ts";
import { distance, randomSource } from "./kernel_contract.ts";

async function ran(device: Device, steps: readonly Step[], y: Tensor): Promise<Float32Array> {
  const program = await device.prepare(steps);
  device.run(program);
  const result = await device.read(y) as Float32Array;
  program.release();
  return result;
}

/** Tables and numbers of one adapter, as a bank of one slot has them. */
interface Adapter {
  readonly tables: Uint32Array;
  readonly values: Tensor;
  readonly count: number;
  readonly scale: number;
}

/** y (rows, out) = x dW^T of one adapter. */
async function product(
  device: Device,
  kernel: typeof circulantLinear | typeof waveletLinear,
  { tables, values, count, scale }: Adapter,
  { x, out, in: inSize }: LinearShape & { readonly x: Float32Array },
): Promise<Float32Array> {
  const rows = x.length / inSize, y = device.alloc([rows, out], "float32");
  const buffers = {
    x: device.upload(tensor(x, [rows, inSize])),
    slots: device.upload(tensor(new Uint32Array(rows))),
    records: device.upload(tensor(Uint32Array.of(0, 0, count, bitsOf(scale)))),
    tables: device.upload(tensor(tables)),
    values,
    y,
  };
  const words = { rows, in: inSize, out0: out, out1: 0, out2: 0, linear: 0, capacity: 1 };
  return await ran(device, [step(kernel, buffers, words)], y);
}

/** x dW^T in float64. */
function dense(delta: Float64Array, { x, out, in: inSize }: LinearShape & { readonly x: Float32Array }) {
  return Float64Array.from({ length: x.length / inSize * out }, (_, at) => {
    const row = Math.floor(at / out), p = at % out;
    let sum = 0;
    for (let q = 0; q < inSize; q++) sum += x[row * inSize + q] * delta[p * inSize + q];
    return sum;
  });
}

const seeds = fc.integer({ min: 0, max: 2 ** 32 - 1 });
/** Matrices of a few blocks, of short and of long ones. */
const matrices = fc.record({
  block: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.constantFrom(64, 90, 127, 128, 1026)),
  down: fc.integer({ min: 1, max: 4 }),
  across: fc.integer({ min: 1, max: 4 }),
  seed: seeds,
}).map(({ block, down, across, seed }) => {
  const [rows, columns] = block > 200 ? [1, 1] : [down, across];
  const random = randomSource(seed), shape = { out: rows * block, in: columns * block };
  return {
    ...shape,
    block,
    kernels: normals(rows * columns * block, random),
    x: normals(2 * shape.in, random),
  };
});
type Matrix = typeof matrices extends fc.Arbitrary<infer T> ? T : never;

/** C x of blocks whose spectra a kernel made, on the device. */
async function circulant(
  device: Device,
  { kernels, ...matrix }: Matrix,
  transposed = 0,
): Promise<Float32Array> {
  const { out, in: inSize, block } = matrix, tables = circulantTable(block);
  const made = circulantSpectra(kernels, matrix);
  const spectra = device.alloc([made.length], "float32");
  const buffers = { kernels: device.upload(tensor(kernels)), tables: device.upload(tensor(tables)), spectra };
  await ran(
    device,
    [step(circulantSpectraOf, buffers, { out, in: inSize, block, offset: 0, transposed })],
    spectra,
  );
  const adapter = { tables, values: spectra, count: block, scale: 1 / inSize };
  return await product(
    device,
    circulantLinear,
    adapter,
    transposed ? { ...matrix, out: inSize, in: out } : matrix,
  );
}

/** Each block's elements of each row, turned by `by`: element j has what j + by had. */
function turned(x: Float32Array, block: number, by: number): Float32Array {
  return x.map((_, at) => x[at - at % block + (at % block + by) % block]);
}

const near = (found: ArrayLike<number>, expected: ArrayLike<number>, within = 2e-6): void => {
  const error = distance(found, expected);
  assert.ok(error < within, `${error}`);
};

for (const device of await devicesForLongTests()) {
  // A property takes a GPU's software driver long: its cases are few there.
  const some = { numRuns: device.kind === "cpu" ? 100 : 12 };

  test(`circulant_linear on ${device.kind} is the product by circulantDelta`, async () => {
    await fc.assert(
      fc.asyncProperty(matrices, async (matrix) => {
        near(await circulant(device, matrix), dense(circulantDelta(matrix, matrix), matrix));
      }),
      some,
    );
  });

  test(`circulant_linear on ${device.kind} commutes with turns of all blocks`, async () => {
    await fc.assert(
      fc.asyncProperty(matrices, fc.nat(2000), async (matrix, by) => {
        const { x, block } = matrix;
        near(
          await circulant(device, { ...matrix, x: turned(x, block, by) }),
          turned(await circulant(device, matrix), block, by),
        );
      }),
      some,
    );
  });

  test(`circulant_spectra on ${device.kind}: the transposed matrix has the same scalar products`, async () => {
    await fc.assert(
      fc.asyncProperty(matrices, seeds, async (matrix, seed) => {
        const { x, in: inSize, out } = matrix, dy = normals(2 * out, randomSource(seed));
        const y = await circulant(device, matrix), dx = await circulant(device, { ...matrix, x: dy }, 1);
        const sum = (a: Float32Array, b: Float32Array) =>
          a.reduce((total, value, i) => total + value * b[i], 0);
        const norm = Math.sqrt(sum(y, y) * sum(dy, dy));
        assert.ok(Math.abs(sum(y, dy) - sum(x, dx)) < 1e-5 * norm, `${inSize} to ${out}`);
      }),
      some,
    );
  });

  test(`wavelet_linear on ${device.kind}: what a wavelet takes apart is put together again`, async () => {
    // PEFT's coif4 is not quite orthonormal.
    const names = [...waveletNames.filter((name) => name !== "coif4"), "none"] as const;
    const cases = fc.record({ name: fc.constantFrom(...names), length: fc.integer({ min: 1, max: 90 }) });
    await fc.assert(
      fc.asyncProperty(cases, seeds, async ({ name, length }, seed) => {
        const wavelet = name === "none" ? elementWavelet : waveletOf(name);
        const all = Uint32Array.from({ length: coefficientsOf(length, wavelet) }, (_, k) => k);
        const { table } = waveletTable({ destination: all, source: all }, { length, wavelet });
        const values = device.upload(tensor(new Float32Array(all.length).fill(1)));
        const x = normals(2 * length, randomSource(seed)), shape = { out: length, in: length };
        const adapter = { tables: table, values, count: all.length, scale: 1 };
        near(await product(device, waveletLinear, adapter, { ...shape, x }), x);
      }),
      some,
    );
  });

  test(`wavelet_linear on ${device.kind} is the product by waveletDelta, of any shape`, async () => {
    const length = fc.integer({ min: 1, max: 70 });
    const cases = fc.record({
      shape: fc.record({ out: length, in: length }),
      wavelet: fc.constantFrom<Wavelet>(...waveletNames.map(waveletOf), elementWavelet),
      seed: seeds,
    }).chain((given) => spectra(given.shape).map((spectrum) => ({ ...given, spectrum })));
    await fc.assert(
      fc.asyncProperty(cases, async ({ shape, wavelet, seed, spectrum }) => {
        const { u, v } = waveletPlaces(spectrum, shape, wavelet),
          x = normals(3 * shape.in, randomSource(seed));
        const { table, order } = waveletTable({ destination: u, source: v }, { length: shape.out, wavelet });
        const values = device.upload(tensor(inOrder(spectrum.coefficients, order)));
        const adapter = { tables: table, values, count: order.length, scale: spectrum.scaling };
        const delta = waveletDelta(spectrum, shape, wavelet), expected = dense(delta, { ...shape, x });
        const found = await product(device, waveletLinear, adapter, { ...shape, x });
        const norm = (of: ArrayLike<number>): number =>
          Math.sqrt(Array.from(of).reduce((s, e) => s + e * e, 0));
        const error = norm(found.map((value, i) => value - expected[i]));
        // Sums may cancel: the bound is the product's largest norm.
        assert.ok(
          error <= 1e-6 * Math.abs(spectrum.scaling) * norm(spectrum.coefficients) * norm(x),
          `${error}`,
        );
      }),
      some,
    );
  });
}

test("waveletTable refuses places and filters that are none", () => {
  const one = Uint32Array.of(0), shape = { out: 4, in: 4 }, wavelet = waveletOf("db1");
  assert.throws(() => waveletPlaces({ u: Uint32Array.of(4), v: one }, shape, wavelet), {
    name: "RangeError",
    message: "Cannot place coefficient 0 at (4, 0): the matrix is (4, 4)",
  });
  assert.throws(
    () => waveletPlaces({ u: one, v: Uint32Array.of(0, 1) }, shape, wavelet),
    /1 rows but 2 columns/,
  );
  assert.throws(
    () => waveletTable({ destination: Uint32Array.of(4), source: one }, { length: 4, wavelet }),
    /^RangeError: Cannot use filter 4 of an axis of 4/,
  );
  const odd = { low: [1, 2, 3], high: [1, 2, 3] };
  assert.throws(
    () => waveletTable({ destination: one, source: one }, { length: 4, wavelet: odd }),
    /even number/,
  );
});

test("circulantSpectra refuses blocks that do not divide a matrix, and numbers of another", () => {
  const kernels = new Float32Array(24);
  assert.throws(() => circulantSpectra(kernels, { out: 6, in: 8, block: 4 }), {
    name: "RangeError",
    message: "Cannot split a matrix (6, 8) into blocks of 4: the block size must divide both",
  });
  assert.throws(() => circulantSpectra(kernels, { out: 6, in: 9, block: 3 }), /of 24 numbers: .* has 18/);
  for (const block of [0, 1.5, -1, NaN, 2 ** 21]) {
    assert.throws(() => circulantTable(block), /^RangeError: Cannot use block size/, `${block}`);
  }
});
