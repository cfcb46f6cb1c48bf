/**
 * SentencePiece's normalization tables: a double-array trie from bytes to places in a list of texts.
 *
 * @module
 */
import { utf8 } from "./characters.ts";
import { refuse } from "./fields.ts";

interface Charsmap {
  readonly units: Uint32Array;
  readonly texts: Uint8Array;
}

function read(encoded: string): Charsmap {
  const bytes = Uint8Array.from(atob(encoded), (character) => character.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  const size = view.getUint32(0, true);
  if (size % 4 !== 0 || 4 + size > bytes.length) throw new RangeError("its trie is cut off");
  const units = Uint32Array.from({ length: size / 4 }, (_, i) => view.getUint32(4 + 4 * i, true));
  return { units, texts: bytes.subarray(4 + size) };
}

/** Where a unit's children are, in darts-clone's layout: a shift of 8 bits when bit 9 is set. */
function offsetOf(unit: number): number {
  return (unit >>> 10) << ((unit & 0x200) >>> 6);
}

/** The place of the shortest key that bytes begin with, as the Python library takes it; undefined without one. */
function shortest(units: Uint32Array, key: Uint8Array): number | undefined {
  let at = offsetOf(units[0]);
  for (const byte of key) {
    if (byte === 0) return undefined;
    at ^= byte;
    const unit = units[at] ?? 0;
    if ((unit & 0x800000ff) >>> 0 !== byte) return undefined;
    at ^= offsetOf(unit);
    if (unit & 0x100) return (units[at] ?? 0) & 0x7fffffff;
  }
  return undefined;
}

/** Characters with their marks; a lone one needs no look at Unicode's tables. */
const graphemes = new Intl.Segmenter("en", { granularity: "grapheme" });
const oneByOne = /^[\x20-\x7e\n\t]*$/;

/**
 * The change that a `precompiled_charsmap` makes.
 *
 * @throws ConfigError when it is no such table.
 */
export function charsmapTransform(encoded: string): (text: string) => string {
  let table: Charsmap;
  try {
    table = read(encoded);
  } catch (error) {
    throw refuse("precompiled_charsmap", encoded, (error as Error).message);
  }
  const { units, texts } = table;
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  const known = new Map<string, string | undefined>();
  const lookUp = (part: string): string | undefined => {
    if (known.has(part)) return known.get(part);
    const start = shortest(units, utf8(part));
    let found: string | undefined;
    if (start !== undefined) {
      const end = texts.indexOf(0, start);
      found = decoder.decode(texts.subarray(start, end < 0 ? texts.length : end));
    }
    if (known.size < 65536) known.set(part, found);
    return found;
  };
  // Joined lists and not sums: those are ropes, which are slow to read later.
  const characters = (part: string): string =>
    Array.from(part, (character) => lookUp(character) ?? character).join("");
  return (text) => {
    if (oneByOne.test(text)) return characters(text);
    return Array.from(graphemes.segment(text), ({ segment }) => {
      // Longer clusters are taken character by character, as in the Python library.
      const whole = segment.length < 6 && utf8(segment).length < 6 ? lookUp(segment) : undefined;
      return whole ?? characters(segment);
    }).join("");
  };
}
