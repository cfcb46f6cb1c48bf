import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { normals } from "../kernels/kernel.ts";
import { frequencies, noSlot } from "../kernels/mod.ts";
import {
  type AdaptedLinear,
  type AdapterModule,
  applyModule,
  Bank,
  cpuDevice,
  deltaOf,
  type Device,
  fourierft,
  fourierModule,
  type LinearShape,
  lora,
  merge,
  type Method,
  type Spectrum,
  tensor,
  unmerge,
} from "../mod.ts";
import {
  deltaNormBound,
  drawnProperties,
  shapes as anyShape,
  type SpectralReconstruction,
} from "../src/testing/mod.ts";
import { Arena } from "../src/adapters/arena.ts";
import { everyGpuCase, testDevices } from "./devices.ts";
import { randomSource } from "./kernel_contract.ts";
import { assertNear, naiveProduct, norm } from "./naive.ts";

const devices = await testDevices();
/** One for all runs: Bun is slow with hundreds of WASM memories. */
const cpu = devices.find(({ kind }) => kind === "cpu") ?? cpuDevice();

/** A software GPU compiles a program for each shape: it is given small ones, and fewer of them. */
const sizes = { cpu: { longest: 400, runs: 40 }, webgpu: { longest: 96, runs: 15 } };

/** Whether a device runs what has a text for each of many sizes: Naga and Bun's Dawn run the sizes of the other tests. */
const isThorough = ({ kind }: Device): boolean => kind === "cpu" || everyGpuCase;

/** Frequencies of one case at most, for the definition's sake, which takes out * in * n steps at worst. */
const maxFrequencies = 600;

/** An adapted linear as fast-check makes it: coefficients come from a seed, so that there can be many. */
interface Made {
  readonly spectrum: Spectrum;
  readonly shape: LinearShape;
  readonly numbers: number;
}

const seeds = fc.integer({ min: 0, max: 2 ** 32 - 1 });

function linears(longest: number): fc.Arbitrary<Made> {
  return fc.record({
    out: fc.integer({ min: 1, max: longest }),
    in: fc.integer({ min: 1, max: longest }),
    part: fc.oneof(
      fc.constant(1),
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.double({ min: 0, max: 0.02, noNaN: true }),
    ),
    seed: seeds,
    scaling: fc.constantFrom(1, 150, -3.5),
    numbers: seeds,
  }).map(({ out, in: inFeatures, part, seed, scaling, numbers }) => {
    const n = Math.max(1, Math.round(part * Math.min(out * inFeatures, maxFrequencies)));
    const coefficients = normals(n, randomSource(numbers));
    return { spectrum: { coefficients, seed, scaling }, shape: { out, in: inFeatures }, numbers };
  });
}

const adapted = ({ spectrum, shape }: Pick<Made, "spectrum" | "shape">): AdaptedLinear => ({
  method: fourierft,
  module: fourierModule(spectrum),
  shape,
});

/** dW by a device, of PEFT's frequencies. */
const drawnBy = (device: Device): SpectralReconstruction => async ({ coefficients, seed, scaling }, shape) =>
  (await deltaOf(device, adapted({ spectrum: { coefficients, seed: seed!, scaling }, shape }))).data;

/** LoRA of rank 1 to 4 for the same linear. */
function lowRank({ shape, numbers }: Made): AdaptedLinear {
  return { method: lora, module: moduleOf(lora, shape, numbers), shape };
}

/** Some rows of an input, from the case's seed. */
function input({ shape, numbers }: Made, rows: number) {
  return tensor(normals(rows * shape.in, randomSource(numbers + 1)), [rows, shape.in]);
}

