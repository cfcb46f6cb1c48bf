import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { loadAdapter, mergeFolder, openModel } from "../mod.ts";
import { cpuDevice } from "../src/device/cpu.ts";
import type { Device } from "../src/device/device.ts";
import type { ReadableFolder } from "../src/folder.ts";
import { openWeights, readConfig } from "../src/models/families.ts";
import { linearWeights } from "../src/models/model.ts";
import { quantizeFolder } from "../src/quantize.ts";
import { openAdapterStore, openFolder } from "../src/runtime/mod.ts";
import { fromTensor, parseSafetensors, type TensorView, writeSafetensors } from "../src/safetensors/mod.ts";
import { type HostTensor, tensor } from "../src/tensor.ts";
import { devicesForLongTests, everything } from "./devices.ts";
import { fixtureJson, weightsOf } from "./gguf_folders.ts";
import { fixtureBytes, memoryFolder, weightsFile } from "./model_folders.ts";
import { awqWriter, bnb4Writer, bnb8Writer, gptqWriter, type PackedWriter } from "./packed_writers.ts";

const fixture = (path: string): string => fileURLToPath(new URL(`fixtures/${path}`, import.meta.url));
const base = "methods/base";
const isLinear = /layers\.\d+\..*_proj\.weight$/;

const folderOf = (quantization: Record<string, unknown> | undefined, weights: Uint8Array): ReadableFolder =>
  memoryFolder({
    "config.json": JSON.stringify({
      ...fixtureJson(`${base}/config.json`),
      quantization_config: quantization,
    }),
    "tokenizer.json": fixtureBytes(`${base}/tokenizer.json`),
    "model.safetensors": weights,
  });

/** Tensors that go in place of others, by name; undefined for none. */
type Changes = Readonly<Record<string, (view: TensorView) => TensorView | undefined>>;

/** The base model as another program stores it, and its numbers as floats. */
function folders(config: Record<string, unknown>, writer: PackedWriter, changes: Changes = {}) {
  const views: TensorView[] = [], floats: Record<string, HostTensor> = {};
  for (const [name, t] of Object.entries(weightsOf(base))) {
    if (!isLinear.test(name)) {
      views.push(fromTensor(name, t));
      floats[name] = t;
      continue;
    }
    const made = writer(name.replace(/\.weight$/, ""), t);
    views.push(...made.views);
    floats[name] = tensor(made.numbers, t.shape);
  }
  const changed = views.flatMap((view) => {
    const made = Object.hasOwn(changes, view.name) ? changes[view.name](view) : view;
    return made ? [made] : [];
  });
  return {
    packed: folderOf(config, writeSafetensors(changed)),
    floats: folderOf(undefined, weightsFile(floats)),
  };
}

async function everyWeight(folder: ReadableFolder): Promise<Map<string, HostTensor>> {
  const checkpoint = await openWeights(folder, await readConfig(folder));
  const all = new Map<string, HostTensor>();
  for (const name of [...checkpoint.names].sort()) {
    all.set(name, await checkpoint.read(name));
    assert.deepEqual(checkpoint.info(name).shape, all.get(name)!.shape);
  }
  await checkpoint.close();
  return all;
}

async function open(device: Device, folder: ReadableFolder) {
  const lines: string[] = [];
  const adapters = await openAdapterStore(fixture("methods"));
  const opened = await openModel(device, { folder, adapters, registry: { log: (line) => lines.push(line) } });
  return { ...opened, lines };
}

/** The most likely tokens and their log-probabilities. */
async function answer(device: Device, folder: ReadableFolder, adapter: string | undefined) {
  const { engine } = await open(device, folder), found: number[] = [];
  const sampling = { temperature: 0, topP: 1, topK: 0 };
  const request = { promptTokenIds: [3, 14, 15, 9, 2, 6], adapter, maxTokens: 5, sampling, logprobs: 3 };
  for await (const event of engine.generate(request)) {
    if (event.kind === "token") {
      found.push(
        event.tokenId,
        ...event.logprobs!.top.map(({ logprob }) => logprob),
      );
    }
  }
  return found;
}

const gptqConfig = (bits: number, groupSize: number, more: Record<string, unknown> = {}) => ({
  ...{ quant_method: "gptq", bits, group_size: groupSize, desc_act: false, sym: true },
  ...more,
});
const awqConfig = { quant_method: "awq", bits: 4, group_size: 32, zero_point: true, version: "gemm" };
const bnbConfig = (bits: 4 | 8) => ({ quant_method: "bitsandbytes", [`load_in_${bits}bit`]: true });

