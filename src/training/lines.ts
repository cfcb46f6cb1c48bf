/**
 * Lines of a UTF-8 text that is read once, from its start to its end.
 *
 * @module
 */
import type { ByteSource } from "../safetensors/mod.ts";

/** A file's bytes in order, in pieces of any size. */
export type ByteStream = AsyncIterable<Uint8Array>;

/** Characters that one document may have: JavaScript's engines end not far above. */
export const longestText = 2 ** 28;

const chunkBytes = 2 ** 20;

/** The bytes of a source that is read by ranges, a mebibyte at a time. */
export async function* streamOf(source: ByteSource): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < source.sizeBytes; at += chunkBytes) {
    yield await source.read(at, Math.min(chunkBytes, source.sizeBytes - at));
  }
}

/** How many bytes at the end belong to a character that ends beyond it. */
function unfinishedBytes(bytes: Uint8Array): number {
  for (let count = 1; count <= Math.min(3, bytes.length); count++) {
    const byte = bytes[bytes.length - count];
    if ((byte & 0xc0) === 0x80) continue;
    const needed = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return needed > count ? count : 0;
  }
  return 0;
}

/** The first byte that breaks UTF-8: decoding marks it U+FFFD, which the bytes themselves may spell, too. */
function firstInvalidByte(bytes: Uint8Array): number {
  const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
  const encoder = new TextEncoder();
  let at = 0;
  for (let from = 0;;) {
    const mark = text.indexOf("\ufffd", from);
    if (mark < 0) return bytes.length;
    at += encoder.encode(text.slice(from, mark)).length;
    if (bytes[at] !== 0xef || bytes[at + 1] !== 0xbf || bytes[at + 2] !== 0xbd) return at;
    at += 3;
    from = mark + 1;
  }
}

function decodeAt(bytes: Uint8Array, at: number): string {
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    return at === 0 && text.startsWith("\ufeff") ? text.slice(1) : text;
  } catch {
    throw new SyntaxError(`Cannot read text as UTF-8: byte ${at + firstInvalidByte(bytes)} breaks its rules`);
  }
}

async function* decode(stream: ByteStream): AsyncGenerator<string> {
  let held = new Uint8Array();
  let at = 0;
  for await (const chunk of stream) {
    const bytes = new Uint8Array(held.length + chunk.length);
    bytes.set(held);
    bytes.set(chunk, held.length);
    const end = bytes.length - unfinishedBytes(bytes);
    if (end > 0) yield decodeAt(bytes.subarray(0, end), at);
    held = bytes.slice(end);
    at += end;
  }
  if (held.length > 0) yield decodeAt(held, at);
}

/**
 * The lines of a UTF-8 text, without the "\n" that ends them; a byte order mark at its start is no text.
 *
 * @throws SyntaxError with the byte where the text is not UTF-8; RangeError for a line of more than 2^28 characters.
 */
export async function* linesOf(stream: ByteStream): AsyncGenerator<string> {
  let parts: string[] = [];
  let length = 0;
  for await (const text of decode(stream)) {
    let start = 0;
    for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n", start)) {
      parts.push(text.slice(start, end));
      yield parts.join("");
      parts = [];
      length = 0;
      start = end + 1;
    }
    if (start === text.length) continue;
    parts.push(text.slice(start));
    length += text.length - start;
    if (length > longestText) {
      throw new RangeError(
        `Cannot read a line of more than ${longestText} characters: no document may be longer`,
      );
    }
  }
  if (parts.length > 0) yield parts.join("");
}
