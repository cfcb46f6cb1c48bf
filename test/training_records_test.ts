/**
 * Records of training files: every form that tools write is learnt as it says, or refused by the field's name.
 *
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { chatFormatter, chatWriter } from "../src/models/chat_template.ts";
import { bytesSource } from "../src/safetensors/mod.ts";
import { type DataFormat, type LossOn, streamOf } from "../src/training/data.ts";
import { readDocuments, type TextDocument } from "../src/training/documents.ts";

const template =
  "{% if tools %}[{{ tools | tojson }}]{% endif %}{% for d in documents or [] %}({{ d.text }}){% endfor %}" +
  "{% if shout %}!{% endif %}" +
  "{% for m in messages %}<{{ m.role }}{{ ' ' ~ m.name if m.name }}>" +
  "{% for c in m.tool_calls or [] %}{{ c.function.name }}{{ c.function.arguments | tojson }}{% endfor %}" +
  "{{ m.content if m.content is not none }};{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";

const tokenizer = { chatPrompt: chatFormatter(template, {}) };

interface Reading {
  readonly format?: DataFormat;
  readonly lossOn?: LossOn;
  readonly with?: Partial<ReturnType<typeof chatWriter>> & typeof tokenizer;
}

async function read(
  text: string,
  { format = "jsonl", lossOn, with: other }: Reading = {},
): Promise<TextDocument[]> {
  const stream = streamOf(bytesSource(new TextEncoder().encode(text)));
  return await Array.fromAsync(readDocuments(stream, { format, lossOn, tokenizer: other ?? tokenizer }));
}

/** The documents' texts, what is learnt between braces. */
async function learnt(record: unknown, reading: Reading = {}): Promise<string> {
  const documents = await read(JSON.stringify(record), reading);
  return documents.map(({ segments }) =>
    segments.map(({ text, isTarget }) => isTarget ? `{${text}}` : text).join("")
  ).join("|");
}

async function refuses(record: unknown, message: RegExp, reading: Reading = {}): Promise<void> {
  await assert.rejects(read(JSON.stringify(record), reading), (error) => {
    assert.ok(error instanceof SyntaxError, String(error));
    assert.match(error.message, message);
    return true;
  });
}

const user = { role: "user", content: "u" };
const assistant = { role: "assistant", content: "a" };
const tools = [{ type: "function", function: { name: "f", default: 1.5 } }];
const completion = { lossOn: "completion" } as const;

test("weight: 0 leaves a message of the assistant unlearnt, whatever the loss is on", async () => {
  const messages = [user, { ...assistant, weight: 0 }, user, { ...assistant, content: "b", weight: 1 }];
  assert.equal(await learnt({ messages }, completion), "<user>u;<assistant>a;<user>u;<assistant>{b;}");
  assert.equal(await learnt({ messages }), "{<user>u;<assistant>}a;{<user>u;<assistant>b;}");
  assert.equal(await learnt({ messages: messages.slice(0, 2) }, completion), "<user>u;<assistant>a;");
  const nulls = [user, { ...assistant, weight: null }];
  assert.equal(await learnt({ messages: nulls }, completion), "<user>u;<assistant>{a;}");
});

test("weight: other values, and weights of others, are refused", async () => {
  for (const weight of [0.5, 2, -1, "0", true]) {
    await refuses(
      { messages: [user, { ...assistant, weight }] },
      /message 1 of line 1: "weight" must be 0 or 1/,
    );
  }
  await refuses(
    { messages: [{ ...user, weight: 0 }, assistant] },
    /message 0 .*"weight" is for messages of the ass/,
  );
  await refuses(
    { text: "a", weight: 0 },
    /"weight" of line 1: .*only messages of the assistant have weights/,
  );
  const [document] = await read(
    '{"messages": [{"role": "assistant", "content": "a", "weight": 0.0}]}',
    completion,
  );
  assert.deepEqual(document.segments.map(({ isTarget }) => isTarget), [false]);
});

test("tools, documents and chat_template_kwargs of a line are given to the template", async () => {
  const messages = [user, assistant];
  assert.equal(
    await learnt({ messages, tools }, completion),
    '[[{"type": "function", "function": {"name": "f", "default": 1.5}}]]<user>u;<assistant>{a;}',
  );
  assert.equal(
    await learnt({ messages, tools: null, documents: [{ text: "d" }] }),
    "{(d)<user>u;<assistant>a;}",
  );
  assert.equal(await learnt({ messages, chat_template_kwargs: { shout: true } }), "{!<user>u;<assistant>a;}");
  await refuses({ messages, tools: "f" }, /"tools" of line 1: it must be a list of objects, it is a string/);
  await refuses({ messages, documents: ["d"] }, /"documents" of line 1: it must be a list of objects/);
  await refuses(
    { messages, chat_template_kwargs: [] },
    /"chat_template_kwargs" of line 1: it must be an object/,
  );
});

