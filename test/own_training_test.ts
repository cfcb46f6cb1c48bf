/**
 * Norms, embeddings and heads that are trained beside linears: by PEFT's numbers, and by differences of losses.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { lora } from "../src/adapters/methods/lora.ts";
import { loadAdapter } from "../src/adapters/peft.ts";
import { cpuDevice } from "../src/device/cpu.ts";
import type { Device } from "../src/device/device.ts";
import { openWeights, readConfig } from "../src/models/families.ts";
import { loadModel, type Model } from "../src/models/model.ts";
import type { ReadableFolder } from "../src/folder.ts";
import { openFolder } from "../src/runtime/file.ts";
import {
  fromTensor,
  parseSafetensors,
  toFloat32,
  toTensor,
  writeSafetensors,
} from "../src/safetensors/mod.ts";
import { memoryFolder } from "../src/testing/mod.ts";
import { type HostTensor, tensor } from "../src/tensor.ts";
import { train } from "../src/train.ts";
import { savedParameters } from "../src/train/saved_parameters.ts";
import { noTarget } from "../src/training/batch.ts";
import { adapterFiles } from "../src/training/checkpoint.ts";
import { ownParameters } from "../src/train/own_parameters.ts";
import { Trainer } from "../src/training/trainer.ts";
import { inEveryGpuCase, onGpu, testGpu } from "./devices.ts";
import { adapterBytes, methodFixture } from "./method_fixtures.ts";

/** A case of PEFT's: fields of its config, losses of steps, and of gradients the norm and the sum times cos(i). */
interface Golden {
  readonly modules_to_save?: readonly string[];
  readonly trainable_token_indices?: readonly number[];
  readonly tied?: boolean;
  readonly losses: readonly number[];
  readonly gradients: Readonly<Record<string, readonly [number, number]>>;
  readonly saved: readonly string[];
}

const fixture = (name: string): string => fileURLToPath(new URL(`fixtures/methods/${name}`, import.meta.url));
const familyBase = (family: string): string =>
  fileURLToPath(new URL(`fixtures/families/${family}/base`, import.meta.url));
const textOf = (name: string): string => readFileSync(fixture(name), "utf8");
const goldens: Readonly<Record<string, Golden>> = JSON.parse(textOf("training/own.json"));
const ids: readonly (readonly number[])[] = JSON.parse(textOf("training/dora.json")).input_ids;
const prefix = "base_model.model.";
const embedding = "model.embed_tokens";

const tensorsOf = (bytes: Uint8Array): Map<string, HostTensor> => {
  const file = parseSafetensors(bytes);
  return new Map([...file.tensors.keys()].map((name) => [name, toTensor(file.read(name))]));
};
const weights = tensorsOf(new Uint8Array(readFileSync(fixture("base/model.safetensors"))));
const bytesOf = (tensors: ReadonlyMap<string, HostTensor>): Uint8Array =>
  writeSafetensors([...tensors].map(([name, t]) => fromTensor(name, t)));

/** The base, or the same with its head tied to the embedding. */
async function baseFolder(tied = false): Promise<ReadableFolder> {
  if (!tied) return await openFolder(fixture("base"));
  const config = { ...JSON.parse(textOf("base/config.json")), tie_word_embeddings: true };
  const kept = new Map([...weights].filter(([name]) => name !== "lm_head.weight"));
  const files = ["tokenizer.json", "tokenizer_config.json"].map((name) =>
    [name, textOf(`base/${name}`)] as const
  );
  return memoryFolder(
    new Map<string, string | Uint8Array>([
      ...files,
      ["config.json", JSON.stringify(config)],
      ["model.safetensors", bytesOf(kept)],
    ]),
  );
}

/** LoRA of `lora-tokens`, and beside it what a case saves, as it is in the base. */
async function adapterOf(
  { modules_to_save, trainable_token_indices, saved }: Golden,
): Promise<ReadableFolder> {
  const text = await (await methodFixture("lora-tokens")).readText("adapter_config.json");
  const config = {
    ...JSON.parse(text),
    modules_to_save: modules_to_save ?? null,
    trainable_token_indices: trainable_token_indices ?? null,
  };
  const tensors = new Map(
    [...tensorsOf(adapterBytes("lora-tokens"))].filter(([name]) => name.includes("lora_")),
  );
  for (const name of saved) {
    const own = weights.get(name.slice(prefix.length));
    const table = weights.get(`${embedding}.weight`)!, [, width] = table.shape;
    const rows = trainable_token_indices?.flatMap((
      id,
    ) => [...table.data.subarray(id * width, (id + 1) * width)]);
    tensors.set(name, own ?? tensor(Float32Array.from(rows!), [rows!.length / width, width]));
  }
  return memoryFolder(
    new Map<string, string | Uint8Array>([
      ["adapter_config.json", JSON.stringify(config)],
      ["adapter_model.safetensors", bytesOf(tensors)],
    ]),
  );
}

