import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { normals } from "../kernels/kernel.ts";
import { cpuDevice, openModel } from "../mod.ts";
import { openFolder } from "../src/runtime/mod.ts";
import { Bank } from "../src/adapters/bank.ts";
import type { Method } from "../src/adapters/method.ts";
import { fourierft, fourierModule } from "../src/adapters/methods/fourierft.ts";
import { lora } from "../src/adapters/methods/lora.ts";
import type { Device, Program } from "../src/device/device.ts";
import { Merging, type MergingMode } from "../src/engine/merging.ts";
import { uniforms } from "../src/engine/random.ts";
import { Runner } from "../src/engine/runner.ts";
import type { Output, Row } from "../src/engine/step_inputs.ts";
import type { Model } from "../src/models/model.ts";
import { denseWeight } from "../src/models/weights.ts";
import type { Plan } from "../src/plan.ts";
import { devicesForLongTests } from "./devices.ts";
import { distance } from "./kernel_contract.ts";
import { newModule } from "./new_module.ts";
import { lane } from "./lanes.ts";

const rows = 24;

/** A tiny model (hidden 16, intermediate 20), and a bank with an adapter of all its linears and one of the first layer's. */
async function openTiny(
  device: Device,
  { name = "llama", method = fourierft }: { name?: string; method?: Method } = {},
) {
  const folder = await openFolder(fileURLToPath(new URL(`fixtures/tiny/${name}`, import.meta.url)));
  const { model } = await openModel(device, { folder, engine: { maxSequences: 1 } });
  const bank = new Bank(device, method, { linears: model.linears, capacity: 4 });
  const random = uniforms(3);
  const load = (paths: RegExp): number => {
    const linears = model.linears.filter(({ path }) => paths.test(path));
    return bank.load(
      new Map(linears.map(({ path, shape }) => {
        const made = newModule(method, shape, { n_frequency: 40, scaling: 9, r: 3 }, random);
        const values = Float32Array.from(made.pack(shape).values, () => random() - 0.5);
        return [path, { ...made, pack: (of) => ({ ...made.pack(of), values }) }];
      })),
    )!;
  };
  return { model, bank, all: load(/_proj$/), first: load(/layers\.0\./) };
}

function runnerOf(
  device: Device,
  model: Model,
  { bank, merging }: { bank: Bank; merging?: MergingMode },
): Runner {
  return new Runner(device, model, {
    banks: [bank],
    maxRows: 512,
    maxOutputs: 4,
    cacheRows: 512,
    blockSize: 1,
    merging,
  });
}

const outputs: readonly Output[] = [0, rows - 1].map((row) => ({
  ...{ row, temperature: 0, topP: 1, topK: 0, uniform: 0 },
}));

/** A prompt of so many rows; `slotOf` says which has which adapter. */
function prompt(bank: Bank, slotOf: (row: number) => number | undefined, count = rows): Row[] {
  return Array.from({ length: count }, (_, r) => {
    const slot = slotOf(r);
    return {
      token: r * 7 % 31,
      position: r % 200,
      blocks: lane(0),
      adapters: slot === undefined ? undefined : [{ bank, slot }],
    };
  });
}

async function logitsOf(runner: Runner, input: readonly Row[]): Promise<Float32Array> {
  await runner.step(input, outputs);
  return Float32Array.from(
    (await Promise.all(outputs.map((_, i) => runner.logits(i)))).flatMap((l) => [...l]),
  );
}

/** Weights that the last step merged an adapter into. */
async function mergedBy(runner: Runner): Promise<number> {
  const { launches } = await runner.trace();
  return launches.filter(({ kernel }) => kernel === "add_transposed").length;
}

for (const [name, method] of [["llama", fourierft], ["llama", lora], ["qwen2", fourierft]] as const) {
  test(`Runner on cpu: ${name} with ${method.peftType} merged says what it says with dW unmade`, async () => {
    const device = cpuDevice();
    const { model, bank, all } = await openTiny(device, { name, method });
    const apart = runnerOf(device, model, { bank, merging: "never" });
    const merging = runnerOf(device, model, { bank, merging: "always" });
    const input = prompt(bank, () => all);
    const expected = await logitsOf(apart, input);
    assert.equal(await mergedBy(apart), 0);
    const found = await logitsOf(merging, input);
    assert.equal(await mergedBy(merging), 2 * 4);
    const off = distance(found, expected);
    assert.ok(off < 1e-5, `${off}`);
    // A step without it does not meet what the last one left.
    const plain = await logitsOf(merging, prompt(bank, () => undefined));
    assert.ok(distance(plain, expected) > 1e-2);
    assert.deepEqual(plain, await logitsOf(apart, prompt(bank, () => undefined)));
    assert.deepEqual(await logitsOf(merging, input), found);
  });
}