test("tools, documents and calls that the template does not write are refused", async () => {
  const deaf = {
    with: { chatPrompt: chatFormatter("{% for m in messages %}{{ m.content }};{% endfor %}", {}) },
  };
  const calls = [{ type: "function", function: { name: "f", arguments: {} } }];
  await refuses(
    { messages: [user, assistant], tools },
    /Cannot follow "tools" of line 1: .* does not write/,
    deaf,
  );
  await refuses(
    { messages: [user], documents: [{ text: "d" }] },
    /Cannot follow "documents" of line 1/,
    deaf,
  );
  await refuses(
    { messages: [user, { ...assistant, tool_calls: calls }] },
    /Cannot follow "tool_calls" of line 1/,
    deaf,
  );
  assert.equal(await learnt({ messages: [user, assistant], tools: [] }, deaf), "{u;a;}");
});

test("calls, answers of tools, names and absent content go to the template", async () => {
  const calls = [{ id: "1", type: "function", function: { name: "f", arguments: { x: 1 } } }];
  const answer = { role: "tool", tool_call_id: "1", name: "f", content: "ok" };
  for (const message of [{ content: null, tool_calls: calls }, { tool_calls: calls }]) {
    assert.equal(
      await learnt({ messages: [user, { role: "assistant", ...message }, answer, assistant] }, completion),
      '<user>u;<assistant>{f{"x": 1};}<tool f>ok;<assistant>{a;}',
    );
  }
  await refuses(
    { messages: [user, { role: "assistant", content: null }] },
    /message 1 .*there must be "tool_calls"/,
  );
  await refuses({ messages: [{ role: "user", content: null }] }, /message 0 .*are a string and null/);
  await refuses({ messages: ["u"] }, /message 0 of line 1: it must be an object, it is a string/);
});

test("content in parts is taken as the server takes it: texts, a line end between", async () => {
  const text = (part: string) => ({ type: "text", text: part });
  const messages = [{ role: "user", content: [text("Say"), text("hi")] }, assistant];
  assert.equal(await learnt({ messages }, completion), "<user>Say\nhi;<assistant>{a;}");
  const image = { type: "image_url", image_url: { url: "a.png" } };
  await refuses(
    { messages: [{ role: "user", content: [text("a"), image] }] },
    /parts must be texts, .*"image_url"/,
  );
  await refuses(
    { messages: [{ role: "user", content: ["a"] }] },
    /message 0 of line 1: its parts must be texts/,
  );
});

test("prompt and completion may be messages, of which the completion's are learnt", async () => {
  const prompt = [user, assistant, user];
  assert.equal(
    await learnt({ prompt, completion: [{ ...assistant, content: "b" }] }, completion),
    "<user>u;<assistant>a;<user>u;<assistant>{b;}",
  );
  assert.equal(
    await learnt({ prompt, completion: [assistant] }),
    "{<user>u;<assistant>a;<user>u;<assistant>a;}",
  );
  await refuses({ prompt, completion: "b" }, /"prompt" of line 1: it must be a text, it is a list/);
  await refuses({ prompt: "a", completion: "b", tools }, /Cannot follow the field "tools" of line 1/);
});

test("conversations of from and value are messages", async () => {
  const conversations = [{ from: "system", value: "s" }, { from: "human", value: "u" }, {
    from: "gpt",
    value: "a",
  }];
  assert.equal(await learnt({ id: "x", conversations }, completion), "<system>s;<user>u;<assistant>{a;}");
  assert.equal(await learnt({ conversations: [user, assistant] }, completion), "<user>u;<assistant>{a;}");
  await refuses(
    { conversations: [{ from: "function_call", value: "f" }] },
    /"from" must be one of .*"function_call"/,
  );
});

test("fields that would change what is learnt are refused by name, with what to write", async () => {
  const messages = [user, assistant];
  const refused: readonly (readonly [unknown, RegExp])[] = [
    [{ messages, functions: [] }, /"functions" of line 1: .*write it as "tools"/],
    [{ messages, parallel_tool_calls: false }, /"parallel_tool_calls" of line 1: .*take it out/],
    [{ messages, system: "s" }, /"system" of line 1: .*first of "messages"/],
    [{ messages, mask: [1] }, /"mask" of line 1: .*take it out/],
    [
      { messages: [user, { ...assistant, function_call: {} }] },
      /message 1 .*"function_call" .*write it as "tool_calls"/,
    ],
    [{ messages: [{ role: "function", content: "1" }] }, /message 0 .*role "function" .*write it as "tool"/],
    [{ messages: [user, { ...assistant, audio: { id: "1" } }] }, /message 1 .*"audio" .*only text/],
    [{ instruction: "i", input: "", output: "o" }, /for "instruction", write what is asked as "prompt"/],
    [{ question: "q", answer: "a" }, /for "question", write what is asked as "prompt"/],
    [{ prompt: "p", chosen: "c", rejected: "r" }, /for "chosen", preferences are not learnt/],
    [{ prompt: "p", completion: "c", label: true }, /"label" of line 1: .*preferences are not learnt/],
    [
      { input: { messages }, preferred_output: [], non_preferred_output: [] },
      /line 1 as a document: .*"preferred_output"/,
    ],
    [{ content: "c" }, /for "content", write it as "text"/],
    [{ text: "t", messages }, /line 1 as a document: it has "text" and "messages"/],
    [{ text: "t", prompt: "p" }, /"prompt" of line 1/],
  ];
  for (const [record, message] of refused) await refuses(record, message);
});

