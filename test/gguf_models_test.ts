import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { loadAdapter, mergeFolder, openModel, perplexity } from "../mod.ts";
import { cpuDevice } from "../src/device/cpu.ts";
import type { ReadableFolder } from "../src/folder.ts";
import { ggufTypes } from "../src/gguf/types.ts";
import { weightOfBytes } from "../src/models/gguf/blocks.ts";
import { openGguf } from "../src/models/gguf/folder.ts";
import { isTransposed, openWeights, parseConfig, readConfig } from "../src/models/families.ts";
import { openTokenizer } from "../src/models/tokenizer.ts";
import { widened } from "../src/models/weights.ts";
import { openNamedFolder } from "../src/cli/folder.ts";
import { quantizeFolder } from "../src/quantize.ts";
import { openAdapterStore, openFolder } from "../src/runtime/mod.ts";
import { parseSafetensors } from "../src/safetensors/mod.ts";
import { type HostTensor, tensor } from "../src/tensor.ts";
import {
  type DecoderArchitecture,
  decoderParts,
  fixtureJson,
  ggufFolder,
  numbersOf,
  stored,
  storedName,
  tokenizerEntries,
  weightsOf,
} from "./gguf_folders.ts";
import { type Files, memoryFolder, weightsFile } from "./model_folders.ts";
import { devicesForLongTests } from "./devices.ts";

const fixture = (path: string): string => fileURLToPath(new URL(`fixtures/${path}`, import.meta.url));
const base = "methods/base";
const greedy = { temperature: 0, topP: 1, topK: 0 };
const devices = await devicesForLongTests();

const sha256 = ({ data }: HostTensor): string =>
  createHash("sha256").update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength)).digest("hex");

/** A folder with another config.json. */
function folderWith(folder: ReadableFolder, fields: Readonly<Record<string, unknown>>): ReadableFolder {
  const config = JSON.stringify(fields);
  return {
    open: (name) => folder.open(name),
    readText: (name, options) =>
      name === "config.json" ? Promise.resolve(config) : folder.readText(name, options),
    exists: (name) => folder.exists(name),
  };
}

async function everyWeight(folder: ReadableFolder): Promise<Map<string, HostTensor>> {
  const checkpoint = await openWeights(folder, await readConfig(folder));
  const all = new Map<string, HostTensor>();
  for (const name of checkpoint.names) {
    const host = await checkpoint.read(name);
    assert.deepEqual(checkpoint.info(name).shape, host.shape);
    all.set(name, host);
  }
  await checkpoint.close();
  return all;
}

for (
  const [path, architecture] of [[base, "llama"], ["tiny/llama-bias-tied", "llama"], [
    "tiny/qwen2",
    "qwen2",
  ]] as const
) {
  test(`openGguf of ${path}: config, weights and tokens are those of the folder`, async () => {
    const folder = await openFolder(fixture(path)), file = await ggufFolder(decoderParts(path, architecture));
    const wanted = await readConfig(folder), found = await readConfig(file);
    // float32, as files have it.
    assert.deepEqual({ ...found }, {
      ...wanted,
      rmsNormEps: Math.fround((wanted as unknown as { rmsNormEps: number }).rmsNormEps),
    });
    const weights = await everyWeight(file), stored = weightsOf(path);
    assert.deepEqual([...weights.keys()].sort(), Object.keys(stored).sort());
    for (const [name, host] of weights) assert.deepEqual(host, stored[name], name);
    if (path !== base) return;
    const [ours, theirs] = [await openTokenizer(file), await openTokenizer(folder)];
    for (const text of ["The king", "  two\n\nlines, 1234's\t", "", "na\u00efve \u{1f600}"]) {
      assert.deepEqual(
        ours.encode(text, { addSpecialTokens: false }),
        theirs.encode(text, { addSpecialTokens: false }),
      );
      assert.equal(
        ours.decode(ours.encode(text)),
        theirs.decode(theirs.encode(text, { addSpecialTokens: false })),
      );
    }
  });
}

/** A vocabulary, and the ids of texts by it. */
interface Pieces {
  readonly tokens: string[];
  readonly scores: number[];
  readonly types: number[];
  readonly texts: readonly { readonly text: string; readonly ids: number[] }[];
}

/** A field as a file has it, which is float32. */
const rounded = (value: unknown): unknown =>
  typeof value === "number" ? Math.fround(value) : Array.isArray(value) ? value.map(rounded) : value;

