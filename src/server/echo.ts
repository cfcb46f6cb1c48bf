/**
 * The parts of a request that an error message repeats: enough to find the fault, never all.
 *
 * @module
 */

const mostQuoted = 100;

/** A text's beginning, and how long it is where that is not all. */
export function shorten(text: string, most: number = mostQuoted): string {
  if (text.length <= most) return text;
  // Half a surrogate pair would be no text.
  const end = /[\ud800-\udbff]/.test(text[most - 1]) ? most - 1 : most;
  return `${text.slice(0, end)}… (${text.length} characters)`;
}

/** A value of a request in quotation marks, shortened. */
export function quoted(text: string): string {
  return `"${shorten(text)}"`;
}
