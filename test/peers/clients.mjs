/**
 * Asks a server by Vercel's AI SDK and by LangChain.js. In an empty folder:
 *
 *     npm i ai@7.0.173 @ai-sdk/openai-compatible@3.0.92 @langchain/openai@1.6.0 @langchain/core zod@4.6.7
 *     cp .../test/peers/clients.mjs . && node clients.mjs http://127.0.0.1:PORT/v1
 *
 * {@linkcode ./client_server.ts} is the server. The bodies that it prints are in test/fixtures/client_forms.json.
 *
 * @module
 */
import assert from "node:assert/strict";
import process from "node:process";

// By variables: the project itself has none of these packages.
const packages = ["@ai-sdk/openai-compatible", "@langchain/core/messages", "@langchain/openai", "ai", "zod"];
const [{ createOpenAICompatible }, { HumanMessage, ToolMessage }, { ChatOpenAI, OpenAI }, sdk, z] =
  await Promise
    .all(packages.map((name) => import(name)));
const { generateText, Output, streamText, tool } = sdk;

const baseURL = process.argv[2];
const schema = z.object({ colour: z.enum(["red", "blue"]), size: z.int().min(1).max(9) });
const town = z.object({ town: z.enum(["Bonn", "Ulm"]) });

async function aiSdk() {
  const provider = createOpenAICompatible({ name: "local", baseURL, supportsStructuredOutputs: true });
  const model = provider.chatModel("fourierft-kjv");
  const shared = { model, maxOutputTokens: 400, temperature: 0, maxRetries: 0 };
  const text = await generateText({ ...shared, prompt: "The king" });
  assert.ok(text.text.length > 0);
  let streamed = "";
  for await (const piece of streamText({ ...shared, prompt: "The king" }).textStream) streamed += piece;
  assert.equal(streamed, text.text);
  const { output } = await generateText({ ...shared, prompt: "The king", output: Output.object({ schema }) });
  schema.parse(output);
  const weather = tool({ description: "The weather", inputSchema: town });
  const called = await generateText({
    ...shared,
    prompt: "The king",
    tools: { weather },
    toolChoice: "required",
  });
  assert.equal(called.toolCalls[0].toolName, "weather");
  town.parse(called.toolCalls[0].input);
  const again = await generateText({
    ...shared,
    tools: { weather },
    messages: [
      { role: "user", content: "The king" },
      ...called.response.messages,
      {
        role: "tool",
        content: called.toolCalls.map(({ toolCallId }) => ({
          ...{ type: "tool-result", toolCallId, toolName: "weather" },
          output: { type: "text", value: "rain" },
        })),
      },
    ],
  });
  assert.ok(again.text.length > 0);
  const whole = await generateText({
    ...shared,
    model: provider.completionModel("base"),
    prompt: "The king",
  });
  assert.ok(whole.text.length > 0);
}

async function langChain() {
  const configuration = { baseURL, apiKey: "unused" };
  const shared = {
    configuration,
    apiKey: "unused",
    model: "fourierft-kjv",
    temperature: 0,
    maxTokens: 400,
    maxRetries: 0,
  };
  const model = new ChatOpenAI(shared);
  const text = await model.invoke("The king");
  assert.ok(text.content.length > 0);
  let streamed = "";
  for await (const { content } of await model.stream("The king")) streamed += content;
  assert.equal(streamed, text.content);
  const structured = model.withStructuredOutput(schema, { method: "jsonSchema" });
  schema.parse(await structured.invoke("The king"));
  const definition = {
    type: "function",
    function: { name: "weather", description: "The weather", parameters: z.toJSONSchema(town) },
  };
  const bound = model.bindTools([definition], { tool_choice: "weather" });
  const called = await bound.invoke("The king");
  town.parse(called.tool_calls[0].args);
  const answers = called.tool_calls.map(({ id }) => new ToolMessage({ content: "rain", tool_call_id: id }));
  const again = await model.bindTools([definition]).invoke([
    new HumanMessage("The king"),
    called,
    ...answers,
  ]);
  assert.ok(again.content.length > 0);
  const whole = await new OpenAI({ ...shared, model: "base" }).invoke("The king");
  assert.ok(whole.length > 0);
}

for (const ask of [aiSdk, langChain]) {
  await ask();
  console.log(`${ask.name}: as it must be`);
}