/** Decoders of other architectures, and what their files cannot say of these small models' configs. */
const others = {
  "families/phi3/base": ["phi3", {}],
  "families/phi3-longrope/base": ["phi3", {}],
  "families/variants/phi3-partial/base": ["phi3", {}],
  "families/granite/base": ["granite", {}],
  "families/olmo2/base": ["olmo2", {}],
  "families/smollm3/base": ["smollm3", { no_rope_layers: null }],
  "families/variants/gemma/base": ["gemma", {}],
  "families/gemma2/base": ["gemma2", { query_pre_attn_scalar: 8 }],
  "families/gemma3/base": ["gemma3", { query_pre_attn_scalar: 8, layer_types: null }],
} as const satisfies Record<string, readonly [DecoderArchitecture, Record<string, unknown>]>;

for (const [path, [architecture, unsaid]] of Object.entries(others)) {
  test(`openGguf of ${path}: config and weights are those of the folder`, async () => {
    const file = await ggufFolder(decoderParts(path, architecture));
    const fields = { ...fixtureJson(`${path}/config.json`), ...unsaid };
    const folder = await openFolder(fixture(path)),
      wanted = parseConfig(fields),
      found = await readConfig(file);
    const checked = ["attentionScale", "residualScale", "embeddingScale", "logitScale", "rmsNormEps"];
    const scaling = ({ ropeScaling }: typeof wanted) =>
      Object.fromEntries(Object.entries(ropeScaling!).map(([key, value]) => [key, rounded(value)]));
    const compared = (config: typeof wanted) => ({
      ...Object.fromEntries(
        Object.entries(config).map(([key, value]) => [key, checked.includes(key) ? rounded(value) : value]),
      ),
      ropeScaling: scaling(config),
    });
    assert.deepEqual(compared(found), compared(wanted));
    const weights = await everyWeight(file), stored = weightsOf(path);
    assert.deepEqual([...weights.keys()].sort(), Object.keys(stored).sort());
    for (const [name, weight] of weights) {
      const before = numbersOf(stored[name]), after = numbersOf(weight);
      const isOffset = architecture.startsWith("gemma") && name.endsWith("norm.weight");
      assert.deepEqual(weight.shape, stored[name].shape, name);
      // 1 + weight, rounded to float32.
      assert.equal(after.length, before.length);
      for (let i = 0; i < before.length; i++) {
        assert.ok(Math.abs(after[i] - before[i]) <= (isOffset ? 1.2e-7 : 0), `${name} ${i}`);
      }
    }
    const answers = [file, folderWith(folder, fields)].map(async (model) => {
      const { engine } = await openModel(cpuDevice(), { folder: model }), ids: number[] = [];
      for await (
        const event of engine.generate({ promptTokenIds: [5, 3, 9], maxTokens: 8, sampling: greedy })
      ) {
        if (event.kind === "token") ids.push(event.tokenId);
      }
      return ids;
    });
    assert.deepEqual(await answers[0], await answers[1]);
  });
}

test("openGguf cuts texts by the name that files have, digits in threes or one by one", async () => {
  const { metadata, tensors } = decoderParts(base), key = "tokenizer.ggml";
  // Every run of digits is a token, if the cut leaves it together.
  const digits = ["1", "2", "12", "123", "1212"], merges = ["1 2", "12 12"];
  const own = (metadata[`${key}.tokens`].list as string[]).slice();
  const all = [
    ...own.filter((token) => !/^[0-9]+$/.test(token)).slice(0, own.length - digits.length),
    ...digits,
  ];
  const lengths = { "gpt-2": 4, olmo: 4, dbrx: 2, "smaug-bpe": 2, starcoder: 1, refact: 1, smollm: 1 };
  for (const [pre, longest] of Object.entries(lengths)) {
    const file = await ggufFolder({
      metadata: {
        ...metadata,
        [`${key}.tokens`]: { kind: "string", list: all },
        [`${key}.token_type`]: { kind: "int32", list: all.map(() => 1) },
        [`${key}.merges`]: { kind: "string", list: merges },
        [`${key}.pre`]: { kind: "string", value: pre },
      },
      tensors,
    });
    const tokens = (await openTokenizer(file)).encode("1212").map((id) => all[id]);
    assert.equal(tokens.join(""), "1212", pre);
    assert.equal(Math.max(...tokens.map((token) => token.length)), longest, `${pre}: ${tokens}`);
  }
});