for (const device of devices) {
  const { longest, runs } = sizes[device.kind];
  const shapes = linears(longest);
  const check = <T>(values: fc.Arbitrary<T>, holds: (value: T) => Promise<void>, numRuns = runs) =>
    fc.assert(fc.asyncProperty(values, holds), { numRuns });

  for (const [name, property] of Object.entries(drawnProperties)) {
    test(`deltaOf has the property ${name}, for any shape and n, on ${device.kind}`, () =>
      property(drawnBy(device), {
        drawn: true,
        shapes: anyShape({ longest }),
        maxFrequencies,
        numRuns: name === "reference" ? runs : Math.ceil(runs / 3),
      }));
  }

  test(`forward is x dW^T, for any shape and n, on ${device.kind}`, async () => {
    await check(shapes, async (made) => {
      const x = input(made, 2);
      const { data } = await applyModule(device, adapted(made), { x });
      const delta = await deltaOf(cpu, adapted(made));
      const expected = naiveProduct(x.data, delta.data, made.shape);
      const { spectrum, shape } = made;
      const places = frequencies(spectrum.coefficients.length, shape, spectrum);
      const usual = deltaNormBound({ ...spectrum, ...places }, shape) * norm(x.data) / Math.sqrt(shape.in);
      assertNear(data, expected, 1e-6 * Math.max(usual, norm(expected)));
    });
  });

  test(`forward adds to the y it is given, on ${device.kind}`, async () => {
    await check(shapes, async (made) => {
      const x = input(made, 3);
      const y = tensor(normals(3 * made.shape.out, randomSource(made.numbers + 2)), [3, made.shape.out]);
      const alone = await applyModule(device, adapted(made), { x });
      const added = await applyModule(device, adapted(made), { x, y });
      const expected = Float64Array.from(alone.data, (value, i) => value + y.data[i]);
      assertNear(added.data, expected, 1e-6 * (norm(alone.data) + norm(y.data)));
    }, 5);
  });

  test(`merge adds dW, and unmerge takes it out within rounding, on ${device.kind}`, async () => {
    await check(shapes, async (made) => {
      const { out, in: inFeatures } = made.shape;
      const original = normals(out * inFeatures, randomSource(made.numbers + 4), 0.02);
      const weight = device.upload(tensor(original, [out, inFeatures]));
      const delta = (await deltaOf(device, adapted(made))).data;
      await merge(device, adapted(made), weight);
      const merged = await device.read(weight);
      const sum = Float64Array.from(original, (value, i) => value + delta[i]);
      const size = norm(original) + norm(delta);
      assertNear(merged, sum, 2e-7 * size);
      await unmerge(device, adapted(made), weight);
      assertNear(await device.read(weight), original, 3e-7 * size);
      device.release(weight);
    }, Math.ceil(runs / 3));
  });

  test(`a batch of mixed adapters gives each row what it gets alone, on ${device.kind}`, async () => {
    const batches = fc.record({
      shape: fc.constantFrom({ out: 24, in: 40 }, { out: 37, in: 9 }, { out: 1, in: 16 }),
      adapters: fc.array(fc.record({ n: fc.integer({ min: 1, max: 16 }), seed: seeds, numbers: seeds }), {
        minLength: 1,
        maxLength: 5,
      }),
      rows: fc.array(fc.integer({ min: -1, max: 4 }), { minLength: 1, maxLength: 9 }),
      numbers: seeds,
    });
    await check(batches, async ({ shape, adapters, rows, numbers }) => {
      const modules = adapters.map(({ n, seed, numbers }) =>
        fourierModule({ coefficients: normals(n, randomSource(numbers)), seed, scaling: n })
      );
      const chosen = rows.map((choice) => choice < 0 ? -1 : choice % modules.length);
      const bank = new Bank(device, fourierft, { linears: [{ path: "l", shape }], capacity: 5 });
      const slots = modules.map((module) => bank.load(new Map([["l", module]]))!);
      const x = normals(rows.length * shape.in, randomSource(numbers));
      const y = normals(rows.length * shape.out, randomSource(numbers + 1));
      const actual = await runStep(device, bank, 0, {
        x,
        y,
        slots: chosen.map((choice) => choice < 0 ? noSlot : slots[choice]),
      });
      for (const [row, choice] of chosen.entries()) {
        const part = (of: ArrayLike<number>, width: number) =>
          Float32Array.from({ length: width }, (_, i) => of[row * width + i]);
        const own = part(y, shape.out);
        const expected = choice < 0 ? own : (await applyModule(device, {
          method: fourierft,
          module: modules[choice],
          shape,
        }, { x: tensor(part(x, shape.in), [1, shape.in]), y: tensor(own, [1, shape.out]) })).data;
        assert.deepEqual(part(actual, shape.out), expected, `row ${row} of ${chosen}`);
      }
      bank.release();
    });
  });

  // Pieces have sizes of their own, and each size has a text.
  if (!isThorough(device)) continue;

  test(`dW built in pieces is dW built at once, FourierFT's to the bit, on ${device.kind}`, async () => {
    const cases = fc.tuple(shapes, fc.integer({ min: 2, max: 5 }));
    await check(cases, async ([made, pieces]) => {
      const { out, in: inFeatures } = made.shape;
      const few: Device = { ...device, maxTensorBytes: 4 * inFeatures * Math.ceil(out / pieces) };
      assert.deepEqual(await deltaOf(few, adapted(made)), await deltaOf(device, adapted(made)));
      // A product of fewer rows may be summed in another order.
      const whole = (await deltaOf(device, lowRank(made))).data;
      assertNear((await deltaOf(few, lowRank(made))).data, whole, 1e-6 * norm(whole));
    }, Math.ceil(runs / 2));
  });
}

