/**
 * An encoder's routes, by requests and by the official client.
 *
 * @module
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import OpenAI from "openai";
import { cpuDevice, openEncoder } from "../mod.ts";
import { openAdapterStore, openFolder } from "../src/runtime/mod.ts";
import { parseSafetensors, toFloat32 } from "../src/safetensors/mod.ts";
import { createApp } from "../src/server/mod.ts";
import { type FileContents, memoryAdapterStore } from "../src/testing/mod.ts";

type App = ReturnType<typeof createApp>;

const at = (path: string): string => fileURLToPath(new URL(`fixtures/families/${path}`, import.meta.url));

async function appOf(family: string, { adapters = family, limits = {} } = {}): Promise<App> {
  const { encoder, tokenizer, registry } = await openEncoder(cpuDevice(), {
    folder: await openFolder(at(`${family}/base`)),
    adapters: await openAdapterStore(at(`${adapters}/adapters`)),
  });
  return createApp({
    encoder: { id: "org/base", createdUnixSeconds: 1700000000, encoder, tokenizer: tokenizer! },
    adapters: registry,
    limits,
    log: (line) => console.error(line),
  });
}

// deno-lint-ignore no-explicit-any -- answers are JSON that each test looks into
type Json = any;

async function post(app: App, path: string, body: unknown): Promise<{ status: number; body: Json }> {
  const response = await app.request(path, { method: "POST", body: JSON.stringify(body) });
  return { status: response.status, body: await response.json() };
}

async function ask(app: App, path: string, body: unknown): Promise<Json> {
  const answer = await post(app, path, body);
  assert.equal(answer.status, 200, JSON.stringify(answer.body));
  return answer.body;
}

function golden(family: string, name: string) {
  const { inputs: { input_ids: ids, attention_mask: mask } } = JSON.parse(
    readFileSync(at(`${family}/golden/${name}.json`), "utf8"),
  );
  const file = parseSafetensors(new Uint8Array(readFileSync(at(`${family}/golden/${name}.safetensors`))));
  const key = file.tensors.has("logits") ? "logits" : "embeddings", view = file.read(key);
  const data = toFloat32(view), width = data.length / ids.length;
  return {
    ids: ids.map((row: number[], i: number) => row.filter((_, at) => mask[i][at] === 1)) as number[][],
    rows: ids.map((_: unknown, i: number) => [...data.slice(i * width, (i + 1) * width)]) as number[][],
  };
}

const near = (found: readonly number[], expected: readonly number[], bound = 1e-4): void => {
  assert.equal(found.length, expected.length);
  found.forEach((value, i) =>
    assert.ok(Math.abs(value - expected[i]) <= bound, `${i}: ${value}, ${expected[i]}`)
  );
};

const softmax = (logits: readonly number[]): number[] => {
  const powers = logits.map((value) => Math.exp(value)), sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
};

test("/v1/embeddings gives the official client transformers' and PEFT's embeddings, in base64 and as numbers", async () => {
  const app = await appOf("roberta-embedding");
  const client = new OpenAI({
    apiKey: "none",
    baseURL: "http://localhost/v1",
    maxRetries: 0,
    fetch: async (input, init) => await app.request(input as string, init),
  });
  for (const [model, name] of [["org/base", "base"], ["lora", "lora"], ["org/base:fourierft", "fourierft"]]) {
    const { ids, rows } = golden("roberta-embedding", name);
    for (const encoding_format of [undefined, "float"] as const) {
      const { data, usage, model: said } = await client.embeddings.create({
        model,
        input: ids,
        encoding_format,
      });
      data.forEach(({ embedding, index }, i) => {
        assert.equal(index, i);
        near(embedding, rows[i]);
      });
      assert.equal(said, name === "base" ? "org/base" : name);
      assert.equal(usage.prompt_tokens, ids.flat().length);
    }
  }
  const { data: [one] } = await client.embeddings.create({
    model: "org/base",
    input: "The king and the cat.",
  });
  assert.equal(one.embedding.length, 48);
  const models: string[] = [];
  for await (const { id } of client.models.list()) models.push(id);
  assert.deepEqual(models, ["org/base", "fourierft", "lora"]);
  await assert.rejects(
    client.completions.create({ model: "org/base", prompt: "The" }),
    /an encoder is served here/,
  );
});

test("/classify gives labels and probabilities of the folder's classifier, and of adapters' own", async () => {
  const app = await appOf("roberta");
  for (const name of ["base", "fourierft", "lora"]) {
    const { ids, rows } = golden("roberta", name), model = name === "base" ? "org/base" : name;
    const { data, object, usage } = await ask(app, "/classify", { model, input: ids });
    assert.equal(object, "list");
    assert.equal(usage.completion_tokens, 0);
    data.forEach((item: Json, i: number) => {
      const expected = softmax(rows[i]);
      near(item.probs, expected);
      assert.equal(item.label, `LABEL_${expected.indexOf(Math.max(...expected))}`);
      assert.equal(item.num_classes, 3);
      assert.equal(item.index, i);
    });
    const raw = await ask(app, "/classify", { model, input: ids[0], use_activation: false });
    near(raw.data[0].probs, rows[0]);
    const pooled = await ask(app, "/pooling", {
      model,
      input: ids[0],
      task: "classify",
      use_activation: false,
    });
    near(pooled.data[0].data, rows[0]);
  }
});

test("/classify names the labels of an adapter's own classifier by its labels.json", async () => {
  const { ids, rows } = golden("roberta", "lora");
  const folder = at("roberta/adapters/lora");
  const files = ["adapter_config.json", "adapter_model.safetensors"].map((name) =>
    [name, new Uint8Array(readFileSync(`${folder}/${name}`))] as const
  );
  const named = (id2label: Json): FileContents =>
    new Map<string, Uint8Array | string>([...files, ["labels.json", JSON.stringify({ id2label })]]);
  const { encoder, tokenizer, registry } = await openEncoder(cpuDevice(), {
    folder: await openFolder(at("roberta/base")),
    adapters: memoryAdapterStore(
      new Map([
        ["moods", named({ 0: "sad", 1: "so-so", 2: "glad" })],
        ["few", named({ 0: "sad", 1: "glad" })],
        ["wrong", named({ sad: 0 })],
      ]),
    ),
  });
  const served = { id: "org/base", createdUnixSeconds: 0, encoder, tokenizer: tokenizer! };
  const app = createApp({ encoder: served, adapters: registry });
  const { data } = await ask(app, "/classify", { model: "moods", input: ids });
  data.forEach(({ label }: Json, i: number) => {
    assert.equal(label, ["sad", "so-so", "glad"][rows[i].indexOf(Math.max(...rows[i]))]);
  });
  for (
    const [model, message] of [["few", /it has 2 names, the classifier 3 labels/], [
      "wrong",
      /"id2label"/,
    ]] as const
  ) {
    const { status, body: { error } } = await post(app, "/classify", { model, input: ids[0] });
    assert.equal(status, 422);
    assert.match(error.message, message);
    assert.match(error.message, new RegExp(`adapter "${model}"`));
  }
});

test("/classify leaves a regression's number as it is", async () => {
  const { ids, rows } = golden("roberta-regression", "lora");
  const { data } = await ask(await appOf("roberta-regression"), "/classify", { model: "lora", input: ids });
  data.forEach((item: Json, i: number) => near(item.probs, rows[i]));
});

test("/score reads two texts together with a classifier of one label, else compares embeddings", async () => {
  const cross = await appOf("roberta-regression");
  const asked = { model: "fourierft", text_1: "The king", text_2: ["A cat", "The king"] };
  const { data } = await ask(cross, "/score", asked);
  assert.deepEqual(data.map(({ object, index }: Json) => [object, index]), [["score", 0], ["score", 1]]);
  assert.ok(Math.abs(data[0].score - data[1].score) > 1e-4);
  const embedding = await appOf("roberta-embedding");
  const { data: [far, same] } = await ask(embedding, "/v1/score", { ...asked, text_1: "The king" });
  assert.ok(Math.abs(same.score - 1) < 1e-6 && far.score < 1 - 1e-6);
  const { status, body } = await post(await appOf("roberta"), "/score", asked);
  assert.equal(status, 400);
  assert.match(body.error.message, /has 3 labels/);
});

test("/pooling gives embeddings, or each token's state", async () => {
  const app = await appOf("roberta-embedding"),
    { ids: [, ids], rows: [, row] } = golden("roberta-embedding", "base");
  const { data: [pooled] } = await ask(app, "/pooling", { model: "org/base", input: ids });
  near(pooled.data, row);
  const { data: [tokens] } = await ask(app, "/pooling", {
    model: "org/base",
    input: ids,
    task: "token_embed",
  });
  assert.equal(tokens.data.length, ids.length);
  near(
    row.map((_, c) => tokens.data.reduce((sum: number, state: number[]) => sum + state[c], 0) / ids.length),
    row,
  );
});

/** Every way a request is refused: the body, the field at fault, and what the message must say. */
const refused: readonly (readonly [string, Record<string, unknown>, string | null, RegExp])[] = [
  ["/v1/embeddings", {}, "input", /a text, a list of texts/],
  ["/v1/embeddings", { input: [] }, "input", /a text, a list of texts/],
  ["/v1/embeddings", { input: ["a", [1]] }, "input", /a text, a list of texts/],
  ["/v1/embeddings", { input: [[1], []] }, "input[1]", /at least one token/],
  ["/v1/embeddings", { input: [1, 384] }, "input[1]", /a token id of 0\.\.383/],
  [
    "/v1/embeddings",
    { input: Array(129).fill(5) },
    "input",
    /the model takes 128 tokens at most, it has 129/,
  ],
  ["/v1/embeddings", { input: "king ".repeat(300) }, "input", /128 tokens at most/],
  [
    "/v1/embeddings",
    { input: "a", truncate_prompt_tokens: 200 },
    "truncate_prompt_tokens",
    /128 tokens at most/,
  ],
  ["/v1/embeddings", { input: "a", truncate_prompt_tokens: 1 }, "truncate_prompt_tokens", /surrounds them/],
  ["/v1/embeddings", { input: "a", truncate_prompt_tokens: 0 }, "truncate_prompt_tokens", /-1, or 1 or more/],
  ["/v1/embeddings", { input: "a", dimensions: 8 }, "dimensions", /embeddings have 48/],
  ["/v1/embeddings", { input: "a", encoding_format: "hex" }, "encoding_format", /float or base64/],
  ["/v1/embeddings", { input: Array(5).fill("a") }, "input", /at most 4 sequences/],
  ["/v1/embeddings", { input: "a", what: 1 }, "what", /no such field/],
  ["/classify", { input: "a" }, "model", /has no classifier/],
  ["/pooling", { input: "a", task: "sing" }, "task", /embed, classify or token_embed/],
  [
    "/score",
    { text_1: ["a", "b"], text_2: ["a", "b", "c"] },
    "text_1",
    /one text, or as many as text_2 has: 3/,
  ],
  ["/score", { text_1: [1], text_2: "a" }, "text_1", /a text or a list of texts/],
];

