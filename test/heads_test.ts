/**
 * Encoders' adapters and heads in training beside PEFT's float64, see fixtures/heads/README.md.
 *
 * @module
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { cpuDevice, type Device, type EncoderModel, type HostTensor, openEncoder } from "../mod.ts";
import type { EncoderInput } from "../src/engine/encode_request.ts";
import { sequenceOf } from "../src/engine/encoder_input.ts";
import { openWeights, readConfig } from "../src/models/families.ts";
import { loadEncoder, releaseModel } from "../src/models/model.ts";
import { openAdapterStore, openFolder } from "../src/runtime/mod.ts";
import { parseSafetensors, toFloat32 } from "../src/safetensors/mod.ts";
import { tensor } from "../src/tensor.ts";
import type { TrainEncoderOptions } from "../src/train/encoder.ts";
import { encoderSettings } from "../src/train/encoder_settings.ts";
import { adapterOf } from "../src/train/head_adapter.ts";
import type { HeadTask } from "../src/training/head.ts";
import { headSet, type LabelledSequence } from "../src/training/head_data.ts";
import { type HeadBatch, headObjective } from "../src/training/head_objective.ts";
import { Trainer } from "../src/training/trainer.ts";
import { distance } from "./kernel_contract.ts";
import { devicesForLongTests } from "./devices.ts";

const pathOf = (name: string): string => fileURLToPath(new URL(`fixtures/${name}`, import.meta.url));
const jsonOf = <T>(name: string): T => JSON.parse(readFileSync(pathOf(name), "utf8"));

interface Golden {
  readonly family: string;
  readonly task: HeadTask;
  readonly labels: number;
  readonly targets: readonly number[];
  readonly rate: number;
  readonly head_rate: number;
  readonly losses: readonly number[];
  readonly gradient_norms: readonly number[];
  readonly logits: readonly (readonly number[])[];
}

function tensorsOf(name: string): ReadonlyMap<string, HostTensor> {
  const file = parseSafetensors(new Uint8Array(readFileSync(pathOf(name))));
  return new Map([...file.tensors.keys()].map((key) => {
    const view = file.read(key);
    return [key, tensor(toFloat32(view), view.shape)];
  }));
}

/** The golden's inputs, without what fills them up to one length. */
function inputsOf(family: string): EncoderInput[] {
  if (family === "vit") {
    const { data, shape: [count] } = tensorsOf("families/vit/inputs.safetensors").get("pixel_values")!;
    const size = data.length / count;
    return Array.from({ length: count }, (_, i) => ({
      pixels: data.slice(i * size, (i + 1) * size) as Float32Array,
    }));
  }
  const { input_ids: ids, attention_mask: mask, token_type_ids: types } = jsonOf<{
    readonly inputs: Readonly<Record<string, readonly (readonly number[])[]>>;
  }>(`families/${family}/golden/base.json`).inputs;
  return ids.map((row, i) => {
    const seen = (values: readonly number[]): number[] => values.filter((_, at) => mask[i][at] === 1);
    return { tokenIds: seen(row), ...types ? { typeIds: seen(types[i]) } : {} };
  });
}

async function openModel(device: Device, family: string): Promise<EncoderModel> {
  const folder = await openFolder(pathOf(`families/${family}/base`)), config = await readConfig(folder);
  const source = await openWeights(folder, config);
  return await loadEncoder(device, { config, source }).finally(() => source.close());
}

async function openTrainer(device: Device, model: EncoderModel, name: string, layersPerSegment: number) {
  const { family, task, labels, targets } = jsonOf<Golden>(`heads/${name}/golden.json`);
  const options: TrainEncoderOptions = {
    task,
    folder: await openFolder(pathOf(`families/${family}/base`)),
    examples: [],
    adapter: { init: await openFolder(pathOf(`heads/${name}/start`)) },
  };
  const { trained, numbers } = await adapterOf(model, {
    options,
    settings: encoderSettings(options),
    labels: Array.from({ length: labels }, (_, i) => `LABEL_${i}`),
    classifier: new Map(),
  });
  const sequences = inputsOf(family).map((input) => sequenceOf(model, input)), { length: count } = sequences;
  const batch: HeadBatch = { sequences, targets, targetCount: count };
  // Some rows more than the batch has: they must take no part.
  const maxRows = 7 + sequences.reduce((sum, { tokens }) => sum + tokens.length, 0);
  const trainer = await Trainer.openFor<HeadBatch>(device, model, {
    ...{ adapter: trained, own: numbers },
    objective: (io) =>
      headObjective(device, model, { ...io, task, numbers, maxRows, sequences: count, layersPerSegment }),
  });
  return { trainer, batch };
}

const cases = ["roberta-fourierft", "roberta-regression-lora", "bert-lora", "vit-fourierft"];

