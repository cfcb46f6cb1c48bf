/**
 * Banks at the limits of a device: tensors of a few kilobytes stand for buffers of two gigabytes.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { normals } from "../kernels/kernel.ts";
import {
  type AdapterModule,
  AdapterRegistry,
  Bank,
  cpuDevice,
  type Device,
  fourierft,
  fourierModule,
  OverloadedError,
  tensor,
} from "../mod.ts";
import { bytesSource, fromTensor, writeSafetensors } from "../src/safetensors/mod.ts";
import { Arena } from "../src/adapters/arena.ts";
import { testDevices } from "./devices.ts";
import { randomSource } from "./kernel_contract.ts";

const n = 100;
const most = 1024;

/** Two that may share a step, and a third that cannot. */
const linears = [
  { path: "a", shape: { out: 12, in: 16 } },
  { path: "b", shape: { out: 20, in: 16 } },
  { path: "c", shape: { out: 16, in: 20 } },
];

interface Counts {
  /** Tensors that are there, and the elements of the largest there ever was. */
  tensors: number;
  largest: number;
}

/** A CPU whose tensors hold no more than `elements`. */
function small(elements = most): Device & Counts {
  const cpu = cpuDevice();
  const device: Device & Counts = {
    ...cpu,
    maxTensorBytes: 4 * elements,
    tensors: 0,
    largest: 0,
    alloc(shape, dtype) {
      device.tensors++;
      device.largest = Math.max(device.largest, shape.reduce((a, b) => a * b, 1));
      return cpu.alloc(shape, dtype);
    },
    release(t) {
      device.tensors--;
      cpu.release(t);
    },
  };
  return device;
}

/** An adapter of all linears; one seed, so that frequencies are shared. */
const adapter = (number: number, count = n): ReadonlyMap<string, AdapterModule> =>
  new Map(linears.map(({ path }, i) => {
    const coefficients = normals(count, randomSource(10 * number + i));
    return [path, fourierModule({ coefficients, seed: 1, scaling: 9 })];
  }));

/** What a bank adds for `slot` to linears `first`, ... */
async function added(device: Device, bank: Bank, group: { first: number; count: number }, slot: number) {
  const shapes = linears.slice(group.first, group.first + group.count).map(({ shape }) => shape);
  const buffers = {
    x: device.upload(tensor(normals(shapes[0].in, randomSource(3)))),
    y: device.upload(tensor(new Float32Array(shapes.reduce((sum, { out }) => sum + out, 0)))),
    slots: device.upload(tensor(Uint32Array.of(slot))),
  };
  device.run(await device.prepare([bank.beside(group, { ...buffers, rows: 1 })]));
  return await device.read(buffers.y);
}

for (const device of await testDevices()) {
  test(`Arena keeps its words as it grows, on ${device.kind}`, async () => {
    const arena = new Arena(device, "uint32", 4);
    const ranges = [3, 5, 64, 1, 300].map((count, i) => {
      const words = Uint32Array.from({ length: count }, (_, j) => 1000 * i + j);
      return { at: arena.put(words)!, words };
    });
    assert.equal(arena.generation, 4);
    const all = await device.read(arena.tensor);
    for (const { at, words } of ranges) assert.deepEqual(all.slice(at, at + words.length), words);
    arena.release();
  });
}

test("Bank holds what no one tensor does, up to the last element of each", async () => {
  const device = small();
  const bank = new Bank(device, fourierft, { linears, capacity: 20 });
  const adapters = Array.from({ length: 6 }, (_, i) => adapter(i));
  // a and b of one adapter have 200 numbers in one tensor, c has 100 in another.
  const slots = adapters.slice(0, 5).map((modules) => bank.load(modules));
  assert.deepEqual(slots, [0, 1, 2, 3, 4]);
  assert.equal(bank.load(adapters[5]), undefined);
  assert.equal(bank.size, 5);
  assert.ok(5 * 3 * n > most && device.largest <= most, `${device.largest}`);
  const alone = new Bank(device, fourierft, { linears, capacity: 1 });
  for (const [i, slot] of slots.entries()) {
    alone.load(adapters[i]);
    for (const group of [{ first: 0, count: 2 }, { first: 2, count: 1 }]) {
      assert.deepEqual(await added(device, bank, group, slot!), await added(device, alone, group, 0));
    }
    alone.unload(0);
  }
});

