import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { cpuDevice, GrammarError, openModel, OverloadedError } from "../mod.ts";
import { openFolder, openGrammars } from "../src/runtime/mod.ts";
import type { ModuleWorker } from "../src/device/worker.ts";
import type { ConstrainedRun } from "../src/engine/constraint.ts";
import { Grammars } from "../src/grammar/grammars.ts";
import { schemaForEngine } from "../src/grammar/json_schema.ts";
import type { FromGrammars, ToGrammars } from "../src/grammar/messages.ts";
import type { GrammarSpec } from "../src/grammar/spec.ts";
import { vocabularyOf } from "../src/grammar/vocabulary.ts";
import { EngineFault, XGrammar } from "../src/grammar/xgrammar.ts";
import { openTokenizer } from "../src/models/tokenizer.ts";
import { createApp } from "../src/server/mod.ts";
import { demoTokenizer } from "./demo_model.ts";
import { fakeAdapters } from "./server_fakes.ts";
import { turn } from "./until.ts";

// deno-lint-ignore no-explicit-any -- answers are JSON that each test looks into
type Json = any;

const tokenizer = await demoTokenizer();
const vocabSize = 4096;
// Without a bound of time: a busy machine changes nothing.
const limits = { compileMs: 2 ** 30, nextMs: 2 ** 30 };
const grammars = openGrammars(tokenizer, { vocabSize, limits });
after(() => grammars.close());

const allowed = (mask: Uint32Array): number[] =>
  Array.from({ length: vocabSize }, (_, t) => t).filter((t) => (mask[t >>> 5] >>> (t & 31)) & 1);

/** Whether a grammar takes a text as a whole, a token at a time. */
async function takes(spec: GrammarSpec, text: string): Promise<boolean> {
  const run = await (await grammars.compile(spec)).start();
  let mask = run.first;
  for (const id of tokenizer.encode(text, { addSpecialTokens: false })) {
    if (!allowed(mask).includes(id)) {
      run.end();
      return false;
    }
    mask = await run.accept(id);
  }
  run.end();
  return allowed(mask).includes(tokenizer.eosTokenIds[0]);
}

const json = (schema: unknown): GrammarSpec => ({ kind: "json_schema", schema: schemaForEngine(schema) });

test("grammars take what their rule allows, and nothing else", async () => {
  const person = {
    type: "object",
    properties: {
      name: { type: "string" },
      age: { type: "integer", minimum: 0 },
      tags: { $ref: "#/$defs/tags" },
    },
    required: ["name", "age"],
    $defs: { tags: { type: "array", items: { enum: ["a", "b"] } } },
  };
  const cases: [GrammarSpec, string, boolean][] = [
    [json(person), '{"name": "Zoë", "age": 3, "tags": ["a", "b"]}', true],
    [json(person), '{"name": "Z", "age": -3}', false],
    [json(person), '{"name": "Z"}', false],
    [json(person), '{"name": "Z", "age": 3, "tags": ["c"]}', false],
    [json({ type: "integer", minimum: 3 }), "3", true],
    [json({ type: "integer", minimum: 3 }), "2", false],
    [json({ type: "integer", maximum: -5 }), "-4", false],
    [json({ oneOf: [{ type: "string" }, { type: "null" }] }), "null", true],
    [json({ format: "date-time" }), '"2024-02-29T10:00:00Z"', true],
    [json({ format: "date-time" }), '"2024-02-28T22:60:32Z"', false],
    [json({ format: "ipv4" }), '"0.10.255.1"', true],
    [json({ type: "array", minItems: 2 }), '[1, "a"]', true],
    [json({ type: "array", minItems: 2 }), "[1]", false],
    [json({ prefixItems: [{ type: "null" }], minItems: 3 }), '[null, 1, "a"]', true],
    [json({ prefixItems: [{ type: "null" }], minItems: 3 }), "[null, 1]", false],
    [json({ prefixItems: [{ type: "null" }, {}], items: {}, maxItems: 1 }), "[null]", true],
    [json({ prefixItems: [{ type: "null" }, {}], items: {}, maxItems: 1 }), "[null, 1]", false],
    [json({ prefixItems: [{}], items: {}, maxItems: 0 }), "[]", true],
    [json({ anyOf: [{ $ref: "#" }, { type: "null" }] }), "null", true],
    [json({ type: "object", minProperties: 1 }), '{"a": 1}', true],
    [json({ type: "object", minProperties: 1 }), "{}", false],
    [{ kind: "regex", pattern: "[0-9]{3}-[a-z]+" }, "123-abc", true],
    [{ kind: "regex", pattern: "[0-9]{3}-[a-z]+" }, "12-abc", false],
    [{ kind: "choice", choices: ["yes", "no"] }, "no", true],
    [{ kind: "choice", choices: ["yes", "no"] }, "not", false],
    [{ kind: "ebnf", text: 'root ::= "a" [b-d]' }, "ac", true],
    [{ kind: "ebnf", text: 'root ::= "a" [b-d]' }, "a", false],
  ];
  for (const [spec, text, expected] of cases) {
    assert.equal(await takes(spec, text), expected, `${JSON.stringify(spec)}: ${text}`);
  }
});

