/**
 * JSON that must be an object.
 *
 * @module
 */
import { ConfigError } from "./errors.ts";
import { foreignKindOfText } from "./safetensors/mod.ts";

/** A JSON object's fields, not yet checked. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** Whether a parsed value is a JSON object. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * Parses a text that must be a JSON object.
 *
 * @param name The file, for messages.
 * @param refused Makes the error of a message; a ConfigError by default.
 * @throws The error, for a text that is no JSON, or no object. A text of a known other kind is named.
 */
export function parseJsonObject(
  text: string,
  name: string,
  refused: (message: string) => Error = (message) => new ConfigError(message),
): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    // The runtime's message quotes the text, line ends and all.
    const reason = foreignKindOfText(text) ?? (error as Error).message.replace(/\s+/g, " ");
    throw refused(`Cannot read ${name} as JSON: ${reason}`);
  }
  if (!isJsonObject(value)) throw refused(`Cannot read ${name}: it must be a JSON object`);
  return value;
}
