/**
 * Cutting texts: strip, split, partition and lines, as Python does it.
 *
 * @module
 */
import { fail } from "./errors.ts";
import { spaceClass, trimEnd, trimStart } from "./literals.ts";
import { charsOf } from "./truth.ts";

/** Which ends are meant. */
export type Side = "left" | "right" | "both";

/** `strip`, `lstrip` and `rstrip`; without `chars` of white space. */
export function strip(text: string, chars: string | undefined, side: Side): string {
  if (chars === undefined) {
    const rest = side === "right" ? text : trimStart(text);
    return side === "left" ? rest : trimEnd(rest);
  }
  const set = new Set(charsOf(chars)), letters = charsOf(text);
  let start = 0, end = letters.length;
  while (side !== "right" && start < end && set.has(letters[start])) start++;
  while (side !== "left" && end > start && set.has(letters[end - 1])) end--;
  return letters.slice(start, end).join("");
}

/** How often a text is cut; negative for everywhere. */
interface Cuts {
  readonly separator?: string;
  readonly most: number;
}

const gap = new RegExp(`[${spaceClass}]+`, "g");

/** `split` */
export function split(text: string, { separator, most }: Cuts): string[] {
  if (separator === "") return fail("empty separator");
  if (separator === undefined) return splitByGaps(text, most);
  const parts = text.split(separator);
  if (most < 0 || parts.length <= most + 1) return parts;
  return [...parts.slice(0, most), parts.slice(most).join(separator)];
}

/** `rsplit` */
export function splitFromRight(text: string, { separator, most }: Cuts): string[] {
  if (separator === "") return fail("empty separator");
  if (separator === undefined) return splitByGapsFromRight(text, most);
  const parts: string[] = [];
  let rest = text;
  while (most < 0 || parts.length < most) {
    const at = rest.lastIndexOf(separator, rest.length - separator.length);
    if (at < 0 || rest.length < separator.length) break;
    parts.unshift(rest.slice(at + separator.length));
    rest = rest.slice(0, at);
  }
  return [rest, ...parts];
}

function splitByGaps(text: string, most: number): string[] {
  const parts: string[] = [];
  const rest = trimStart(text);
  let at = 0;
  for (const { 0: found, index } of rest.matchAll(gap)) {
    if (most >= 0 && parts.length >= most) break;
    parts.push(rest.slice(at, index));
    at = index + found.length;
  }
  if (at < rest.length) {
    parts.push(most >= 0 && parts.length >= most ? rest.slice(at) : trimEnd(rest.slice(at)));
  }
  return parts;
}

function splitByGapsFromRight(text: string, most: number): string[] {
  const words = splitByGaps(text, -1);
  if (most < 0 || words.length <= most) return words;
  let rest = text;
  const parts = words.slice(words.length - most);
  for (const word of [...parts].reverse()) rest = trimEnd(rest).slice(0, -word.length || undefined);
  rest = trimEnd(rest);
  return rest === "" ? parts : [rest, ...parts];
}

// deno-lint-ignore no-control-regex
const lineEnd = /\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]/g;

/** `splitlines` */
export function lines(text: string, keepsEnds = false): string[] {
  const found: string[] = [];
  let at = 0;
  for (const { 0: end, index } of text.matchAll(lineEnd)) {
    found.push(text.slice(at, keepsEnds ? index + end.length : index));
    at = index + end.length;
  }
  if (at < text.length) found.push(text.slice(at));
  return found;
}

/** `partition` and `rpartition`: before, the separator, after. */
export function partition(text: string, separator: string, isFromRight: boolean): [string, string, string] {
  if (separator === "") return fail("empty separator");
  const at = isFromRight ? text.lastIndexOf(separator) : text.indexOf(separator);
  if (at < 0) return isFromRight ? ["", "", text] : [text, "", ""];
  return [text.slice(0, at), separator, text.slice(at + separator.length)];
}

/** The parts of a text that `replace` puts the new text between; `most` of them, or all where it is negative. */
export function replaced(text: string, { old, most }: { old: string; most: number }): readonly string[] {
  const parts = old === "" ? ["", ...charsOf(text), ""] : text.split(old);
  if (most < 0 || parts.length <= most + 1) return parts;
  const rest = parts.slice(most);
  return [...parts.slice(0, most), rest.join(old)];
}
