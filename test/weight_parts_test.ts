/**
 * Models whose embedding and head no buffer of a device holds: both are in parts there.
 *
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { cpuDevice, type Device, loadAdapter, type LoadedAdapter, openModel, perplexity } from "../mod.ts";
import { Bank } from "../src/adapters/bank.ts";
import { Runner } from "../src/engine/runner.ts";
import { openWeights, readConfig } from "../src/models/families.ts";
import { loadModel, type Model } from "../src/models/model.ts";
import { inParts, partsOf, type Weight } from "../src/models/weights.ts";
import { openAdapterStore, openFolder } from "../src/runtime/mod.ts";
import { bytesPerElement, elements, type HostTensor, tensor } from "../src/tensor.ts";
import { dense } from "../kernels/formats/mod.ts";
import { inEveryGpuCase, testGpu } from "./devices.ts";
import { lane } from "./lanes.ts";

const fixture = (path: string): string => fileURLToPath(new URL(`fixtures/${path}`, import.meta.url));

/** A model whose embedding and head are tied, and one with a head of its own. */
const folders = ["families/variants/gemma2-capped/base", "methods/base"];

/** A device whose buffers are so small that a vocabulary is in about five parts; it refuses what is larger. */
function smallDevice(device: Device, maxTensorBytes: number): Device {
  return {
    ...device,
    maxTensorBytes,
    upload(host) {
      const bytes = elements(host.shape) * bytesPerElement[host.dtype];
      assert.ok(
        bytes <= maxTensorBytes,
        `a tensor of ${bytes} bytes on a device that holds ${maxTensorBytes}`,
      );
      return device.upload(host);
    },
  };
}

type Options = { readonly quantize?: "int8" | "int4" };

async function load(device: Device, path: string, options: Options = {}): Promise<Model> {
  const folder = await openFolder(fixture(path)), config = await readConfig(folder);
  const source = await openWeights(folder, config);
  return await loadModel(device, { config, source, maxModelLen: 32, ...options })
    .finally(() => source.close());
}

const tokens = [3, 250, 64, 0, 383, 65, 127, 129, 311];

/** Logits of `outputs` last tokens of a prompt, whose tokens are of all parts of the vocabulary. */
async function logitsOf(device: Device, model: Model, { outputs, adapter }: {
  readonly outputs: number;
  readonly adapter?: LoadedAdapter;
}): Promise<Float32Array[]> {
  const banks = adapter ? [new Bank(device, adapter.method, { linears: model.linears, capacity: 1 })] : [];
  const slot = adapter && banks[0].load(adapter.modules)!;
  const rows = tokens.map((token, position) => ({
    ...{ token, position, blocks: lane(0) },
    adapters: slot === undefined ? undefined : [{ bank: banks[0], slot }],
  }));
  const runner = new Runner(device, model, {
    ...{ banks, maxRows: rows.length, maxOutputs: outputs, cacheRows: 16, blockSize: 1, merging: "never" },
  });
  await runner.step(
    rows,
    Array.from({ length: outputs }, (_, i) => ({
      ...{ row: rows.length - outputs + i, temperature: 0, topP: 1, topK: 0, uniform: 0 },
    })),
  );
  const found: Float32Array[] = [];
  for (let i = 0; i < outputs; i++) found.push((await runner.logits(i)).slice());
  return found;
}

/** Bytes that a fifth of a model's embedding takes, and its largest projection. */
async function partBytes(path: string): Promise<number> {
  const { vocabSize, hiddenSize } = await readConfig(await openFolder(fixture(path)));
  return Math.max(4 * Math.ceil(vocabSize / 5) * hiddenSize, 4 * 200 * hiddenSize);
}

for (const path of folders) {
  test(`${path}: logits of a model in parts are those of one in one piece, bit for bit`, async () => {
    const device = cpuDevice(), small = smallDevice(device, await partBytes(path));
    for (const options of [{}, { quantize: "int8" }] as const) {
      const one = await load(device, path, options), parted = await load(small, path, options);
      assert.equal(one.head.weight.parts, undefined);
      if (!("quantize" in options)) assert.ok(parted.head.weight.parts!.length >= 2);
      for (const outputs of [1, 3]) {
        assert.deepEqual(
          await logitsOf(small, parted, { outputs }),
          await logitsOf(device, one, { outputs }),
        );
      }
    }
  });
}

test("engines answer by models in parts, adapters with them, as by those in one piece", async () => {
  const device = cpuDevice(), small = smallDevice(device, await partBytes(folders[0]));
  const request = { promptTokenIds: tokens, maxTokens: 8, sampling: { temperature: 0, topP: 1, topK: 0 } };
  const answers = await Promise.all([device, small].map(async (one) => {
    const { engine } = await openModel(one, {
      folder: await openFolder(fixture(folders[0])),
      adapters: await openAdapterStore(fixture("families/variants/gemma2-capped/adapters")),
      maxModelLen: 32,
      engine: { maxSequences: 2 },
    });
    const ids: number[][] = [];
    for (const adapter of [undefined, "lora"]) {
      const made: number[] = [];
      for await (const event of engine.generate({ ...request, adapter })) {
        if (event.kind === "token") made.push(event.tokenId);
      }
      ids.push(made);
    }
    return ids;
  }));
  assert.deepEqual(answers[1], answers[0]);
});

test("a GPU whose buffers are small gives the logits of a CPU in one piece", inEveryGpuCase, async () => {
  const gpu = await testGpu(), path = folders[0], small = smallDevice(gpu, await partBytes(path));
  const adapter = await loadAdapter(
    await openFolder(fixture("families/variants/gemma2-capped/adapters/lora")),
  );
  const cpu = cpuDevice(), options = { outputs: 2, adapter };
  const found = await logitsOf(small, await load(small, path), options);
  const expected = await logitsOf(cpu, await load(cpu, path), options);
  for (const [i, logits] of expected.entries()) {
    const off = Math.max(...logits.map((logit, id) => Math.abs(logit - found[i][id])));
    assert.ok(off <= 1e-4, `a logit is off by ${off}`);
  }
});

test("perplexity refuses a model whose head no buffer holds, with the head's sizes", async () => {
  const small = smallDevice(cpuDevice(), await partBytes(folders[0]));
  const folder = await openFolder(fixture(folders[0]));
  await assert.rejects(
    perplexity(small, { folder, data: { content: "The king and the cat." }, contextLength: 8 }),
    /^RangeError: Cannot compute losses on this device: no buffer of it holds the model's head of \(384, 16\)/,
  );
});

test("inParts cuts rows at multiples of 64 where it can, and leaves what fits", () => {
  const of = (out: number, inSize: number): Weight<HostTensor> => ({
    format: dense,
    shape: { out, in: inSize },
    tensors: { weight: tensor(Float32Array.from({ length: out * inSize }, (_, i) => i), [out, inSize]) },
  });
  const cut = (out: number, rows: number) =>
    partsOf(inParts(of(out, 3), { maxTensorBytes: 12 * rows })).map(({ at, part: { shape, tensors } }) => {
      assert.equal(tensors.weight.data[0], 3 * at);
      assert.equal(tensors.weight.data.length, 3 * shape.out);
      return shape.out;
    });
  assert.deepEqual(cut(100, 100), [100]);
  assert.deepEqual(cut(1000, 300), [256, 256, 256, 232]);
  assert.deepEqual(cut(10, 4), [4, 4, 2]);
  assert.deepEqual(cut(3, 1), [1, 1, 1]);
  // A row that no buffer holds is for the device to refuse.
  assert.equal(inParts(of(3, 3), { maxTensorBytes: 11 }).parts, undefined);
});