test("grammars that cannot be read are refused, and others go on as they were", async () => {
  const constraint = await grammars.compile({ kind: "choice", choices: ["yes", "no"] });
  const run = await constraint.start();
  const before = allowed(run.first);
  const bad: [GrammarSpec, RegExp][] = [
    [{ kind: "regex", pattern: "(a" }, /The parenthesis is not closed/],
    [{ kind: "regex", pattern: "(?=a)b" }, /Lookahead is not supported/],
    [{ kind: "ebnf", text: "root ::= nobody" }, /Rule "nobody" is not defined/],
    [{ kind: "choice", choices: ["x".repeat(70_000)] }, /it has 7\d{4} characters, at most 65536 are taken/],
  ];
  for (const [spec, message] of bad) {
    await assert.rejects(
      grammars.compile(spec),
      (error) => error instanceof GrammarError && message.test(error.message),
    );
  }
  const endless = await grammars.compile({ kind: "ebnf", text: "root ::= root" });
  await assert.rejects(endless.start(), /no token may come next/);
  const fresh = await constraint.start();
  assert.deepEqual(allowed(fresh.first), before);
  await run.accept(before[0]);
  for (const one of [run, fresh]) one.end();
});

test("XGrammar says that a grammar is too large where no memory is left", async () => {
  const engine = createRequire(import.meta.url).resolve("@mlc-ai/web-xgrammar");
  const small = new XGrammar(readFileSync(engine, "utf8"), 2 ** 24 + 2 ** 22);
  await assert.rejects(
    small.read({ kind: "regex", pattern: "((((a{1,1000}){1,1000}){1,1000}){1,1000})" }),
    (error) => error instanceof EngineFault && error.message === "it is too large, or nested too deep",
  );
});

test("vocabularyOf spells the bytes of each token, amid a text, and of special tokens nothing", async () => {
  const tokens = await vocabularyOf(tokenizer, vocabSize + 3);
  assert.equal(tokens.length, vocabSize + 3);
  assert.deepEqual(tokens.slice(vocabSize), ["", "", ""]);
  assert.equal(tokens[tokenizer.eosTokenIds[0]], "");
  const [id] = tokenizer.encode(" the", { addSpecialTokens: false });
  assert.equal(tokens[id], "Ġthe");
  // SentencePiece's: a space at a text's start is not lost, and bytes that are no characters stay.
  const vocab = { "<s>": 0, "▁a": 1, b: 2, "<0xC3>": 3, "▁": 4 };
  const file = JSON.stringify({
    added_tokens: [{ id: 0, content: "<s>", special: true }],
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace", pattern: { String: "▁" }, content: " " },
        { type: "ByteFallback" },
        { type: "Fuse" },
        { type: "Strip", content: " ", start: 1, stop: 0 },
      ],
    },
    model: { type: "BPE", vocab, merges: [] },
  });
  const pieces = await openTokenizer({
    exists: (name) => Promise.resolve(name === "tokenizer.json"),
    readText: () => Promise.resolve(file),
  });
  assert.deepEqual(await vocabularyOf(pieces, 5), ["", "Ġa", "b", "Ã", "Ġ"]);
});

