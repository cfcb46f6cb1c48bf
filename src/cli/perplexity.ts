/**
 * `fourierft perplexity`: how well a model predicts a text.
 *
 * @module
 */
import process from "node:process";
import { perplexity as perplexityOf } from "../perplexity.ts";
import { openFile } from "../runtime/file.ts";
import { formatOf, streamOf } from "../training/data.ts";
import { defineCommand } from "./command.ts";
import { openNamedFolder } from "./folder.ts";
import {
  deviceArgs,
  emit,
  jsonArgs,
  log,
  modelArgs,
  openNamedDevice,
  parseCount,
  parseDevice,
  parseQuantize,
  progress,
} from "./open.ts";
import { tellsEvents } from "./log.ts";
import { counted } from "./words.ts";

/** See the module's documentation. */
export const perplexity = defineCommand({
  meta: { name: "perplexity", description: "Tell how well a model predicts a text" },
  args: {
    model: { type: "string", required: true, description: "Hugging Face model folder", valueHint: "DIR" },
    data: {
      type: "string",
      required: true,
      description: "Text, or JSON lines (.jsonl), as for train",
      valueHint: "FILE",
    },
    adapter: { type: "string", description: "PEFT adapter folder", valueHint: "DIR" },
    "context-length": {
      type: "string",
      description: "Tokens of a sequence; default: the model's, at most 512",
      valueHint: "N",
    },
    ...modelArgs,
    ...deviceArgs,
    ...jsonArgs,
  },
  examples: [
    {
      does: "Tell how well a model predicts a text",
      line: "perplexity --model examples/demo/base --data book.txt",
    },
    {
      does: "The same with an adapter",
      line:
        "perplexity --model examples/demo/base --adapter examples/demo/adapters/fourierft-kjv --data book.txt",
    },
  ],
  async run({ args }) {
    const quantize = parseQuantize(args.quantize);
    const length = args["context-length"];
    const contextLength = length === undefined
      ? undefined
      : parseCount("context-length", length, { least: 2 });
    parseDevice(args);
    const folder = await openNamedFolder(args.model);
    const adapter = args.adapter === undefined ? undefined : await openNamedFolder(args.adapter);
    const content = streamOf(await openFile(args.data));
    const device = await openNamedDevice(args, { matrixUnits: args["matrix-units"] });
    const bar = progress({ unit: "batches" });
    try {
      const { perplexity, loss, targetCount, data } = await perplexityOf(device, {
        folder,
        data: { content, format: formatOf(args.data) },
        adapter,
        quantize,
        contextLength,
        onBatch: bar.update,
      });
      bar.stop();
      if (tellsEvents()) {
        emit("done", {
          loss,
          perplexity,
          documents: data.documents,
          tokens: data.tokens,
          predicted: targetCount,
        });
        process.exit(0);
      }
      const documents = counted(data.documents, "document");
      log(`${documents}, ${counted(data.tokens, "token")}; ${targetCount} are predicted`);
      console.log(`loss        ${loss.toFixed(4)}`);
      console.log(`perplexity  ${perplexity.toFixed(3)}`);
    } finally {
      bar.stop();
      device.destroy();
    }
    process.exit(0);
  },
});
