/**
 * Characters: kinds of them, and the 256 that stand for bytes.
 *
 * JavaScript's own `\s`, `\w` and `trim` are others: they take U+FEFF for a space, U+0085 for none, and letters for ASCII.
 *
 * @module
 */

/** GPT-2's characters for bytes, in the order of the bytes: printable Latin-1 stands for itself. */
export const byteCharacters: readonly string[] = (() => {
  const printable = (byte: number): boolean =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(printable(byte) ? byte : next++));
})();

const bytesByCharacter = new Map(byteCharacters.map((character, byte) => [character, byte]));

/** The bytes that a token of such characters stands for; undefined when it has another. */
export function bytesOf(token: string): number[] | undefined {
  const bytes: number[] = [];
  for (const character of token) {
    const byte = bytesByCharacter.get(character);
    if (byte === undefined) return undefined;
    bytes.push(byte);
  }
  return bytes;
}

const encoder = new TextEncoder();

export function utf8(text: string): Uint8Array<ArrayBuffer> {
  return encoder.encode(text);
}

const codes = Uint16Array.from(byteCharacters, (character) => character.charCodeAt(0));

/** A text's bytes as such characters; the text is of some thousand units. */
export function asByteCharacters(text: string): string {
  let ascii = "";
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code >= 0x80) return anyAsByteCharacters(text);
    ascii += byteCharacters[code];
  }
  return ascii;
}

function anyAsByteCharacters(text: string): string {
  return String.fromCharCode(...Array.from(utf8(text), (byte) => codes[byte]));
}

/** SentencePiece's tokens for bytes, in the order of the bytes. */
export const byteTokens: readonly string[] = Array.from(
  { length: 256 },
  (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`,
);

/** What Rust's `regex` calls a word's character. */
export const wordCharacter = /^[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]$/u;

/** Whether a UTF-16 unit is white space; all of it is in the Basic Multilingual Plane. */
function isSpace(unit: number): boolean {
  if (unit < 0x85) return unit === 0x20 || (unit >= 9 && unit <= 13);
  return unit === 0x85 || unit === 0xa0 || unit === 0x1680 || (unit >= 0x2000 && unit <= 0x200a) ||
    unit === 0x2028 || unit === 0x2029 || unit === 0x202f || unit === 0x205f || unit === 0x3000;
}

/** The length of the white space that a text starts with. */
export function spaceAtStart(text: string): number {
  let length = 0;
  while (length < text.length && isSpace(text.charCodeAt(length))) length++;
  return length;
}

/** The index from which on a text is white space. */
export function spaceAtEnd(text: string): number {
  let end = text.length;
  while (end > 0 && isSpace(text.charCodeAt(end - 1))) end--;
  return end;
}

/** The character that ends before a place of a text; empty at its start. */
export function characterBefore(text: string, at: number): string {
  const last = text.slice(Math.max(0, at - 2), at);
  return [...last].at(-1) ?? "";
}

export function characterAt(text: string, at: number): string {
  const code = text.codePointAt(at);
  return code === undefined ? "" : String.fromCodePoint(code);
}