test("Bank takes no memory of a device before its first adapter, and gives all of it back", () => {
  const device = small();
  const bank = new Bank(device, fourierft, { linears, capacity: 20 });
  assert.deepEqual([device.tensors, bank.revision, bank.size], [0, 0, 0]);
  assert.equal(bank.acts("beside", { first: 0, count: 1 }), false);
  bank.release();
  assert.equal(device.tensors, 0);
  bank.load(adapter(1));
  assert.equal(device.tensors, 4);
  bank.release();
  assert.equal(device.tensors, 0);
});

test("Bank.load that finds no room takes none, and finds it once another is unloaded", async () => {
  const device = small();
  const bank = new Bank(device, fourierft, { linears, capacity: 20 });
  for (let i = 0; i < 5; i++) bank.load(adapter(i));
  // Fits where c lies, not where a and b do.
  for (let i = 0; i < 50; i++) assert.equal(bank.load(adapter(5)), undefined);
  bank.unload(2);
  const { revision } = bank;
  assert.equal(bank.load(adapter(5)), 2);
  assert.equal(bank.revision, revision);
  const alone = new Bank(device, fourierft, { linears, capacity: 1 });
  alone.load(adapter(5));
  const c = { first: 2, count: 1 };
  assert.deepEqual(await added(device, bank, c, 2), await added(device, alone, c, 0));
});

test("Bank.load throws for an adapter that no device's tensor holds, and stays as it was", () => {
  const bank = new Bank(small(256), fourierft, { linears, capacity: 2 });
  assert.throws(() => bank.load(adapter(0, 150)), /300 numbers of it belong in one tensor.* 1024 bytes/);
  assert.equal(bank.size, 0);
  assert.equal(bank.load(adapter(1, 40)), 0);
});

test("Bank.revision changes as tensors double, not with every adapter; loads and unloads leave nothing behind", () => {
  const device = small(2 ** 20);
  const bank = new Bank(device, fourierft, { linears, capacity: 512 });
  const revisions = new Set<number>();
  for (let round = 0; round < 2; round++) {
    for (let i = 0; i < 512; i++) {
      assert.equal(bank.load(adapter(i)) === undefined, false);
      revisions.add(bank.revision);
    }
    for (let i = 0; i < 512; i++) bank.unload(i);
  }
  // 512 * 200 words from 1024 on take 7 doublings, 512 * 100 take 6; the first adapter takes three linears.
  assert.ok(revisions.size <= 15, `${revisions.size} revisions`);
  assert.equal(device.largest, 2 ** 17);
  const { tensors } = device;
  bank.release();
  assert.equal(tensors - device.tensors, 4);
});

test("AdapterRegistry.acquire takes unused adapters off where the room is short, and says when all are in use", async () => {
  const config = JSON.stringify({ peft_type: "FOURIERFT", n_frequency: n, target_modules: ["a", "b", "c"] });
  const bytes = (number: number): Uint8Array =>
    writeSafetensors(linears.map(({ path }, i) =>
      fromTensor(
        `base_model.model.${path}.fourierft_spectrum`,
        tensor(normals(n, randomSource(10 * number + i))),
      )
    ));
  const registry = new AdapterRegistry(small(), {
    list: () => Promise.resolve([]),
    open: (id) =>
      Promise.resolve({
        folder: {
          open: () => Promise.resolve(bytesSource(bytes(Number(id)))),
          readText: () => Promise.resolve(config),
          exists: (name) => Promise.resolve(name.startsWith("adapter_")),
        },
        version: "1",
        modifiedUnixSeconds: 0,
      }),
  }, { linears, capacity: 20 });
  const leases = [];
  for (let i = 0; i < 5; i++) leases.push(await registry.acquire(`${i}`));
  await assert.rejects(registry.acquire("5"), (error: Error) => {
    assert.ok(error instanceof OverloadedError);
    assert.match(error.message, /"5": 5 FOURIERFT adapters in use take all slots or all the room/);
    return true;
  });
  leases[3].release();
  assert.equal((await registry.acquire("5")).slot, leases[3].slot);
  assert.equal((await registry.card("3")).resident, false);
});
