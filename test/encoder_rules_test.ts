/**
 * What encoders refuse, share and bound; their numbers are in encoders_test.ts.
 *
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import {
  ConfigError,
  cpuDevice,
  type EncodeRequest,
  imagePixels,
  loadAdapter,
  mergeFolder,
  openEncoder,
  openModel,
  perplexity,
  quantizeFolder,
  type ReadableFolder,
  tensor,
  train,
  type WritableFolder,
} from "../mod.ts";
import { openAdapterStore, openFolder } from "../src/runtime/mod.ts";
import { sequenceOf } from "../src/engine/encoder_input.ts";
import { folderOptions } from "../src/merge.ts";
import { parseConfig } from "../src/models/families.ts";
import { readImageProcessing } from "../src/models/image_processing.ts";
import { placeValues } from "../src/models/placing.ts";
import { partOf } from "../src/models/projection.ts";
import { openTokenizer } from "../src/models/tokenizer.ts";
import { linearStep } from "../src/models/weights.ts";
import { wholeSteps } from "../src/models/whole_plan.ts";
import { memoryFolder } from "./model_folders.ts";

const device = cpuDevice();

const at = (path: string): Promise<ReadableFolder> =>
  openFolder(fileURLToPath(new URL(`fixtures/families/${path}`, import.meta.url)));

const open = async (family: string, more: object = {}) =>
  await openEncoder(device, {
    folder: await at(`${family}/base`),
    adapters: await openAdapterStore(
      fileURLToPath(new URL(`fixtures/families/${family}/adapters`, import.meta.url)),
    ),
    ...more,
  });

async function written(write: (out: WritableFolder) => Promise<void>): Promise<ReadableFolder> {
  const files: Record<string, Uint8Array> = {};
  await write({
    async write(name, parts) {
      files[name] = new Uint8Array(await new Response(ReadableStream.from(parts)).arrayBuffer());
    },
  });
  return memoryFolder(files);
}

/** A folder's files with some in the place of others; null leaves one out. */
async function changed(
  path: string,
  changes: Readonly<Record<string, string | Uint8Array | null>>,
): Promise<ReadableFolder> {
  const folder = await at(path);
  const names = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];
  const files: Record<string, Uint8Array | string> = {};
  for (const name of names) {
    if (!await folder.exists(name)) continue;
    const source = await folder.open(name);
    files[name] = await source.read(0, source.sizeBytes);
    await source.close?.();
  }
  for (const [name, text] of Object.entries(changes)) {
    if (text === null) delete files[name];
    else files[name] = text;
  }
  return memoryFolder(files);
}

const fieldsOf = async (path: string): Promise<Record<string, unknown>> =>
  JSON.parse(await (await at(path)).readText("config.json"));

const largestGap = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Math.max(...Array.from(a, (value, i) => Math.abs(value - b[i])));

const near = (found: ArrayLike<number>, expected: ArrayLike<number>): void =>
  assert.ok(largestGap(found, expected) <= 1e-6);

const ids = [0, 45, 294, 268, 381, 322, 2];

for (const family of ["roberta", "bert", "vit"]) {
  test(`openModel, perplexity and train refuse a ${family} by its type`, async () => {
    const folder = await at(`${family}/base`), rule = new RegExp(`of type "${family}": it is an encoder`);
    const isRule = (error: Error): boolean => error instanceof ConfigError && rule.test(error.message);
    const data = { content: "The king." };
    await assert.rejects(openModel(device, { folder }), isRule);
    await assert.rejects(perplexity(device, { folder, data }), isRule);
    await assert.rejects(
      train(device, { folder, data, adapter: { peftType: "LORA", r: 2 }, steps: 1 }),
      isRule,
    );
  });
}

test("openEncoder refuses a model that generates, and a length it has no positions for", async () => {
  await assert.rejects(
    openEncoder(device, { folder: await at("gpt2/base") }),
    /of type "gpt2": it predicts next tokens/,
  );
  await assert.rejects(
    openEncoder(device, { folder: await at("roberta/base"), maxModelLen: 129 }),
    /for 129 tokens: it has positions for 1\.\.128/,
  );
});

