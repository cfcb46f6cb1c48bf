/**
 * Texts that are marked as safe.
 *
 * Templates of prompts render without escaping, but adding to a marked text escapes still.
 *
 * @module
 */
import { str } from "./print.ts";
import { Markup, type Value } from "./values.ts";

const escapes: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  "'": "&#39;",
  '"': "&#34;",
};

/** A value as text with what HTML reads escaped, unless it was marked before. */
export function escapeHtml(value: Value): string {
  return value instanceof Markup ? value.text : str(value).replace(/[&<>'"]/g, (char) => escapes[char]);
}
