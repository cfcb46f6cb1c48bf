/**
 * The arguments of every command, read strictly. citty ignores flags and words that it does not know. Where a flag
 * lacks its value, citty takes the next flag as the value.
 *
 * Here arguments are checked against the command's own definition and written as `--name=value`, which citty reads
 * rightly.
 *
 * @module
 */
import type { ArgDef, ArgsDef } from "citty";
import { nearest } from "./nearest.ts";

/** A command line that cannot be followed; nothing was run. The process ends with status 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** A command as this module sees it. */
export interface KnownCommand {
  readonly name: string;
  readonly args: ArgsDef;
}

/** The request of a command line. */
export type CommandLine =
  | { readonly asks: "help" }
  | { readonly asks: "version" }
  | {
    readonly asks: "run";
    /** For citty: flags as `--name=value`, then `--` and the words. */
    readonly rawArgs: readonly string[];
    /** Sentences about what was given and is not followed. */
    readonly notes: readonly string[];
  };

interface Given {
  readonly name: string;
  readonly value: string | boolean;
}

interface Flag {
  readonly name: string;
  readonly definition: ArgDef;
  readonly negated: boolean;
}

/** A flag as it is written: `--name`, `--name=value`, `-n`. A text with a space in its name is a value. */
const flagSign = /^--?(?<name>[A-Za-z][\w.-]*)(?:=(?<value>[\s\S]*))?$/;

const isSwitch = ({ type }: ArgDef): boolean => type === "boolean";
const isWord = ({ type }: ArgDef): boolean => type === "positional";

/** A value that may hold several, with commas between, and be given several times. */
const isList = ({ valueHint }: ArgDef): boolean => valueHint?.endsWith("...") ?? false;

/** A value that is a text for the model: it alone may be empty. */
const isText = ({ valueHint }: ArgDef): boolean => valueHint === "TEXT";