test("fields that say where a record is from, and fields of null, are not looked at", async () => {
  assert.equal(
    await learnt({ id: 1, meta: { a: 1 }, url: "u", text: "t", prompt: null, label: null }),
    "{t}",
  );
  assert.equal(
    await learnt({ messages: [user, { ...assistant, function_call: null, refusal: null }] }),
    "{<user>u;<assistant>a;}",
  );
});

test("json: a list of objects is read entry by entry, and anything else refused", async () => {
  const json = { format: "json" } as const;
  const list = [{ text: "The mill turns the wheel." }, { text: "And the wheel turns the mill." }];
  assert.equal(await learnt(list, json), "{The mill turns the wheel.}|{And the wheel turns the mill.}");
  assert.equal((await read(JSON.stringify(list, null, 2), json)).length, 2);
  assert.equal((await read(list.map((record) => JSON.stringify(record)).join("\n"), json)).length, 2);
  assert.deepEqual(await read("[]", json), []);
  await refuses(
    [{ text: "a" }, "b"],
    /entry 2 as a document: it must be a JSON object, it is a string/,
    json,
  );
  await refuses([{ text: "a" }, { instruction: "i" }], /entry 2 as a document: .*for "instruction"/, json);
  await refuses({ data: list }, /its fields are "data"/, json);
  await refuses("text", /the file as training data: it must be a list of objects, it is a string/, json);
  await assert.rejects(read("[{", json), /Cannot read the file as JSON/);
});

/** Marks what the assistant says, without the mark that ends a turn. */
const marking =
  "{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' %}{% generation %}{{ m.content }}" +
  "{% endgeneration %}{% else %}{{ m.content }}{% endif %};{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";
const marked = { ...completion, with: chatWriter(marking, {}) };

test("{% generation %} of the template says what of a conversation is learnt, as transformers' mask does", async () => {
  const messages = [user, assistant, user, { ...assistant, content: "b" }];
  assert.equal(await learnt({ messages }, marked), "<user>u;<assistant>{a};<user>u;<assistant>{b};");
  assert.equal(
    await learnt({ messages }, { ...marked, lossOn: "all" }),
    "{<user>u;<assistant>a;<user>u;<assistant>b;}",
  );
  const some = [user, { ...assistant, weight: 0 }, user, { ...assistant, content: "b" }];
  assert.equal(await learnt({ messages: some }, marked), "<user>u;<assistant>a;<user>u;<assistant>{b};");
  const parted = { prompt: messages.slice(0, 3), completion: messages.slice(3) };
  assert.equal(await learnt(parted, marked), "<user>u;<assistant>a;<user>u;<assistant>{b};");
});

test("{% generation %} is followed where a template writes earlier turns anew, and in loops and conditions", async () => {
  const last = "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}" +
    "{{ m.content if loop.last else '-' }}{%- endgeneration -%}{% endif %} {% endfor %}";
  const messages = [assistant, user, assistant];
  assert.equal(await learnt({ messages }, { ...marked, with: chatWriter(last, {}) }), "{-}  {a} ");
});

test("{% generation %} that marks nothing, too much, or a text without a place is refused", async () => {
  const by = (template: string): Reading => ({ ...completion, with: chatWriter(template, {}) });
  const messages = [user, assistant];
  await refuses(
    { messages },
    /marks by \{% generation %\}, and it marks nothing/,
    by("x{% if no %}{% generation %}{% endgeneration %}{% endif %}"),
  );
  const twice = by("{% generation %}a{% endgeneration %}b{% generation %}c{% endgeneration %}");
  assert.equal(await learnt({ messages }, twice), "{a}b{c}");
  await refuses(
    { messages: [user, { ...assistant, weight: 0 }] },
    /Cannot tell what to learn from line 1: .* marks 2 stretches by .* for 1 messages of the assistant/,
    twice,
  );
  const caught = by("{% set x %}{% generation %}a{% endgeneration %}{% endset %}{{ x }}");
  await assert.rejects(
    learnt({ messages }, caught),
    /Cannot follow \{% generation %\} of the model's chat template/,
  );
  // What is not asked for is not refused.
  assert.equal(await learnt({ messages }, { ...caught, lossOn: "all" }), "{a}");
});
