import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { cpuDevice, type Device, openModel } from "../mod.ts";
import { openAdapterStore, openCpuDevice, openFolder } from "../src/runtime/mod.ts";
import { createApp } from "../src/server/mod.ts";
import { everything, inEveryGpuCase, testGpu } from "./devices.ts";

/** Greedy completions by transformers and PEFT. */
interface GoldenCase {
  readonly adapter: string | null;
  readonly prompt: string;
  readonly prompt_token_ids: readonly number[];
  readonly token_ids: readonly number[];
  readonly text: string;
  readonly finish_reason: "stop" | "length";
}

const demo = (path: string): string => fileURLToPath(new URL(`../examples/demo/${path}`, import.meta.url));
const golden: { readonly max_tokens: number; readonly cases: readonly GoldenCase[] } = JSON.parse(
  readFileSync(demo("golden.json"), "utf8"),
);

type App = ReturnType<typeof createApp>;

async function openApp(device: Device): Promise<App> {
  const { engine, tokenizer, registry } = await openModel(device, {
    folder: await openFolder(demo("base")),
    adapters: await openAdapterStore(demo("adapters")),
  });
  return createApp({
    model: { id: "demo", createdUnixSeconds: 1700000000, engine, tokenizer },
    adapters: registry,
    log: (line) => console.error(line),
  });
}

const apps = new Map<string, Promise<App>>();

/** The served demo on a device, opened once. */
function served(kind: Device["kind"]): Promise<App> {
  const known = apps.get(kind);
  if (known) return known;
  const opened = kind === "cpu" ? openApp(cpuDevice()) : testGpu().then(openApp);
  apps.set(kind, opened);
  return opened;
}

// deno-lint-ignore no-explicit-any -- answers are JSON that each test looks into
type Json = any;

function post(app: App, path: string, body: unknown): Promise<Response> {
  return Promise.resolve(app.request(path, { method: "POST", body: JSON.stringify(body) }));
}

async function ask(app: App, path: string, body: unknown): Promise<Json> {
  const response = await post(app, path, body);
  const answer: Json = await response.json();
  assert.equal(response.status, 200, JSON.stringify(answer));
  return answer;
}

function requestOf({ adapter, prompt }: GoldenCase, maxTokens = golden.max_tokens): Record<string, unknown> {
  return {
    model: adapter ?? "demo",
    prompt,
    temperature: 0,
    max_tokens: maxTokens,
    return_token_ids: true,
  };
}

/** Asks for a case; its first `maxTokens` tokens must be the golden ones, and its text too when that is all of them. */
async function holds(app: App, one: GoldenCase, maxTokens = golden.max_tokens): Promise<void> {
  const { choices: [choice], usage } = await ask(app, "/v1/completions", requestOf(one, maxTokens));
  const name = `${one.adapter ?? "base"}, "${one.prompt}"`;
  assert.deepEqual(choice.prompt_token_ids, one.prompt_token_ids, name);
  assert.deepEqual(choice.token_ids, one.token_ids.slice(0, maxTokens), name);
  assert.equal(usage.prompt_tokens, one.prompt_token_ids.length, name);
  if (maxTokens < one.token_ids.length) {
    assert.ok(one.text.startsWith(choice.text.replace(/\ufffd+$/, "")), name);
    return;
  }
  assert.equal(choice.text, one.text, name);
  assert.equal(choice.finish_reason, one.finish_reason, name);
  assert.equal(usage.completion_tokens, one.token_ids.length, name);
}

/** A case of the base and of each adapter method and seed. */
function oneOfEachKind(): GoldenCase[] {
  const names = [null, "fourierft-kjv", "fourierft-kjv-qv", "lora-kjv", "dora-kjv-r2"];
  return names.map((name) => golden.cases.find(({ adapter }) => adapter === name)!);
}