/** A thread that a test answers for. */
function handThread() {
  const messages: ToGrammars[] = [];
  let hear = (_: unknown): void => {}, tell = (_: string): void => {};
  let ended = false;
  const worker: ModuleWorker = {
    post: (message) => void messages.push(message as ToGrammars),
    onMessage: (hearer) => hear = hearer,
    onEnd: (hearer) => tell = hearer,
    keepAlive: () => {},
    end: () => ended = true,
  };
  const answer = (message: FromGrammars): void => hear(message);
  return { worker, messages, answer, die: () => tell("it died"), isEnded: () => ended };
}

/** Grammars whose threads a test answers for. */
function byHand(limits = {}) {
  const threads: ReturnType<typeof handThread>[] = [];
  const hand = new Grammars({
    start: () => {
      const thread = handThread();
      threads.push(thread);
      return Promise.resolve(thread.worker);
    },
    source: () => Promise.resolve(""),
    vocabulary: () => Promise.resolve(["a"]),
    vocabSize: 1,
    stopTokenIds: [],
    limits: { nextMs: 2 ** 30, compileMs: 2 ** 30, ...limits },
  });
  const until = async (condition: () => boolean): Promise<void> => {
    while (!condition()) await turn();
  };
  return { hand, threads, until };
}

const mask = Uint32Array.of(1);
const kinds = (messages: readonly ToGrammars[]): string[] => messages.map(({ kind }) => kind);

test("Grammars replays texts on a new thread when theirs dies, and fails the work it died of alone", async () => {
  const { hand, threads, until } = byHand();
  const compiling = hand.compile({ kind: "regex", pattern: "a" });
  await until(() => threads[0]?.messages.length === 2);
  threads[0].answer({ kind: "compiled" });
  const constraint = await compiling;
  const starting = [constraint.start(), constraint.start()];
  for (let i = 0; i < 2; i++) {
    await until(() => threads[0].messages.length === 4);
    threads[0].answer({ kind: "mask", mask });
  }
  const [one, other] = await Promise.all(starting);
  const failing = assert.rejects(one.accept(0), /it died/);
  const going = other.accept(0);
  await until(() => threads[0].messages.length === 6);
  threads[0].die();
  await failing;
  await until(() => threads[1]?.messages.length === 2);
  assert.deepEqual(kinds(threads[1].messages), ["open", "compile"]);
  threads[1].answer({ kind: "compiled" });
  await until(() => threads[1].messages.length === 3);
  const replayed = threads[1].messages[2];
  assert.ok(replayed.kind === "next");
  assert.deepEqual(replayed.tokens, [0], "all of its tokens");
  threads[1].answer({ kind: "mask", mask });
  assert.equal(await going, mask);
  const further = other.accept(0);
  await until(() => threads[1].messages.length === 4);
  assert.deepEqual((threads[1].messages[3] as { tokens?: unknown }).tokens, [0], "the new one alone");
  threads[1].answer({ kind: "mask", mask });
  await further;
  other.end();
  other.end();
  assert.deepEqual(kinds(threads[1].messages.slice(4)), ["close"]);
});

test("Grammars ends a thread that takes too long, and refuses the grammar that it took", async () => {
  const { hand, threads, until } = byHand({ compileMs: 1 });
  const first = hand.compile({ kind: "regex", pattern: "slow" });
  await assert.rejects(first, /it takes more than 1 ms/);
  assert.equal(threads[0].isEnded(), true);
  const again = byHand();
  const broken = again.hand.compile({ kind: "regex", pattern: "x" });
  await again.until(() => again.threads[0]?.messages.length === 2);
  again.threads[0].answer({ kind: "fault", reason: "memory", isBroken: true });
  await assert.rejects(broken, /Cannot follow the grammar: memory/);
  assert.equal(again.threads[0].isEnded(), true);
  await until(() => true);
});

