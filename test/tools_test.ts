import assert from "node:assert/strict";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import OpenAI from "openai";
import { cpuDevice, openModel } from "../mod.ts";
import { openFolder, openGrammars } from "../src/runtime/mod.ts";
import { schemaForEngine } from "../src/grammar/json_schema.ts";
import type { ChatMessage, ChatOptions, Tokenizer } from "../src/models/tokenizer_types.ts";
import { createApp } from "../src/server/mod.ts";
import { callsFormat, strictFormat, type ToolFormat, toolFormats } from "../src/server/tool_formats.ts";
import { ToolParser } from "../src/server/tool_parser.ts";
import { demoTokenizer } from "./demo_model.ts";
import { fakeAdapters, fakeEngine } from "./server_fakes.ts";

// deno-lint-ignore no-explicit-any -- answers are JSON that each test looks into
type Json = any;

const tokenizer = await demoTokenizer();
const grammars = openGrammars(tokenizer, {
  vocabSize: 4096,
  limits: { compileMs: 2 ** 30, nextMs: 2 ** 30 },
});
after(() => grammars.close());

const formatOf = (name: string): ToolFormat => toolFormats.find((one) => one.name === name)!;

/** What a parser finds in a text that comes in these pieces. */
function parsed(name: string, pieces: readonly string[], isForced = false) {
  const parser = new ToolParser(formatOf(name), isForced);
  const all = [...pieces.map((piece) => parser.push(piece)), parser.end()];
  return {
    text: all.map(({ text }) => text).join(""),
    calls: all.flatMap(({ calls }) => calls.map((call) => [call.name, call.arguments])),
  };
}

/** Texts of models, what is free text of them, and their calls. */
const texts: [format: string, text: string, free: string, calls: [string, string][]][] = [
  ["hermes", 'Well.\n<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>', "Well.\n", [[
    "f",
    '{"a": 1}',
  ]]],
  [
    "hermes",
    '<tool_call>{"name": "f", "arguments": {}}</tool_call>\n<tool_call>{"arguments": {"b": "}<\\"/"}, "name": "g"}</tool_call>\n',
    "",
    [["f", "{}"], ["g", '{"b": "}<\\"/"}']],
  ],
  ["hermes", 'a <tool_call>{"name": 5}</tool_call> b', 'a <tool_call>{"name": 5}</tool_call> b', []],
  ["hermes", '<tool_call>{"name": "f", "arguments": {"a"', '<tool_call>{"name": "f", "arguments": {"a"', []],
  ["hermes", "a <tool_cal", "a <tool_cal", []],
  ["hermes", '<tool_call>{"name": "f", "arguments": {"id": 12345678901234567890}}</tool_call>', "", [[
    "f",
    '{"id": 12345678901234567890}',
  ]]],
  [
    "mistral",
    '[TOOL_CALLS] [{"name": "f", "arguments": {"a": [1, 2]}}, {"name": "g", "arguments": {}}]',
    "",
    [
      ["f", '{"a": [1, 2]}'],
      ["g", "{}"],
    ],
  ],
  ["mistral", 'Hm. [TOOL_CALLS]f[ARGS]{"a": 1}[TOOL_CALLS]g[CALL_ID]x1[ARGS]{}', "Hm. ", [["f", '{"a": 1}'], [
    "g",
    "{}",
  ]]],
  ["mistral", "[TOOL_CALLS][", "[TOOL_CALLS][", []],
  ["granite", '<|tool_call|>[{"name": "f", "arguments": {"a": null}}]', "", [["f", '{"a": null}']]],
  ["llama3_json", ' {"name": "f", "parameters": {"a": true}}', "", [["f", '{"a": true}']]],
  ["llama3_json", '<|python_tag|>{"name": "f", "parameters": {}}', "", [["f", "{}"]]],
  ["llama3_json", '{"answer": 5}', '{"answer": 5}', []],
  ["llama3_json", 'No. {"name": "f", "parameters": {}}', 'No. {"name": "f", "parameters": {}}', []],
];