test("Encoder.encode gives the same numbers whatever stands beside a sequence, and however batches are cut", async () => {
  const { encoder } = await open("roberta");
  const requests: EncodeRequest[] = [3, 7, 5, 2, 6].flatMap((length) =>
    (["hidden", "embedding", "logits"] as const).map((output) => ({
      input: { tokenIds: ids.slice(0, length) },
      output,
      adapter: length % 2 === 0 ? "lora" : length === 7 ? "fourierft" : undefined,
    }))
  );
  const together = await encoder.encode(requests);
  const { encoder: narrow } = await open("roberta", {
    encoder: { maxBatchRows: 8, maxBatchSequences: 2, classifierBytes: 1 },
    maxModelLen: 8,
  });
  const apart = await narrow.encode(requests);
  for (const [i, request] of requests.entries()) {
    const [alone] = await encoder.encode([request]);
    assert.deepEqual(together[i].shape, alone.shape);
    assert.ok(largestGap(together[i].data, alone.data) <= 1e-5, `request ${i}`);
    assert.ok(largestGap(apart[i].data, alone.data) <= 1e-5, `request ${i}, in small batches`);
  }
  assert.deepEqual(together.slice(0, 3).map(({ shape }) => shape), [[3, 48], [48], [3]]);
});

test("Encoder.encode serves more adapters than there are slots, one batch after the other", async () => {
  const { encoder } = await open("vit", { registry: { capacity: 1 } });
  const pixels = Float32Array.from({ length: 3 * 32 * 32 }, (_, i) => Math.sin(i));
  const names = ["fourierft", "fourierft-dense", "fourierft", "fourierft-old-names"];
  const found = await encoder.encode(
    names.map((adapter) => ({ input: { pixels }, adapter, output: "logits" })),
  );
  assert.ok(largestGap(found[0].data, found[1].data) > 1e-3);
  assert.deepEqual(found[0].data, found[2].data);
  assert.ok(largestGap(found[0].data, found[3].data) <= 1e-6);
});

test("Encoder.encode fails alone, and answers others", async () => {
  const { encoder } = await open("roberta");
  const good = encoder.encode([{ input: { tokenIds: ids }, output: "logits" }]);
  const bad = encoder.encode([{ input: { tokenIds: ids }, output: "logits", adapter: "nobody" }]);
  const others = encoder.encode([{ input: { tokenIds: ids }, output: "logits", adapter: "lora" }]);
  await assert.rejects(bad, /nobody/);
  assert.equal((await good)[0].data.length, 3);
  assert.equal((await others)[0].data.length, 3);
});

test("Encoder.encode gives up what has not begun when its signal is aborted", async () => {
  const { encoder } = await open("roberta", { maxModelLen: 8, encoder: { maxBatchRows: 8 } });
  const stop = new AbortController(),
    many = Array.from({ length: 50 }, () => ({ input: { tokenIds: ids }, output: "hidden" as const }));
  const pending = encoder.encode(many, { signal: stop.signal });
  stop.abort(new Error("enough"));
  await assert.rejects(pending, /enough/);
  assert.equal((await encoder.encode(many.slice(0, 1))).length, 1);
  await encoder.release();
  await assert.rejects(encoder.encode(many), /the encoder was released/);
});

test("Encoder.encode refuses what the model cannot take, by the rule", async () => {
  const { encoder } = await open("roberta"), { encoder: images } = await open("vit");
  const tokens = (tokenIds: number[], typeIds?: number[]) =>
    encoder.encode([{ input: { tokenIds, typeIds }, output: "hidden" }]);
  await assert.rejects(tokens([]), /Cannot encode 0 tokens: the model takes 1\.\.128/);
  await assert.rejects(tokens(Array(129).fill(5)), /Cannot encode 129 tokens/);
  await assert.rejects(tokens([384]), /Cannot encode token 384: the model has those of 0\.\.383/);
  await assert.rejects(tokens([5, 6], [0, 1]), /token type 1: the model has those of 0\.\.0/);
  await assert.rejects(tokens([5, 6], [0]), /2 tokens with 1 types/);
  await assert.rejects(
    encoder.encode([{ input: { pixels: new Float32Array(3) }, output: "hidden" }]),
    /pixels by a model of type "roberta"/,
  );
  await assert.rejects(
    images.encode([{ input: { pixels: new Float32Array(3) }, output: "hidden" }]),
    /an image of 3 numbers: the model takes 3 x 32 x 32/,
  );
  await assert.rejects(images.encode([{ input: { tokenIds: ids }, output: "hidden" }]), /it takes pixels/);
  await assert.rejects(
    images.encode([{ input: { pixels: new Float32Array(3 * 32 * 32).fill(NaN) }, output: "hidden" }]),
    /its numbers overflow/,
  );
});