test("Grammars keeps so many, drops the least recently used, and refuses more than may be in use", async () => {
  const { hand, threads, until } = byHand({ maxKept: 2, maxInUse: 2 });
  const compiled = async (pattern: string, messages: number) => {
    const compiling = hand.compile({ kind: "regex", pattern });
    await until(() => threads[0]?.messages.length === messages);
    threads[0].answer({ kind: "compiled" });
    return await compiling;
  };
  const a = await compiled("a", 2);
  await compiled("b", 3);
  assert.equal(kinds(threads[0].messages).includes("drop"), false);
  await hand.compile({ kind: "regex", pattern: "a" });
  await compiled("c", 5);
  assert.deepEqual(threads[0].messages[3], { kind: "drop", grammar: 1 }, "b was used least recently");
  const runs: ConstrainedRun[] = [];
  const started = async (constraint: typeof a) => {
    const starting = constraint.start(), { length } = threads[0].messages;
    await until(() => threads[0].messages.length > length);
    threads[0].answer({ kind: "mask", mask });
    runs.push(await starting);
  };
  await started(a);
  await started(await hand.compile({ kind: "regex", pattern: "c" }));
  await assert.rejects(hand.compile({ kind: "regex", pattern: "d" }), OverloadedError);
  for (const run of runs) run.end();
  await compiled("d", threads[0].messages.length + 2);
});

test("Grammars begins no work that nobody waits for any more, and takes its rule again", async () => {
  const { hand, threads, until } = byHand({ maxInUse: 2 });
  const first = hand.compile({ kind: "regex", pattern: "a" });
  await until(() => threads[0]?.messages.length === 2);
  const leaving = new AbortController();
  const left = assert.rejects(hand.compile({ kind: "regex", pattern: "b" }, leaving.signal), /gone/);
  leaving.abort(new Error("gone"));
  await left;
  const other = hand.compile({ kind: "regex", pattern: "c" });
  threads[0].answer({ kind: "compiled" });
  await first;
  await until(() => threads[0].messages.length === 3);
  const patterns = () => threads[0].messages.map((one) => one.kind === "compile" && one.spec);
  assert.deepEqual(patterns().slice(1), [{ kind: "regex", pattern: "a" }, { kind: "regex", pattern: "c" }]);
  threads[0].answer({ kind: "compiled" });
  await other;
  const again = hand.compile({ kind: "regex", pattern: "b" });
  await until(() => threads[0].messages.length === 4);
  threads[0].answer({ kind: "compiled" });
  assert.equal((await again).vocabSize, 1);
});

test("Grammars drops a grammar that left, and that a text began all the same, when the text ends", async () => {
  const { hand, threads, until } = byHand({ maxKept: 1 });
  const asked = async (messages: number, answer: FromGrammars) => {
    await until(() => threads[0]?.messages.length === messages);
    threads[0].answer(answer);
  };
  const compiling = hand.compile({ kind: "regex", pattern: "a" });
  await asked(2, { kind: "compiled" });
  const left = await compiling;
  const other = hand.compile({ kind: "regex", pattern: "b" });
  await asked(4, { kind: "compiled" });
  await other;
  const starting = left.start();
  await asked(5, { kind: "compiled" });
  await asked(6, { kind: "mask", mask });
  const run = await starting;
  assert.deepEqual(kinds(threads[0].messages.slice(2)), ["drop", "compile", "compile", "next"]);
  run.end();
  assert.deepEqual(kinds(threads[0].messages.slice(6)), ["close", "drop"]);
  assert.equal((threads[0].messages[7] as { grammar?: number }).grammar, 0);
});

const demo = new URL("../examples/demo/base", import.meta.url);

