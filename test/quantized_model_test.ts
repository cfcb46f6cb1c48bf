import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { widen } from "../kernels/half.ts";
import { loadAdapter } from "../src/adapters/peft.ts";
import { cpuDevice } from "../src/device/cpu.ts";
import type { Device } from "../src/device/device.ts";
import { Runner } from "../src/engine/runner.ts";
import { ConfigError } from "../src/errors.ts";
import type { ReadableFolder, WritableFolder } from "../src/folder.ts";
import { mergeFolder } from "../src/merge.ts";
import { openCheckpoint } from "../src/models/checkpoint.ts";
import { loadModel, type Model, type WeightSource } from "../src/models/model.ts";
import { formatOf, headFormat, type QuantizeTo } from "../src/models/quantization.ts";
import { quantizeTensor } from "../src/models/weights.ts";
import { readConfig } from "../src/models/families.ts";
import { quantizeFolder } from "../src/quantize.ts";
import { openFolder } from "../src/runtime/file.ts";
import { bytesSource, fromTensor, parseSafetensors, writeSafetensors } from "../src/safetensors/mod.ts";
import { type HostTensor, tensor } from "../src/tensor.ts";
import { noTarget, type TrainingBatch } from "../src/training/batch.ts";
import { Trainer } from "../src/training/trainer.ts";
import { devicesForLongTests } from "./devices.ts";
import { distance } from "./kernel_contract.ts";
import { lane } from "./lanes.ts";

const fixture = (path: string): string => fileURLToPath(new URL(`fixtures/${path}/`, import.meta.url));
const devices = await devicesForLongTests();
const both: readonly QuantizeTo[] = ["int8", "int4"];

/** A folder in memory, which can be read as soon as it is written. */
class MemoryFolder implements ReadableFolder, WritableFolder {
  readonly files = new Map<string, Uint8Array>();

  open(name: string) {
    return Promise.resolve(bytesSource(this.files.get(name)!));
  }

  readText(name: string) {
    return Promise.resolve(new TextDecoder().decode(this.files.get(name)));
  }

  exists(name: string) {
    return Promise.resolve(this.files.has(name));
  }

  async write(name: string, parts: AsyncIterable<Uint8Array>) {
    const bytes: number[] = [];
    for await (const part of parts) bytes.push(...part);
    this.files.set(name, Uint8Array.from(bytes));
  }

  /** Changes config.json, or one tensor of the weights. */
  config(changes: Readonly<Record<string, unknown>>): void {
    const fields = JSON.parse(new TextDecoder().decode(this.files.get("config.json")));
    this.files.set("config.json", new TextEncoder().encode(JSON.stringify({ ...fields, ...changes })));
  }

  tensor(name: string, change: (t: HostTensor) => HostTensor | undefined): void {
    const file = parseSafetensors(this.files.get("model.safetensors")!);
    const views = [...file.tensors.keys()].map((key) => file.read(key)).flatMap((view) => {
      if (view.name !== name) return [view];
      const words = new Uint32Array(view.bytes.slice().buffer);
      const changed = change(tensor(words, view.shape));
      return changed ? [fromTensor(name, changed)] : [];
    });
    this.files.set("model.safetensors", writeSafetensors(views));
  }
}

async function load(device: Device, folder: ReadableFolder, quantize?: QuantizeTo): Promise<Model> {
  const source = await openCheckpoint(folder);
  return await loadModel(device, { config: await readConfig(folder), source, quantize })
    .finally(() => source.close());
}

async function quantized(name: string, to: QuantizeTo): Promise<MemoryFolder> {
  const out = new MemoryFolder();
  await quantizeFolder({ model: await openFolder(fixture(name)), to, out });
  return out;
}

/** The float model whose weights are what the quantised ones stand for. */
async function loadRounded(device: Device, name: string, to: QuantizeTo): Promise<Model> {
  const folder = await openFolder(fixture(name));
  const config = { ...await readConfig(folder), tieWordEmbeddings: false };
  const source = await openCheckpoint(folder);
  const rounded: WeightSource = {
    names: [...new Set([...source.names, "lm_head.weight"])],
    info: (name) => source.info(source.names.includes(name) ? name : "model.embed_tokens.weight"),
    async read(name) {
      const stored = await source.read(source.names.includes(name) ? name : "model.embed_tokens.weight");
      if (!/(_proj|lm_head)\.weight$/.test(name)) return stored;
      const format = name === "lm_head.weight" ? headFormat : formatOf[to];
      const { shape, tensors: { words, scales } } = quantizeTensor(stored, { name, format });
      return tensor(
        format.rows({ words: words.data, scales: widen(scales.data, scales.dtype) }, shape),
        stored.shape,
      );
    },
  };
  return await loadModel(device, { config, source: rounded }).finally(() => source.close());
}