test("sequenceOf counts no padding token among RoBERTa's positions, which begin after its id", async () => {
  const { model } = await open("roberta"), { model: bert } = await open("bert");
  const positions = [...sequenceOf(model, { tokenIds: [0, 1, 45, 1, 2] }).positions as number[]];
  assert.deepEqual(positions, [2, 1, 3, 1, 4]);
  assert.deepEqual([...sequenceOf(bert, { tokenIds: [2, 0, 3] }).positions as number[]], [0, 1, 2]);
});

test("imagePixels scales and normalises bytes as preprocessor_config.json says, and refuses other sizes", async () => {
  const { image, encoder } = await open("vit");
  assert.deepEqual(image, {
    ...{ height: 32, width: 32, resample: 2, resizes: true, rescale: 1 / 255 },
    ...{ mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] },
  });
  const rgb = Uint8Array.from({ length: 32 * 32 * 3 }, (_, i) => i % 256);
  const pixels = imagePixels(rgb, { ...image!, mean: [0.5, 0.25, 0], std: [0.5, 1, 2] });
  near(pixels.slice(5, 6), [(15 / 255 - 0.5) / 0.5]);
  near(pixels.slice(1024 + 5, 1024 + 6), [16 / 255 - 0.25]);
  near(pixels.slice(2048 + 5, 2048 + 6), [17 / 255 / 2]);
  assert.throws(() => imagePixels(rgb.slice(3), image!), /3069 bytes: it must have 32 x 32 pixels/);
  assert.equal((await encoder.encode([{ input: { pixels }, output: "logits" }]))[0].data.length, 5);
  for (
    const [changes, rule] of [
      [{ size: { shortest_edge: 32 } }, /"size"/],
      [{ resample: 9 }, /"resample" = 9/],
      [{ image_std: [1, 0, 1] }, /"image_std"/],
      [{ do_center_crop: true }, /"do_center_crop" = true/],
    ] as const
  ) {
    const text = JSON.stringify({ size: 32, ...changes });
    await assert.rejects(
      changed("vit/base", { "preprocessor_config.json": text }).then(readImageProcessing),
      (error: Error) => error instanceof ConfigError && rule.test(error.message),
    );
  }
});

test("openEncoder without a classifier classifies by adapters' own, and refuses the base by the weight's name", async () => {
  const { encoder } = await open("roberta-embedding");
  assert.deepEqual(encoder.labels, []);
  await assert.rejects(
    encoder.encode([{ input: { tokenIds: ids }, output: "logits" }]),
    /neither the model's folder nor the adapter has the classifier's "classifier\.dense\.weight"/,
  );
  const store = await openAdapterStore(
    fileURLToPath(new URL("fixtures/families/roberta/adapters", import.meta.url)),
  );
  const opened = await openEncoder(device, { folder: await at("roberta-embedding/base"), adapters: store });
  const [logits] = await opened.encoder.encode([{
    input: { tokenIds: ids },
    output: "logits",
    adapter: "lora",
  }]);
  assert.deepEqual(logits.shape, [3]);
});

