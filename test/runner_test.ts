import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { cpuDevice, openModel } from "../mod.ts";
import { openFolder } from "../src/runtime/mod.ts";
import { Bank } from "../src/adapters/bank.ts";
import { fourierft, fourierModule } from "../src/adapters/methods/fourierft.ts";
import { lora } from "../src/adapters/methods/lora.ts";
import type { Device } from "../src/device/device.ts";
import { uniforms } from "../src/engine/random.ts";
import { Runner } from "../src/engine/runner.ts";
import type { Output, Row } from "../src/engine/step_inputs.ts";
import { onGpu, testGpu } from "./devices.ts";
import { newModule } from "./new_module.ts";
import { lane } from "./lanes.ts";

const sizes = { maxRows: 21, maxOutputs: 11, cacheRows: 48, blockSize: 1 };

/** A runner of a tiny model with one adapter, which adds something. */
async function openRunner(device: Device) {
  const folder = await openFolder(fileURLToPath(new URL("fixtures/tiny/llama", import.meta.url)));
  const { model } = await openModel(device, { folder, engine: { maxSequences: 1 } });
  const bank = new Bank(device, lora, { linears: model.linears, capacity: 2 });
  const random = uniforms(3);
  const { path, shape } = model.linears[1];
  const made = newModule(lora, shape, { r: 2 }, random);
  const values = Float32Array.from(made.pack(shape).values, () => random() - 0.5);
  const slot = bank.load(new Map([[path, { ...made, pack: (of) => ({ ...made.pack(of), values }) }]]))!;
  return { runner: new Runner(device, model, { ...sizes, banks: [bank] }), adapters: [{ bank, slot }] };
}

type Opened = Awaited<ReturnType<typeof openRunner>>;

/** Steps of `counts` rows: rows of three sequences in turn, every second adapted, every other row an output. */
async function results({ runner, adapters }: Opened, counts: readonly number[]): Promise<number[][]> {
  const lengths = [0, 0, 0];
  const found: number[][] = [];
  let token = 1;
  for (const count of counts) {
    const rows: Row[] = Array.from({ length: count }, (_, r) => ({
      token: token = token * 7 % 31,
      position: lengths[r % 3]++,
      blocks: lane(16 * (r % 3)),
      adapters: r % 2 === 0 ? adapters : undefined,
    }));
    const outputs: Output[] = rows.flatMap((_, row) =>
      row % 2 === 0 ? [{ row, temperature: 1, topP: 1, topK: 0, uniform: 0.3 }] : []
    );
    found.push([...await runner.step(rows, outputs)]);
    for (const i of outputs.keys()) found.push([...await runner.logits(i)]);
  }
  return found;
}

test("Runner takes few sizes where the device prefers them, and gives the same numbers", async () => {
  const counts = [1, 3, 2, 5, 9, 6, 7, 4, 1];
  const exact = cpuDevice();
  const expected = await results(await openRunner(exact), counts);
  let prepared = 0;
  const few: Device = {
    ...exact,
    prefersFewSizes: true,
    prepare(plan) {
      prepared++;
      return exact.prepare(plan);
    },
  };
  assert.deepEqual(await results(await openRunner(few), counts), expected);
  // Rows and outputs 1 and 1, 4 and 2, 2 and 1, 8 and 4 (from 5, 6 and 7 rows), 16 and 8.
  assert.equal(prepared, 5);
});

/** Counts the calls of an object's methods while `work` runs. */
async function calls<T extends object>(
  of: T,
  names: readonly (keyof T & string)[],
  work: () => Promise<unknown>,
): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const name of names) {
    counts[name] = 0;
    const call = of[name] as (...args: unknown[]) => unknown;
    Object.assign(of, {
      [name](...args: unknown[]) {
        counts[name]++;
        return call.apply(of, args);
      },
    });
  }
  await work();
  for (const name of names) delete of[name];
  return counts;
}

test("Runner.step sends the slots of the banks that its rows use, and no others", async () => {
  const cpu = cpuDevice(), sent: number[] = [];
  const device: Device = {
    ...cpu,
    write(target, data, at) {
      sent.push(data.length);
      cpu.write(target, data, at);
    },
  };
  const folder = await openFolder(fileURLToPath(new URL("fixtures/tiny/llama", import.meta.url)));
  const { model } = await openModel(device, { folder, engine: { maxSequences: 1 } });
  const options = { linears: model.linears, capacity: 2 };
  const banks = Array.from(
    { length: 5 },
    (_, i) => new Bank(device, { ...fourierft, name: `FourierFT ${i}` }, options),
  );
  const module = fourierModule({ coefficients: Float32Array.of(1, 2), seed: 1, scaling: 3 });
  const placed = banks.map((bank) => {
    return { bank, slot: bank.load(new Map([[model.linears[0].path, module]]))! };
  });
  const runner = new Runner(device, model, {
    banks,
    maxRows: 100,
    maxOutputs: 70,
    cacheRows: 100,
    blockSize: 1,
  });
  const step = async (...chosen: number[]): Promise<number> => {
    sent.length = 0;
    const adapters = chosen.map((i) => placed[i]);
    await runner.step([{ token: 1, position: 0, blocks: lane(0), adapters }], []);
    assert.equal(sent.length, 1);
    return sent[0];
  };
  // The blocks of the row's sequence are sent once.
  await runner.step([{ token: 1, position: 0, blocks: lane(0) }], []);
  const none = await step();
  // 100 rows and 70 outputs, each from a multiple of 64 words on.
  assert.equal(await step(3), none + 256);
  assert.equal(await step(0, 4), none + 512);
  assert.equal(await step(0, 1, 2, 3, 4), none + 5 * 256);
});

test("Runner.step of a size it had makes nothing on a GPU: one write, one submit", onGpu, async () => {
  const device = await testGpu();
  const { runner } = await openRunner(device);
  const step = (token: number) =>
    runner.step([{ token, position: 0, blocks: lane(0) }], [{
      row: 0,
      temperature: 0,
      topP: 1,
      topK: 0,
      uniform: 0,
    }]);
  await step(1);
  const three = async () => {
    for (const token of [2, 3, 4]) await step(token);
  };
  const made = [
    "createBuffer",
    "createBindGroup",
    "createComputePipelineAsync",
    "createShaderModule",
  ] as const;
  let queued: Record<string, number> = {};
  const counts = await calls(device.gpu, made, async () => {
    queued = await calls(device.gpu.queue, ["submit", "writeBuffer"], three);
  });
  assert.deepEqual(Object.values(counts), [0, 0, 0, 0]);
  assert.deepEqual(queued, { submit: 3, writeBuffer: 3 });
});
