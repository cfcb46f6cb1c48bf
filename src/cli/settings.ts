/**
 * Settings that come from flags, the environment and a file: one table, one schema each, and where a value is from.
 *
 * @module
 */
import * as z from "zod";
import { UsageError } from "./arguments.ts";

/** A setting: its allowed values, and its description for people. */
export interface Setting<T> {
  readonly schema: z.ZodType<T>;
  /** What a value must be, for messages. */
  readonly rule: string;
  readonly description: string;
  /** The value's name in help; absent for a switch. */
  readonly hint?: string;
  /** Whether its values are shown to nobody. */
  readonly secret?: boolean;
}

/** Settings by name: `--name` is the flag, `FOURIERFT_NAME` the variable, `name` the file's field. */
export type SettingTable = Readonly<Record<string, Setting<unknown>>>;

/** The values of a table's settings, as far as they are given. */
export type SettingValues<Table extends SettingTable> = {
  readonly [Name in keyof Table]?: z.output<Table[Name]["schema"]>;
};

/** One place where settings come from; later ones win. */
export interface SettingSource {
  readonly name: string;
  /** How a message calls a setting of this place. */
  readonly label: (name: string) => string;
  readonly values: Readonly<Record<string, unknown>>;
}

/** A whole number from `least` on: a number, or its digits. */
export function count(
  about: Pick<Setting<number>, "description" | "hint">,
  { least = 1, most = Number.MAX_SAFE_INTEGER }: { readonly least?: number; readonly most?: number } = {},
): Setting<number> {
  const digits = z.string().regex(/^[0-9]+$/).transform(Number);
  const rule = most === Number.MAX_SAFE_INTEGER
    ? `a whole number of ${least} or more`
    : `a whole number from ${least} to ${most}`;
  return {
    hint: "N",
    ...about,
    rule,
    schema: z.union([z.number(), digits]).pipe(z.number().int().min(least).max(most)),
  };
}

/** A number above 0, or its digits. */
export function positive(about: Pick<Setting<number>, "description" | "hint">): Setting<number> {
  const digits = z.string().regex(/^(\d+\.?\d*|\.\d+)$/).transform(Number);
  return {
    hint: "N",
    ...about,
    rule: "a number above 0",
    schema: z.union([z.number(), digits]).pipe(z.number().positive()),
  };
}

/** A text that is not empty. */
export function text(about: Pick<Setting<string>, "description" | "hint" | "secret">): Setting<string> {
  return { ...about, rule: "a text that is not empty", schema: z.string().trim().min(1) };
}

/** One of some words, which are its hint. */
export function choice<const Word extends string>(
  words: readonly [Word, ...Word[]],
  about: Pick<Setting<Word>, "description" | "hint">,
): Setting<Word> {
  const last = words.length - 1;
  const rule = `${words.slice(0, last).join(", ")} or ${words[last]}`;
  return { hint: words.join("|"), ...about, rule, schema: z.enum(words) as z.ZodType<Word> };
}

/** Texts: a list, or one text with commas between. */
export function list(about: Pick<Setting<string[]>, "description" | "hint" | "secret">): Setting<string[]> {
  const entry = z.string().trim().min(1);
  const parts = z.string().transform((value) => value.split(","));
  return {
    ...about,
    rule: "a list of texts that are not empty",
    schema: z.union([z.array(z.string()), parts]).pipe(z.array(entry)),
  };
}

/** Yes or no. */
export function toggle(about: Pick<Setting<boolean>, "description">): Setting<boolean> {
  const words = z.enum(["true", "false"]).transform((word) => word === "true");
  return { ...about, rule: "true or false", schema: z.union([z.boolean(), words]) };
}

/** Every flag of a table, as citty has them. */
export function argsOf(table: SettingTable) {
  return Object.fromEntries(
    Object.entries(table).map(([name, { description, hint }]) => [
      name,
      hint === undefined
        ? { type: "boolean" as const, description }
        : { type: "string" as const, description, valueHint: hint },
    ]),
  );
}

/** A name's variable, e.g. `FOURIERFT_MAX_WAITING`. */
export const variableOf = (name: string): string => `FOURIERFT_${name.toUpperCase().replaceAll("-", "_")}`;

/** The settings that the environment gives; an empty variable is none. */
export function environmentOf(
  table: SettingTable,
  environment: Readonly<Record<string, string | undefined>>,
): SettingSource {
  const given = Object.keys(table).flatMap((name) => {
    const value = environment[variableOf(name)];
    return value === undefined || value === "" ? [] : [[name, value] as const];
  });
  return { name: "environment", label: variableOf, values: Object.fromEntries(given) };
}

function shown(value: unknown, { secret }: Setting<unknown>): string {
  if (secret) return "";
  const written = JSON.stringify(value) ?? String(value);
  return ` ${written.length > 60 ? `${written.slice(0, 60)}...` : written}`;
}

/** The value of one setting of a source. */
function valueOf(name: string, setting: Setting<unknown>, { label, values }: SettingSource): unknown {
  const checked = setting.schema.safeParse(values[name]);
  if (checked.success) return checked.data;
  throw new UsageError(
    `Cannot read ${label(name)}${shown(values[name], setting)}: it must be ${setting.rule}`,
  );
}

/** Settings, and the name of each one's source. */
export interface Settled<Table extends SettingTable> {
  readonly values: SettingValues<Table>;
  readonly sources: ReadonlyMap<string, string>;
}

/**
 * The settings of some sources.
 *
 * @param sources The most important last.
 * @throws UsageError that names the value, where it is from and the rule.
 */
export function settle<Table extends SettingTable>(
  table: Table,
  sources: readonly SettingSource[],
): Settled<Table> {
  const values: Record<string, unknown> = {}, from = new Map<string, string>();
  for (const source of sources) {
    for (const name of Object.keys(source.values)) {
      const setting = Object.hasOwn(table, name) ? table[name] : undefined;
      if (!setting) throw new UsageError(`Cannot read ${source.label(name)}: there is no such setting`);
      values[name] = valueOf(name, setting, source);
      from.set(name, source.name);
    }
  }
  return { values: values as SettingValues<Table>, sources: from };
}

/** Settings for people: those that are given, with their sources, and no secret. */
export function describeSettings<Table extends SettingTable>(
  table: Table,
  { values, sources }: Settled<Table>,
): Readonly<Record<string, { readonly value: unknown; readonly source: string }>> {
  return Object.fromEntries(
    [...sources].map(([name, source]) => [name, {
      value: table[name].secret ? "***" : values[name],
      source,
    }]),
  );
}

/** The settings that flags give, written as `--name=value`, `--name` or `--no-name`; a list may be given several times. */
export function flagsOf(table: SettingTable, rawArgs: readonly string[]): SettingSource {
  const values: Record<string, unknown> = {};
  for (const arg of rawArgs) {
    if (arg === "--") break;
    const [, name, text] = /^--([^=]+)(?:=([\s\S]*))?$/.exec(arg) ?? [];
    if (name === undefined) continue;
    const negated = !Object.hasOwn(table, name) && name.startsWith("no-") ? name.slice(3) : undefined;
    const known = negated ?? name;
    if (!Object.hasOwn(table, known)) continue;
    const isList = table[known].hint?.endsWith("...") ?? false;
    const value = text ?? negated === undefined;
    values[known] = isList && known in values ? `${values[known]},${value}` : value;
  }
  return { name: "flag", label: (name) => `--${name}`, values };
}
