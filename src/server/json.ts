/**
 * JSON bodies: bounded before they are parsed.
 *
 * @module
 */
import { breathe } from "../breathe.ts";
import { type JsonObject, parseJsonObject } from "../json.ts";
import { type BodyOptions, readBytes } from "./body.ts";
import { shorten } from "./echo.ts";
import { InvalidRequestError } from "./errors.ts";
import { checkBounds, exactSeed, type JsonBounds } from "./json_bounds.ts";

/** Bytes that a parsed body takes for each of its own, about: two for text, the rest for values. */
const parsedBytesPerByte = 3;

/** Bytes of a body that takes much less than a millisecond to go through. */
const shortBytes = 2 ** 16;

/** Characters of a message about a body at most. */
const mostMessage = 200;

const notJson = (message: string): InvalidRequestError =>
  new InvalidRequestError(shorten(message, mostMessage), { code: "invalid_json" });

function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    throw notJson(`Cannot read the request's body as JSON: ${(error as Error).message}`);
  }
}

/**
 * A request's body as a JSON object, whatever content type it claims. A `seed` past 2^53 is a bigint, to its last digit.
 *
 * @throws what {@linkcode readBytes} throws; InvalidRequestError when it is no JSON object, or one of too many parts.
 */
export async function readJson(
  request: Request,
  { bounds, ...options }: BodyOptions & { readonly bounds: JsonBounds },
): Promise<JsonObject> {
  const bytes = await readBytes(request, options);
  const { hold, signal } = options;
  hold.take(parsedBytesPerByte * bytes.length);
  // Each pass over some megabytes takes milliseconds: others have their turn between them.
  const isLong = bytes.length > shortBytes;
  checkBounds(bytes, bounds);
  if (isLong) await breathe();
  const text = decode(bytes);
  if (isLong) await breathe();
  signal.throwIfAborted();
  const body = parseJsonObject(text, "the request's body", notJson);
  if (typeof body.seed === "number" && !Number.isSafeInteger(body.seed)) {
    const exact = exactSeed(bytes);
    // A key written with escapes is not seen: the number is left, and refused.
    if (Number(exact) === body.seed) return { ...body, seed: exact };
  }
  return body;
}
