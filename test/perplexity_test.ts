import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import {
  cpuDevice,
  type Device,
  type OpenModel,
  openModel,
  perplexity,
  type PerplexityOptions,
  type ReadableFolder,
} from "../mod.ts";
import { openAdapterStore, openFolder } from "../src/runtime/mod.ts";

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const path = (name: string): string => here(`../examples/demo/${name}`);
const method = (name: string): string => here(`fixtures/methods/${name}`);
const content = "And the king said unto the woman, What aileth thee? And she answered him.";

/** Tokens of a sequence; the text has more, and no multiple of it. */
const contextLength = 8;

async function told(device: Device, options: Partial<PerplexityOptions> = {}) {
  return await perplexity(device, {
    folder: await openFolder(path("base")),
    data: { content },
    contextLength,
    ...options,
  });
}

/** The mean loss by the log-probabilities that the engine gives, a request for each sequence. */
async function lossByRequests(device: Device, options: { adapter?: string; quantize?: "int4" }) {
  const opened = await openModel(device, {
    folder: await openFolder(path("base")),
    adapters: await openAdapterStore(path("adapters")),
    quantize: options.quantize,
    maxModelLen: 2 * contextLength,
  });
  return await lossOf(opened, options.adapter);
}

async function lossOf(
  { engine, tokenizer }: Pick<OpenModel, "engine" | "tokenizer">,
  adapter?: string,
  text = content,
) {
  const [end] = tokenizer.eosTokenIds;
  const tokens = [...tokenizer.encode(text), end];
  const losses: number[] = [];
  for (let begin = 0; begin + 1 < tokens.length; begin += contextLength) {
    // The last token of a sequence predicts the next one's first.
    const promptTokenIds = tokens.slice(begin, begin + contextLength + 1);
    const sampling = { temperature: 0, topP: 1, topK: 0 };
    const request = {
      promptTokenIds,
      adapter,
      maxTokens: 1,
      sampling,
      promptLogprobs: true,
    };
    for await (const event of engine.generate({ ...request, logprobs: 1 })) {
      if (event.kind !== "prompt") continue;
      losses.push(...event.logprobs.slice(1).map((one) => -one!.logprob));
    }
  }
  return { loss: losses.reduce((a, b) => a + b, 0) / losses.length, count: losses.length };
}

test("perplexity is that of the log-probabilities that requests get, with an adapter and quantised", async () => {
  const device = cpuDevice();
  const adapter = "fourierft-kjv";
  for (const options of [{}, { adapter }, { quantize: "int4" }, { adapter, quantize: "int4" }] as const) {
    const { adapter } = options as { adapter?: string };
    const found = await told(device, {
      ...options,
      adapter: adapter === undefined ? undefined : await openFolder(path(`adapters/${adapter}`)),
    });
    const expected = await lossByRequests(device, options);
    const what = JSON.stringify(options);
    assert.equal(found.targetCount, expected.count, what);
    assert.ok(Math.abs(found.loss - expected.loss) <= 1e-4, `${what}: ${found.loss}, not ${expected.loss}`);
    assert.equal(found.perplexity, Math.exp(found.loss));
    assert.equal(found.data.documents, 1);
  }
});

/** An adapter of each method, some of them in several forms. */
const everyMethod = [
  // With biases, norms, tokens, embeddings and heads of their own.
  ...["fourierft-bias-all", "lora-bias-only", "lora-lora-bias", "lora-modules-to-save", "lora-tokens"],
  "ln-tuning",
  ...["fourierft", "lora", "dora", "vblora", "lora-xs", "vera", "vera-seed", "adalora", "delora", "tinylora"],
  ...["miss", "ia3", "ia3-all", "road-1", "road-4", "hra", "oft", "boft", "ether", "etherplus-hh"],
];