test("golden data: five prompts of nine models", () => {
  assert.equal(golden.cases.length, 45);
  assert.equal(new Set(golden.cases.map(({ adapter }) => adapter)).size, 9);
  assert.ok(new Set(golden.cases.map(({ text }) => text)).size > 30);
});

test("completions on cpu: all golden cases, asked at once, are transformers' and PEFT's to the token", async () => {
  const app = await served("cpu");
  await Promise.all(golden.cases.map((one) => holds(app, one)));
});

test("completions on cpu in a thread of its own: all golden cases, at once and one at a time, are the same", async () => {
  const device = await openCpuDevice();
  assert.match(device.description, /threads? of its own/);
  const app = await openApp(device);
  await Promise.all(golden.cases.map((one) => holds(app, one)));
  for (const one of oneOfEachKind()) await holds(app, one);
  device.destroy();
});

test("completions on cpu: one at a time, they are the same as in a mixed batch", async () => {
  const app = await served("cpu");
  for (const one of oneOfEachKind()) await holds(app, one);
});

test("completions on webgpu: base, FourierFT of two seeds, LoRA and DoRA in one batch are the golden ones", {
  skip: inEveryGpuCase.skip, // a minute on a software GPU
}, async () => {
  const app = await served("webgpu");
  await Promise.all(oneOfEachKind().map((one) => holds(app, one, 6)));
});

test("completions on webgpu: all golden cases, asked at once, are transformers' and PEFT's to the token", {
  skip: everything ? false : "set FOURIERFT_TEST_ALL=1: minutes on a software GPU",
}, async () => {
  const app = await served("webgpu");
  await Promise.all(golden.cases.map((one) => holds(app, one)));
});

test("streaming on cpu: the pieces of a stream make the golden text and ids", async () => {
  const app = await served("cpu");
  const one = golden.cases.find(({ adapter }) => adapter === "fourierft-sotu")!;
  const response = await post(app, "/v1/completions", { ...requestOf(one), stream: true });
  assert.equal(response.status, 200);
  const events = (await response.text()).split("\n\n").filter(Boolean);
  assert.equal(events.at(-1), "data: [DONE]");
  const chunks: Json[] = events.slice(0, -1).map((event) => JSON.parse(event.replace(/^data: /, "")));
  assert.ok(chunks.length > 10, `${chunks.length} chunks`);
  const choices: Json[] = chunks.flatMap((chunk) => chunk.choices);
  assert.equal(choices.map(({ text }) => text).join(""), one.text);
  assert.deepEqual(choices.flatMap(({ token_ids }) => token_ids ?? []), one.token_ids);
  assert.equal(choices.at(-1).finish_reason, one.finish_reason);
});

test("chat on cpu: a message alone is continued as its text is, in the adapter's voice", async () => {
  const app = await served("cpu");
  const one = golden.cases.find(({ adapter }) => adapter === "fourierft-kjv")!;
  const { choices: [choice], usage } = await ask(app, "/v1/chat/completions", {
    model: `demo:${one.adapter}`,
    messages: [{ role: "user", content: one.prompt }],
    temperature: 0,
    max_tokens: golden.max_tokens,
  });
  assert.deepEqual(choice.message, { role: "assistant", content: one.text, refusal: null });
  assert.equal(choice.finish_reason, one.finish_reason);
  assert.equal(usage.prompt_tokens, one.prompt_token_ids.length);
});

test("sampling on cpu: equal seeds give equal texts in any company, other seeds other ones", async () => {
  const app = await served("cpu");
  const sampled = async (seed: number): Promise<string> => {
    const body = { model: "fourierft-kjv", prompt: "The people of", max_tokens: 12, temperature: 1, seed };
    return (await ask(app, "/v1/completions", body)).choices[0].text;
  };
  const alone = await sampled(7);
  const [again, other] = await Promise.all([sampled(7), sampled(8), holds(app, golden.cases[0], 12)]);
  assert.equal(again, alone);
  assert.notEqual(other, alone);
});
