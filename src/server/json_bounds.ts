/**
 * Bounds of a JSON text's structure, from its bytes: what JSON.parse would take too long for is refused before it.
 *
 * @module
 */
import { InvalidRequestError } from "./errors.ts";

/** Parts of a JSON text at most; as many take some ten milliseconds to parse. */
export interface JsonBounds {
  readonly depth: number;
  /** Objects and lists. */
  readonly containers: number;
  /** Names of fields in all objects. */
  readonly keys: number;
  readonly strings: number;
  /** Commas of lists and objects: about the number of values. */
  readonly commas: number;
}

/** Bounds for requests; a prompt of token ids may be longer where a model's context is. */
export function requestBounds(contextTokens: number): JsonBounds {
  return {
    depth: 64,
    containers: 2 ** 14,
    keys: 2 ** 14,
    strings: 2 ** 16,
    commas: Math.max(2 ** 18, contextTokens + 2 ** 12),
  };
}

const quote = 0x22, backslash = 0x5c, comma = 0x2c, colon = 0x3a;

/** Index of the quotation mark that ends the string that begins before `at`. */
function stringEnd(bytes: Uint8Array, at: number): number {
  let i = at;
  while (i < bytes.length && bytes[i] !== quote) i += bytes[i] === backslash ? 2 : 1;
  return i;
}

function refuse(name: keyof JsonBounds, bounds: JsonBounds, param?: string): never {
  const what = param === undefined ? "the request's body" : `"${param}" of the request`;
  throw new InvalidRequestError(
    `Cannot read ${what} as JSON: it has more than ${bounds[name]} ${name === "depth" ? "levels" : name}`,
    { param, code: "too_complex" },
  );
}

/**
 * Counts the parts of a JSON text; whether it is JSON at all is for JSON.parse to say.
 *
 * @param param The field whose text it is; absent for a whole body.
 * @throws InvalidRequestError when there are too many.
 */
export function checkBounds(bytes: Uint8Array, bounds: JsonBounds, param?: string): void {
  let depth = 0, containers = 0, keys = 0, strings = 0, commas = 0;
  for (let i = 0; i < bytes.length; i++) {
    switch (bytes[i]) {
      case quote:
        if (++strings > bounds.strings) refuse("strings", bounds, param);
        i = stringEnd(bytes, i + 1);
        break;
      case comma:
        if (++commas > bounds.commas) refuse("commas", bounds, param);
        break;
      case colon:
        if (++keys > bounds.keys) refuse("keys", bounds, param);
        break;
      case 0x5b: // [
      case 0x7b: // {
        if (++containers > bounds.containers) refuse("containers", bounds, param);
        if (++depth > bounds.depth) refuse("depth", bounds, param);
        break;
      case 0x5d: // ]
      case 0x7d: // }
        depth--;
    }
  }
}

/**
 * The value of a JSON text that stands in a field of a body; undefined where it is no JSON.
 *
 * @throws InvalidRequestError that names the field, for a text of more parts than a body may have.
 */
export function valueOfText(text: string, param: string): { readonly value: unknown } | undefined {
  checkBounds(new TextEncoder().encode(text), requestBounds(0), param);
  try {
    return { value: JSON.parse(text) };
  } catch {
    return undefined;
  }
}

const seedKey = [0x73, 0x65, 0x65, 0x64];

/** A number of JSON that stands for a field, and the end of the field. */
const numberOfField = /^\s*:\s*(-?)(\d{1,40})(?:\.(\d+))?(?:[eE]\+?(\d{1,2}))?\s*[,}]/;

/** The integer that a field's text says exactly; undefined where the text says no integer. */
function integerOf(text: string): bigint | undefined {
  const [, sign, whole, fraction = "", exponent = "0"] = numberOfField.exec(text) ?? [];
  if (whole === undefined) return undefined;
  let end = fraction.length;
  while (fraction[end - 1] === "0") end--;
  const places = fraction.slice(0, end);
  const shift = Number(exponent) - places.length;
  if (shift < 0) return undefined;
  const size = BigInt(whole + places) * 10n ** BigInt(shift);
  return sign ? -size : size;
}

/**
 * The field `seed` of the outermost object, to its last digit: JSON.parse rounds integers past 2^53.
 *
 * @returns The last field of that name, as JSON.parse takes the last; undefined where it is no integer.
 */
export function exactSeed(bytes: Uint8Array): bigint | undefined {
  let depth = 0, found: bigint | undefined;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i];
    if (byte === 0x5b || byte === 0x7b) depth++;
    else if (byte === 0x5d || byte === 0x7d) depth--;
    else if (byte === quote) {
      const start = i + 1;
      i = stringEnd(bytes, start);
      if (depth !== 1 || i - start !== 4 || seedKey.some((one, k) => bytes[start + k] !== one)) continue;
      found = integerOf(String.fromCharCode(...bytes.subarray(i + 1, i + 65)));
    }
  }
  return found;
}