test("perplexity takes adapters of every method, and tells what requests get", async () => {
  const device = cpuDevice();
  const opened = await openModel(device, {
    folder: await openFolder(method("base")),
    adapters: await openAdapterStore(method("")),
    maxModelLen: 2 * contextLength,
  });
  const plain = await lossOf(opened);
  for (const name of everyMethod) {
    const found = await perplexity(device, {
      folder: await openFolder(method("base")),
      data: { content },
      contextLength,
      adapter: await openFolder(method(name)),
    });
    const expected = await lossOf(opened, name);
    assert.equal(found.targetCount, expected.count, name);
    assert.ok(Math.abs(found.loss - expected.loss) <= 1e-5, `${name}: ${found.loss}, not ${expected.loss}`);
    assert.ok(Math.abs(found.loss - plain.loss) > 1e-3, `${name} changes nothing`);
  }
});

/** A fixture's folder with a token that ends documents, where its config has none. */
async function withEnd(at: string): Promise<ReadableFolder> {
  const folder = await openFolder(here(`fixtures/${at}`));
  const fields = JSON.parse(await folder.readText("config.json"));
  const config = JSON.stringify({ ...fields, eos_token_id: fields.eos_token_id ?? 1 });
  return {
    open: (name) => folder.open(name),
    exists: (name) => folder.exists(name),
    readText: (name, limits) =>
      name === "config.json" ? Promise.resolve(config) : folder.readText(name, limits),
  };
}

const words = "w5 w9 w2 w30 w7 w3 w20 w11 w5 w2 w9 w4";
const bases = {
  gpt2: ["families/gpt2/base", content],
  tied: ["tiny/llama-bias-tied", words],
  llama: ["families/variants/llama-gelu/base", content],
} as const;

for (const [base, [at, text]] of Object.entries(bases)) {
  test(`perplexity takes adapters with parameters of their own on ${base}, quantised too`, async () => {
    const device = cpuDevice(), folder = await withEnd(at);
    const adapters = here(`fixtures/parameters/${base}`);
    for (const quantize of [undefined, "int8"] as const) {
      const options = { folder, quantize };
      const opened = await openModel(device, {
        ...options,
        adapters: await openAdapterStore(adapters),
        maxModelLen: 2 * contextLength,
      });
      for (const { id } of await opened.registry.list()) {
        const adapter = await openFolder(`${adapters}/${id}`);
        const ofHead = (await opened.registry.modules(id)).includes("lm_head");
        const scored = perplexity(device, { ...options, data: { content: text }, contextLength, adapter });
        if (ofHead) {
          await assert.rejects(
            scored,
            /Cannot evaluate module "lm_head": it is no linear of the model's layers/,
          );
          continue;
        }
        const { loss } = await scored, expected = await lossOf(opened, id, text);
        // Quantised products of few rows and of many round in other places.
        const limit = quantize ? 1e-4 : 1e-6;
        assert.ok(Math.abs(loss - expected.loss) <= limit, `${id}: ${loss}, not ${expected.loss}`);
      }
    }
  });
}

test("perplexity refuses empty text and sequences that the model has no positions for", async () => {
  const cpu = cpuDevice();
  await assert.rejects(told(cpu, { data: { content: "" } }), {
    name: "SyntaxError",
    message: /data is empty/,
  });
  await assert.rejects(told(cpu, { contextLength: 513 }), {
    name: "RangeError",
    message: "Cannot evaluate on sequences of 513 tokens: the model has positions for 512",
  });
  await assert.rejects(told(cpu, { contextLength: 0 }), RangeError);
});

test("perplexity reads an adapter that needs its model's shapes", async () => {
  const at = async (name: string) =>
    await openFolder(fileURLToPath(new URL(`fixtures/methods/${name}`, import.meta.url)));
  const folder = await at("base"), device = cpuDevice();
  const alone = await told(device, { folder });
  const adapted = await told(device, { folder, adapter: await at("vera-seed") });
  assert.ok(Number.isFinite(adapted.loss) && adapted.loss !== alone.loss);
});
