/**
 * `fourierft generate`: a model continues a prompt, in an adapter's voice if one is named.
 *
 * @module
 */
import process from "node:process";
import { generateText, type TextEvent } from "../engine/text.ts";
import { openNamedAdapter } from "./adapters.ts";
import { defineCommand } from "./command.ts";
import { openNamedFolder } from "./folder.ts";
import {
  cacheArgs,
  deviceArgs,
  emit,
  jsonArgs,
  log,
  modelArgs,
  openNamedDevice,
  openNamedModel,
  parseCount,
  parseDevice,
  parseKvCacheDtype,
  parseNumber,
  parseQuantize,
} from "./open.ts";
import { print, tellsEvents } from "./log.ts";
import { traceTable } from "./trace.ts";
import { counted } from "./words.ts";

/** The new tokens that are made at most; says where the context has room for fewer than are asked for. */
function roomFor(
  { maxTokens, promptTokens, context }: {
    readonly maxTokens: number;
    readonly promptTokens: number;
    readonly context: number;
  },
): number {
  const room = Math.max(0, context - promptTokens);
  if (maxTokens <= room) return maxTokens;
  log(
    `--max-tokens ${maxTokens} is more than there is room for: the context has ${context} tokens, the prompt ` +
      `${promptTokens}; ${counted(room, "new token")} at most`,
  );
  return room;
}

/** Writes a piece of the answer as an event. */
function emitText(event: TextEvent): void {
  const { kind, text, tokens } = event, tokenIds = tokens.map(({ tokenId }) => tokenId);
  if (kind !== "end") return emit("text", { text, token_ids: tokenIds });
  emit("done", { text, token_ids: tokenIds, finish_reason: event.finishReason });
}

/** See the module's documentation. */
export const generate = defineCommand({
  meta: { name: "generate", description: "Continue a prompt" },
  args: {
    model: { type: "string", required: true, description: "Hugging Face model folder", valueHint: "DIR" },
    adapter: { type: "string", description: "PEFT adapter folder", valueHint: "DIR" },
    prompt: { type: "string", required: true, description: "Text to continue", valueHint: "TEXT" },
    "max-tokens": { type: "string", default: "60", description: "New tokens at most", valueHint: "N" },
    temperature: { type: "string", default: "0", description: "0 is greedy", valueHint: "T" },
    seed: { type: "string", description: "Seed of sampling", valueHint: "N" },
    trace: { type: "boolean", description: "Show what each launch of the last step took, on standard error" },
    ...modelArgs,
    ...cacheArgs,
    ...deviceArgs,
    ...jsonArgs,
  },
  examples: [
    {
      does: "Continue a prompt in an adapter's voice",
      line:
        'generate --model examples/demo/base --adapter examples/demo/adapters/fourierft-kjv --prompt "The king" --max-tokens 24',
    },
    {
      does: "Sample, the same text each time",
      line: 'generate --model examples/demo/base --prompt "The king" --temperature 0.8 --seed 7',
    },
  ],
  async run({ args }) {
    const temperature = parseNumber("temperature", args.temperature);
    const maxTokens = parseCount("max-tokens", args["max-tokens"]);
    const seed = args.seed === undefined ? undefined : parseCount("seed", args.seed);
    const quantize = parseQuantize(args.quantize);
    const kvCacheDtype = parseKvCacheDtype(args["kv-cache-dtype"]);
    parseDevice(args);
    const folder = await openNamedFolder(args.model);
    const adapter = args.adapter === undefined ? undefined : await openNamedAdapter(args.adapter);
    const device = await openNamedDevice(args, { matrixUnits: args["matrix-units"] });
    const { engine, tokenizer } = await openNamedModel(device, {
      folder,
      adapters: adapter?.store,
      quantize,
      kvCacheDtype,
    });
    const promptTokenIds = tokenizer.encode(args.prompt);
    const request = {
      promptTokenIds,
      adapter: adapter?.id,
      maxTokens: roomFor({ maxTokens, promptTokens: promptTokenIds.length, context: engine.maxModelLen }),
      sampling: { temperature, topP: 1, topK: 0, seed },
    };
    // The prompt is shown once the request is accepted: a refusal leaves standard output empty.
    let before = args.prompt;
    for await (const event of generateText(engine, request, { tokenizer })) {
      if (tellsEvents()) {
        emitText(event);
        continue;
      }
      print(before + event.text);
      before = "";
    }
    if (!tellsEvents()) print("\n");
    if (args.trace) log(traceTable(await engine.trace(), device.description));
    device.destroy();
    process.exit(0);
  },
});
