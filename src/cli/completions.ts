/**
 * `fourierft completions`: what a shell needs to complete command lines, made of the commands' own tables.
 *
 * @module
 */
import type { ArgDef, ArgsDef } from "citty";
import { UsageError } from "./arguments.ts";
import { defineCommand } from "./command.ts";
import type { Command } from "./commands.ts";
import { type CompletedCommand, type CompletedFlag, completionScripts, shells } from "./shells.ts";

/** What a value's hint says: words that a value is one of, or that it is a path. */
function valuesOf({ valueHint = "" }: ArgDef): Pick<CompletedFlag, "words" | "path"> {
  if (valueHint.includes("|")) return { words: valueHint.split("|") };
  // A hint such as `[ID=]DIR,...` or `DIR=WEIGHT...` begins with the path, or names it.
  if (/PATH|FILE/.test(valueHint)) return { path: "file" };
  return /DIR\b/.test(valueHint) ? { path: "folder" } : {};
}

/** The first sentence of a description. */
const shortOf = ({ description = "" }: ArgDef): string => description.split(/[;:] /)[0];

function completedOf(name: string, { meta, args }: Command): CompletedCommand {
  const about = Object.entries(args as ArgsDef);
  const flags = about.filter(([, { type }]) => type !== "positional").map(([flag, definition]) => ({
    flag: `--${flag}`,
    description: shortOf(definition),
    takesValue: definition.type !== "boolean",
    ...valuesOf(definition),
  }));
  const word = about.find(([, { type }]) => type === "positional")?.[1];
  return {
    name,
    description: (meta as { description: string }).description,
    flags: [...flags, { flag: "--help", description: "Show usage and examples", takesValue: false }],
    word: word && valuesOf(word),
  };
}

/** The script of a shell for some commands. */
export function completionsFor(
  shell: keyof typeof completionScripts,
  commands: ReadonlyMap<string, Command>,
): string {
  return completionScripts[shell]([...commands].map(([name, command]) => completedOf(name, command)));
}

/** The command that completes all commands, itself among them. */
export const completionsOf = (commands: () => ReadonlyMap<string, Command>) =>
  defineCommand({
    meta: { name: "completions", description: "Print a script by which a shell completes command lines" },
    args: {
      shell: { type: "positional", required: true, description: "The shell", valueHint: shells.join("|") },
    },
    examples: [
      {
        does: "In bash, from ~/.bashrc",
        line: "completions bash > ~/.local/share/bash-completion/completions/fourierft",
      },
      { does: "In zsh, in a folder of $fpath", line: "completions zsh > ~/.zfunc/_fourierft" },
      { does: "In fish", line: "completions fish > ~/.config/fish/completions/fourierft.fish" },
    ],
    run({ args }) {
      const shell = shells.find((one) => one === args.shell);
      if (!shell) {
        throw new UsageError(`Cannot read SHELL "${args.shell}": it must be ${shells.join(", ")}`);
      }
      console.log(completionsFor(shell, commands()));
    },
  });