for (
  const [kind, { tokens, scores, types, texts }] of Object.entries<Pieces>(fixtureJson("gguf/pieces.json"))
) {
  test(`openGguf of SentencePiece's vocabulary as ${kind}'s: texts become its ids, and these become texts`, async () => {
    const { metadata, tensors } = decoderParts(base), key = "tokenizer.ggml";
    const kept = Object.entries(metadata).filter(([name]) => !/\.(pre|merges|eos_token_id)$/.test(name));
    const file = await ggufFolder({
      metadata: {
        ...Object.fromEntries(kept),
        [`${key}.model`]: { kind: "string", value: "llama" },
        [`${key}.pre`]: { kind: "string", value: "default" },
        [`${key}.tokens`]: { kind: "string", list: tokens },
        [`${key}.scores`]: { kind: "float32", list: scores },
        [`${key}.token_type`]: { kind: "int32", list: types },
        [`${key}.add_bos_token`]: { kind: "bool", value: false },
        [`${key}.add_space_prefix`]: { kind: "bool", value: kind === "llama" },
      },
      tensors,
    });
    const tokenizer = await openTokenizer(file);
    for (const { text, ids } of texts) {
      assert.deepEqual(tokenizer.encode(text), ids, JSON.stringify(text));
      assert.equal(tokenizer.decode(ids), text);
    }
  });
}

test("openGguf says what Gemma's files of 27B numbers leave out", async () => {
  const { metadata, tensors } = decoderParts("families/gemma2/base", "gemma2");
  const parts = {
    metadata: { ...metadata, "gemma2.block_count": { kind: "uint32", value: 46 } as const },
    tensors,
  };
  const config = await readConfig(await ggufFolder(parts)) as unknown as { attentionScale: number };
  assert.equal(config.attentionScale, 1 / Math.sqrt(24 / 3));
  const all = {
    ...parts,
    metadata: { ...parts.metadata, "gemma2.embedding_length": { kind: "uint32", value: 96 } as const },
  };
  const wide = await readConfig(await ggufFolder(all)) as unknown as { attentionScale: number };
  assert.equal(wide.attentionScale, 1 / Math.sqrt(32));
});

test("openGguf refuses divisors of rotary frequencies that an architecture does not have, and one kind alone", async () => {
  const factors = stored("rope_factors_short.weight", tensor(new Float32Array(8).fill(1)));
  const llama = decoderParts(base), phi = decoderParts("families/phi3/base", "phi3");
  await assert.rejects(
    ggufFolder({ ...llama, tensors: [factors, ...llama.tensors] }),
    /it has "rope_factors_short.weight", and an architecture of llama has none$/,
  );
  await assert.rejects(
    ggufFolder({ ...phi, tensors: [factors, ...phi.tensors] }),
    /it has "rope_factors_short.weight", and an architecture of phi3 has both of short and long divisors/,
  );
});

test("openGguf of a GPT-2: weights are those of the folder, turned as its files have them", async () => {
  const path = "families/gpt2/base", config = fixtureJson(`${path}/config.json`);
  const uint = (value: number) => ({ kind: "uint32", value }) as const;
  const folder = await openFolder(fixture(path)),
    wanted = await readConfig(folder),
    weights = await everyWeight(folder);
  const file = await ggufFolder({
    metadata: {
      "general.architecture": { kind: "string", value: "gpt2" },
      "gpt2.block_count": uint(config.n_layer),
      "gpt2.context_length": uint(config.n_positions),
      "gpt2.embedding_length": uint(config.n_embd),
      "gpt2.feed_forward_length": uint(config.n_inner ?? 4 * config.n_embd),
      "gpt2.attention.head_count": uint(config.n_head),
      "gpt2.attention.layer_norm_epsilon": { kind: "float32", value: config.layer_norm_epsilon },
      ...tokenizerEntries(fixtureJson(`${path}/tokenizer.json`), config.vocab_size),
    },
    tensors: [...weights].map(([name, t]) => {
      const [rows, cols] = t.shape;
      const turns = name.endsWith(".weight") && isTransposed(wanted, name.replace(/\.weight$/, ""));
      const turned = Float32Array.from(t.data, (_, i) => t.data[(i % rows) * cols + Math.floor(i / rows)]);
      return stored(storedName(name, "gpt2"), turns ? tensor(turned, [cols, rows]) : t);
    }),
  });
  assert.deepEqual(await everyWeight(file), weights);
  const device = cpuDevice(),
    request = { promptTokenIds: [5, 3, 9], maxTokens: 8, sampling: greedy };
  const texts = [];
  for (const model of [file, folder]) {
    const { engine } = await openModel(device, { folder: model });
    const ids: number[] = [];
    for await (const event of engine.generate(request)) if (event.kind === "token") ids.push(event.tokenId);
    texts.push(ids);
  }
  assert.deepEqual(texts[0], texts[1]);
});