for (const device of await devicesForLongTests()) {
  // A software GPU takes half a minute for a case; this one has the most kernels.
  for (const name of device.kind === "cpu" ? cases : ["bert-lora"]) {
    test(`Trainer on ${device.kind}: ${name} has PEFT's gradients, losses and numbers`, async () => {
      const golden = jsonOf<Golden>(`heads/${name}/golden.json`);
      const model = await openModel(device, golden.family);
      const { trainer, batch } = await openTrainer(device, model, name, 1);
      const { loss, tensors } = await trainer.gradients(batch);
      assert.ok(Math.abs(loss - golden.losses[0]) < 1e-5 * golden.losses[0], `loss ${loss}`);
      const gradients = tensorsOf(`heads/${name}/gradients.safetensors`);
      assert.deepEqual([...tensors.keys()].sort(), [...gradients.keys()].sort());
      for (const [key, { data, shape }] of gradients) {
        const found = tensors.get(key)!, off = distance(found.data, data);
        assert.deepEqual(found.shape, shape, key);
        assert.ok(off < 1e-4, `${key}: relative distance ${off}`);
      }
      for (let step = 0; step < golden.gradient_norms.length; step++) {
        await trainer.ready([batch]);
        const report = await trainer.submit([batch], golden.rate, golden.head_rate);
        assert.ok(Math.abs(report.loss - golden.losses[step]) < 1e-4, `step ${step}: loss ${report.loss}`);
        const off = Math.abs(report.gradientNorm / golden.gradient_norms[step] - 1);
        assert.ok(off < 1e-3, `step ${step}: norm ${report.gradientNorm}`);
      }
      const { losses, logits } = await trainer.outcome(batch);
      const mean = losses.reduce((a, b) => a + b, 0) / losses.length;
      assert.ok(Math.abs(mean - golden.losses.at(-1)!) < 1e-4, `last loss ${mean}`);
      const expected = Float32Array.from(golden.logits.flat());
      assert.ok(distance(logits!.slice(0, expected.length), expected) < 1e-3, "logits");
      const trained = await trainer.tensors();
      for (const [key, { data }] of tensorsOf(`heads/${name}/trained.safetensors`)) {
        const off = distance(trained.get(key)!.data, data);
        assert.ok(off < 1e-3, `${key}: relative distance ${off}`);
      }
      trainer.release();
      releaseModel(device, model);
    });
  }
}

for (const name of ["roberta", "bert", "regression", "vit", "head"].map((what) => `${what}-by-us`)) {
  test(`openEncoder: ${name}, which was trained here, has PEFT's logits`, async () => {
    const { family, logits } = jsonOf<Golden>(`heads/${name}/golden.json`);
    const { encoder } = await openEncoder(cpuDevice(), {
      folder: await openFolder(pathOf(`families/${family}/base`)),
      adapters: await openAdapterStore(pathOf("heads")),
    });
    const inputs = inputsOf(family);
    const found = await encoder.encode(inputs.map((input) => ({ input, adapter: name, output: "logits" })));
    assert.equal(inputs.length, logits.length);
    found.forEach(({ data }, row) => {
      assert.equal(data.length, logits[row].length);
      logits[row].forEach((value, i) => assert.ok(Math.abs(value - data[i]) < 1e-4, `${value}, ${data[i]}`));
    });
    await encoder.release();
  });
}

test("headSet has room for batches that end an epoch and begin the next", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 6 }),
      fc.integer({ min: 1, max: 8 }),
      fc.nat(99),
      (lengths, batchSize, seed) => {
        const training = lengths.map((rows): LabelledSequence => ({
          ...{ rows, target: 0 },
          sequence: () => ({ tokens: new Uint32Array(rows), positions: [], types: [] }),
        }));
        const set = headSet({ training, heldOut: [] }, { batchSize, seed, shuffle: true });
        for (let step = 0; step < 30; step++) {
          const rows = set.batch(step).sequences.reduce((sum, { tokens }) => sum + tokens.length, 0);
          assert.ok(rows <= set.maxRows, `step ${step}: ${rows} rows, room for ${set.maxRows}`);
        }
      },
    ),
    { numRuns: 100 },
  );
});

test("a head refuses to train on fewer sequences than it was made for, and tells of them", async () => {
  const device = cpuDevice(), model = await openModel(device, "bert");
  const { trainer, batch } = await openTrainer(device, model, "bert-lora", 1);
  const sequences = batch.sequences.slice(1), targets = batch.targets.slice(1);
  const short = { sequences, targets, targetCount: targets.length };
  await trainer.ready([short]);
  assert.throws(() => trainer.submit([short], 0.1), /RangeError: Cannot train on a batch of \d+ sequences/);
  const alone = await trainer.outcome(short);
  assert.equal(alone.losses.length, targets.length);
  await trainer.outcome(batch);
  // An outcome is of its own batch, also where another one is asked for before it is there.
  const [first] = await Promise.all([trainer.outcome(short), trainer.outcome(batch)]);
  assert.deepEqual(first, alone);
  trainer.release();
  releaseModel(device, model);
});
