/**
 * Python's methods of texts.
 *
 * @module
 */
import { Bound, type Parameters } from "./arguments.ts";
import { fail } from "./errors.ts";
import { formatText } from "./format_method.ts";
import { capitalized, characterTests, folded, swapped, titled } from "./letters.ts";
import { padded } from "./number_format.ts";
import type { Run } from "./run.ts";
import { iterate } from "./sequences.ts";
import { lines, partition, replaced, type Side, split, splitFromRight, strip } from "./splitting.ts";
import { charCount, charsOf } from "./truth.ts";
import { type CallArguments, Dict, textOf, Tuple, typeName, type Value } from "./values.ts";

/** A method of a text. */
export type TextMethod = (text: string, given: CallArguments, run: Run) => Value;

function method(
  parameters: Parameters,
  apply: (text: string, given: Bound, run: Run) => Value,
): TextMethod {
  return (text, given, run) => {
    run.spendOnParts(text.length);
    return apply(text, new Bound("the method of str", parameters, given), run);
  };
}

const plain = (apply: (text: string) => Value): TextMethod => method([], apply);

function optionalText(given: Bound, index: number): string | undefined {
  return given.value(index) === null ? undefined : given.text(index);
}

const stripping = (side: Side): TextMethod =>
  method([["chars", null]], (text, given) => strip(text, optionalText(given, 0), side));

const splitting = (cut: typeof split): TextMethod =>
  method(
    [["sep", null], ["maxsplit", -1n]],
    (text, given) => cut(text, { separator: optionalText(given, 0), most: given.int(1) }),
  );

const filling = (align: "<" | ">" | "^"): TextMethod =>
  method([["width"], ["fillchar", " "]], (text, given, run) => {
    const fill = given.text(1), width = given.int(0);
    if (charCount(fill) !== 1) return fail("The fill character must be exactly one character long");
    if (align !== "^") return padded(text, { fill, align, width }, run);
    // An odd space goes left where the width is odd, as in Python.
    const missing = Math.max(0, width - charCount(text));
    const left = Math.floor(missing / 2) + (missing & width & 1);
    return run.repeat(fill, left) + text + run.repeat(fill, missing - left);
  });

/** The part of a text that `start` and `end` leave, and where it begins; nothing where they leave none. */
function part(text: string, given: Bound): { chars: readonly string[]; start: number } | undefined {
  const chars = charsOf(text);
  const clamp = (at: number): number => Math.max(0, at < 0 ? at + chars.length : at);
  const start = clamp(given.optionalInt(1) ?? 0);
  const end = Math.min(clamp(given.optionalInt(2) ?? chars.length), chars.length);
  return start > end || start > chars.length ? undefined : { chars: chars.slice(start, end), start };
}

const range: Parameters = [["sub"], ["start", null], ["end", null]];

function found(text: string, given: Bound, isLast: boolean): bigint {
  const within = part(text, given), wanted = given.text(0);
  if (!within) return -1n;
  const inner = within.chars.join("");
  const at = isLast ? inner.lastIndexOf(wanted) : inner.indexOf(wanted);
  return at < 0 ? -1n : BigInt(within.start + charCount(inner.slice(0, at)));
}

const finding = (isLast: boolean): TextMethod => method(range, (text, given) => found(text, given, isLast));

const indexing = (isLast: boolean): TextMethod =>
  method(range, (text, given) => {
    const at = found(text, given, isLast);
    return at < 0n ? fail("substring not found") : at;
  });

const affix = (test: (text: string, wanted: string) => boolean): TextMethod =>
  method(range, (text, given) => {
    const within = part(text, given), wanted = given.value(0);
    const texts = wanted instanceof Tuple ? wanted.items : [wanted];
    return texts.some((one) => {
      const affix = textOf(one) ?? fail(`expected str or a tuple of str, not ${typeName(one)}`);
      return within !== undefined && test(within.chars.join(""), affix);
    });
  });

const partitioning = (isFromRight: boolean): TextMethod =>
  method([["sep"]], (text, given) => new Tuple(partition(text, given.text(0), isFromRight)));

function joined(text: string, given: Bound, run: Run): string {
  const parts = [...iterate(given.value(0))].map((item) =>
    textOf(item) ?? fail(`sequence item: expected str instance, ${typeName(item)} found`)
  );
  return run.join(parts, text);
}

function expanded(text: string, size: number, run: Run): string {
  let column = 0;
  const parts = charsOf(text).map((char) => {
    if (char === "\n" || char === "\r") column = -1;
    if (char !== "\t") {
      column++;
      return char;
    }
    const width = size > 0 ? size - column % size : 0;
    column += width;
    return run.repeat(" ", width);
  });
  return run.join(parts, "");
}

/** The methods by name. */
export const textMethods: ReadonlyMap<string, TextMethod> = new Map(Object.entries({
  ...Object.fromEntries(Object.entries(characterTests).map(([name, test]) => [name, plain(test)])),
  capitalize: plain(capitalized),
  casefold: plain(folded),
  center: filling("^"),
  count: method(range, (text, given) => {
    const within = part(text, given), wanted = given.text(0);
    if (!within) return 0n;
    return BigInt(wanted === "" ? within.chars.length + 1 : within.chars.join("").split(wanted).length - 1);
  }),
  endswith: affix((text, end) => text.endsWith(end)),
  expandtabs: method([["tabsize", 8n]], (text, given, run) => expanded(text, given.int(0), run)),
  find: finding(false),
  format: (text, given, run) => formatText(text, given, run),
  format_map: method([["mapping"]], (text, given, run) => {
    const mapping = given.value(0);
    if (!(mapping instanceof Dict)) return fail("format_map of what is no dict is not supported");
    const fields = [...mapping.entries()].map(([key, value]) => [textOf(key) ?? "", value] as const);
    return formatText(text, { args: [], kwargs: new Map(fields) }, run);
  }),
  index: indexing(false),
  join: method([["iterable"]], joined),
  ljust: filling("<"),
  lower: plain((text) => text.toLowerCase()),
  lstrip: stripping("left"),
  partition: partitioning(false),
  removeprefix: method([["prefix"]], (text, given) => {
    const prefix = given.text(0);
    return text.startsWith(prefix) ? text.slice(prefix.length) : text;
  }),
  removesuffix: method([["suffix"]], (text, given) => {
    const suffix = given.text(0);
    return suffix !== "" && text.endsWith(suffix) ? text.slice(0, -suffix.length) : text;
  }),
  replace: method([["old"], ["new"], ["count", -1n]], (text, given, run) => {
    const by = given.text(1);
    return run.join(replaced(text, { old: given.text(0), most: given.int(2) }), by);
  }),
  rfind: finding(true),
  rindex: indexing(true),
  rjust: filling(">"),
  rpartition: partitioning(true),
  rsplit: splitting(splitFromRight),
  rstrip: stripping("right"),
  split: splitting(split),
  splitlines: method([["keepends", false]], (text, given) => lines(text, given.isTrue(0))),
  startswith: affix((text, start) => text.startsWith(start)),
  strip: stripping("both"),
  swapcase: plain(swapped),
  title: plain(titled),
  upper: plain((text) => text.toUpperCase()),
  zfill: method([["width"]], (text, given, run) => {
    const sign = /^[-+]/.exec(text)?.[0] ?? "";
    return sign + run.repeat("0", given.int(0) - charCount(text)) + text.slice(sign.length);
  }),
}));