test("ToolParser finds the calls of each format, however a text is cut, and leaves what is none", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...texts),
      fc.array(fc.nat(200), { maxLength: 6 }),
      ([name, text, free, calls], cuts) => {
        const places = [
          0,
          ...cuts.map((cut) => Math.min(cut, text.length)).sort((a, b) => a - b),
          text.length,
        ];
        const pieces = places.slice(1).map((place, i) => text.slice(places[i], place));
        assert.deepEqual(parsed(name, pieces), { text: free, calls });
      },
    ),
    { numRuns: 400 },
  );
});

test("toolFormats: a template says how its model writes calls; other ways are not guessed", () => {
  const cases: [string, string | undefined][] = [
    ["{% if tools %}<tool_call>{% endif %}", "hermes"],
    ["{% if tools %}<tool_call>\n<function=x>{% endif %}", undefined],
    ['"[AVAILABLE_TOOLS]" "[TOOL_CALLS]"', "mistral"],
    ["{{ tools }}<|tool_call|>", "granite"],
    [
      'Respond in the format {"name": function name, "parameters": dictionary of argument name}',
      "llama3_json",
    ],
    ["{{ tools }}<|tool_calls_section_begin|>", undefined],
  ];
  for (const [template, name] of cases) {
    assert.equal(toolFormats.find(({ fits }) => fits(template))?.name, name, template);
  }
});

/** Whether a structural tag takes a text as a whole. */
async function takes(format: NonNullable<ReturnType<typeof strictFormat>>, text: string): Promise<boolean> {
  const run = await (await grammars.compile({ kind: "structural_tag", format })).start();
  let mask = run.first;
  const isIn = (id: number): boolean => ((mask[id >>> 5] >>> (id & 31)) & 1) === 1;
  for (const id of tokenizer.encode(text, { addSpecialTokens: false })) {
    if (!isIn(id)) return false;
    mask = await run.accept(id);
  }
  run.end();
  return isIn(tokenizer.eosTokenIds[0]);
}

const parameters = schemaForEngine({
  type: "object",
  properties: { a: { type: "integer" } },
  required: ["a"],
});
const functions = [{ name: "f", parameters }, { name: "g", parameters }];

test("callsFormat takes calls and nothing else, in a form that the parser reads", async () => {
  for (const format of toolFormats) {
    const call = (name: string, value: string): string => {
      const inner = `{"name": "${name}", "${format.field}": {"a": ${value}}}`;
      return format.isSpecial ? inner : `${format.mark}\n${inner}\n${format.end}`;
    };
    const [before, after] = format.isList ? ["[", "]"] : ["", ""];
    const separator = format.isList ? ", " : "\n";
    const one = before + call("g", "7") + after,
      two = before + call("f", "1") + separator + call("g", "2") + after;
    const tag = callsFormat(format, functions, { isOne: false });
    assert.equal(await takes(tag, one), true, one);
    assert.equal(await takes(tag, two), format.mayBeBare !== true, two);
    assert.equal(await takes(tag, before + call("f", '"x"') + after), false);
    assert.equal(await takes(tag, before + call("h", "1") + after), false);
    assert.equal(await takes(tag, ""), false);
    assert.equal(await takes(callsFormat(format, functions, { isOne: true }), two), false);
    assert.deepEqual(parsed(format.name, [one], true), { text: "", calls: [["g", '{"a": 7}']] });
  }
});

test("strictFormat takes free text whose calls have arguments by their schemas", async () => {
  const tag = strictFormat(formatOf("hermes"), functions)!;
  const call = (value: string): string =>
    `<tool_call>\n{"name": "f", "arguments": {"a": ${value}}}\n</tool_call>`;
  assert.equal(await takes(tag, `Well, then: ${call("1")} and more`), true);
  assert.equal(await takes(tag, "No call."), true);
  assert.equal(await takes(tag, call('"x"')), false);
  assert.equal(strictFormat(formatOf("mistral"), functions), undefined);
});

const tools = [{
  type: "function" as const,
  function: {
    name: "weather",
    description: "The weather of a town",
    parameters: { type: "object", properties: { town: { enum: ["Bonn", "Ulm"] } }, required: ["town"] },
  },
}];