/** Runs a bank's step over rows, each with its slot; returns y. */
async function runStep(
  device: Device,
  bank: Bank,
  linear: number,
  { x, y, slots }: { x: Float32Array; y: Float32Array; slots: readonly number[] },
): Promise<Float32Array> {
  const rows = slots.length;
  const buffers = {
    x: device.upload(tensor(x, [rows, x.length / rows])),
    y: device.upload(tensor(y, [rows, y.length / rows])),
    slots: device.upload(tensor(Uint32Array.from(slots))),
  };
  const program = await device.prepare([bank.beside({ first: linear, count: 1 }, { ...buffers, rows })]);
  device.run(program);
  const result = await device.read(buffers.y) as Float32Array;
  program.release();
  for (const t of Object.values(buffers)) device.release(t);
  return result;
}

test("Arena: ranges never overlap and keep their words through growth, frees and reuse", async () => {
  const operations = fc.array(
    fc.oneof(
      { weight: 3, arbitrary: fc.record({ put: fc.integer({ min: 0, max: 40 }) }) },
      { weight: 2, arbitrary: fc.record({ free: fc.nat() }) },
    ),
    { maxLength: 60 },
  );
  await fc.assert(
    fc.asyncProperty(operations, async (list) => {
      const arena = new Arena(cpu, "uint32", 16);
      const live: { at: number; words: Uint32Array }[] = [];
      let next = 1;
      for (const operation of list) {
        if ("put" in operation) {
          const words = Uint32Array.from({ length: operation.put }, () => next++);
          live.push({ at: arena.put(words)!, words });
        } else if (live.length > 0) {
          const [{ at, words }] = live.splice(operation.free % live.length, 1);
          arena.free(at, words.length);
        }
        const whole = await cpu.read(arena.tensor);
        for (const { at, words } of live) {
          if (words.length > 0) assert.deepEqual(whole.slice(at, at + words.length), words);
        }
      }
      // What was freed is one piece again: as much as there is can be stored without growing.
      for (const { at, words } of live.splice(0)) arena.free(at, words.length);
      const { generation } = arena;
      arena.put(new Uint32Array(arena.tensor.shape[0]));
      assert.equal(arena.generation, generation);
      arena.release();
    }),
    { numRuns: 200 },
  );
});

const bankLinears = [
  { path: "a", shape: { out: 6, in: 10 } },
  { path: "b", shape: { out: 7, in: 5 } },
  { path: "c", shape: { out: 6, in: 10 } },
];