/** Logits of a prompt at all its positions. */
async function logitsOf(device: Device, model: Model): Promise<number[]> {
  const runner = new Runner(device, model, {
    banks: [],
    maxRows: 16,
    maxOutputs: 16,
    cacheRows: 64,
    blockSize: 1,
  });
  const rows = [3, 14, 15, 9, 2, 6].map((token, position) => ({ token, position, blocks: lane(32) }));
  await runner.step(rows, rows.map((_, row) => ({ row, temperature: 0, topP: 1, topK: 0, uniform: 0 })));
  const logits: number[] = [];
  for (let i = 0; i < rows.length; i++) logits.push(...await runner.logits(i));
  return logits;
}

for (const device of devices) {
  for (const name of ["tiny/llama-bias-tied", "tiny/mistral-sharded"]) {
    test(`loadModel quantising ${name} on ${device.kind}: logits are those of its weights rounded, near the float ones`, async () => {
      const float = await logitsOf(device, await load(device, await openFolder(fixture(name))));
      // Half a step of a block's largest element: 1/256 of it, 1/16; errors add up over two layers.
      for (const [to, bound] of [["int8", 0.02], ["int4", 0.3]] as const) {
        const found = await logitsOf(device, await load(device, await openFolder(fixture(name)), to));
        const rounded = await logitsOf(device, await loadRounded(device, name, to));
        // A CPU rounds x to 16 bits before it multiplies.
        const nearest = device.kind === "cpu" ? 3e-4 : 1e-5;
        assert.ok(distance(found, rounded) <= nearest, `${to}: ${distance(found, rounded)} from the rounded`);
        const off = distance(found, float);
        assert.ok(off > 1e-4 && off <= bound, `${to}: ${off} from the float model, allowed are ${bound}`);
      }
    });
  }
}

/** Everything of a model that is on the CPU, as numbers. */
const numbersOf = ({ projections, head, weights }: Model) => ({ projections, head, weights });

for (const name of ["tiny/llama", "tiny/llama-bias-tied", "tiny/qwen2", "tiny/mistral-sharded"]) {
  test(`quantizeFolder of ${name}: the folder opens to the very numbers that quantising at load makes`, async () => {
    for (const to of both) {
      const device = cpuDevice();
      const saved = await load(device, await quantized(name, to));
      const made = await load(device, await openFolder(fixture(name)), to);
      assert.deepEqual(numbersOf(saved), numbersOf(made));
      assert.equal(saved.head.weight.format, headFormat);
      const { weight } = saved.projections[0];
      assert.equal(weight.format, formatOf[to]);
    }
  });
}

test("quantizeFolder keeps every other tensor and file, and says in config.json what it did", async () => {
  const folder = await quantized("tiny/llama-bias-tied", "int4");
  const base = await openFolder(fixture("tiny/llama-bias-tied"));
  const fields = JSON.parse(await base.readText("config.json"));
  assert.deepEqual(JSON.parse(await folder.readText("config.json")), {
    ...fields,
    quantization_config: { quant_method: "fourierft", bits: 4, group_size: 32 },
  });
  assert.equal(await folder.readText("tokenizer.json"), await base.readText("tokenizer.json"));
  const [before, after] = [await openCheckpoint(base), await openCheckpoint(folder)];
  for (const kept of ["model.embed_tokens.weight", "model.norm.weight", "model.layers.1.mlp.up_proj.bias"]) {
    assert.deepEqual(await after.read(kept), await before.read(kept));
  }
  assert.ok(!after.names.includes("model.layers.0.mlp.up_proj.weight"));
  await before.close();
});

async function refuses(opening: Promise<unknown>, rule: RegExp): Promise<void> {
  await assert.rejects(opening, (error: Error) => {
    assert.ok(error instanceof ConfigError, `${error}`);
    assert.match(error.message, rule);
    return true;
  });
}