for (const device of await devicesForLongTests()) {
  if (device.kind === "cpu") continue;
  test("Runner on webgpu: qwen2 with FOURIERFT merged says what a CPU says with dW unmade", async () => {
    const cpu = cpuDevice();
    const [there, here] = [await openTiny(device, { name: "qwen2" }), await openTiny(cpu, { name: "qwen2" })];
    const merging = runnerOf(device, there.model, { bank: there.bank, merging: "always" });
    const apart = runnerOf(cpu, here.model, { bank: here.bank, merging: "never" });
    const found = await logitsOf(merging, prompt(there.bank, () => there.all));
    assert.equal(await mergedBy(merging), 2 * 4);
    const off = distance(found, await logitsOf(apart, prompt(here.bank, () => here.all)));
    assert.ok(off < 1e-5, `${off}`);
  });
}

test("Runner merges two adapters in turn, each by its own numbers", async () => {
  const device = cpuDevice();
  const { model, bank, all } = await openTiny(device);
  const other = bank.load(
    new Map(
      model.linears.slice(0, -1).map(({ path }) => [
        path,
        fourierModule({ coefficients: normals(7, uniforms(8)), seed: 777, scaling: 90 }),
      ]),
    ),
  )!;
  const apart = runnerOf(device, model, { bank, merging: "never" });
  const merging = runnerOf(device, model, { bank, merging: "always" });
  for (const slot of [all, other, all]) {
    const input = prompt(bank, () => slot);
    assert.ok(distance(await logitsOf(merging, input), await logitsOf(apart, input)) < 1e-5);
    assert.equal(await mergedBy(merging), 8);
  }
});

test("Runner merges nothing into rows of several adapters, of none here and there, or fewer than inputs", async () => {
  const device = cpuDevice();
  const { model, bank, all, first } = await openTiny(device);
  const merging = runnerOf(device, model, { bank, merging: "always" });
  const merged = async (input: readonly Row[]): Promise<number> => {
    await merging.step(input, []);
    return await mergedBy(merging);
  };
  assert.equal(await merged(prompt(bank, () => all)), 8);
  assert.equal(await merged(prompt(bank, (row) => row === 9 ? first : all)), 0);
  assert.equal(await merged(prompt(bank, (row) => row === 23 ? undefined : all)), 0);
  assert.equal(await merged(prompt(bank, () => first)), 0, "it adds nothing to the second layer");
  assert.equal(await merged(prompt(bank, () => all, 20)), 6, "down_proj has twenty inputs");
  assert.equal(await merged(prompt(bank, () => all, 17)), 6, "one row more than inputs");
  assert.equal(await merged(prompt(bank, () => all, 16)), 0);
});

const isMerged = (plan: Plan): boolean => plan.some(({ kernel }) => kernel.name === "add_transposed");

/** A model whose o_proj alone is worth timing, on a device that runs nothing: its clock says what it is told. */
async function openTimed(times: (way: "merged" | "apart") => number, shape = { out: 1024, in: 128 }) {
  const cpu = cpuDevice();
  const { model, bank, all } = await openTiny(cpu);
  const weight = denseWeight(cpu.alloc([shape.out, shape.in], "float32"));
  const projections = model.projections.map((one) => one.kind === "o" ? { ...one, shape, weight } : one);
  const plans = new Map<Program, Plan>();
  const released: Program[] = [];
  const device: Device = {
    ...cpu,
    prepare(plan) {
      const program = { launches: plan.length, release: () => void released.push(program) };
      plans.set(program, plan);
      return Promise.resolve(program);
    },
    trace: (program) =>
      Promise.resolve({
        clock: "host",
        launches: [],
        wholeUs: times(isMerged(plans.get(program)!) ? "merged" : "apart"),
      }),
  };
  return {
    merging: new Merging(device, { projections }, { maxRows: 512, mode: "auto" }),
    adapters: [{ bank, slot: all }],
    timed: () => plans.size,
    released: () => released.length,
  };
}

