/**
 * Filters that make texts.
 *
 * @module
 */
import { Bound, type Operation, operation } from "./arguments.ts";
import { follow } from "./attributes.ts";
import { fail } from "./errors.ts";
import { toJson } from "./json.ts";
import { capitalized } from "./letters.ts";
import { spaceClass } from "./literals.ts";
import { escapeHtml } from "./markup.ts";
import { fixed } from "./floats.ts";
import { formatPercent } from "./percent.ts";
import { str } from "./print.ts";
import type { Run } from "./run.ts";
import { iterate } from "./sequences.ts";
import { lines, replaced, splitFromRight, strip } from "./splitting.ts";
import { textMethods } from "./text_methods.ts";
import { charCount, charsOf } from "./truth.ts";
import { Dict, Markup, textOf, Tuple, typeName, Undefined, type Value } from "./values.ts";

/** A filter of a value as text, which stays marked if it was. */
function ofText(apply: (text: string) => string): Operation {
  return operation([], (value, _given, run) => {
    const text = run.made(apply(str(value)));
    return value instanceof Markup ? new Markup(text) : text;
  });
}

const replace = operation([["old"], ["new"], ["count", null]], (value, given, run) => {
  run.spendOnParts(textOf(value)?.length);
  const by = str(given.value(1));
  const parts = replaced(str(value), { old: str(given.value(0)), most: given.optionalInt(2) ?? -1 });
  return run.join(parts, by);
});

const join = operation([["d", ""], ["attribute", null]], (value, given, run) => {
  const parts: string[] = [];
  for (const item of iterate(value)) {
    run.spend();
    parts.push(str(follow(item, given.value(1))));
  }
  return run.join(parts, str(given.value(0)));
});

function indented(
  text: string,
  { by, first, blank }: { by: string; first: boolean; blank: boolean },
): string[] {
  const all = lines(`${text}\n`);
  return all.map((line, index) => (index === 0 ? first : blank || line !== "") ? by + line : line);
}

const indent = operation([["width", 4n], ["first", false], ["blank", false]], (value, given, run) => {
  if (value instanceof Undefined) return value.fail();
  if (value instanceof Markup) return fail("indent of a text marked safe is not supported");
  const text = textOf(value) ?? fail(`indent of a ${typeName(value)}`);
  const by = textOf(given.value(0)) ?? run.repeat(" ", given.int(0));
  const count = lines(text).length + 1;
  run.grow(text.length + by.length * count);
  return indented(text, { by, first: given.isTrue(1), blank: given.isTrue(2) }).join("\n");
});

const truncate = operation(
  [["length", 255n], ["killwords", false], ["end", "..."], ["leeway", 5n]],
  (value, given) => {
    if (value instanceof Undefined) return value;
    const text = textOf(value) ?? fail(`truncate of a ${typeName(value)} is not supported`);
    const length = given.int(0), end = given.text(2);
    const leeway = given.optionalInt(3) ?? 5;
    if (length < charCount(end)) fail(`truncate: expected length >= ${charCount(end)}, got ${length}`);
    if (leeway < 0) fail(`truncate: expected leeway >= 0, got ${leeway}`);
    if (charCount(text) <= length + leeway) return value;
    const cut = charsOf(text).slice(0, length - charCount(end)).join("");
    return (given.isTrue(1) ? cut : splitFromRight(cut, { separator: " ", most: 1 })[0]) + end;
  },
);

const titleStart = new RegExp(`([-${spaceClass}({\\[<]+)`);

function title(text: string): string {
  const words = text.split(titleStart).filter((word) => word !== "");
  return words.map((word) => {
    const [first] = charsOf(word);
    return first.toUpperCase() + word.slice(first.length).toLowerCase();
  }).join("");
}

const format: Operation = (value, { args, kwargs }, run) => {
  if (args.length > 0 && kwargs.size > 0) {
    return fail("can't handle positional and keyword arguments at the same time");
  }
  if (value instanceof Markup) return fail("format of a text marked safe is not supported");
  return formatPercent(str(value), kwargs.size > 0 ? new Dict(kwargs) : new Tuple(args), run);
};

const units = ["k", "M", "G", "T", "P", "E", "Z", "Y"];

const fileSize = operation([["binary", false]], (value, given) => {
  const size = typeof value === "bigint" || typeof value === "number" ? Number(value) : NaN;
  if (!Number.isFinite(size)) return fail("filesizeformat of what is no number is not supported");
  const isBinary = given.isTrue(0), base = isBinary ? 1024 : 1000;
  if (size === 1) return "1 Byte";
  if (size < base) return `${Math.trunc(size)} Bytes`;
  const at = units.findIndex((_unit, index) => size < base ** (index + 2));
  const index = at < 0 ? units.length - 1 : at;
  const unit = (isBinary ? units[index].toUpperCase() + "i" : units[index]) + "B";
  return `${fixed(base * size / base ** (index + 2), 1)} ${unit}`;
});

const trim = operation([["chars", null]], (value, given) => {
  const text = strip(str(value), given.value(0) === null ? undefined : given.text(0), "both");
  return value instanceof Markup ? new Markup(text) : text;
});

const urlencode = operation([], (value, _given, run) => {
  const text = textOf(value);
  if (text === undefined) return fail(`urlencode of a ${typeName(value)} is not supported`);
  const quote = (char: string): string => `%${char.charCodeAt(0).toString(16).toUpperCase()}`;
  return run.made(encodeURIComponent(text).replaceAll("%2F", "/").replace(/[!'()*]/g, quote));
});

const marked = (mark: (value: Value) => string): Operation =>
  operation([], (value, _given, run) => new Markup(run.made(mark(value))));

/** The filters by name. */
export const textFilters: Readonly<Record<string, Operation>> = {
  capitalize: ofText(capitalized),
  center: operation([["width", 80n]], (value, given, run: Run) => {
    if (value instanceof Markup) return fail("center of a text marked safe is not supported");
    return textMethods.get("center")!(str(value), { args: [given.value(0)], kwargs: new Map() }, run);
  }),
  e: marked(escapeHtml),
  escape: marked(escapeHtml),
  filesizeformat: fileSize,
  forceescape: marked((value) => escapeHtml(value instanceof Markup ? value.text : value)),
  format,
  indent,
  join,
  lower: ofText((text) => text.toLowerCase()),
  replace,
  safe: marked(str),
  string: (value, given, run) => {
    new Bound("string", [], given);
    return value instanceof Markup ? value : run.made(str(value));
  },
  title: operation([], (value, _given, run) => run.made(title(str(value)))),
  tojson: toJson,
  trim,
  truncate,
  upper: ofText((text) => text.toUpperCase()),
  urlencode,
  wordcount: operation([], (value) => BigInt(str(value).match(/[\p{L}\p{N}_]+/gu)?.length ?? 0)),
};
