import { test } from "node:test";
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { loadAdapter } from "../src/adapters/peft.ts";
import type { Device } from "../src/device/device.ts";
import { openCheckpoint } from "../src/models/checkpoint.ts";
import { loadModel, type Model } from "../src/models/model.ts";
import { readConfig } from "../src/models/families.ts";
import { openFolder } from "../src/runtime/file.ts";
import { parseSafetensors, toFloat32 } from "../src/safetensors/mod.ts";
import { noTarget, type TrainingBatch } from "../src/training/batch.ts";
import { learningRateFactor } from "../src/training/schedule.ts";
import { runTraining, TrainingError } from "../src/training/run.ts";
import { Trainer } from "../src/training/trainer.ts";
import { distance } from "./kernel_contract.ts";
import { devicesForLongTests } from "./devices.ts";

const fixtures = new URL("./fixtures/training/", import.meta.url);
const path = (name: string): string => fileURLToPath(new URL(name, fixtures));

interface GoldenBatch {
  readonly tokens: readonly (readonly number[])[];
  /** -100 for no loss. */
  readonly targets: readonly (readonly number[])[];
}

const golden = JSON.parse(readFileSync(path("training.json"), "utf8")) as {
  readonly gradient_batch: GoldenBatch;
  readonly batches: readonly GoldenBatch[];
  readonly methods: Readonly<
    Record<
      string,
      {
        readonly learning_rate: number;
        readonly learning_rates: readonly number[];
        readonly gradient_loss: number;
        readonly losses: readonly number[];
        readonly gradient_norms: readonly number[];
      }
    >
  >;
};

function batchOf({ tokens, targets }: GoldenBatch): TrainingBatch {
  const length = tokens[0].length;
  const rows = tokens.length * length;
  const start = (row: number): number => row - row % length;
  const flat = targets.flat().map((id) => id < 0 ? noTarget : id);
  return {
    tokens: Uint32Array.from(tokens.flat()),
    targets: Uint32Array.from(flat),
    positions: Uint32Array.from({ length: rows }, (_, row) => row % length),
    first: Uint32Array.from({ length: rows }, (_, row) => start(row)),
    last: Uint32Array.from({ length: rows }, (_, row) => start(row) + length),
    targetCount: flat.filter((id) => id !== noTarget).length,
  };
}

async function openTiny(device: Device): Promise<Model> {
  const folder = await openFolder(path("base"));
  const source = await openCheckpoint(folder);
  return await loadModel(device, { config: await readConfig(folder), source }).finally(() => source.close());
}

async function openTrainer(
  device: Device,
  model: Model,
  method: string,
  layersPerSegment?: number,
): Promise<Trainer> {
  const adapter = await loadAdapter(await openFolder(path(`${method}/start`)));
  const rows = golden.batches[0].tokens.flat().length;
  return await Trainer.open(device, model, { ...adapter, rows, layersPerSegment, weightDecay: 0.01 });
}

function tensorsOf(name: string): Map<string, Float32Array> {
  const file = parseSafetensors(new Uint8Array(readFileSync(path(name))));
  return new Map([...file.tensors.keys()].map((tensor) => [tensor, toFloat32(file.read(tensor))]));
}

for (const device of await devicesForLongTests()) {
  const model = await openTiny(device);
  for (const method of ["fourierft", "lora"]) {
    const expected = golden.methods[method];

    test(`Trainer on ${device.kind}: ${method}'s loss and every gradient are PEFT's`, async () => {
      const trainer = await openTrainer(device, model, method);
      const { loss, tensors } = await trainer.gradients(batchOf(golden.gradient_batch));
      assert.ok(Math.abs(loss - expected.gradient_loss) < 1e-5, `loss ${loss}`);
      const truth = tensorsOf(`${method}/gradients.safetensors`);
      assert.deepEqual([...tensors.keys()].sort(), [...truth.keys()].sort());
      for (const [name, gradient] of truth) {
        const d = distance(tensors.get(name)!.data, gradient);
        assert.ok(d < 1e-4, `${name}: relative distance ${d}`);
      }
      trainer.release();
    });

    test(`Trainer on ${device.kind}: ten steps of ${method} have PEFT's losses and end at its adapter`, async () => {
      const trainer = await openTrainer(device, model, method);
      for (const [i, batch] of golden.batches.entries()) {
        const lr = expected.learning_rate *
          learningRateFactor("cosine", { step: i, steps: 10, warmupSteps: 2 });
        assert.ok(Math.abs(lr - expected.learning_rates[i]) < 1e-12);
        const { loss, gradientNorm } = await trainer.submit([batchOf(batch)], lr);
        assert.ok(
          Math.abs(loss - expected.losses[i]) < 1e-4,
          `step ${i}: loss ${loss}, PEFT ${expected.losses[i]}`,
        );
        const norm = expected.gradient_norms[i];
        assert.ok(
          Math.abs(gradientNorm - norm) < 1e-3 * norm,
          `step ${i}: norm ${gradientNorm}, PEFT ${norm}`,
        );
      }
      const tensors = await trainer.tensors();
      for (const [name, values] of tensorsOf(`${method}/trained/adapter_model.safetensors`)) {
        const d = distance(tensors.get(name)!.data, values);
        assert.ok(d < 1e-3, `${name}: relative distance ${d}`);
      }
      trainer.release();
    });
  }

  test(`Trainer on ${device.kind}: segments computed twice change no gradient`, async () => {
    const whole = await openTrainer(device, model, "fourierft", model.config.layers);
    const parts = await openTrainer(device, model, "fourierft", 2);
    const batch = batchOf(golden.gradient_batch);
    const [a, b] = [await whole.gradients(batch), await parts.gradients(batch)];
    assert.equal(a.loss, b.loss);
    for (const [name, { data }] of a.tensors) assert.deepEqual(b.tensors.get(name)!.data, data, name);
    whole.release();
    parts.release();
  });

  test(`runTraining on ${device.kind}: a run resumed from a checkpoint's numbers is the run that was not interrupted`, async () => {
    const run = { data: { batch: (i: number) => batchOf(golden.batches[i]) }, schedule: () => 0.02 };
    const whole = await openTrainer(device, model, "lora");
    await runTraining(whole, { ...run, steps: 6 });
    const before = await openTrainer(device, model, "lora");
    await runTraining(before, { ...run, steps: 3 });
    const after = await openTrainer(device, model, "lora");
    after.restore(await before.numbers());
    await runTraining(after, { ...run, steps: 6 });
    const [a, b] = [await whole.numbers(), await after.numbers()];
    assert.deepEqual(b, a);
    for (const trainer of [whole, before, after]) trainer.release();
  });

  test(`runTraining on ${device.kind}: a loss that is not finite ends the run with its step, the last checkpoint kept`, async () => {
    const trainer = await openTrainer(device, model, "lora");
    const saved: number[] = [];
    const run = runTraining(trainer, {
      data: { batch: (i) => batchOf(golden.batches[i % 10]) },
      steps: 8,
      schedule: (step) => step < 4 ? 0.01 : Infinity,
      checkpointEvery: 2,
      checkpoints: { save: ({ numbers }) => Promise.resolve(void saved.push(numbers.step)) },
    });
    await assert.rejects(
      run,
      (error) =>
        error instanceof TrainingError &&
        /step 6: its loss is NaN; the checkpoint of step 4/.test(error.message),
    );
    assert.deepEqual(saved, [2, 4]);
    trainer.release();
  });
}