const [{ length }] = ids, tokens = Uint32Array.from(ids.flat());
const starts = tokens.map((_, row) => row - row % length);
const batch = {
  tokens,
  targets: tokens.map((_, row) => row % length === length - 1 ? noTarget : tokens[row + 1]),
  positions: tokens.map((_, row) => row % length),
  first: starts,
  last: starts.map((start) => start + length),
  targetCount: 2 * (length - 1),
};

async function modelOf(device: Device, folder: ReadableFolder): Promise<Model> {
  const config = await readConfig(folder), source = await openWeights(folder, config);
  return await loadModel(device, { config, source }).finally(() => source.close());
}

async function isPeft(device: Device, name: string, golden: Golden): Promise<void> {
  const model = await modelOf(device, await baseFolder(golden.tied)), folder = await adapterOf(golden);
  const adapter = await loadAdapter(folder), own = await ownParameters(device, model, adapter);
  const trainer = await Trainer.open(device, model, {
    ...{ ...adapter, ownParameters: own, rows: tokens.length, maxNorm: 0, layersPerSegment: 1 },
  });
  const { loss, tensors } = await trainer.gradients(batch);
  assert.ok(Math.abs(loss - golden.losses[0]) < 2e-5, `${name}: loss ${loss}`);
  for (const [key, [norm, wave]] of Object.entries(golden.gradients)) {
    const found = [...tensors].find(([stored]) => stored === key)?.[1].data ?? assert.fail(`${name}: ${key}`);
    let squares = 0, sum = 0;
    found.forEach((g, i) => {
      squares += g * g;
      sum += g * Math.cos(i);
    });
    assert.ok(
      Math.abs(Math.sqrt(squares) - norm) < 1e-4 * norm,
      `${name}, ${key}: norm ${Math.sqrt(squares)}`,
    );
    assert.ok(Math.abs(sum - wave) < 1e-3 * norm, `${name}, ${key}: ${sum}, not ${wave}`);
  }
  for (const [step, expected] of golden.losses.entries()) {
    const { loss } = await trainer.submit([batch], 0.01);
    assert.ok(Math.abs(loss - expected) < 1e-4, `${name}, step ${step}: ${loss}, not ${expected}`);
  }
  const last = (await trainer.evaluate([batch])).loss;
  const files = adapterFiles(adapter.config, await trainer.tensors());
  trainer.release();
  const again = await loadAdapter(memoryFolder(files));
  const other = await Trainer.open(device, model, {
    ...{ ...again, ownParameters: await ownParameters(device, model, again), rows: tokens.length },
  });
  assert.equal((await other.evaluate([batch])).loss, last, name);
  other.release();
}

test("own parameters on cpu: gradients and five steps' losses are PEFT's, and files go on", async () => {
  const device = cpuDevice();
  for (const [name, golden] of Object.entries(goldens)) await isPeft(device, name, golden);
  device.destroy();
});

test(
  "own parameters on a GPU: PEFT's losses by tokens of a tied head",
  { skip: onGpu.skip || inEveryGpuCase.skip },
  async () => {
    const device = await testGpu();
    await isPeft(device, "tokens, tied", goldens["tokens, tied"]);
  },
);

test("own parameters are written in the file's order, those of methods without linears, too", async () => {
  const device = cpuDevice(), model = await modelOf(device, await baseFolder());
  for (const name of ["trainable-tokens", "ln-tuning", "lora-tokens"]) {
    const folder = await methodFixture(name), tensors = tensorsOf(adapterBytes(name));
    const config = JSON.parse(await folder.readText("adapter_config.json"));
    for (const field of ["token_indices", "trainable_token_indices"]) config[field]?.reverse();
    const adapter = await loadAdapter(
      memoryFolder(
        new Map<string, string | Uint8Array>([
          ["adapter_config.json", JSON.stringify(config)],
          ["adapter_model.safetensors", bytesOf(tensors)],
        ]),
      ),
    );
    const own = (await ownParameters(device, model, adapter))!, written = own.tensors(own.values);
    for (const [key, { data }] of written) assert.deepEqual(data, tensors.get(key)!.data, `${name}, ${key}`);
    assert.equal(written.size, [...tensors.keys()].filter((key) => !key.includes("lora_")).length, name);
    const trainer = await Trainer.open(device, model, {
      ...adapter,
      ownParameters: own,
      rows: tokens.length,
    });
    const before = (await trainer.submit([batch], 0.01)).loss;
    assert.ok((await trainer.evaluate([batch])).loss < before, name);
    trainer.release();
  }
  device.destroy();
});