const q4File = async (): Promise<ReadableFolder> =>
  await openGguf(await openFolder(fixture("gguf")), "llama-q4_0.gguf");

test("openGguf of a file by the Python package: every number is that of its own reader, bit for bit", async () => {
  const sums = fixtureJson("gguf/tensors.json"), weights = await everyWeight(await q4File());
  assert.deepEqual(Object.fromEntries([...weights].map(([name, host]) => [name, sha256(host)])), sums);
});

const blocks: Readonly<Record<string, { in: number; hex: string; numbers: string; first: number[] }>> =
  fixtureJson(
    "gguf/blocks.json",
  );

for (const [name, { in: inSize, hex, numbers, first }] of Object.entries(blocks)) {
  test(`weightOfBytes of ${name}: numbers are those of the Python package, bit for bit`, () => {
    const type = [...ggufTypes.values()].find((known) => known.name === name)!;
    // Beside each other in a larger buffer, where no typed array can begin.
    const bytes = Uint8Array.from([0, ...hex.match(/../g)!.map((byte) => parseInt(byte, 16))]).subarray(1);
    const host = widened(weightOfBytes({ name: "w", type, shape: [2, inSize] }, bytes));
    assert.deepEqual([...host.data.subarray(0, 8)], first);
    assert.equal(sha256(host), numbers);
  });
}

/** The same model with its weights as float32. */
async function floatFolder(file: ReadableFolder): Promise<ReadableFolder> {
  const files: Files = {
    "model.safetensors": weightsFile(Object.fromEntries(await everyWeight(file))),
    "config.json": await file.readText("config.json"),
    "tokenizer.json": await file.readText("tokenizer.json"),
    "generation_config.json": await file.readText("generation_config.json"),
  };
  return memoryFolder(files);
}

for (const device of devices) {
  test(`openModel of a Q4_0 file on ${device.kind}: with an adapter and without, as its numbers in float32`, async () => {
    const file = await q4File(), adapters = await openAdapterStore(fixture("methods"));
    const found: { logprob: number; tokenId: number }[][] = [];
    for (const folder of [file, await floatFolder(file)]) {
      const { engine } = await openModel(device, { folder, adapters, maxModelLen: 32 });
      for (const adapter of [undefined, "lora"]) {
        const request = {
          promptTokenIds: [3, 14, 15, 9, 2, 6],
          ...(adapter === undefined ? {} : { adapter }),
          maxTokens: 4,
          sampling: greedy,
          logprobs: 0,
        };
        const events = [];
        for await (const event of engine.generate(request)) {
          if (event.kind !== "token") continue;
          events.push({ tokenId: event.tokenId, logprob: event.logprobs!.logprob });
        }
        found.push(events);
      }
    }
    const [plain, adapted, floatPlain, floatAdapted] = found;
    assert.notDeepEqual(plain, adapted);
    for (const [ours, theirs] of [[plain, floatPlain], [adapted, floatAdapted]]) {
      assert.deepEqual(ours.map(({ tokenId }) => tokenId), theirs.map(({ tokenId }) => tokenId));
      // A CPU rounds x to 16 bits before it multiplies by blocks.
      ours.forEach(({ logprob }, i) =>
        assert.ok(Math.abs(logprob - theirs[i].logprob) < 2e-3, `${logprob}, ${theirs[i].logprob}`)
      );
    }
  });
}

