/**
 * `fourierft generate`: a model continues a prompt, in an adapter's voice if one is named.
 *
 * @module
 */
import process from "node:process";
import { defineCommand } from "citty";
import { generateText } from "../engine/text.ts";
import { openNamedAdapter } from "./adapters.ts";
import { openNamedFolder } from "./folder.ts";
import {
  deviceArgs,
  log,
  modelArgs,
  openNamedDevice,
  openNamedModel,
  parseCount,
  parseDevice,
  parseNumber,
  parseQuantize,
} from "./open.ts";
import { traceTable } from "./trace.ts";

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
    ...deviceArgs,
  },
  async run({ args }) {
    const temperature = parseNumber("temperature", args.temperature);
    const maxTokens = parseCount("max-tokens", args["max-tokens"]);
    const seed = args.seed === undefined ? undefined : parseCount("seed", args.seed);
    const quantize = parseQuantize(args.quantize);
    parseDevice(args);
    const folder = await openNamedFolder(args.model);
    const adapter = args.adapter === undefined ? undefined : await openNamedAdapter(args.adapter);
    const device = await openNamedDevice(args, { matrixUnits: args["matrix-units"] });
    const { engine, tokenizer } = await openNamedModel(device, {
      folder,
      adapters: adapter?.store,
      quantize,
    });
    const promptTokenIds = tokenizer.encode(args.prompt);
    const request = {
      promptTokenIds,
      adapter: adapter?.id,
      maxTokens: Math.max(0, Math.min(maxTokens, engine.maxModelLen - promptTokenIds.length)),
      sampling: { temperature, topP: 1, topK: 0, seed },
    };
    // The prompt is shown once the request is accepted: a refusal leaves standard output empty.
    let before = args.prompt;
    for await (const { text } of generateText(engine, request, { tokenizer })) {
      process.stdout.write(before + text);
      before = "";
    }
    process.stdout.write("\n");
    if (args.trace) log(traceTable(await engine.trace(), device.description));
    device.destroy();
    process.exit(0);
  },
});
