/// <reference lib="dom" />
/**
 * The text that is learnt: what its file's name, or its first line, says about its format.
 *
 * @module
 */
import type { NamedFile } from "../backend/backend.ts";

/** Formats of a text; a `.json` file is a list of records. */
export type TextFormat = "text" | "jsonl" | "json";

/** Bytes of a file of text at most: its tokens stay in memory. */
const mostBytes = 64 * 2 ** 20;

const formats: Readonly<Record<string, TextFormat>> = {
  txt: "text",
  md: "text",
  jsonl: "jsonl",
  ndjson: "jsonl",
  json: "json",
};

const endingOf = (name: string): string => name.slice(name.lastIndexOf(".") + 1).toLowerCase();

/** Whether a file's name is that of a text to learn. */
export const isTrainingText = ({ path }: NamedFile): boolean => endingOf(path) in formats;

/** What a page takes from a file's field. */
export const textEndings: string = Object.keys(formats).map((ending) => `.${ending}`).join(",");

/**
 * The format of a file to learn.
 *
 * @throws Error for a file that is no text, or too large for a page.
 */
export function formatOfFile({ name, size }: File): TextFormat {
  const format = formats[endingOf(name)];
  if (!format) {
    throw new Error(`Cannot train on "${name}": a text is .txt or .md; records are .jsonl, .ndjson or .json`);
  }
  if (size > mostBytes) {
    throw new Error(
      `Cannot train on "${name}" in a page: it has ${size} bytes, and ${mostBytes} are the most; use "fourierft train"`,
    );
  }
  return format;
}

/** The format of a text that was typed: JSON lines where the first line is an object. */
export function formatOfText(text: string): TextFormat {
  const line = text.trimStart().split("\n", 1)[0];
  if (!line.startsWith("{")) return "text";
  try {
    JSON.parse(line);
    return "jsonl";
  } catch {
    return "text";
  }
}
