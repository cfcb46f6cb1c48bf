/**
 * Documents out of training files: what a line or a stretch of text means, and which of it the loss is on.
 *
 * @module
 */
import { parseJson } from "../jinja/template.ts";
import { isJsonObject } from "../json.ts";
import type { Tokenizer } from "../models/tokenizer_types.ts";
import { chatSegments } from "./chat_segments.ts";
import { type ByteStream, linesOf, longestText } from "./lines.ts";
import { recordOf } from "./records.ts";
import { kindOf } from "./turns.ts";

/**
 * What a training file is.
 *
 * - `text`: one document a file, or several with form feeds (U+000C) or `<|endoftext|>` between them. Line breaks at a
 *   document's two ends are not part of it, and white space alone is no document.
 * - `jsonl`: one document a line, a JSON object with `text`, or `prompt` and `completion` (texts, or lists of messages),
 *   or `messages` (each with `role` and `content`; put together by the model's chat template, which is given `tools`,
 *   `documents` and `chat_template_kwargs`, too), or `conversations` (each with `from` and `value`). A message of the
 *   assistant with `weight` 0 is read and not learnt. A field that would change what is learnt and is none of these is
 *   refused.
 * - `json`: a list of such objects.
 */
export type DataFormat = "text" | "jsonl" | "json";

/** Which tokens are learnt: all, or completions and the assistant's turns only; a `text` is learnt whole in both. */
export type LossOn = "all" | "completion";

/** A stretch of a document. */
export interface Segment {
  readonly text: string;
  /** Whether the loss is on its tokens. */
  readonly isTarget: boolean;
}

/** A document before its tokens. */
export interface TextDocument {
  readonly segments: readonly Segment[];
  /** Whether the text spells the special tokens at its start itself, as a chat template's does. */
  readonly isTemplated: boolean;
}

/** How documents are read. */
export interface DocumentOptions {
  readonly format: DataFormat;
  /** Default `all`. */
  readonly lossOn?: LossOn;
  readonly tokenizer: Pick<Tokenizer, "chatPrompt" | "chatGenerations">;
}

/** Tables and archives: their bytes are no text to learn. */
const tables = /\.(csv|tsv|parquet|arrow|feather|xlsx?|zip|gz|bz2|xz|zst)$/i;

/**
 * The format that a file's name speaks of: `jsonl` for .jsonl and .ndjson, `json` for .json, else `text`.
 *
 * @throws SyntaxError for the names of tables and archives.
 */
export function formatOf(fileName: string): DataFormat {
  if (/\.(jsonl|ndjson)$/i.test(fileName)) return "jsonl";
  if (/\.json$/i.test(fileName)) return "json";
  const table = tables.exec(fileName)?.[0];
  if (table === undefined) return "text";
  throw new SyntaxError(
    `Cannot read "${fileName}" as training data: ${table} is no text; write it as JSON lines (.jsonl)`,
  );
}

/**
 * Reads documents one by one.
 *
 * @throws SyntaxError for bytes that are not UTF-8 (with the byte), and for a line or an entry that is no document
 * (with its number); RangeError for a document of more than 2^28 characters; ConfigError where the chat template refuses.
 */
export function readDocuments(stream: ByteStream, options: DocumentOptions): AsyncGenerator<TextDocument> {
  const lines = linesOf(stream);
  if (options.format === "text") return textDocuments(lines);
  return options.format === "json" ? arrayDocuments(lines, options) : jsonDocuments(lines, options);
}

const separator = /\f|<\|endoftext\|>/;

async function* textDocuments(lines: AsyncIterable<string>): AsyncGenerator<TextDocument> {
  let parts: string[] = [];
  let length = 0;
  for await (const line of lines) {
    const [rest, ...starts] = line.split(separator);
    length += rest.length + 1;
    if (length > longestText) {
      throw new RangeError(
        `Cannot read a document of more than ${longestText} characters: part it by form feeds or <|endoftext|>`,
      );
    }
    parts.push(rest);
    for (const start of starts) {
      yield* plainDocument(parts.join("\n"));
      parts = [start];
      length = start.length + 1;
    }
  }
  yield* plainDocument(parts.join("\n"));
}

function* plainDocument(text: string): Generator<TextDocument> {
  const isBreak = (at: number): boolean => text[at] === "\n" || text[at] === "\r";
  let begin = 0, end = text.length;
  while (begin < end && isBreak(begin)) begin++;
  while (end > begin && isBreak(end - 1)) end--;
  const trimmed = text.slice(begin, end);
  if (/\S/.test(trimmed)) yield { segments: [{ text: trimmed, isTarget: true }], isTemplated: false };
}

async function* jsonDocuments(
  lines: AsyncIterable<string>,
  options: DocumentOptions,
): AsyncGenerator<TextDocument> {
  let line = 0;
  for await (const text of lines) {
    line++;
    if (!/\S/.test(text)) continue;
    const place = `line ${line}`;
    yield* jsonDocument(parse(text, place), { ...options, place });
  }
}

/** The documents of a list; a file of that name that has JSON lines in it is read as such. */
async function* arrayDocuments(
  lines: AsyncIterable<string>,
  options: DocumentOptions,
): AsyncGenerator<TextDocument> {
  const parts: string[] = [];
  let length = 0;
  for await (const line of lines) {
    length += line.length + 1;
    if (length > longestText) {
      throw new RangeError(
        `Cannot read a list of more than ${longestText} characters: write it as JSON lines (.jsonl)`,
      );
    }
    parts.push(line);
  }
  const text = parts.join("\n");
  if (!/^\s*\[/.test(text) && isLines(parts)) return yield* jsonDocuments(inTurn(parts), options);
  const entries = parse(text, "the file");
  if (!Array.isArray(entries)) {
    throw new SyntaxError(
      `Cannot read the file as training data: it must be a list of objects, it is ${kindOf(entries)}`,
    );
  }
  for (const [index, entry] of entries.entries()) {
    yield* jsonDocument(entry, { ...options, place: `entry ${index + 1}` });
  }
}

/** Whether the first line with anything in it is an object of its own. */
function isLines(lines: readonly string[]): boolean {
  const first = lines.find((line) => /\S/.test(line)) ?? "";
  try {
    return isJsonObject(JSON.parse(first));
  } catch {
    return false;
  }
}

async function* inTurn(lines: readonly string[]): AsyncGenerator<string> {
  yield* lines;
}

function parse(text: string, place: string): unknown {
  try {
    return parseJson(text);
  } catch (error) {
    throw new SyntaxError(`Cannot read ${place} as JSON: ${(error as Error).message}`);
  }
}

type RecordOptions = DocumentOptions & { readonly place: string };

function* jsonDocument(value: unknown, options: RecordOptions): Generator<TextDocument> {
  const { place, lossOn = "all" } = options;
  if (!isJsonObject(value)) {
    throw new SyntaxError(
      `Cannot read ${place} as a document: it must be a JSON object, it is ${kindOf(value)}`,
    );
  }
  const record = recordOf(value, place);
  if (record.form === "text") yield* plainDocument(record.text);
  else if (record.form === "completion") {
    const prompt = { text: record.prompt, isTarget: lossOn === "all" };
    yield { segments: [prompt, { text: record.completion, isTarget: true }], isTemplated: false };
  } else {
    yield { segments: chatSegments(record, { ...options, lossOn }), isTemplated: true };
  }
}