/** A server whose model says a text, with a template that is told what it was given. */
function setUp(text: string, { template = "{{ tools }}<tool_call>", toolParser }: {
  template?: string;
  toolParser?: string;
} = {}) {
  const given: { messages: readonly ChatMessage[]; options?: ChatOptions }[] = [];
  const own: Tokenizer = {
    ...tokenizer,
    toolTemplate: template,
    chatPrompt: (messages, options) => {
      given.push({ messages, options });
      return "The king";
    },
  };
  const engine = fakeEngine({
    reply: () => tokenizer.encode(text, { addSpecialTokens: false }),
    maxModelLen: 400,
  });
  const model = { id: "m", createdUnixSeconds: 0, engine, tokenizer: own, grammars, toolParser };
  const app = createApp({ model, adapters: fakeAdapters() });
  const client = new OpenAI({
    baseURL: "http://localhost/v1",
    apiKey: "unused",
    maxRetries: 0,
    fetch: async (input, init) => await app.request(input as string, init),
  });
  return { app, client, given, engine };
}

const chatting = { model: "m", messages: [{ role: "user" as const, content: "Weather?" }], max_tokens: 200 };

test("chat answers with calls of tools to OpenAI's client, whole and streamed", async () => {
  const text = 'Let me look.\n<tool_call>\n{"name": "weather", "arguments": {"town": "Ulm"}}\n</tool_call>';
  const { client, given } = setUp(text);
  const { choices: [choice] } = await client.chat.completions.create({ ...chatting, tools });
  assert.equal(choice.finish_reason, "tool_calls");
  assert.equal(choice.message.content, "Let me look.\n");
  const [call] = choice.message.tool_calls!;
  assert.ok(call.type === "function");
  assert.match(call.id, /^call_[0-9a-f]{24}$/);
  assert.deepEqual(call.function, { name: "weather", arguments: '{"town": "Ulm"}' });
  assert.deepEqual(given[0].options?.tools, tools);
  const stream = await client.chat.completions.create({ ...chatting, tools, stream: true });
  let content = "";
  const deltas: Json[] = [], reasons: unknown[] = [];
  for await (const { choices: [{ delta, finish_reason }] } of stream) {
    content += delta.content ?? "";
    deltas.push(...delta.tool_calls ?? []);
    reasons.push(finish_reason);
  }
  assert.equal(content, "Let me look.\n");
  assert.deepEqual(deltas.map(({ index, type, function: own }) => [index, type, own.name, own.arguments]), [
    [0, "function", "weather", '{"town": "Ulm"}'],
  ]);
  assert.equal(reasons.at(-1), "tool_calls");
  const none = await client.chat.completions.create({ ...chatting, tools, tool_choice: "none" });
  assert.equal(none.choices[0].message.content, text, "no call is looked for");
  assert.equal(given.at(-1)!.options?.tools, undefined);
});

test("chat gives a template the calls of a history, and the tools' answers", async () => {
  const { client, given } = setUp("Rain.");
  const call = {
    id: "call_1",
    type: "function" as const,
    function: { name: "weather", arguments: '{"town":"Ulm"}' },
  };
  const { choices: [choice] } = await client.chat.completions.create({
    ...chatting,
    tools,
    messages: [
      ...chatting.messages,
      { role: "assistant", content: null, tool_calls: [call] },
      { role: "tool", tool_call_id: "call_1", content: "rain" },
    ],
  });
  assert.deepEqual([choice.message.content, choice.finish_reason], ["Rain.", "stop"]);
  assert.deepEqual(given[0].messages.slice(1), [
    {
      tool_calls: [{
        id: "call_1",
        type: "function",
        function: { name: "weather", arguments: { town: "Ulm" } },
      }],
      role: "assistant",
      content: "",
    },
    { tool_call_id: "call_1", role: "tool", content: "rain" },
  ]);
});