test("the server gives answers of the form that a request asks for, beside others that ask for none", async () => {
  const { engine } = await openModel(cpuDevice(), { folder: await openFolder(fileURLToPath(demo)) });
  const app = createApp({
    model: { id: "m", createdUnixSeconds: 0, engine, tokenizer, grammars },
    adapters: fakeAdapters(),
  });
  const ask = async (path: string, body: Json): Promise<Json> => {
    const response = await app.request(path, {
      method: "POST",
      body: JSON.stringify({ model: "m", ...body }),
    });
    return { status: response.status, ...await response.json() };
  };
  const schema = {
    type: "object",
    properties: { colour: { enum: ["red", "blue"] }, size: { type: "integer", minimum: 1, maximum: 9 } },
    required: ["colour", "size"],
    additionalProperties: false,
  };
  const chat = (more: Json) =>
    ask("/v1/chat/completions", {
      messages: [{ role: "user", content: "The king" }],
      temperature: 1,
      seed: 1,
      ...more,
    });
  const text = (more: Json) =>
    ask("/v1/completions", { prompt: "The king", max_tokens: 24, temperature: 1, seed: 2, ...more });
  const [format, regex, choice, guided, plain, logprobs] = await Promise.all([
    chat({
      response_format: { type: "json_schema", json_schema: { name: "x", strict: true, schema } },
      n: 2,
    }),
    text({ structured_outputs: { regex: "[0-9]{3}" } }),
    text({ guided_choice: ["yes", "no"], ignore_eos: true, min_tokens: 9 }),
    text({ guided_json: JSON.stringify({ type: "integer", minimum: 10, maximum: 99 }) }),
    text({ temperature: 0 }),
    text({ structured_outputs: { choice: ["é", "ü"] }, logprobs: 2 }),
  ]);
  for (const { message, finish_reason } of format.choices) {
    const { colour, size } = JSON.parse(message.content);
    assert.ok(["red", "blue"].includes(colour) && size >= 1 && size <= 9, message.content);
    assert.equal(finish_reason, "stop");
  }
  assert.match(regex.choices[0].text, /^[0-9]{3}$/);
  assert.match(choice.choices[0].text, /^(yes|no)$/);
  assert.match(guided.choices[0].text, /^[1-9][0-9]$/);
  assert.match(plain.choices[0].text, /^: English writer/, "others are what they are without");
  assert.match(logprobs.choices[0].text, /^[éü]$/);
  assert.ok(logprobs.choices[0].logprobs.token_logprobs.every((one: number) => one < 0));
});

test("the server names the field whose rule it cannot follow", async () => {
  const engine = { maxModelLen: 64, vocabSize, generate: () => assert.fail("nothing runs") };
  const model = { id: "m", createdUnixSeconds: 0, engine, tokenizer };
  const app = createApp({ model: { ...model, grammars }, adapters: fakeAdapters() });
  const refused = async (body: Json, to = app): Promise<[string, string, string]> => {
    const init = { method: "POST", body: JSON.stringify({ model: "m", prompt: "a", ...body }) };
    const response = await to.request("/v1/completions", init);
    const { error } = await response.json();
    assert.equal(response.status, 400, JSON.stringify(body));
    return [error.param, error.code, error.message];
  };
  const schema = { type: "number", minimum: 1 };
  const cases: [Json, string, RegExp][] = [
    [
      { response_format: { type: "json_schema", json_schema: { schema } } },
      "response_format.json_schema.schema",
      /"minimum"/,
    ],
    [{ response_format: { type: "json_schema" } }, "response_format.json_schema", /must be an object/],
    [{ response_format: { type: "xml" } }, "response_format.type", /text, json_object or json_schema/],
    [{ response_format: { type: "text", schema: {} } }, "response_format.schema", /no such field/],
    [{ structured_outputs: {} }, "structured_outputs", /json, json_object, regex, choice or grammar/],
    [{ structured_outputs: { json: null, json_object: false } }, "structured_outputs", /choice or grammar/],
    [{ structured_outputs: { regex: "(a" } }, "structured_outputs.regex", /parenthesis/],
    [{ structured_outputs: { regex: "a", choice: ["b"] } }, "structured_outputs.choice", /one form/],
    [
      { guided_regex: "a", response_format: { type: "json_object" } },
      "guided_regex",
      /beside "response_format"/,
    ],
    [{ guided_json: "{" }, "guided_json", /JSON schema/],
    [{ guided_json: `{"enum": [${"{},".repeat(20_000)}{}]}` }, "guided_json", /more than 16384 containers/],
    [{ guided_choice: [] }, "guided_choice", /1 to 1024 texts that are not empty/],
    [{ guided_grammar: "root ::= x" }, "guided_grammar", /not defined/],
  ];
  for (const [body, param, message] of cases) {
    const [named, code, told] = await refused(body);
    assert.equal(named, param);
    assert.ok(["invalid_value", "unknown_field", "too_complex"].includes(code), code);
    assert.match(told, message);
  }
  const without = createApp({ model, adapters: fakeAdapters() });
  const [param, code, message] = await refused({ guided_regex: "a" }, without);
  assert.deepEqual([param, code], ["guided_regex", "unsupported_field"]);
  assert.match(message, /no engine for grammars/);
});
