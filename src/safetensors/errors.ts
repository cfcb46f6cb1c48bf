/**
 * The error for bytes that are not a safetensors file.
 *
 * @module
 */

/** Bytes that break a rule of the safetensors format: the message names the tensor, if one is at fault, and the rule. */
export class SafetensorsError extends SyntaxError {
  override readonly name = "SafetensorsError";
}

/** A name from a file as it may stand in a message: quoted, control characters escaped, long ones cut. */
export function quoted(name: string): string {
  return JSON.stringify(name.length > 100 ? `${name.slice(0, 97)}...` : name);
}