/** Ways to store the base, and the format that its first linear, of 64 inputs, and its last, of 96, have here. */
const cases: Readonly<
  Record<string, readonly [Record<string, unknown>, PackedWriter, string, string, RegExp | undefined]>
> = {
  "GPTQ of 4 bits": [
    gptqConfig(4, 32),
    gptqWriter({ bits: 4, groupSize: 32, isSymmetric: true, lists: true }),
    ...["q4_32", "q4_32", undefined] as const,
  ],
  "GPTQ of one group an output": [
    gptqConfig(4, -1, { desc_act: true }),
    gptqWriter({ bits: 4, groupSize: -1, isSymmetric: true, descAct: true }),
    ...["q4_32", "q4_32", undefined] as const,
  ],
  "GPTQ with zeros of version 1": [
    gptqConfig(4, 64, { sym: false, checkpoint_format: "gptq" }),
    gptqWriter({ bits: 4, groupSize: 64, isSymmetric: false }),
    ...["q4z_32", "q4z_32", undefined] as const,
  ],
  "GPTQ with zeros of version 2": [
    gptqConfig(4, 128, { sym: false, checkpoint_format: "gptq_v2" }),
    gptqWriter({ bits: 4, groupSize: 128, isSymmetric: false, version: 2 }),
    ...["q4z_32", "q4z_32", undefined] as const,
  ],
  "GPTQ of 8 bits": [
    gptqConfig(8, 32),
    gptqWriter({ bits: 8, groupSize: 32, isSymmetric: true }),
    ...["q8_32", "q8_32", undefined] as const,
  ],
  "GPTQ of 8 bits with zeros": [
    gptqConfig(8, 32, { sym: false }),
    gptqWriter({ bits: 8, groupSize: 32, isSymmetric: false }),
    ...[
      "dense",
      "dense",
      /^14 weights of gptq are kept as float32 \(\d+\.\d MB\): numbers of 8 bits/,
    ] as const,
  ],
  "GPTQ in the order of activations": [
    gptqConfig(4, 32, { desc_act: true }),
    gptqWriter({ bits: 4, groupSize: 32, isSymmetric: true, descAct: true }),
    ...["dense", "dense", /^14 weights of gptq are kept as float32 \(0\.2 MB\): inputs .*desc_act/] as const,
  ],
  "AWQ": [awqConfig, awqWriter(32), "q4z_32", "q4z_32", undefined],
  "AWQ by AutoAWQ's names": [
    { quant_method: "awq", w_bit: 4, q_group_size: 96, zero_point: true, version: "GEMM" },
    awqWriter(96),
    ...["q4z_32", "q4z_32", undefined] as const,
  ],
  "NF4": [bnbConfig(4), bnb4Writer({ type: "nf4", size: 64, nested: false }), "nf4_32", "nf4_32", undefined],
  "NF4 with scales in 8 bits": [
    { load_in_4bit: true },
    bnb4Writer({ type: "nf4", size: 32, nested: true }),
    ...["nf4_32", "nf4_32", undefined] as const,
  ],
  "FP4": [
    bnbConfig(4),
    bnb4Writer({ type: "fp4", size: 64, nested: true }),
    ...["dense", "dense", /^14 weights of bitsandbytes are kept as float32 .*not NF4's$/] as const,
  ],
  "LLM.int8()": [bnbConfig(8), bnb8Writer(), "q8_32", "q8_32", undefined],
};

for (const [name, [config, writer, first, last, notice]] of Object.entries(cases)) {
  test(`${name}: numbers are those of the format, bit for bit, in blocks where there are such`, async () => {
    const { packed, floats } = folders(config, writer);
    assert.deepEqual(await everyWeight(packed), await everyWeight(floats));
    const { model, lines } = await open(cpuDevice(), packed), count = model.linears.length;
    assert.equal(linearWeights(model, 0).weight.format.name, first);
    assert.equal(linearWeights(model, count - 2).weight.format.name, last);
    if (notice) assert.match(lines.find((line) => line.includes("float32"))!, notice);
    else assert.ok(!lines.some((line) => line.includes("float32")), lines.join("; "));
  });

  test(`${name}: the base and adapters answer as on the numbers as floats`, async () => {
    const { packed, floats } = folders(config, writer);
    for (const adapter of [undefined, "fourierft", "lora"]) {
      const [found, wanted] = await Promise.all(
        // WASM rounds x, too.
        [packed, floats].map((folder) => answer(cpuDevice({ wasm: false }), folder, adapter)),
      );
      assert.equal(found.length, wanted.length);
      found.forEach((value, i) => assert.ok(Math.abs(value - wanted[i]) <= 1e-4, `${adapter}: ${value}`));
    }
  });
}

// A software GPU compiles these texts for half a minute: the contract of kernels has their numbers.
for (const device of everything ? await devicesForLongTests() : []) {
  for (const name of ["AWQ", "NF4"]) {
    test(`${name} on ${device.kind}: an adapter answers as on the numbers as floats`, async () => {
      const [config, writer] = cases[name], { packed, floats } = folders(config, writer);
      const found = await answer(device, packed, "fourierft");
      const wanted = await answer(cpuDevice({ wasm: false }), floats, "fourierft");
      found.forEach((value, i) =>
        assert.ok(Math.abs(value - wanted[i]) <= 1e-4, `${value}, not ${wanted[i]}`)
      );
    });
  }
}

test("mergeFolder writes floats in place of packed weights, and no quantization_config", async () => {
  const { packed, floats } = folders(awqConfig, awqWriter(32)), device = cpuDevice();
  const adapter = await loadAdapter(await openFolder(fixture("methods/lora"))), written: Uint8Array[][] = [];
  for (const model of [packed, floats]) {
    const files = new Map<string, Uint8Array>();
    const out = {
      async write(name: string, parts: AsyncIterable<Uint8Array>) {
        const all: Uint8Array<ArrayBuffer>[] = [];
        for await (const part of parts) all.push(part.slice());
        files.set(name, new Uint8Array(await new Blob(all).arrayBuffer()));
      },
    };
    await mergeFolder(device, { model, adapter, out });
    written.push([files.get("model.safetensors")!, files.get("config.json")!]);
    const fields = JSON.parse(new TextDecoder().decode(files.get("config.json")));
    assert.deepEqual(fields, fixtureJson(`${base}/config.json`));
  }
  const [ours, theirs] = written.map(([weights]) => parseSafetensors(weights));
  assert.deepEqual([...ours.tensors.keys()].sort(), [...theirs.tensors.keys()].sort());
  for (const name of ours.tensors.keys()) {
    assert.deepEqual(ours.read(name).bytes, theirs.read(name).bytes, name);
  }
});

const path = "model.layers.0.self_attn.q_proj";
const gptq4 = gptqWriter({ bits: 4, groupSize: 32, isSymmetric: true, lists: true });
const absent = (): undefined => undefined;
const withShape = (shape: readonly number[]) => (view: TensorView): TensorView => {
  const bytes = shape.reduce(
    (all, size) => all * size,
    view.bytes.length / view.shape.reduce((a, b) => a * b, 1),
  );
  return { ...view, shape, bytes: view.bytes.slice(0, bytes) };
};
const withBytes = (change: (bytes: Uint8Array) => Uint8Array) => (view: TensorView): TensorView => {
  const bytes = change(view.bytes.slice());
  return {
    ...view,
    bytes,
    ...(view.shape.length === 1 && view.dtype === "U8" ? { shape: [bytes.length] } : {}),
  };
};
const withText = (from: string, to: string) =>
  withBytes((bytes) => new TextEncoder().encode(new TextDecoder().decode(bytes).replace(from, to)));
const nf4State = `${path}.weight.quant_state.bitsandbytes__nf4`;
const nf4 = bnb4Writer({ type: "nf4", size: 64, nested: true });

const refusals: readonly (readonly [string, Record<string, unknown>, PackedWriter, Changes, RegExp])[] = [
  ["3 bits", gptqConfig(3, 32), gptq4, {}, /"quantization_config\.bits" = 3: of GPTQ's it must be 4 or 8/],
  ["groups of 0", gptqConfig(4, 0), gptq4, {}, /group_size" = 0: it must be a positive integer or -1/],
  [
    "another layout",
    gptqConfig(4, 32, { checkpoint_format: "marlin" }),
    ...[gptq4, {}, /checkpoint_format" = "marlin": supported are gptq, gptq_v2/] as const,
  ],
  [
    "bits by module",
    gptqConfig(4, 32, { dynamic: { "+:.*down.*": { bits: 8 } } }),
    ...[gptq4, {}, /quantization_config\.dynamic" = .*: it is not supported/] as const,
  ],
  [
    "AWQ's other order",
    { ...awqConfig, version: "gemv" },
    awqWriter(32),
    {},
    /version" = "gemv": it must be "gemm"/,
  ],
  ["AWQ of 8 bits", { ...awqConfig, bits: 8 }, awqWriter(32), {}, /quantization_config\.bits" = 8: of AWQ's/],
  ["another program", { quant_method: "hqq" }, gptq4, {}, /fourierft, bitsandbytes, gptq, awq are supported/],
  [
    "missing zeros",
    gptqConfig(4, 32),
    ...[gptq4, { [`${path}.qzeros`]: absent }, /q_proj\.weight": its tensor ".*qzeros" is missing/] as const,
  ],
  [
    "groups of another size",
    gptqConfig(4, 16),
    ...[
      gptq4,
      {},
      /_proj\.weight": its tensor ".*\.scales" has shape \[3,64\], the rule is \[6,64\]/,
    ] as const,
  ],
  [
    "a group that is not there",
    gptqConfig(4, 32),
    gptq4,
    { [`${path}.g_idx`]: withBytes((bytes) => bytes.fill(9, 8, 9)) },
    /q_proj\.weight": its tensor ".*g_idx" has input 2 in group 9 of 2/,
  ],
  [
    "no list of groups that are no neighbours",
    gptqConfig(4, 32, { desc_act: true }),
    gptqWriter({ bits: 4, groupSize: 32, isSymmetric: true }),
    {},
    /_proj\.weight": its tensor ".*\.g_idx" is missing, which desc_act needs/,
  ],
  [
    "numbers of another shape",
    awqConfig,
    awqWriter(32),
    { [`${path}.qweight`]: withShape([64, 4]) },
    /q_proj\.weight": its tensor ".*qzeros" has shape \[2,8\], the rule is \[2,4\]/,
  ],
  [
    "a scale that is not finite",
    awqConfig,
    awqWriter(32),
    { [`${path}.scales`]: withBytes((bytes) => bytes.fill(0x7c, 1, 2)) },
    /q_proj\.weight": its tensor ".*scales" has element 0 = \w+, it must be finite/,
  ],
  [
    "NF4 without its sizes",
    bnbConfig(4),
    nf4,
    { [nf4State]: withText('"blocksize":64', '"blocks":64') },
    /q_proj\.weight": its quant_state has no blocksize/,
  ],
  [
    "NF4 of another shape",
    bnbConfig(4),
    nf4,
    { [nf4State]: withText('"shape":[64,64]', '"shape":[64,32]') },
    /q_proj\.weight" of shape \[64,32\]: config\.json makes it \[64,64\]/,
  ],
  [
    "NF4 without the scales' offset",
    bnbConfig(4),
    nf4,
    { [nf4State]: withText("nested_offset", "nested_onset") },
    /q_proj\.weight": its quant_state has no nested_blocksize and nested_offset/,
  ],
  [
    "bytes of another order",
    bnbConfig(8),
    bnb8Writer(),
    { [`${path}.weight_format`]: (view) => ({ ...view, bytes: Uint8Array.of(1) }) },
    /q_proj\.weight": its tensor ".*weight_format" says another order than by rows/,
  ],
  [
    "no packing where tensors are packed",
    {},
    gptq4,
    {},
    /"quantization_config" = \{\}: of quantized weights those of quant_method/,
  ],
];

for (const [what, config, writer, changes, message] of refusals) {
  test(`packed weights: ${what} is refused by name`, async () => {
    await assert.rejects(open(cpuDevice(), folders(config, writer, changes).packed), (error: Error) => {
      assert.equal(error.name, "ConfigError");
      assert.match(error.message, message);
      return true;
    });
  });
}

test("packed weights are not quantised again", async () => {
  const { packed } = folders(awqConfig, awqWriter(32)), again = /its folder has weights of awq already$/;
  await assert.rejects(openModel(cpuDevice(), { folder: packed, quantize: "int8" }), again);
  const out = { write: () => Promise.reject(new Error("nothing is written")) };
  await assert.rejects(quantizeFolder({ model: packed, to: "int4", out }), again);
});

test("a bias of zeros that the model has no place for is left out, another is refused", async () => {
  const { packed } = folders(gptqConfig(4, 32), gptq4), name = "model.layers.1.mlp.down_proj.bias";
  const source = await packed.open("model.safetensors"), bytes = await source.read(0, source.sizeBytes);
  const file = parseSafetensors(bytes), views = [...file.tensors.keys()].map((key) => file.read(key));
  const withBias = (bias: Float32Array) =>
    open(
      cpuDevice(),
      folderOf(gptqConfig(4, 32), writeSafetensors([...views, fromTensor(name, tensor(bias))])),
    );
  await withBias(new Float32Array(64));
  await assert.rejects(
    withBias(new Float32Array(64).fill(1, 7, 8)),
    new RegExp(`Cannot use weight "${name}"`),
  );
});