test("Merging times a shape once for each power of two of rows, and says what is clearly faster", async () => {
  const clock = { merged: 96, apart: 100 };
  const { merging, adapters, timed, released } = await openTimed((way) => clock[way]);
  const chosen = async (rows: number): Promise<string[]> => [...await merging.kindsFor(rows, adapters)];
  assert.deepEqual(await chosen(256), ["o 1024x128"]);
  assert.equal(timed(), 2);
  assert.equal(released(), 2);
  clock.merged = 200;
  assert.deepEqual(await chosen(511), ["o 1024x128"]);
  assert.equal(timed(), 2);
  assert.deepEqual(await chosen(512), []);
  assert.equal(timed(), 4);
  clock.merged = 98;
  assert.deepEqual(await chosen(1024), [], "by two in a hundred it may be the clock");
  assert.deepEqual(await chosen(700), []);
  assert.equal(timed(), 6);
  clock.merged = 97;
  assert.deepEqual(await chosen(2048), []);
});

test("Merging keeps no answer that was timed while a bank's steps changed", async () => {
  let grow = (): void => {};
  const { merging, adapters, timed } = await openTimed(() => {
    grow();
    return 1;
  });
  // The first adapter of a linear changes its bank's steps.
  const head = fourierModule({ coefficients: new Float32Array(3), seed: 1, scaling: 1 });
  const modules = new Map([["lm_head", head]]);
  grow = () => void adapters[0].bank.load(modules);
  const { revision } = adapters[0].bank;
  await merging.kindsFor(256, adapters);
  assert.notEqual(adapters[0].bank.revision, revision);
  grow = () => {};
  assert.equal(timed(), 2);
  await merging.kindsFor(256, adapters);
  assert.equal(timed(), 4);
  await merging.kindsFor(256, adapters);
  assert.equal(timed(), 4);
});

test("Merging times nothing that fewer rows than inputs, or a short product, could not gain by", async () => {
  const { merging, adapters, timed } = await openTimed(() => 1);
  assert.equal(merging.mayPay(128), false);
  assert.equal(merging.mayPay(129), true);
  assert.deepEqual([...await merging.kindsFor(255, adapters)], [], "of 128 rows, as many as inputs");
  assert.equal(timed(), 0);
  const short = await openTimed(() => 1, { out: 64, in: 64 });
  assert.equal(short.merging.mayPay(1023), false);
  assert.equal(short.merging.mayPay(1024), true);
});

test("Merging leaves a projection apart that cannot be timed", async () => {
  const { merging, adapters, timed } = await openTimed(() => {
    throw new Error("no clock");
  });
  assert.deepEqual([...await merging.kindsFor(256, adapters)], []);
  assert.deepEqual([...await merging.kindsFor(256, adapters)], []);
  assert.equal(timed(), 2);
});

test("Runner merges adapters of two methods at once, which rows have together", async () => {
  const device = cpuDevice();
  const { model, bank, all, first } = await openTiny(device);
  const other = await openTiny(device, { method: lora });
  const banks = [bank, other.bank];
  const runner = (merging: MergingMode) =>
    new Runner(device, model, { banks, maxRows: 512, maxOutputs: 4, cacheRows: 512, blockSize: 1, merging });
  const [apart, merging] = [runner("never"), runner("always")];
  const logits = async (slots: readonly (number | undefined)[]) => {
    const adapters = banks.flatMap((bank, i) => slots[i] === undefined ? [] : [{ bank, slot: slots[i]! }]);
    // A list of its own for each row: rows are the same by what is in it.
    const input = prompt(bank, () => undefined).map((row) => ({ ...row, adapters: [...adapters] }));
    const found = await logitsOf(merging, input);
    assert.equal(await mergedBy(merging), 8);
    assert.ok(distance(found, await logitsOf(apart, input)) < 1e-5);
    assert.equal(await mergedBy(apart), 0);
    return found;
  };
  const both = await logits([all, other.all]);
  assert.ok(distance(both, await logits([all])) > 1e-2);
  assert.ok(distance(both, await logits([undefined, other.all])) > 1e-2);
  assert.ok(distance(both, await logits([first, other.all])) > 1e-2, "one of them adapts every linear");
  assert.deepEqual(await logits([all, other.all]), both);
});

test("Merging takes no quantised weights", async () => {
  const device = cpuDevice();
  const folder = await openFolder(fileURLToPath(new URL("fixtures/tiny/llama", import.meta.url)));
  const { model } = await openModel(device, { folder, quantize: "int8", engine: { maxSequences: 1 } });
  assert.equal(new Merging(device, model, { maxRows: 512, mode: "always" }).mayPay(10_000), false);
});
