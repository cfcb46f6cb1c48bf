/**
 * Case and kinds of characters, as Python's text methods see them.
 *
 * @module
 */
import { fail } from "./errors.ts";
import { isBlank } from "./literals.ts";
import { charsOf } from "./truth.ts";

/** Letters whose title case is one letter of their own: two letters in one sign. */
const digraphs: Readonly<Record<string, string>> = {
  "\u01c4": "\u01c5",
  "\u01c5": "\u01c5",
  "\u01c6": "\u01c5",
  "\u01c7": "\u01c8",
  "\u01c8": "\u01c8",
  "\u01c9": "\u01c8",
  "\u01ca": "\u01cb",
  "\u01cb": "\u01cb",
  "\u01cc": "\u01cb",
  "\u01f1": "\u01f2",
  "\u01f2": "\u01f2",
  "\u01f3": "\u01f2",
  "\u0149": "\u02bcN",
};

/** A character in title case. */
function titleCase(char: string): string {
  if (Object.hasOwn(digraphs, char)) return digraphs[char];
  if (/[\u10d0-\u10ff]/.test(char)) return char;
  if (/[\u1f80-\u1fff]/.test(char) && char.toUpperCase().length > 1) {
    return fail(`title case of "${char}" is not supported`);
  }
  const [first = "", ...rest] = charsOf(char.toUpperCase());
  return first + rest.join("").toLowerCase();
}

/** `str.capitalize()` */
export function capitalized(text: string): string {
  const [first] = charsOf(text.slice(0, 2));
  if (first === undefined) return "";
  // The whole is lowered at once: a sigma looks at the letters around it.
  const lower = text.toLowerCase(), lowerFirst = first.toLowerCase();
  return titleCase(first) + lower.slice(lowerFirst.length);
}

const cased = /[\p{Lowercase}\p{Uppercase}\p{Lt}]/u;

/** `str.title()` */
export function titled(text: string): string {
  return text.replace(/[\p{Lowercase}\p{Uppercase}\p{Lt}]+/gu, capitalized);
}

/** `str.swapcase()` */
export function swapped(text: string): string {
  return charsOf(text).map((char) => /\p{Uppercase}/u.test(char) ? char.toLowerCase() : char.toUpperCase())
    .join("");
}

/** `str.casefold()` */
export function folded(text: string): string {
  if (/[^\0-\x7f]/.test(text)) return fail("casefold of letters above ASCII is not supported");
  return text.toLowerCase();
}

function isTitled(text: string): boolean {
  let after = false, found = false;
  for (const char of text) {
    const isUpper = /[\p{Uppercase}\p{Lt}]/u.test(char), isLower = /\p{Lowercase}/u.test(char);
    if ((isUpper && after) || (isLower && !after)) return false;
    after = isUpper || isLower;
    found ||= after;
  }
  return found;
}

const kind = (pattern: RegExp) => (text: string): boolean => text !== "" && pattern.test(text);

/** False, unless the text has numbers of a kind that JavaScript cannot tell from others. */
function withoutUnknown(text: string, unknown: RegExp): false {
  return unknown.test(text) ? fail("numbers other than decimal digits are not supported here") : false;
}

/** The tests of a text's characters, by the names of Python's methods. */
export const characterTests: Readonly<Record<string, (text: string) => boolean>> = {
  isalnum: kind(/^[\p{L}\p{N}]+$/u),
  isalpha: kind(/^\p{L}+$/u),
  isascii: (text) => !/[^\0-\x7f]/.test(text),
  isdecimal: kind(/^\p{Nd}+$/u),
  isdigit: (text) => kind(/^\p{Nd}+$/u)(text) || withoutUnknown(text, /\p{No}/u),
  isidentifier: kind(/^[\p{ID_Start}_]\p{ID_Continue}*$/u),
  islower: (text) => cased.test(text) && !/[\p{Uppercase}\p{Lt}]/u.test(text),
  isnumeric: (text) => kind(/^\p{N}+$/u)(text) || withoutUnknown(text, /\p{Script=Han}/u),
  isprintable: (text) => !/(?! )[\p{C}\p{Z}]/u.test(text),
  isspace: isBlank,
  istitle: isTitled,
  isupper: (text) => cased.test(text) && !/[\p{Lowercase}\p{Lt}]/u.test(text),
};
