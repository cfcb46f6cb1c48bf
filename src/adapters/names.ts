/**
 * Which names adapters may have: those that file stores allow, short of what could lead elsewhere.
 *
 * @module
 */

/** UTF-8 bytes of a name at most: what file systems allow. */
const maxNameBytes = 255;

/** The name as it is compared and shown: file systems differ in how they write letters with marks. */
export function normalName(name: string): string {
  return name.normalize("NFC");
}

/** Why no adapter may have this name, as a sentence about it; undefined when one may. */
export function nameFault(name: string): string | undefined {
  if (name === "") return "the name is empty";
  if (name.startsWith(".")) return "names that begin with a dot are hidden";
  // deno-lint-ignore no-control-regex
  if (/[\x00-\x1f\x7f-\x9f\u2028\u2029]/.test(name)) return "the name has a control character";
  const sign = /[/\\:]/.exec(name)?.[0];
  if (sign !== undefined) return `the name has a "${sign}", which belongs to paths and to base:adapter`;
  if (/\p{Surrogate}|\ufffd/u.test(name)) return "the name is no valid Unicode";
  const bytes = new TextEncoder().encode(name).length;
  if (bytes > maxNameBytes) return `the name has ${bytes} bytes, at most ${maxNameBytes} are allowed`;
  return undefined;
}

/** Whether an adapter may have this name; it then is a plain name within a folder, never a path. */
export function isAdapterName(name: string): boolean {
  return nameFault(name) === undefined;
}

/** A name in a line for people: nothing in it can act on a terminal or end the line. */
export function quotedName(name: string): string {
  return JSON.stringify(name).replace(
    /[\x7f-\x9f\u2028\u2029]/g,
    (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