/** A module of either method for a linear, from a seed. */
function moduleOf(method: Method, shape: LinearShape, seed: number): AdapterModule {
  const random = randomSource(seed);
  const size = 1 + seed % 4;
  if (method === fourierft) {
    // Few seeds, so that adapters share frequency tables.
    return fourierModule({ coefficients: normals(size * 3, random), seed: seed % 2, scaling: 50 });
  }
  const tensors = new Map([
    ["base_model.model.l.lora_A.weight", tensor(normals(size * shape.in, random), [size, shape.in])],
    ["base_model.model.l.lora_B.weight", tensor(normals(shape.out * size, random), [shape.out, size])],
  ]);
  return lora.read({ config: { lora_alpha: 3 }, tensors, options: {} }).get("l")!;
}

for (const device of devices) {
  // LoRA's texts differ by the linear's size: there are three.
  for (const method of isThorough(device) ? [fourierft, lora] : [fourierft]) {
    const name = `${method.peftType} on ${device.kind}`;
    test(`Bank: loads and unloads in any order never mix adapters up, ${name}`, async () => {
      const operations = fc.array(
        fc.oneof(
          { weight: 3, arbitrary: fc.record({ load: seeds, layers: fc.integer({ min: 1, max: 7 }) }) },
          { weight: 2, arbitrary: fc.record({ unload: fc.nat() }) },
        ),
        { minLength: 1, maxLength: 20 },
      );
      await fc.assert(
        fc.asyncProperty(operations, async (list) => {
          const capacity = 4;
          const bank = new Bank(device, method, { linears: bankLinears, capacity });
          const model = new Map<number, ReadonlyMap<string, AdapterModule>>();
          for (const operation of list) {
            if ("load" in operation) {
              const modules = new Map(
                bankLinears.filter((_, i) => operation.layers >> i & 1).map(({ path, shape }, i) => [
                  path,
                  moduleOf(method, shape, (operation.load + i) >>> 0),
                ]),
              );
              const slot = bank.load(modules);
              assert.equal(slot === undefined, model.size === capacity);
              if (slot === undefined) continue;
              assert.ok(!model.has(slot) && slot < capacity, `slot ${slot} was taken`);
              model.set(slot, modules);
            } else if (model.size > 0) {
              const slot = [...model.keys()][operation.unload % model.size];
              bank.unload(slot);
              model.delete(slot);
            }
            assert.equal(bank.size, model.size);
          }
          await holdsModel(device, bank, { model, capacity });
          bank.release();
        }),
        { numRuns: device.kind === "cpu" ? 60 : 12 },
      );
    });
  }
}

/** Every slot of every linear adds its own adapter's dW, and free slots add nothing. */
async function holdsModel(
  device: Device,
  bank: Bank,
  { model, capacity }: {
    model: ReadonlyMap<number, ReadonlyMap<string, AdapterModule>>;
    capacity: number;
  },
): Promise<void> {
  const slots = [...Array(capacity).keys(), noSlot];
  for (const [linear, { path, shape }] of bankLinears.entries()) {
    const x = normals(slots.length * shape.in, randomSource(linear));
    const y = normals(slots.length * shape.out, randomSource(linear + 9));
    const actual = await runStep(device, bank, linear, { x, y, slots });
    for (const [row, slot] of slots.entries()) {
      const module = model.get(slot)?.get(path);
      const own = y.slice(row * shape.out, (row + 1) * shape.out);
      const found = actual.slice(row * shape.out, (row + 1) * shape.out);
      if (!module) {
        assert.deepEqual(found, own, `slot ${slot} is free and added something`);
        continue;
      }
      const delta = await deltaOf(cpu, { method: bank.method, module, shape });
      const change = naiveProduct(x.slice(row * shape.in, (row + 1) * shape.in), delta.data, shape);
      assertNear(found, change.map((value, i) => value + own[i]), 1e-5 * (norm(own) + norm(change)));
    }
  }
}