test("chat refuses tools by name that it cannot follow", async () => {
  const { app } = setUp("x");
  const refused = async (body: Json, to = app): Promise<[string, string]> => {
    const response = await to.request("/v1/chat/completions", {
      method: "POST",
      body: JSON.stringify({ ...chatting, ...body }),
    });
    const { error } = await response.json();
    assert.equal(response.status, 400, JSON.stringify(body));
    return [error.param, error.message];
  };
  const tool = (more: Json, own: Json = {}) => ({
    ...tools[0],
    ...more,
    function: { ...tools[0].function, ...own },
  });
  const deep = `{"a": ${"[".repeat(70)}${"]".repeat(70)}}`;
  const cases: [Json, string, RegExp][] = [
    [{ tools: {} }, "tools", /at most 128/],
    [{ tools: [tool({ type: "code" })] }, "tools[0].type", /"function"/],
    [{ tools: [tool({}, { name: "a b" })] }, "tools[0].function.name", /letters/],
    [{ tools: [tool({}, { extra: 1 })] }, "tools[0].function.extra", /no such field/],
    [{ tools: [tools[0], tools[0]] }, "tools[1].function.name", /two functions "weather"/],
    [{ tools, tool_choice: "any" }, "tool_choice", /"none", "auto", "required"/],
    [{ tools, tool_choice: { type: "function", function: { name: "x" } } }, "tool_choice", /no function "x"/],
    [{ tool_choice: "required" }, "tool_choice", /there are no tools/],
    [{ tools, response_format: { type: "json_object" } }, "response_format", /beside "tools"/],
    [
      { tools: [tool({}, { parameters: { not: {} } })], tool_choice: "required" },
      "tools[0].function.parameters",
      /"not" needs a "type"/,
    ],
    [
      { messages: [{ role: "user", content: "a", tool_calls: [{}] }] },
      "messages[0].tool_calls",
      /only an assistant/,
    ],
    [
      { messages: [{ role: "assistant", tool_calls: [{ function: { name: "f", arguments: "[" } }] }] },
      "messages[0].tool_calls[0].function.arguments",
      /JSON object/,
    ],
    [
      { messages: [{ role: "assistant", tool_calls: [{ function: { name: "f", arguments: deep } }] }] },
      "messages[0].tool_calls[0].function.arguments",
      /more than 64 levels/,
    ],
    [
      { messages: [{ role: "assistant", function_call: {} }] },
      "messages[0].function_call",
      /calls are "tool_calls"/,
    ],
  ];
  for (const [body, param, message] of cases) {
    const [named, told] = await refused(body);
    assert.equal(named, param);
    assert.match(told, message);
  }
  for (const template of ["{{ messages }}", "{{ tools }}<|other|>"]) {
    const [param, told] = await refused({ tools }, setUp("x", { template }).app);
    assert.equal(param, "tools");
    assert.match(told, /chat template/);
  }
  const [param] = await refused(
    { tools: [tool({}, { strict: true })] },
    setUp("x", { toolParser: "mistral" }).app,
  );
  assert.equal(param, "tools[0].function.strict");
  assert.throws(
    () => setUp("x", { toolParser: "other" }),
    /Cannot use tool parser "other": it must be one of mistral/,
  );
});

test("chat forces the calls that tool_choice asks for, by the engine of grammars", async () => {
  const demo = fileURLToPath(new URL("../examples/demo/base", import.meta.url));
  const { engine } = await openModel(cpuDevice(), { folder: await openFolder(demo) });
  const own: Tokenizer = { ...tokenizer, toolTemplate: "{{ tools }}<tool_call>" };
  const app = createApp({
    model: { id: "m", createdUnixSeconds: 0, engine, tokenizer: own, grammars },
    adapters: fakeAdapters(),
  });
  for (const tool_choice of ["required", { type: "function", function: { name: "weather" } }]) {
    const body = { ...chatting, tools, tool_choice, parallel_tool_calls: false, temperature: 1, seed: 3 };
    const response = await app.request("/v1/chat/completions", {
      method: "POST",
      body: JSON.stringify(body),
    });
    const { choices: [{ message, finish_reason }] }: Json = await response.json();
    assert.equal(finish_reason, "tool_calls", JSON.stringify(message));
    assert.deepEqual(message.tool_calls.map((call: Json) => call.function.name), ["weather"]);
    assert.ok(["Bonn", "Ulm"].includes(JSON.parse(message.tool_calls[0].function.arguments).town));
    assert.equal(message.content, null);
  }
});
