/**
 * `fourierft chat`: a conversation, in an adapter's voice if one is named; on a terminal, or by lines of a pipe.
 *
 * @module
 */
import process from "node:process";
import { UsageError } from "./arguments.ts";
import { type Opened, openLocal, openRemote } from "./chat/client.ts";
import { ChatError, samplingOf } from "./chat/commands.ts";
import { converse } from "./chat/converse.ts";
import { historyFile, openHistory } from "./chat/history.ts";
import { Session } from "./chat/session.ts";
import { defineCommand } from "./command.ts";
import { emit, log } from "./log.ts";
import {
  cacheArgs,
  deviceArgs,
  jsonArgs,
  modelArgs,
  parseDevice,
  parseKvCacheDtype,
  parseQuantize,
} from "./open.ts";

/** Arguments that say nothing of a server elsewhere. */
const localArgs = [
  "adapters",
  "quantize",
  "matrix-units",
  "kv-cache-dtype",
  "threads",
  "cpu-products",
] as const;

interface Args
  extends
    Partial<Record<"model" | "url" | "token" | "adapters" | "adapter" | "quantize" | "threads", string>> {
  readonly device: string;
  readonly "matrix-units"?: boolean;
  readonly "kv-cache-dtype"?: string;
  readonly "cpu-products"?: string;
}

async function open(args: Args): Promise<Opened> {
  const { model, url, token = process.env.FOURIERFT_TOKEN } = args;
  if ((model === undefined) === (url === undefined)) {
    throw new UsageError("Cannot run chat: it needs --model DIR or --url URL, one of the two");
  }
  if (url !== undefined) {
    const unread = localArgs.find((name) => args[name] !== undefined);
    if (unread) throw new UsageError(`Cannot use --${unread} with --url: the server has opened its model`);
    return openRemote(url, { token, adapter: args.adapter });
  }
  const { adapters, adapter, device, threads } = args, quantize = parseQuantize(args.quantize);
  const kvCacheDtype = parseKvCacheDtype(args["kv-cache-dtype"]);
  const named = { device, threads, "cpu-products": args["cpu-products"] };
  parseDevice(named);
  const matrixUnits = args["matrix-units"];
  return await openLocal({
    model: model!,
    adapters,
    adapter,
    quantize,
    kvCacheDtype,
    matrixUnits,
    device: named,
  });
}

function samplingOfFlag(text: string): ReturnType<typeof samplingOf> {
  try {
    return samplingOf(text.split(",").map((word) => word.trim()));
  } catch (error) {
    if (error instanceof ChatError) throw new UsageError(`Cannot read --sampling: ${error.message}`);
    throw error;
  }
}

/** See the module's documentation. */
export const chat = defineCommand({
  meta: { name: "chat", description: "Talk with a model and its adapters, here or on a server" },
  args: {
    model: { type: "string", description: "Hugging Face model folder", valueHint: "DIR" },
    url: { type: "string", description: "Address of a server, in place of --model", valueHint: "URL" },
    token: {
      type: "string",
      description: "The server's bearer token; FOURIERFT_TOKEN is as good",
      valueHint: "TOKEN",
    },
    adapters: {
      type: "string",
      description: "Folder of PEFT adapter folders, for /adapter",
      valueHint: "DIR",
    },
    adapter: {
      type: "string",
      description: "PEFT adapter folder that answers from the start; with --url an adapter's name",
      valueHint: "DIR",
    },
    system: { type: "string", description: "The system message", valueHint: "MESSAGE" },
    sampling: {
      type: "string",
      description: "Sampling by the API's names, e.g. temperature=0.7,max_tokens=200",
      valueHint: "NAME=VALUE,...",
    },
    ...modelArgs,
    ...cacheArgs,
    ...deviceArgs,
    ...jsonArgs,
  },
  examples: [
    {
      does: "Talk with a model, and with its adapters by /adapter NAME",
      line: "chat --model examples/demo/base --adapters examples/demo/adapters",
    },
    { does: "Talk with a server", line: "chat --url http://127.0.0.1:8000 --adapter fourierft-kjv" },
    {
      does: "Greedy answers of 40 tokens at most, the same each time",
      line: "chat --model examples/demo/base --sampling temperature=0,max_tokens=40",
    },
  ],
  async run({ args }) {
    const sampling = args.sampling === undefined ? {} : samplingOfFlag(args.sampling);
    const { client, adapter, close } = await open(args);
    const session = await Session.open(client);
    session.sampling = sampling;
    session.system = args.system;
    if (adapter !== undefined) await session.speakAs({ kind: "adapter", id: adapter });
    const terminal = process.stdin.isTTY === true && process.stdout.isTTY === true && !args.json;
    const file = terminal ? historyFile({ platform: process.platform, env: process.env }) : undefined;
    const history = openHistory(file, { log });
    const { turns } = await converse(session, {
      streams: { input: process.stdin, output: process.stdout, terminal },
      history,
      json: args.json === true,
    });
    emit("done", { turns });
    close();
    process.exit(0);
  },
});