test("openEncoder takes embeddings as modules.json says, and refuses modules it does not know", async () => {
  const inner = {
    "config.json": JSON.stringify({ pooling_mode_cls_token: true, pooling_mode_mean_tokens: false }),
  };
  const modules = (...types: string[]) =>
    JSON.stringify(
      types.map((type, i) => ({ idx: i, path: i === 1 ? "1_Pooling" : "", type: `a.models.${type}` })),
    );
  const folderWith = async (text: string): Promise<ReadableFolder> => {
    const folder = await changed("roberta-embedding/base", { "modules.json": text });
    return {
      ...folder,
      folder: (name) => Promise.resolve(name === "1_Pooling" ? memoryFolder(inner) : undefined),
    };
  };
  const folder = await folderWith(modules("Transformer", "Pooling", "Normalize"));
  const { encoder } = await openEncoder(device, { folder });
  const [embedding, hidden] = await encoder.encode([
    { input: { tokenIds: ids }, output: "embedding" },
    { input: { tokenIds: ids }, output: "hidden" },
  ]);
  const first = hidden.data.slice(0, 48), length = Math.hypot(...first);
  assert.ok(largestGap(embedding.data, first.map((value: number) => value / length)) <= 1e-6);
  await assert.rejects(
    folderWith(modules("Transformer", "Pooling", "Dense")).then((folder) => openEncoder(device, { folder })),
    /a module of type "a\.models\.Dense"/,
  );
});

/** Every way a config is refused: the family, the changed fields, and what the message must say. */
const refused: readonly (readonly [string, Record<string, unknown>, RegExp])[] = [
  ["roberta", { is_decoder: true }, /"is_decoder" = true/],
  ["roberta", { add_cross_attention: true }, /"add_cross_attention" = true/],
  ["bert", { position_embedding_type: "relative_key" }, /"position_embedding_type" = "relative_key"/],
  ["bert", { hidden_act: "quick_gelu" }, /"hidden_act" = "quick_gelu": supported are gelu/],
  ["bert", { num_attention_heads: 5 }, /"hidden_size" = 48: it must be a multiple/],
  ["bert", { type_vocab_size: 0 }, /"type_vocab_size" = 0/],
  ["bert", { id2label: { 1: "B" } }, /"id2label"/],
  ["bert", { problem_type: "ranking" }, /"problem_type" = "ranking"/],
  ["roberta", { pad_token_id: -1 }, /"pad_token_id" = -1/],
  ["roberta", { max_position_embeddings: 2 }, /"max_position_embeddings" = 2: it must be more than 2/],
  ["vit", { patch_size: 7 }, /"image_size" = 32: it must be a multiple of patch_size = 7/],
  ["vit", { image_size: [32, 32] }, /"image_size" = \[32,32\]/],
  ["vit", { qkv_bias: "yes" }, /"qkv_bias" = "yes"/],
  ["vit", { hidden_size: 47 }, /"hidden_size" = 47/],
];

for (const [family, changes, rule] of refused) {
  test(`parseConfig refuses a ${family} of ${JSON.stringify(changes)}, by the field`, async () => {
    const fields = await fieldsOf(`${family}/base`);
    assert.throws(() => parseConfig({ ...fields, ...changes }), (error: Error) => {
      assert.ok(error instanceof ConfigError, `${error}`);
      assert.match(error.message, rule);
      return true;
    });
  });
}

test("openEncoder refuses labels that are not as many as the classifier's", async () => {
  const fields = await fieldsOf("bert/base");
  const folder = await changed("bert/base", {
    "config.json": JSON.stringify({ ...fields, id2label: { 0: "A", 1: "B" } }),
  });
  await assert.rejects(
    openEncoder(device, { folder }),
    /"classifier\.weight" of shape \[4,48\]: config\.json has 2 labels/,
  );
});

for (const family of ["roberta", "bert", "vit"]) {
  const input = family === "vit"
    ? { pixels: Float32Array.from({ length: 3 * 32 * 32 }, (_, i) => Math.sin(i)) }
    : { tokenIds: ids };

  test(`quantizeFolder of a ${family}: the folder opens to the very numbers that quantising at load makes`, async () => {
    const base = await at(`${family}/base`);
    const saved = await written((out) => quantizeFolder({ model: base, to: "int8", out }));
    const logitsOf = async (folder: ReadableFolder, more: object = {}) => {
      const { encoder } = await openEncoder(device, { folder, ...more });
      return (await encoder.encode([{ input, output: "logits" }]))[0].data;
    };
    const found = await logitsOf(saved), plain = await logitsOf(base);
    assert.deepEqual(found, await logitsOf(base, { quantize: "int8" }));
    const off = largestGap(found, plain);
    assert.ok(off > 1e-6 && off < 0.2, `${off}`);
  });

  test(`mergeFolder of a ${family}: the merged model says what the adapter says, its classifier in place`, async () => {
    const base = await at(`${family}/base`);
    for (const name of ["fourierft", "lora"]) {
      const adapter = await loadAdapter(await at(`${family}/adapters/${name}`), await folderOptions(base));
      const merged = await written((out) => mergeFolder(device, { model: base, adapter, out }));
      const { encoder } = await openEncoder(device, { folder: merged }), adapted = await open(family);
      const [one] = await encoder.encode([{ input, output: "logits" }]);
      const [other] = await adapted.encoder.encode([{ input, output: "logits", adapter: name }]);
      assert.ok(largestGap(one.data, other.data) <= 1e-5, name);
    }
  });
}