test("openGguf of a tied file in float16: head and embedding are one tensor; merge and perplexity are the folder's", async () => {
  const { metadata, tensors } = decoderParts(base), device = cpuDevice();
  const kept = tensors.filter(({ name }) => name !== "output.weight");
  const file = await ggufFolder({ metadata, tensors: kept });
  assert.equal((await readConfig(file)).tieWordEmbeddings, true);
  const { model } = await openModel(device, { folder: file });
  assert.ok(model.weights.includes(model.head.weight.tensors.weight));
  assert.equal(model.weights.filter(({ shape: [rows] }) => rows === model.config.vocabSize).length, 1);

  const folder = await floatFolder(file),
    data = { content: "The mill turns the wheel, and the wheel turns the mill." };
  const costs = [file, folder].map((model) => perplexity(device, { folder: model, data, contextLength: 16 }));
  assert.deepEqual(await costs[0], await costs[1]);

  const adapter = await loadAdapter(await openFolder(fixture("methods/lora")));
  const merged: Map<string, Uint8Array>[] = [];
  for (const model of [file, folder]) {
    const files = new Map<string, Uint8Array>();
    const out = {
      async write(name: string, parts: AsyncIterable<Uint8Array>) {
        const all: Uint8Array[] = [];
        for await (const part of parts) all.push(part.slice());
        files.set(name, new Uint8Array(await new Blob(all as Uint8Array<ArrayBuffer>[]).arrayBuffer()));
      },
    };
    await mergeFolder(device, { model, adapter, out });
    merged.push(files);
  }
  const [ours, theirs] = merged.map((files) => parseSafetensors(files.get("model.safetensors")!));
  assert.deepEqual(ours.tensors, theirs.tensors);
  for (const name of ours.tensors.keys()) {
    assert.deepEqual(ours.read(name).bytes, theirs.read(name).bytes, name);
  }
  assert.deepEqual(merged[0].get("config.json"), merged[1].get("config.json"));
});

test("openGguf of 16-bit floats keeps them as they are", async () => {
  const { metadata, tensors } = decoderParts(base);
  for (const [type, dtype] of [[1, "float16"], [30, "bfloat16"]] as const) {
    const file = await ggufFolder({
      metadata,
      tensors: tensors.map((t) =>
        t.sizes.length === 1 ? t : { ...t, type, bytes: t.bytes.subarray(0, t.bytes.length / 2) }
      ),
    });
    const weights = await everyWeight(file);
    assert.equal(weights.get("model.embed_tokens.weight")!.dtype, dtype);
    assert.equal(weights.get("model.layers.1.self_attn.k_proj.weight")!.dtype, dtype);
  }
});

test("openGguf reads divisors of rotary frequencies, and the frequencies are divided", async () => {
  const { metadata, tensors } = decoderParts(base),
    factors = Float32Array.from({ length: 8 }, (_, i) => 1 + i);
  const parts = { metadata, tensors: [stored("rope_freqs.weight", tensor(factors)), ...tensors] };
  const file = await ggufFolder(parts), { ropeScaling } = await readConfig(file);
  assert.deepEqual(ropeScaling, {
    type: "longrope",
    originalMaxPositions: 128,
    attentionFactor: 1,
    shortFactor: [...factors],
    longFactor: [...factors],
  });
  assert.ok(!(await everyWeight(file)).has("rope_freqs.weight"));
});

test("quantizeFolder and openModel refuse to quantise blocks again; the file's floats may be", async () => {
  const out = {
    write: async (_: string, parts: AsyncIterable<Uint8Array>) => {
      for await (const _ of parts);
    },
  };
  const again = /^ConfigError: Cannot quantize weight "[^"]+" as q8_32: its file has it as q4_32 already$/;
  const device = cpuDevice();
  await assert.rejects(openModel(device, { folder: await q4File(), quantize: "int8" }), again);
  await assert.rejects(quantizeFolder({ model: await q4File(), to: "int8", out }), again);
  const { model } = await openModel(device, {
    folder: await ggufFolder(decoderParts(base)),
    quantize: "int8",
  });
  assert.equal(model.head.weight.format.name, "q8_32");
});

test("openNamedFolder opens a path that ends with .gguf as a model", async () => {
  const folder = await openNamedFolder(fixture("gguf/llama-q4_0.gguf"));
  assert.equal((await readConfig(folder)).modelType, "llama");
  assert.ok(!await folder.exists("special_tokens_map.json"));
  await assert.rejects(folder.open("vocab.json"), /a GGUF file has none of that name$/);
  await assert.rejects(folder.exists("../x"), /the rule is a plain name/);
});

