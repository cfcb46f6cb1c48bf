/**
 * Request bodies: counted while they are read.
 *
 * @module
 */
import { BodyTooLargeError, InvalidRequestError } from "./errors.ts";

/**
 * A request's body.
 *
 * @throws BodyTooLargeError as soon as it is known to have more than `maxBytes`.
 */
export async function readBytes(request: Request, maxBytes: number): Promise<Uint8Array<ArrayBuffer>> {
  const refuse = (size: string): never => {
    throw new BodyTooLargeError(
      `Cannot read the request's body: it has ${size} bytes, at most ${maxBytes} are accepted`,
    );
  };
  const announced = Number(request.headers.get("content-length") ?? 0);
  if (announced > maxBytes) refuse(String(announced));
  const chunks: Uint8Array[] = [];
  let size = 0;
  const reader = request.body?.getReader();
  while (reader) {
    const { done, value } = await reader.read();
    if (done) break;
    size += value.length;
    if (size > maxBytes) {
      // Not awaited: the sender may never learn of it.
      reader.cancel().catch(() => {});
      refuse("more");
    }
    chunks.push(value);
  }
  return joined(chunks, size);
}

function joined(chunks: readonly Uint8Array[], size: number): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}

/**
 * A request's body as a JSON object, whatever content type it claims.
 *
 * @throws BodyTooLargeError; InvalidRequestError when it is no JSON object.
 */
export async function readJson(request: Request, maxBytes: number): Promise<Record<string, unknown>> {
  const bytes = await readBytes(request, maxBytes);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw new InvalidRequestError(
      `Cannot read the request's body as JSON: ${(error as Error).message}`,
      { code: "invalid_json" },
    );
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new InvalidRequestError("Cannot read the request's body: it must be a JSON object", {
      code: "invalid_json",
    });
  }
  return value as Record<string, unknown>;
}