test("quantised folders that are broken are refused, by the field or the tensor", async () => {
  const cpu = cpuDevice();
  const q = "model.layers.0.self_attn.q_proj";
  const broken = async (change: (folder: MemoryFolder) => void, rule: RegExp): Promise<void> => {
    const folder = await quantized("tiny/llama", "int8");
    change(folder);
    await refuses(load(cpu, folder), rule);
  };
  const config = (changes: Record<string, unknown>) => (folder: MemoryFolder) =>
    folder.config({
      quantization_config: { quant_method: "fourierft", bits: 8, group_size: 32, ...changes },
    });
  await broken(config({ bits: 3 }), /"quantization_config\.bits" = 3: it must be 8 or 4/);
  await broken(config({ group_size: 64 }), /"quantization_config\.group_size" = 64: it must be 32/);
  await broken(
    config({ quant_method: "aqlm" }),
    /"quantization_config" = .*aqlm.*those of quant_method fourierft, bitsandbytes, gptq, awq are supported/,
  );
  await broken(
    config({ bits: 4 }),
    /q_proj\.weight_packed" of shape \[16,8\]: config\.json makes it \[16,4\]/,
  );
  await broken(
    (folder) => folder.config({ quantization_config: undefined }),
    /Cannot find weight "lm_head\.weight"/,
  );
  await broken(
    (folder) => folder.tensor(`${q}.weight_packed`, () => undefined),
    /Cannot find weight ".*q_proj\.weight_packed"/,
  );
  await broken(
    (folder) => folder.tensor(`${q}.weight_packed`, ({ shape }) => tensor(new Float32Array(16 * 8), shape)),
    /q_proj\.weight_packed" of float32: config\.json makes it uint32/,
  );
});

test("weights are quantised once, from finite numbers, and not merged into after", async () => {
  const cpu = cpuDevice();
  const folder = await quantized("tiny/llama", "int8");
  await refuses(
    load(cpu, folder, "int4"),
    /Cannot quantize the model as int4: its folder has weights of q8_32 already/,
  );
  await refuses(quantizeFolder({ model: folder, to: "int8", out: new MemoryFolder() }), /of q8_32 already/);
  await assert.rejects(load(cpu, await openFolder(fixture("tiny/llama")), "int2" as QuantizeTo), RangeError);
  const adapter = await loadAdapter(await openFolder(fixture("training/lora/start")));
  await refuses(
    mergeFolder(cpu, { model: await quantized("training/base", "int8"), adapter, out: new MemoryFolder() }),
    /Cannot merge module "model\.layers\.0\..*: it is quantized; merge into the float model/,
  );
  const source = await openCheckpoint(await openFolder(fixture("tiny/llama")));
  const spoilt: WeightSource = {
    ...source,
    async read(name) {
      const { shape, data, dtype } = await source.read(name);
      const values = data.slice();
      if (name.endsWith("layers.1.mlp.up_proj.weight")) values[5] = NaN;
      return tensor(values, shape, { dtype });
    },
  };
  const config = await readConfig(await openFolder(fixture("tiny/llama")));
  await refuses(
    loadModel(cpu, { config, source: spoilt, quantize: "int8" }),
    /"model\.layers\.1\.mlp\.up_proj": .* element 5 = NaN: it must be finite/,
  );
  await source.close();
});

/** Two sequences of eight tokens. */
function batch(): TrainingBatch {
  const rows = 16;
  const tokens = Uint32Array.from({ length: rows }, (_, i) => (7 * i + 3) % 29);
  const targets = Uint32Array.from({ length: rows }, (_, i) => i % 8 === 7 ? noTarget : (7 * i + 10) % 29);
  const start = (i: number): number => i - i % 8;
  return {
    tokens,
    targets,
    positions: Uint32Array.from({ length: rows }, (_, i) => i % 8),
    first: Uint32Array.from({ length: rows }, (_, i) => start(i)),
    last: Uint32Array.from({ length: rows }, (_, i) => start(i) + 8),
    targetCount: 14,
  };
}

test("Trainer: gradients through quantised weights are those through the weights rounded", async () => {
  const device = cpuDevice({ wasm: false }); // WASM rounds x, too
  const adapter = await loadAdapter(await openFolder(fixture("training/fourierft/start")));
  const gradients = async (model: Model) => {
    const trainer = await Trainer.open(device, model, { ...adapter, rows: 16 });
    const found = await trainer.gradients(batch());
    trainer.release();
    return found;
  };
  const found = await gradients(await load(device, await openFolder(fixture("training/base")), "int4"));
  const expected = await gradients(await loadRounded(device, "training/base", "int4"));
  assert.ok(Math.abs(found.loss - expected.loss) <= 1e-5 * expected.loss);
  for (const [name, { data }] of expected.tensors) {
    const off = distance(found.tensors.get(name)!.data, data);
    assert.ok(off <= 1e-5, `${name}: ${off}`);
  }
});