test("own parameters of other families: gradients are differences of losses", async () => {
  const device = cpuDevice();
  const cases = [
    { family: "gpt2", modulesToSave: ["ln_f", "ln_1", "wpe"] },
    { family: "gpt2", modulesToSave: ["wte", "lm_head"] },
    { family: "gemma3", modulesToSave: ["norm", "embed_tokens"] },
    { family: "olmo2", modulesToSave: ["norm", "lm_head"] },
  ];
  for (const { family, modulesToSave } of cases) {
    const name = `${family}, ${modulesToSave}`;
    const model = await modelOf(device, await openFolder(familyBase(family)));
    const { replacements, config } = await savedParameters(device, model, { modulesToSave });
    const lossOf = async (moved: ReadonlyMap<string, HostTensor>) => {
      const own = new Map([...replacements].map(([key, one]) => {
        const data = moved.get(one.tensor);
        return [key, data && one.kind === "whole" ? { ...one, data } : one] as const;
      }));
      const trainer = await Trainer.open(device, model, {
        ...{ method: lora, modules: new Map(), rows: tokens.length },
        ownParameters: await ownParameters(device, model, { config, replacements: own }),
      });
      const { loss, tensors } = await trainer.gradients(batch);
      trainer.release();
      return { loss, tensors };
    };
    const { tensors } = await lossOf(new Map());
    assert.equal(tensors.size, replacements.size);
    for (const [key, one] of replacements) {
      assert.ok(one.kind === "whole");
      const g = tensors.get(one.tensor)!.data,
        norm = Math.hypot(...g),
        values = toFloat32(fromTensor(key, one.data));
      assert.ok(norm > 1e-3, `${name}, ${key}: ${norm}`);
      const moved = (by: number): Map<string, HostTensor> =>
        new Map([[one.tensor, tensor(values.map((value, i) => value + by * g[i] / norm), one.data.shape)]]);
      const step = 0.02, [up, down] = [await lossOf(moved(step)), await lossOf(moved(-step))];
      const slope = (up.loss - down.loss) / (2 * step);
      assert.ok(Math.abs(slope - norm) < 0.02 * norm + 1e-4, `${name}, ${key}: ${slope}, not ${norm}`);
    }
  }
  device.destroy();
});

test("train saves what it trains beside linears, and refuses what it cannot", async () => {
  const device = cpuDevice(), folder = await baseFolder(), losses: number[] = [];
  const data = { content: "the mill turns the wheel and the wheel turns the mill ".repeat(40) };
  const run = { folder, data, steps: 4, batchSize: 2, contextLength: 16, lr: 0.01 };
  const asked = (adapter: object) =>
    train(device, { ...run, adapter: { peftType: "LORA", ...adapter } as never });
  const { files } = await train(device, {
    ...run,
    adapter: {
      peftType: "LORA",
      r: 2,
      modulesToSave: ["model.norm", "lm_head"],
      trainableTokenIndices: [7, 3],
    },
    onEvent: (event) => void (event.kind === "step" && losses.push(event.loss)),
  });
  assert.ok(losses[3] < losses[0] - 0.01, `${losses}`);
  const { config, replacements } = await loadAdapter(memoryFolder(files));
  assert.deepEqual([config.modules_to_save, config.trainable_token_indices], [["model.norm", "lm_head"], [
    7,
    3,
  ]]);
  assert.deepEqual([...replacements.keys()].sort(), [
    ...["lm_head.weight", "model.embed_tokens.weight", "model.norm.weight"],
  ]);
  const again = await train(device, { ...run, adapter: { init: memoryFolder(files) } });
  assert.deepEqual([...tensorsOf(again.files.get("adapter_model.safetensors")!).keys()], [
    ...tensorsOf(files.get("adapter_model.safetensors")!).keys(),
  ]);
  const refusals: [object, RegExp][] = [
    [{ modulesToSave: ["q_proj"] }, /Cannot train module to save "q_proj": no norm, embedding or head/],
    [{ trainableTokenIndices: [512] }, /Cannot use trainableTokenIndices with 512: .* 0\.\.511/],
    [{ trainableTokenIndices: [1, 1] }, /Cannot use trainableTokenIndices: .* each once/],
    [{ peftType: "FOURIERFT", trainableTokenIndices: [1] }, /with FourierFT: PEFT trains tokens beside LORA/],
    [{ modulesToSave: ["embed_tokens"], trainableTokenIndices: [1] }, /by modulesToSave and by/],
  ];
  for (const [adapter, rule] of refusals) await assert.rejects(asked(adapter), rule);
  const small = new Proxy(device, {
    get(of, name) {
      const value = Reflect.get(of, name, of);
      return name === "maxTensorBytes" ? 1000 : typeof value === "function" ? value.bind(of) : value;
    },
  }) as Device;
  const model = await modelOf(device, folder),
    saved = await savedParameters(device, model, { modulesToSave: ["lm_head"] });
  await assert.rejects(
    ownParameters(small, model, saved),
    /Cannot train 32768 numbers beside linears: .* 1000 bytes/,
  );
  const init = (name: string) =>
    methodFixture(name).then((init) => train(device, { ...run, adapter: { init } }));
  await assert.rejects(
    init("lora-bias-all"),
    /Cannot train adapter tensor ".*bias": biases of linears are not trained/,
  );
  await assert.rejects(init("lora-lora-bias"), /Cannot train an adapter whose module ".*" has a bias/);
  device.destroy();
});
