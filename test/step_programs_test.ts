/**
 * Which programs a runner prepares on a device that prefers few sizes, and which steps wait for them.
 *
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { cpuDevice, openModel } from "../mod.ts";
import { Bank } from "../src/adapters/bank.ts";
import { fourierft } from "../src/adapters/methods/fourierft.ts";
import { lora } from "../src/adapters/methods/lora.ts";
import type { Device, Program } from "../src/device/device.ts";
import { uniforms } from "../src/engine/random.ts";
import { Runner } from "../src/engine/runner.ts";
import { openFolder } from "../src/runtime/mod.ts";
import { lane } from "./lanes.ts";
import { newModule } from "./new_module.ts";
import { untilEqual } from "./until.ts";

const folder = await openFolder(fileURLToPath(new URL("fixtures/tiny/llama", import.meta.url)));

const rowsOf = (plan: Parameters<Device["prepare"]>[0]): number =>
  plan.find(({ kernel }) => kernel.name === "embedding")!.uniforms.rows;

/** A runner on a device that prefers few sizes, with an adapter of each of two methods, and one beside it of exact sizes. */
async function opened(more: Partial<Device> = {}) {
  const base = cpuDevice();
  /** Rows of each program that was asked for, and of each step that was run. */
  const prepared: number[] = [], ran: number[] = [];
  const rows = new Map<Program, number>();
  /** Resolved before a program is made: those of some rows are kept waiting by a promise. */
  const waits = new Map<number, Promise<void>>();
  const few: Device = {
    ...base,
    prefersFewSizes: true,
    async prepare(plan) {
      const count = rowsOf(plan);
      prepared.push(count);
      await waits.get(count);
      const program = await base.prepare(plan);
      rows.set(program, count);
      return program;
    },
    runAndRead(program, source, range) {
      ran.push(rows.get(program)!);
      return base.runAndRead(program, source, range);
    },
    ...more,
  };
  const { model } = await openModel(base, { folder, engine: { maxSequences: 1 } });
  const random = uniforms(3), { path, shape } = model.linears[1];
  const banks = [lora, fourierft].map((method) =>
    new Bank(base, method, { linears: model.linears, capacity: 2 })
  );
  const adapters = banks.map((bank) => [{
    bank,
    slot: bank.load(new Map([[path, newModule(bank.method, shape, { r: 2, n_frequency: 9 }, random)]]))!,
  }]);
  const sizes = { maxRows: 256, maxOutputs: 256, cacheRows: 512, blockSize: 1, merging: "never" } as const;
  const runner = new Runner(few, model, { ...sizes, banks }),
    exact = new Runner(base, model, { ...sizes, banks });
  /** A step of so many rows and outputs, every second row by the adapter; its numbers are those of exact sizes. */
  const step = async (count: number, outputs: number, adapter?: number): Promise<void> => {
    const rows = Array.from({ length: count }, (_, i) => ({
      token: i % 7,
      position: 0,
      blocks: lane(2 * i),
      adapters: adapter !== undefined && i % 2 === 0 ? adapters[adapter] : undefined,
    }));
    const wanted = Array.from(
      { length: outputs },
      (_, i) => ({ row: count - 1 - i, temperature: 0, topP: 1, topK: 0, uniform: 0 }),
    );
    assert.deepEqual(await runner.step(rows, wanted), await exact.step(rows, wanted));
    for (const i of wanted.keys()) assert.deepEqual(await runner.logits(i), await exact.logits(i));
  };
  return { runner, step, prepared, ran, waits };
}

test("Runner runs steps in a larger program while their own is prepared", async () => {
  const { step, prepared, ran, waits } = await opened();
  const { promise, resolve } = Promise.withResolvers<void>();
  waits.set(64, promise);
  await step(128, 1);
  for (let i = 0; i < 12; i++) await step(64, 1);
  assert.deepEqual(prepared, [128, 64]);
  assert.deepEqual(ran, Array(13).fill(128));
  resolve();
  await untilEqual(async () => (await step(64, 1), ran.at(-1)), 64);
  assert.deepEqual(prepared, [128, 64]);
});

test("Runner asks again, some steps later, for a program that could not be prepared beside others", async () => {
  const { step, prepared, ran, waits } = await opened();
  waits.set(64, Promise.reject(new Error("no memory")));
  waits.get(64)!.catch(() => {});
  await step(128, 1);
  for (let i = 0; i < 17; i++) await step(64, 1);
  assert.deepEqual(prepared, [128, 64]);
  waits.delete(64);
  await untilEqual(async () => (await step(64, 1), ran.at(-1)), 64);
  assert.deepEqual(prepared, [128, 64, 64]);
});

test("Runner prepares a program of many rows for any of their outputs, and for all adapters on the device", async () => {
  const { step, prepared } = await opened();
  await step(40, 3);
  await step(64, 40);
  await step(50, 20, 0);
  await step(50, 2, 1);
  await step(33, 33);
  assert.deepEqual(prepared, [64]);
});

test("Runner runs few rows of several sequences at once, and a sequence alone in a program of its own", async () => {
  const { step, prepared, ran } = await opened();
  await step(24, 2);
  await step(16, 16);
  assert.deepEqual([prepared, ran], [[24, 16], [24, 24]]);
  await untilEqual(async () => (await step(16, 16), ran.at(-1)), 16);
  await step(12, 1);
  await step(1, 1);
  assert.deepEqual(prepared, [24, 16, 16, 1]);
});

test("Runner.warm prepares a program for each class of sizes, where the device times kernels", async () => {
  const { runner, step, prepared } = await opened({ tunes: true });
  await runner.warm();
  const sizes = [1, 2, 4, 8, 16, 32, 64, 128, 256];
  assert.deepEqual(prepared, sizes);
  for (const count of sizes) await step(count, count);
  await runner.warm();
  assert.deepEqual(prepared, sizes);
  const quick = await opened();
  await quick.runner.warm();
  assert.deepEqual(quick.prepared, []);
});
