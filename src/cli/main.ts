#!/usr/bin/env node
/**
 * The command line: one file a command.
 *
 * Exit codes: 0 for success, 1 for what failed, 2 for a command line that cannot be followed.
 *
 * @module
 */
import process from "node:process";
import { stripVTControlCharacters } from "node:util";
import { type ArgsDef, type CommandDef, renderUsage, runCommand } from "citty";
import { readCommandLine, UsageError } from "./arguments.ts";
import { exampleText } from "./command.ts";
import { type Command, commands } from "./commands.ts";
import { emit, log, setJsonEvents } from "./log.ts";
import { nearest } from "./nearest.ts";
import { laidOut } from "./usage.ts";
import { version } from "./version.ts";

const main: CommandDef<ArgsDef> = {
  meta: {
    name: "fourierft",
    version,
    description: "Serve language models whose PEFT adapters are chosen per request",
  },
  subCommands: Object.fromEntries(commands),
};

/** Prints a usage text, in colours where a terminal shows them: citty writes them into pipes, too. */
async function showUsage(command?: Command): Promise<void> {
  const rendered = await renderUsage(command ?? main, command ? main : undefined);
  const text = laidOut(rendered, process.stdout.columns ?? 100);
  const usage = command ? `${text.trimEnd()}\n\n${exampleText(command)}` : text;
  const coloured = process.stdout.isTTY === true && !process.env.NO_COLOR;
  console.log(coloured ? usage : stripVTControlCharacters(usage));
}

function commandOf(name: string): Command {
  const command = commands.get(name);
  if (command) return command;
  const meant = nearest(name, [...commands.keys()]);
  const way = meant === undefined ? "there is none" : `there is none; did you mean ${meant}?`;
  if (name.startsWith("-")) {
    throw new UsageError(`Cannot read ${name} before a command: flags come after the command's name`);
  }
  throw new UsageError(`Cannot run command ${JSON.stringify(name)}: ${way}`);
}

/** Answers `fourierft`, `--help`, `--version` and `help COMMAND`; false where a command is to be run. */
async function answeredItself([name, ...rest]: readonly string[]): Promise<boolean> {
  if (name === "--version" || name === "-v") {
    console.log(version);
  } else if (name === undefined) {
    await showUsage();
    process.exitCode = 2;
  } else if (name === "help" || name === "--help" || name === "-h") {
    const about = rest.find((word) => !word.startsWith("-"));
    await showUsage(about === undefined ? undefined : commandOf(about));
  } else {
    return false;
  }
  return true;
}

async function run([name, ...rest]: readonly string[]): Promise<void> {
  const command = commandOf(name);
  const line = readCommandLine({ name, args: command.args as ArgsDef }, rest);
  if (line.asks === "help") return await showUsage(command);
  if (line.asks === "version") return console.log(version);
  for (const note of line.notes) log(note);
  setJsonEvents(line.rawArgs.includes("--json"));
  await runCommand(command, { rawArgs: [...line.rawArgs] });
}

// A reader that has read enough, as `head`, is no fault.
process.stdout.on("error", (error: Error & { readonly code?: string }) => {
  if (error.code === "EPIPE") process.exit(0);
  throw error;
});

const given = process.argv.slice(2);
try {
  if (!await answeredItself(given)) await run(given);
} catch (error) {
  emit("error", { message: (error as Error).message });
  log(`fourierft: ${(error as Error).message}`);
  process.exit(error instanceof UsageError ? 2 : 1);
}
