/**
 * The CPU device's threads: results that do not depend on how many there are, and what happens when one fails.
 *
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { casesOf } from "../kernels/cases/mod.ts";
import {
  add,
  anyKernel,
  embedding,
  type Kernel,
  kernels,
  linear,
  rmsNorm,
  siluGate,
} from "../kernels/mod.ts";
import { relaxedWasmBytes, wasmBytes } from "../kernels/wasm_bytes.ts";
import { cpuDevice } from "../src/device/cpu.ts";
import { type Device, DeviceError } from "../src/device/device.ts";
import { openCpuDeviceBy, type Starters, startThreads } from "../src/device/open_cpu.ts";
import { newControl, Team } from "../src/device/cpu_team.ts";
import { importingShared, sharedMemory } from "../src/device/shared_memory.ts";
import { threadedCpuDevice } from "../src/device/threaded_cpu.ts";
import { hasRelaxedSimd } from "../src/device/wasm_module.ts";
import { type Plan, type Step, step } from "../src/plan.ts";
import { type Tensor, tensor } from "../src/tensor.ts";
import { startCpuThreads } from "../src/runtime/open_cpu.ts";
import { physicalCores, processorsOf } from "../src/runtime/cores.ts";
import { startWorker } from "../src/runtime/worker.ts";
import { prepared, uploadedTo, wasmOf } from "./kernel_contract.ts";

const modules = { plain: wasmBytes, ...(hasRelaxedSimd() ? { relaxed: relaxedWasmBytes } : {}) };

/** A device that cuts all work as fine as it can be cut, however little it is. */
function cutFine(bytes: () => Uint8Array, threads: number): Promise<Device> {
  const module = new WebAssembly.Module(importingShared(bytes()));
  return threadedCpuDevice(module, startCpuThreads, { threads, workOfChunk: 1 });
}

