/**
 * Parts of documents that tasks make, between markers; the prose around them is by hand.
 *
 * @module
 */
const begin = "<!-- deno-fmt-ignore-start -->\n<!-- Made by ";
const end = "<!-- deno-fmt-ignore-end -->";

/** A specification's text as Markdown: no sign of arithmetic ends a table's cell or begins a tag. */
export function escaped(text: string): string {
  return text.replace(/[<|]/g, "\\$&");
}

/**
 * A document with what a task makes between its markers.
 *
 * @throws Error when a marker is missing.
 */
export function withMade(
  document: string,
  { name, task, made }: { readonly name: string; readonly task: string; readonly made: string },
): string {
  const own = `${begin}\`deno task ${task}\` -->`;
  const from = document.indexOf(own), to = document.indexOf(end);
  if (from < 0 || to < from) {
    throw new Error(`Cannot make ${name}: it must have a "${own}" and a "${end}"`);
  }
  return `${document.slice(0, from)}${own}\n\n${made}\n\n${document.slice(to)}`;
}

/** A document without what is made. */
export function byHand(document: string): string {
  const from = document.indexOf(begin), to = document.indexOf(end);
  return from < 0 ? document : document.slice(0, from) + document.slice(to);
}