type Parts = ReturnType<typeof decoderParts>;
const set =
  (key: string, kind: "uint32" | "string" | "float32" | "bool", value: number | string | boolean) =>
  ({ metadata, ...rest }: Parts): Parts => ({ ...rest, metadata: { ...metadata, [key]: { kind, value } } });
const without = (key: string) => ({ metadata, ...rest }: Parts): Parts => ({
  ...rest,
  metadata: Object.fromEntries(Object.entries(metadata).filter(([name]) => name !== key)),
});

const refusals: readonly (readonly [string, (parts: Parts) => Parts, RegExp])[] = [
  [
    "another architecture",
    set("general.architecture", "string", "rwkv6"),
    /"general.architecture" = rwkv6: supported are llama,/,
  ],
  ["no architecture", without("general.architecture"), /"general.architecture" = nothing/],
  [
    "a missing size",
    without("llama.block_count"),
    /"llama.block_count" = nothing: an architecture of llama needs it$/,
  ],
  [
    "an unknown key",
    set("llama.attention.sliding_window", "uint32", 8),
    /"llama.attention.sliding_window" = 8: it may change/,
  ],
  ["experts", set("llama.expert_count", "uint32", 8), /mixtures of experts are not supported$/],
  ["a part of a file", set("split.count", "uint32", 2), /a file must have all parts of the model/],
  [
    "heads turned in part",
    set("llama.rope.dimension_count", "uint32", 8),
    /"llama.rope.dimension_count" = 8: it must be the size of a head, 16$/,
  ],
  [
    "another scaling",
    set("llama.rope.scaling.type", "string", "dynamic"),
    /supported are none, linear and yarn$/,
  ],
  [
    "a text for a number",
    set("llama.block_count", "string", "2"),
    /"llama.block_count" = 2: it must be a number$/,
  ],
  ["heads that do not divide", set("llama.attention.head_count", "uint32", 3), /must divide/],
  [
    "another tokenizer",
    set("tokenizer.ggml.model", "string", "t5"),
    /"tokenizer.ggml.model" = t5: supported are gpt2, llama$/,
  ],
  [
    "another cut",
    set("tokenizer.ggml.pre", "string", "default"),
    /"tokenizer.ggml.pre" = default: supported are gpt-2,/,
  ],
  ["no merges", without("tokenizer.ggml.merges"), /"tokenizer.ggml.merges" = nothing/],
  [
    "an unknown tokenizer's key",
    set("tokenizer.ggml.precompiled_charsmap", "string", ""),
    /it may change what tokens a text has/,
  ],
  ["an id of no token", set("tokenizer.ggml.eos_token_id", "uint32", 512), /it must be an id below 512$/],
];

for (const [what, change, message] of refusals) {
  test(`openGguf refuses ${what}`, async () => {
    const open = async () => await readConfig(await ggufFolder(change(decoderParts(base))));
    await assert.rejects(open(), message);
  });
}

test("a GGUF file with a tensor that no model has, of another type, or of another shape is refused by its name", async () => {
  const device = cpuDevice(), { metadata, tensors } = decoderParts(base);
  const open = async (changed: typeof tensors) =>
    await openModel(device, { folder: await ggufFolder({ metadata, tensors: changed }) });
  const extra = { name: "blk.0.ffn_gate_exps.weight", sizes: [2], type: 0, bytes: new Uint8Array(8) };
  await assert.rejects(
    open([...tensors, extra]),
    /Cannot use weight "blk.0.ffn_gate_exps.weight": a model of this config has none/,
  );
  const retyped = tensors.map((t) =>
    t.name === "blk.1.ffn_up.weight" ? { ...t, type: 20, bytes: new Uint8Array(96 * 2 * 18) } : t
  );
  await assert.rejects(
    open(retyped),
    /Cannot use weight "model.layers.1.mlp.up_proj.weight" of type IQ4_NL: supported are F32/,
  );
  const cut = tensors.map((t) =>
    t.name === "blk.1.ffn_up.weight" ? { ...t, sizes: [64, 95], bytes: t.bytes.subarray(0, 4 * 64 * 95) } : t
  );
  await assert.rejects(open(cut), /Cannot use weight "model.layers.1.mlp.up_proj.weight" of shape \[95,64\]/);
  await assert.rejects(
    open(tensors.filter(({ name }) => name !== "blk.0.attn_q.weight")),
    /Cannot find weight "model.layers.0.self_attn.q_proj.weight"/,
  );
});
