/**
 * The demo model's plans, step by step: a change of how plans are made shows here, before anyone measures it.
 *
 * @module
 */
import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { cpuDevice, type Device, loadAdapter, methods, openModel, type Plan } from "../mod.ts";
import { openFolder } from "../src/runtime/mod.ts";
import { Bank } from "../src/adapters/bank.ts";
import { Runner } from "../src/engine/runner.ts";
import type { Output, Row } from "../src/engine/step_inputs.ts";
import { type DType, elements, type Tensor } from "../src/tensor.ts";
import { Trainer } from "../src/training/trainer.ts";
import { lane } from "./lanes.ts";

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const demo = "../examples/demo";

/** A device that keeps the plans it prepares, and counts the bytes that `alloc` gives and `release` takes. */
function watched(): { readonly device: Device; readonly plans: Plan[]; bytes(): number } {
  const cpu = cpuDevice();
  const plans: Plan[] = [];
  const held = new Map<Tensor, number>();
  const device: Device = {
    ...cpu,
    alloc(shape: readonly number[], dtype: DType) {
      const made = cpu.alloc(shape, dtype);
      held.set(made, 4 * elements(shape));
      return made;
    },
    release(t: Tensor) {
      held.delete(t);
      cpu.release(t);
    },
    prepare(plan: Plan) {
      plans.push(plan);
      return cpu.prepare(plan);
    },
  };
  return { device, plans, bytes: () => [...held.values()].reduce((sum, size) => sum + size, 0) };
}

/**
 * A step a line: its kernel, its uniform words, and where each number that it only reads comes from: the step that wrote
 * the tensor last, or the shape of a tensor that no step has written.
 */
function printed(plan: Plan): string {
  const writers = new Map<Tensor, number>();
  const lines = plan.map(({ kernel, buffers, uniforms }, at) => {
    const words = Object.keys(kernel.uniforms).map((name) => `${name}=${uniforms[name]}`);
    const read = Object.entries(buffers).filter(([name]) =>
      kernel.buffers[name].access === "read" || (name === "y" && uniforms.accumulate === 1)
    );
    const from = read.map(([name, t]) => `${name}<${writers.get(t) ?? `${t.dtype}[${t.shape}]`}`);
    for (const [name, t] of Object.entries(buffers)) {
      if (kernel.buffers[name].access === "read_write") writers.set(t, at);
    }
    return [`${at}`, kernel.name, ...words, ...from].join(" ");
  });
  return `${lines.join("\n")}\n`;
}

/** Compares with the file of a plan. Where there is none, writes it and fails. */
function isPlan(plan: Plan, name: string): void {
  const file = here(`fixtures/plans/${name}.txt`);
  if (!existsSync(file)) {
    writeFileSync(file, printed(plan));
    assert.fail(`fixtures/plans/${name}.txt was not there: it is written now, to be looked at`);
  }
  assert.equal(printed(plan), readFileSync(file, "utf8"));
}

async function openDemo(device: Device) {
  const folder = await openFolder(here(`${demo}/base`));
  const { model } = await openModel(device, { folder, engine: { maxSequences: 1 } });
  return { model, adapter: await loadAdapter(await openFolder(here(`${demo}/adapters/fourierft-kjv`))) };
}

const greedy = { temperature: 0, topP: 1, topK: 0, uniform: 0 };

test("Runner makes the demo model's plans: new tokens, a prompt, and a part of one without outputs", async () => {
  const { device, plans, bytes } = watched();
  const { model, adapter } = await openDemo(device);
  const bank = new Bank(device, methods.find(({ peftType }) => peftType === "FOURIERFT")!, {
    linears: model.linears,
    capacity: 2,
  });
  const slot = bank.load(adapter.modules)!;
  const before = bytes();
  const runner = new Runner(device, model, {
    banks: [bank],
    maxRows: 64,
    maxOutputs: 4,
    ...{ cacheRows: 128, blockSize: 1, maxBlocks: 128 },
  });
  // What the first plans were made of, no more memory than when each buffer had a name, and the table of blocks.
  assert.ok(bytes() - before <= 2_042_384 + 4 * 128, `${bytes() - before} bytes`);
  const row = (first: number, position: number): Row => ({
    ...{ token: 5 + position, position, blocks: lane(first) },
    adapters: [{ bank, slot }],
  });
  const output = (at: number): Output => ({ row: at, ...greedy });
  await runner.step([row(0, 0), row(64, 0)], [output(0), output(1)]);
  isPlan(plans.at(-1)!, "decode");
  await runner.step(Array.from({ length: 40 }, (_, position) => row(0, position)), [output(39)]);
  isPlan(plans.at(-1)!, "prompt");
  await runner.step(Array.from({ length: 40 }, (_, position) => row(0, position)), []);
  isPlan(plans.at(-1)!, "chunk");
});

test("Trainer makes the demo model's plans: layers kept all at once, or three at a time", async () => {
  const { device, plans, bytes } = watched();
  const { model, adapter } = await openDemo(device);
  for (
    const [name, layersPerSegment, most] of [["train", 8, 5_415_720], [
      "train-segments",
      3,
      2_854_696,
    ]] as const
  ) {
    const before = bytes();
    const trainer = await Trainer.open(device, model, { ...adapter, rows: 32, layersPerSegment });
    const held = bytes() - before;
    assert.ok(held <= most, `${name}: ${held} bytes`);
    const [train, evaluate] = plans.slice(-3);
    isPlan(train, name);
    isPlan(evaluate, "evaluate");
    trainer.release();
  }
});