test("an encoder's routes refuse what they cannot follow, by the field", async () => {
  const app = await appOf("roberta-embedding", { limits: { maxSequencesPerRequest: 4 } });
  for (const [path, fields, param, rule] of refused) {
    const { status, body } = await post(app, path, { model: "org/base", ...fields });
    assert.equal(status, 400, JSON.stringify([fields, body]));
    assert.equal(body.error.param, param);
    assert.match(body.error.message, rule);
  }
  const nobody = await post(app, "/v1/embeddings", { model: "nobody", input: "a" });
  assert.equal(nobody.status, 404);
  const cut = await ask(app, "/v1/embeddings", {
    model: "lora",
    input: "king ".repeat(300),
    truncate_prompt_tokens: -1,
  });
  assert.equal(cut.usage.prompt_tokens, 128);
});

test("an answer of more bytes than one may have is refused before anything is encoded: logits, too", async () => {
  const app = await appOf("roberta", { limits: { maxTensorBytes: 64 } });
  const input = Array.from({ length: 16 }, () => [0, 5, 2]);
  for (const path of ["/v1/embeddings", "/pooling", "/classify"]) {
    const { status, body } = await post(app, path, { model: "org/base", input });
    assert.equal(status, 400, path);
    assert.match(body.error.message, /its answer has \d+ bytes, at most 64 are given/, path);
  }
  await ask(app, "/classify", { model: "org/base", input: [input[0]] });
});

test("an encoder's routes refuse sequences above the limit, and take those at it", async () => {
  const app = await appOf("roberta", { limits: { maxPromptTokens: 3 } });
  assert.equal((await post(app, "/v1/embeddings", { model: "org/base", input: [5, 6, 7] })).status, 200);
  const { status, body } = await post(app, "/v1/embeddings", {
    model: "org/base",
    input: [[5], [5, 6, 7, 8]],
  });
  assert.equal(status, 400);
  assert.match(body.error.message, /a sequence has 4 tokens, at most 3 are taken here/);
});
