#!/usr/bin/env node
/**
 * The command line: one file a command.
 *
 * @module
 */
import process from "node:process";
import { type ArgsDef, type CommandDef, defineCommand, runCommand, showUsage } from "citty";
import { delta } from "./delta.ts";
import { generate } from "./generate.ts";
import { inspect } from "./inspect.ts";
import { merge } from "./merge.ts";
import { perplexity } from "./perplexity.ts";
import { quantize } from "./quantize.ts";
import { serve } from "./serve.ts";
import { train } from "./train.ts";

const commands: Readonly<Record<string, CommandDef<ArgsDef>>> = {
  serve: serve as CommandDef<ArgsDef>,
  inspect: inspect as CommandDef<ArgsDef>,
  delta: delta as CommandDef<ArgsDef>,
  merge: merge as CommandDef<ArgsDef>,
  generate: generate as CommandDef<ArgsDef>,
  train: train as CommandDef<ArgsDef>,
  quantize: quantize as CommandDef<ArgsDef>,
  perplexity: perplexity as CommandDef<ArgsDef>,
};

const main = defineCommand({
  meta: {
    name: "fourierft",
    description: "Serve language models whose PEFT adapters are chosen per request",
  },
  subCommands: commands,
});

const [name, ...rest] = process.argv.slice(2);
const command = commands[name];
try {
  if (!command || rest.includes("--help") || rest.includes("-h")) {
    await showUsage(command ?? main, command ? main as CommandDef<ArgsDef> : undefined);
    if (!command && name !== undefined && !name.startsWith("-")) {
      throw new Error(`Cannot run command "${name}": there is none`);
    }
    process.exit(name === undefined ? 2 : 0);
  }
  await runCommand(command, { rawArgs: rest });
} catch (error) {
  console.error(`fourierft: ${(error as Error).message}`);
  process.exit(1);
}