/** The bytes of all that a step wrote. */
async function written(device: Device, kernel: Kernel, testCase: (typeof cases)[number]["testCase"]) {
  const bound = prepared(kernel, testCase, 7);
  const buffers = uploadedTo(device, bound);
  const program = await device.prepare([{ kernel, buffers, uniforms: testCase.uniforms }]);
  device.run(program);
  const outputs = Object.entries(kernel.buffers).filter(([, { access }]) => access === "read_write");
  const arrays = await Promise.all(outputs.map(([name]) => device.read(buffers[name])));
  program.release();
  for (const t of Object.values(buffers)) device.release(t);
  return arrays.map((array) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
}

const cases = kernels.flatMap((kernel) =>
  casesOf(kernel).cases.filter((testCase) => wasmOf(kernel, testCase)).map((testCase) => ({
    kernel,
    testCase,
  }))
);

for (const [name, bytes] of Object.entries(modules)) {
  test(`every kernel of the ${name} module has equal bits with any number of threads`, async () => {
    const one = cpuDevice({ wasm: new WebAssembly.Module(bytes() as Uint8Array<ArrayBuffer>) });
    const numbers = name === "plain" && hasRelaxedSimd() ? [3] : [2, 3];
    const teams = await Promise.all(numbers.map((threads) => cutFine(bytes, threads)));
    assert.ok(cases.length > 100, "no cases were found");
    for (const { kernel, testCase } of cases) {
      const expected = await written(one, kernel, testCase);
      for (const [i, team] of teams.entries()) {
        const where = `${kernel.name}, case "${testCase.name}", ${numbers[i]} threads`;
        assert.deepEqual(await written(team, kernel, testCase), expected, where);
      }
    }
    for (const team of teams) team.destroy();
  });
}

/** Rows and elements of a row of the random plans' tensors. */
const rows = 5, dim = 96;

/** A step of a random plan, by the numbers of its tensors. */
function stepOf(kind: number, x: Tensor, y: Tensor, weights: readonly Tensor[]): Step {
  const count = rows * dim;
  if (kind === 0) return step(add, { x, y }, { count });
  if (kind === 1) return step(siluGate, { gate: x, up: x, y }, { count });
  if (kind === 2) return step(rmsNorm, { x, weight: weights[0], y }, { rows, dim, eps: 1e-5 });
  return step(linear, { x, weight: weights[1], y }, { rows, in: dim, out: dim, accumulate: kind % 2 });
}

const plans = fc.array(fc.tuple(fc.nat(4), fc.nat(2), fc.nat(2)), { minLength: 1, maxLength: 30 });

async function results(device: Device, list: readonly (readonly [number, number, number])[]) {
  const filled = (shape: readonly number[], seed: number): Tensor => {
    const count = shape.reduce((a, b) => a * b);
    return device.upload(tensor(Float32Array.from({ length: count }, (_, i) => Math.sin(i * seed)), shape));
  };
  const weights = [filled([dim], 0.3), filled([dim, dim], 0.7)];
  const tensors = [1, 2, 3].map((seed) => filled([rows, dim], seed));
  const plan: Plan = list.map(([kind, x, y]) =>
    stepOf(kind, tensors[x], tensors[x === y ? (y + 1) % 3 : y], weights)
  );
  const program = await device.prepare(plan);
  for (let i = 0; i < 3; i++) device.run(program);
  const read = await Promise.all(tensors.map((t) => device.read(t)));
  program.release();
  for (const t of [...weights, ...tensors]) device.release(t);
  return read.map((array) => [...Array.from(array)]);
}

test("random plans have equal bits with 1, 2 and 3 threads, however often they run", async () => {
  const bytes = Object.values(modules).at(-1)!;
  const one = cpuDevice({ wasm: new WebAssembly.Module(bytes() as Uint8Array<ArrayBuffer>) });
  const teams = await Promise.all([2, 3].map((threads) => cutFine(bytes, threads)));
  await fc.assert(
    fc.asyncProperty(plans, async (list) => {
      const expected = await results(one, list);
      for (const team of teams) assert.deepEqual(await results(team, list), expected);
    }),
    // Three runs by each of two teams: more than a thousand.
    { numRuns: 170 },
  );
  for (const team of teams) team.destroy();
});

test("an error of a helper or of the leader names the kernel, and the device goes on", async () => {
  const device = await cutFine(wasmBytes, 3), held = 64, vocab = 2 ** 24;
  const weight = device.upload(tensor(new Float32Array(dim).fill(1), [1, dim]));
  const y = device.alloc([held, dim], "float32");
  // Rows that their table has not: they are read far behind the memory's end.
  const ids = (bad: readonly number[]): Tensor => {
    const numbers = new Uint32Array(held);
    for (const row of bad) numbers[row] = 2 ** 22;
    return device.upload(tensor(numbers));
  };
  const lookUp = (bad: readonly number[]) =>
    device.prepare([step(embedding, { ids: ids(bad), weight, y }, { rows: held, dim, vocab })]);
  const good = await lookUp([]), all = Array.from({ length: held }, (_, row) => row);
  for (const bad of [[0], [held - 1], all, [0, 1, 2, 31, 32, 63]]) {
    const program = await lookUp(bad);
    for (let i = 0; i < 20; i++) {
      await assert.rejects(
        device.runAndRead(program, y),
        /Cannot run the kernel "embedding": RuntimeError: .*bounds/i,
      );
    }
    assert.ok((await device.runAndRead(good, y)).every((value) => value === 1));
  }
  device.destroy();
});

const url = (file: string): URL => new URL(file, import.meta.url);
const helper = (file: string): Pick<Starters, "leader" | "helper"> => ({
  leader: () => startWorker(url("../src/runtime/cpu_worker.ts")),
  helper: () => startWorker(url(file)),
});

test("a helper that dies rejects what is pending, says which it was, and later calls throw", async () => {
  const starters = helper("dying_helper.ts");
  const module = new WebAssembly.Module(importingShared(wasmBytes()));
  const start: typeof startCpuThreads = (setup, threads) => startThreads(starters, setup, threads);
  const device = await threadedCpuDevice(module, start, { threads: 3, workOfChunk: 1 });
  const x = device.upload(tensor(new Float32Array(4096).fill(1)));
  const program = await device.prepare([{
    kernel: anyKernel(add),
    buffers: { x, y: x },
    uniforms: { count: 4096 },
  }]);
  const gone = /Cannot run on the CPU device: thread [23] of 3 is gone: its worker .*Open a new device/;
  await assert.rejects(async () => {
    for (;;) await device.runAndRead(program, x);
  }, (error: Error) => error instanceof DeviceError && gone.test(error.message));
  assert.throws(() => device.run(program), gone);
  device.destroy();
});

test("openCpuDevice: a helper that cannot start is an error where threads were asked for, else one thread", async () => {
  const starters = { ...helper("no_such_module.ts"), cores: () => 3 };
  await assert.rejects(
    openCpuDeviceBy(starters, { threads: 2 }),
    /^DeviceError: Cannot open the CPU device with 2 threads: thread 2 of 2 did not start: its worker .+ Open it with fewer/,
  );
  const device = await openCpuDeviceBy(starters, {});
  assert.match(
    device.description,
    /^CPU \(WASM (relaxed )?SIMD, one thread: thread 2 of 3 did not start: its worker /,
  );
  assert.equal(device.runsAhead, false);
});

test("threads are refused by name: numbers that are none, and more than one on the calling thread", async () => {
  const starters = { ...helper("no_such_module.ts"), cores: () => 1 };
  for (const threads of [0, -1, 1.5, NaN, 65]) {
    await assert.rejects(
      openCpuDeviceBy(starters, { threads }),
      /^RangeError: Cannot use "threads" = .+ from 1 to 64$/,
    );
  }
  for (const options of [{ worker: false }, { wasm: false }] as const) {
    await assert.rejects(
      openCpuDeviceBy(starters, { ...options, threads: 2 }),
      /Cannot use "threads" = 2 on the calling/,
    );
  }
  assert.throws(
    () => cpuDevice({ threads: 2 }),
    /RangeError: Cannot use "threads" = 2 on the calling thread/,
  );
  assert.match(cpuDevice({ threads: 1 }).description, /one thread/);
});

test("a helper that falls asleep before the first step wakes where the numbers of steps begin anew", () => {
  const module = new WebAssembly.Module(importingShared(wasmBytes())), { memory } = sharedMemory();
  const control = newControl(1), first = control[0], tickets: number[] = [];
  const run = new Team({ module, memory }, control).ready({
    ...{ function: "fill", args: [0, 128, 1], each: [], items: 2, chunks: 2 },
  });
  const { notify } = Atomics;
  Atomics.notify = (numbers: Int32Array | BigInt64Array, index: number, count?: number) => {
    tickets.push(control[0]);
    return notify(numbers as Int32Array, index, count);
  };
  try {
    for (let step = 0; step < 150; step++) run();
  } finally {
    Atomics.notify = notify;
  }
  // `Atomics.wait` with another value than the ticket's does not sleep.
  assert.equal(tickets.length, 1, "numbers did not begin anew once");
  assert.notEqual(tickets[0], first);
});

test("physicalCores is a whole number; processorsOf reads Linux's lists", async () => {
  const cores = await physicalCores();
  assert.ok(Number.isInteger(cores) && cores >= 1 && cores <= 4096, String(cores));
  assert.deepEqual(processorsOf("0-3,8,10-11\n"), [0, 1, 2, 3, 8, 10, 11]);
  assert.deepEqual(processorsOf("5"), [5]);
});
