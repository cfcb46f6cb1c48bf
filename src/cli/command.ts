/**
 * What every command is: its arguments, its work, and examples of its use.
 *
 * @module
 */
import type { ArgsDef, CommandDef } from "citty";

/** A command line that works, and its effect. */
export interface Example {
  readonly does: string;
  /** The words after `fourierft`, as a shell reads them. */
  readonly line: string;
}

/** A command of the command line. */
export type DefinedCommand<Args extends ArgsDef> = CommandDef<Args> & {
  readonly examples: readonly [Example, ...Example[]];
};

/** Types a command's arguments by their definitions. */
export function defineCommand<const Args extends ArgsDef>(
  command: DefinedCommand<Args>,
): DefinedCommand<Args> {
  return command;
}

/** Examples as help shows them. */
export function exampleText({ examples }: { readonly examples: readonly Example[] }): string {
  return ["EXAMPLES", ...examples.map(({ does, line }) => `\n  ${does}\n    fourierft ${line}`)].join("\n");
}