test("wholeSteps of an encoder gives the hidden states that the encoder gives", async () => {
  const { encoder, model } = await open("bert");
  const typeIds = ids.map((_, i) => Number(i > 3));
  const [truth] = await encoder.encode([{ input: { tokenIds: ids, typeIds }, output: "hidden" }]);
  const rows = ids.length, words = (...values: number[]) => device.upload(tensor(Uint32Array.from(values)));
  const { buffers, places } = placeValues(model.graph, "whole");
  const tensors = buffers.map(({ width }) => device.alloc([rows, width], "float32"));
  const tensorOf = (value: Parameters<typeof places.get>[0]) => tensors[places.get(value)!.buffer];
  const steps = wholeSteps(model.graph.operations, {
    rows,
    inputs: {
      tokens: words(...ids),
      positions: words(...ids.keys()),
      types: words(...typeIds),
      first: words(...ids.map(() => 0)),
      last: words(...ids.map(() => rows)),
    },
    tensor: tensorOf,
    project: (projection, index, { x, y, accumulate }) => [{
      forward: linearStep(partOf(projection, index), { x, y }, {
        ...{ rows, in: projection.shape.in, out: projection.outs[index], accumulate },
      }),
    }],
  });
  device.run(await device.prepare(steps.map(({ forward }) => forward)));
  const found = await device.read(tensorOf(model.graph.states.hidden));
  assert.ok(largestGap(found, truth.data) <= 1e-5);
});

/** What a tokenizer makes of two texts, by its post-processor; the tokens of the texts are its own. */
const pairs = [
  { family: "bert", around: (a: number[], b: number[]) => [2, ...a, 3, ...b, 3], second: 1 },
  { family: "roberta", around: (a: number[], b: number[]) => [0, ...a, 2, 2, ...b, 2], second: 0 },
];

for (const { family, around, second } of pairs) {
  test(`encodeTexts of ${family} joins two texts as Python's tokenizer, and cuts the longer one first`, async () => {
    const tokenizer = await openTokenizer(await at(`${family}/base`));
    const texts = ["The king and the cat.", "A spectrum, never built; the ship had a name"] as const;
    const [a, b] = texts.map((text) => tokenizer.encode(text, { addSpecialTokens: false }));
    const whole = await tokenizer.encodeTexts(texts);
    assert.deepEqual(whole.tokenIds, around(a, b));
    const firstType = whole.typeIds.indexOf(1);
    assert.equal(firstType, second === 1 ? a.length + 2 : -1);
    assert.equal(whole.typeIds.length, whole.tokenIds.length);
    const extra = around([], []).length;
    assert.ok(b.length > a.length + 1);
    const cut = async (most: number) =>
      (await tokenizer.encodeTexts(texts, { maxLength: most + extra })).tokenIds;
    assert.deepEqual(await cut(2 * a.length + 1), around(a, b.slice(0, a.length + 1)));
    assert.deepEqual(await cut(7), around(a.slice(0, 3), b.slice(0, 4)));
    await assert.rejects(tokenizer.encodeTexts(texts, { maxLength: extra - 1 }), /what surrounds them has/);
    const single = await tokenizer.encodeTexts([texts[0]]);
    assert.deepEqual(single.tokenIds, tokenizer.encode(texts[0]));
    const short = (await tokenizer.encodeTexts([texts[0]], { maxLength: 4 })).tokenIds;
    assert.deepEqual(short, [single.tokenIds[0], ...a.slice(0, 2), single.tokenIds.at(-1)]);
  });
}
