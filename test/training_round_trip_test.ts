import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { loadAdapter } from "../src/adapters/peft.ts";
import type { Lease } from "../src/adapters/registry.ts";
import type { Device } from "../src/device/device.ts";
import { Runner } from "../src/engine/runner.ts";
import type { ReadableFolder } from "../src/folder.ts";
import { type OpenModel, openModel } from "../src/open.ts";
import { openAdapterStore } from "../src/runtime/adapter_store.ts";
import { openFolder } from "../src/runtime/file.ts";
import { parseSafetensors, toFloat32 } from "../src/safetensors/mod.ts";
import { train } from "../src/train.ts";
import { cpuDevice } from "../src/device/cpu.ts";
import { devicesForLongTests, everything } from "./devices.ts";
import { distance } from "./kernel_contract.ts";
import {
  ended,
  everyLinear,
  roundTripFixture,
  start,
  tinyRun,
  trainingFixture,
  withTinyModel,
} from "./train_process.ts";
import { lane } from "./lanes.ts";

/** What PEFT computed, see fixtures/make_training_round_trip.py. */
const golden = JSON.parse(readFileSync(roundTripFixture("golden.json"), "utf8")) as {
  readonly prompt: readonly number[];
  readonly base_logits: readonly (readonly number[])[];
  /** With adapters that `fourierft train` made. */
  readonly logits: Readonly<Record<string, readonly (readonly number[])[]>>;
  /** What they were trained on, and how. */
  readonly corpus: string;
  readonly arguments: Readonly<Record<string, readonly string[]>>;
  readonly text: string;
  /** Of `text`, with adapters that PEFT made. */
  readonly losses: Readonly<Record<string, number>>;
};
const methods = ["fourierft", "lora", "c3a", "waveft"] as const;
/** An adapter that PEFT made: by training, or of random numbers. */
const byPeft = (method: typeof methods[number]): string =>
  method === "fourierft" || method === "lora"
    ? trainingFixture(`${method}/trained`)
    : roundTripFixture(`${method}-by-peft`);
const contextLength = golden.text.split(" ").length;

/** The tiny base with a tokenizer. */
async function baseFolder(): Promise<ReadableFolder> {
  const [base, words] = [await openFolder(trainingFixture("base")), await openFolder(roundTripFixture(""))];
  const of = (name: string): ReadableFolder => name === "tokenizer.json" ? words : base;
  return {
    open: (name) => of(name).open(name),
    readText: (name, options) => of(name).readText(name, options),
    exists: (name) => of(name).exists(name),
  };
}

async function configOf(folder: string): Promise<unknown> {
  return JSON.parse(await readFile(join(folder, "adapter_config.json"), "utf8"));
}

async function weightsOf(folder: string): Promise<Map<string, Float32Array>> {
  const { tensors, read } = parseSafetensors(
    new Uint8Array(await readFile(join(folder, "adapter_model.safetensors"))),
  );
  return new Map([...tensors.keys()].sort().map((name) => [name, toFloat32(read(name))]));
}

/** Logits of the prompt at every position. */
async function promptLogits(
  device: Device,
  { model, registry }: OpenModel,
  lease?: Lease,
): Promise<number[]> {
  const sizes = { maxRows: 16, maxOutputs: 16, cacheRows: 32, blockSize: 1 };
  const runner = new Runner(device, model, { banks: registry.banks, ...sizes });
  const rows = golden.prompt.map((token, position) => ({
    token,
    position,
    blocks: lane(0),
    adapters: lease?.placed,
  }));
  await runner.step(rows, rows.map((_, row) => ({ row, temperature: 0, topP: 1, topK: 0, uniform: 0 })));
  const logits: number[] = [];
  for (const row of rows.keys()) logits.push(...await runner.logits(row));
  return logits;
}

/** On a GPU the trainer and the engine have tests of their own, by PEFT's numbers and transformers'. */
const devices = everything ? await devicesForLongTests() : [cpuDevice()];

for (const device of devices) {
  test(`adapters trained here, on ${device.kind}: PEFT computes the logits that the engine does`, async () => {
    const adapters = await openAdapterStore(roundTripFixture(""));
    const opened = await openModel(device, { folder: await baseFolder(), adapters });
    const base = golden.base_logits.flat();
    assert.ok(distance(Float32Array.from(await promptLogits(device, opened)), base) < 1e-5);
    for (const method of methods) {
      const expected = golden.logits[method].flat();
      assert.ok(distance(Float32Array.from(base), expected) > 0.5, `${method} must matter`);
      const lease = await opened.registry.acquire(method);
      const d = distance(Float32Array.from(await promptLogits(device, opened, lease)), expected);
      assert.ok(d < 1e-5, `${method}: relative distance ${d}`);
      lease.release();
    }
  });

  for (const method of methods) {
    test(`train on ${device.kind}: ${method} that PEFT made goes on from PEFT's loss`, async () => {
      const losses: number[] = [];
      await train(device, {
        folder: await baseFolder(),
        data: { content: golden.text },
        adapter: { init: await loadAdapter(await openFolder(byPeft(method))) },
        steps: 1,
        batchSize: 1,
        contextLength,
        onEvent: (event) => void (event.kind === "step" && losses.push(event.loss)),
      });
      assert.equal(losses.length, 1);
      assert.ok(
        Math.abs(losses[0] - golden.losses[method]) < 1e-5,
        `${losses}, PEFT ${golden.losses[method]}`,
      );
    });
  }
}

test("train writes the adapters that PEFT was asked about", async () => {
  await withTinyModel(async (folder) => {
    const run = [...await tinyRun(folder, golden.corpus), "--target-modules", everyLinear];
    for (const method of methods) {
      const [out, expected] = [join(folder, method), roundTripFixture(method)];
      const { code, stderr } = await ended(start([...run, ...golden.arguments[method], "--out", out]));
      assert.equal(code, 0, stderr);
      assert.deepEqual(await configOf(out), await configOf(expected));
      const [found, known] = [await weightsOf(out), await weightsOf(expected)];
      assert.deepEqual([...found.keys()], [...known.keys()]);
      for (const [name, values] of known) {
        const d = distance(found.get(name)!, values);
        assert.ok(d < 1e-4, `${name}: relative distance ${d}`);
      }
    }
  });
});

test("train --init goes on with an adapter that PEFT made, from PEFT's loss, and keeps its config", async () => {
  await withTinyModel(async (folder) => {
    for (const method of methods) {
      const [init, out] = [byPeft(method), join(folder, method)];
      const run = [...await tinyRun(folder, golden.text), "--steps", "8", "--init", init, "--out", out];
      const sizes = ["--batch-size", "1", "--context-length", String(contextLength)];
      const { code, stdout, stderr } = await ended(
        start([...run, ...sizes, "--lr", method === "c3a" ? "0.1" : "0.01", "--json"]),
      );
      assert.equal(code, 0, stderr);
      const events = stdout.trim().split("\n").map((line) => JSON.parse(line));
      const losses = events.filter(({ event }) => event === "step").map(({ loss }) => loss as number);
      assert.equal(losses.length, 8);
      assert.ok(
        Math.abs(losses[0] - golden.losses[method]) < 1e-4,
        `${losses}, PEFT ${golden.losses[method]}`,
      );
      assert.ok(losses[7] < losses[0] - 0.1, `${losses}`);
      const config = async (at: string) =>
        JSON.parse(await readFile(join(at, "adapter_config.json"), "utf8"));
      assert.deepEqual(await config(out), await config(init));
    }
  });
});