const quoted = (text: string): string => JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}...` : text);

/** Whether a command line's entry stands where a value should be, but is a flag. */
function looksLikeFlag(entry: string): boolean {
  return entry === "--" || entry === "-h" || (entry.startsWith("--") && flagSign.test(entry));
}

class Reader {
  readonly given: Given[] = [];
  readonly words: string[] = [];
  asks: "help" | "version" | "run" = "run";
  readonly #command: KnownCommand;
  readonly #flags: readonly string[];

  constructor(command: KnownCommand) {
    this.#command = command;
    this.#flags = Object.entries(command.args).filter(([, one]) => !isWord(one)).map(([name]) => name);
  }

  read(entries: readonly string[]): void {
    for (let at = 0; at < entries.length; at++) {
      const entry = entries[at];
      if (entry === "--") {
        this.words.push(...entries.slice(at + 1));
        return;
      }
      const { name, value } = entry.startsWith("-") ? flagSign.exec(entry)?.groups ?? {} : {};
      if (name !== undefined) at += this.#flag(entry, { name, value, next: entries[at + 1] });
      else if (entry.startsWith("-") && entry !== "-") throw this.#unknown(entry, entry.replace(/^-+/, ""));
      else this.words.push(entry);
    }
  }

  /** Takes one flag; returns how many entries its value took. */
  #flag(
    entry: string,
    { name, value, next }: { readonly name: string; readonly value?: string; readonly next?: string },
  ): number {
    const sign = entry.split("=")[0];
    const flag = this.#find(sign, name);
    if (!flag) {
      if (sign !== "--help" && sign !== "-h" && sign !== "--version") throw this.#unknown(sign, name);
      if (value !== undefined) {
        throw new UsageError(`Cannot read ${sign} ${quoted(value)}: it takes no value`);
      }
      // Help wins: a user who asks for help wants no other answer.
      if (this.asks !== "help") this.asks = sign === "--version" ? "version" : "help";
      return 0;
    }
    if (isSwitch(flag.definition)) {
      this.given.push({ name: flag.name, value: switchValue(sign, { flag, value }) });
      return 0;
    }
    const text = value ?? next;
    if (text === undefined || (value === undefined && looksLikeFlag(text))) {
      const way = text === undefined || text === "--"
        ? ""
        : `; a value that is ${text} is written ${sign}=${text}`;
      throw new UsageError(`Cannot read ${sign}: its value is missing${way}`);
    }
    if (text.trim() === "" && !isText(flag.definition)) {
      throw new UsageError(`Cannot read ${sign} ${quoted(text)}: its value is empty`);
    }
    this.given.push({ name: flag.name, value: text });
    return value === undefined ? 1 : 0;
  }

  #find(sign: string, name: string): Flag | undefined {
    const { args } = this.#command;
    const found = (wanted: string): [string, ArgDef] | undefined =>
      Object.entries(args).find(([known, definition]) =>
        !isWord(definition) &&
        (sign.startsWith("--") ? known === wanted : aliasesOf(definition).includes(wanted))
      );
    const direct = found(name);
    if (direct) return { name: direct[0], definition: direct[1], negated: false };
    const opposite = name.startsWith("no-") ? found(name.slice(3)) : undefined;
    if (!opposite || !sign.startsWith("--")) return undefined;
    if (isSwitch(opposite[1])) return { name: opposite[0], definition: opposite[1], negated: true };
    throw new UsageError(`Cannot read ${sign}: --${opposite[0]} takes a value and has no opposite`);
  }

  #unknown(sign: string, name: string): UsageError {
    return new UsageError(`Cannot read ${sign}: ${this.#command.name} has no such flag${this.#meant(name)}`);
  }

  #meant(name: string): string {
    const meant = nearest(name, [...this.#flags, "help", "version"]);
    return meant === undefined ? `; ${this.#command.name} --help lists them` : `; did you mean --${meant}?`;
  }

  /** Words that nothing takes, and what must be there and is not. */
  check(): void {
    const { name, args } = this.#command;
    const expected = Object.entries(args).filter(([, definition]) => isWord(definition));
    const stray = this.words[expected.length];
    if (stray !== undefined) {
      const rule = expected.length === 0 ? "takes no words" : `takes ${expected.length} word`;
      const meant = nearest(stray.split("=")[0], this.#flags);
      const way = meant === undefined ? "" : `; did you mean --${meant}?`;
      throw new UsageError(`Cannot read the word ${quoted(stray)}: ${name} ${rule} beside its flags${way}`);
    }
    const empty = this.words.findIndex((word) => word.trim() === "");
    if (empty >= 0) throw new UsageError(`Cannot read ${expected[empty][0].toUpperCase()} "": it is empty`);
    const given = new Set(this.given.map((one) => one.name));
    const missing = [
      ...expected.slice(this.words.length).filter(([, one]) =>
        one.required !== false && one.default === undefined
      )
        .map(([word]) => word.toUpperCase()),
      ...Object.entries(args).filter(([flag, one]) => !isWord(one) && one.required && !given.has(flag))
        .map(([flag, one]) => `--${flag} ${one.valueHint ?? ""}`.trim()),
    ];
    if (missing.length > 0) throw new UsageError(`Cannot run ${name} without ${missing.join(" and ")}`);
  }

  /** Each flag once, its last value, and a sentence for every value that it takes the place of. */
  settled(): { readonly given: readonly Given[]; readonly notes: readonly string[] } {
    const notes: string[] = [];
    const given = this.given.filter(({ name, value }, at) => {
      if (isList(this.#command.args[name])) return true;
      const last = this.given.findLastIndex((one) => one.name === name);
      const kept = this.given[last].value;
      if (last > at && kept !== value) {
        notes.push(`--${name} ${quoted(String(kept))} takes the place of ${quoted(String(value))}`);
      }
      return last === at;
    });
    return { given, notes };
  }
}

function aliasesOf(definition: ArgDef): readonly string[] {
  const alias = "alias" in definition ? definition.alias ?? [] : [];
  return typeof alias === "string" ? [alias] : alias;
}

function switchValue(sign: string, { flag, value }: { flag: Flag; value?: string }): boolean {
  if (value === undefined) return !flag.negated;
  if (flag.negated || (value !== "true" && value !== "false")) {
    throw new UsageError(`Cannot read ${sign} ${quoted(value)}: it takes no value`);
  }
  return value === "true";
}

/** How citty reads a flag as it is meant. */
function written({ name, value }: Given): string {
  if (typeof value === "string") return `--${name}=${value}`;
  return value ? `--${name}` : `--no-${name}`;
}

/**
 * Reads what stands after a command's name.
 *
 * @throws UsageError that names the flag or word, and the nearest one that the command has.
 */
export function readCommandLine(command: KnownCommand, entries: readonly string[]): CommandLine {
  const reader = new Reader(command);
  try {
    reader.read(entries);
  } catch (error) {
    // A user may ask for help because of the fault.
    if (entries.includes("--help") || entries.includes("-h")) return { asks: "help" };
    throw error;
  }
  if (reader.asks === "help") return { asks: "help" };
  if (reader.asks === "version") return { asks: "version" };
  reader.check();
  const { given, notes } = reader.settled();
  return { asks: "run", rawArgs: [...given.map(written), "--", ...reader.words], notes };
}
