/**
 * White space, line ends and text literals as Python reads them.
 *
 * @module
 */
import { fail } from "./errors.ts";

/** The members of a character class: what Python's `str.isspace` and `\s` take for white space. */
export const spaceClass =
  "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";

const leading = new RegExp(`^[${spaceClass}]+`);
const isSpace = new RegExp(`[${spaceClass}]`);

/** Whether a text has white space and nothing else. */
export function isBlank(text: string): boolean {
  return text !== "" && trimStart(text) === "";
}

/** `str.lstrip()`. */
export function trimStart(text: string): string {
  return text.replace(leading, "");
}

/** `str.rstrip()`. */
export function trimEnd(text: string): string {
  let end = text.length;
  while (end > 0 && isSpace.test(text[end - 1])) end--;
  return text.slice(0, end);
}

/** Line ends as "\n". */
export function withPlainLineEnds(text: string): string {
  return text.replace(/\r\n?/g, "\n");
}

const simple: Readonly<Record<string, string>> = {
  "\n": "",
  "\\": "\\",
  "'": "'",
  '"': '"',
  a: "\x07",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
};

const digits: Readonly<Record<string, number>> = { x: 2, u: 4, U: 8 };

/** The escape of a code point: what Jinja2 writes for one above ASCII before it reads the escapes of a literal. */
function escaped(char: string): string {
  const code = char.codePointAt(0)!;
  const [letter, length] = code < 0x100 ? ["x", 2] : code < 0x10000 ? ["u", 4] : ["U", 8];
  return `\\${letter}${code.toString(16).padStart(Number(length), "0")}`;
}

/**
 * The text of a literal without its quotes.
 *
 * Jinja2 encodes to ASCII with escapes first, so that a backslash before a letter above ASCII escapes that escape.
 */
export function unescape(literal: string): string {
  if (!literal.includes("\\")) return literal;
  const ascii = withPlainLineEnds(literal).replace(/[^\0-\x7f]/gu, escaped);
  return ascii.replace(/\\(?:([0-7]{1,3})|([xuU])([0-9a-fA-F]*)|([^]))?/g, (all, octal, letter, hex, one) => {
    if (octal !== undefined) return String.fromCharCode(parseInt(octal, 8));
    if (letter !== undefined) return hexEscape(letter, hex);
    if (one === undefined) return fail("a text of the template ends in a backslash");
    if (one === "N") return fail("the escape \\N{...} is not supported");
    return simple[one] ?? all;
  });
}

function hexEscape(letter: string, hex: string): string {
  const length = digits[letter];
  if (hex.length < length) return fail(`truncated \\${letter} escape`);
  const code = parseInt(hex.slice(0, length), 16);
  if (code > 0x10ffff) return fail("illegal Unicode character");
  if (code >= 0xd800 && code < 0xe000) {
    return fail(`the escape \\${letter}${hex.slice(0, length)} is half a character`);
  }
  return String.fromCodePoint(code) + hex.slice(length);
}
