/**
 * JSON bodies: bounded before they are parsed.
 *
 * @module
 */
import { breathe } from "../breathe.ts";
import { type BodyOptions, readBytes } from "./body.ts";
import { shorten } from "./echo.ts";
import { InvalidRequestError } from "./errors.ts";
import { checkBounds, exactSeed, type JsonBounds } from "./json_bounds.ts";

/** Bytes that a parsed body takes for each of its own, about: two for text, the rest for values. */
const parsedBytesPerByte = 3;

/** An error as what is wrong with the body's JSON. */
function notJson(error: unknown): InvalidRequestError {
  return new InvalidRequestError(
    `Cannot read the request's body as JSON: ${shorten((error as Error).message)}`,
    { code: "invalid_json" },
  );
}

function parse(text: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw notJson(error);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new InvalidRequestError("Cannot read the request's body: it must be a JSON object", {
      code: "invalid_json",
    });
  }
  return value as Record<string, unknown>;
}

function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    throw notJson(error);
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
): Promise<Record<string, unknown>> {
  const bytes = await readBytes(request, options);
  const { hold, signal } = options;
  hold.take(parsedBytesPerByte * bytes.length);
  // Each pass over some megabytes takes milliseconds: others have their turn between them.
  checkBounds(bytes, bounds);
  await breathe();
  const text = decode(bytes);
  await breathe();
  signal.throwIfAborted();
  const body = parse(text);
  if (typeof body.seed === "number" && !Number.isSafeInteger(body.seed)) {
    const exact = exactSeed(bytes);
    // A key written with escapes is not seen: the number is left, and refused.
    if (Number(exact) === body.seed) body.seed = exact;
  }
  return body;
}
