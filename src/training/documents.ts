/**
 * Documents out of training files: what a line or a stretch of text means, and which of it the loss is on.
 *
 * @module
 */
import type { ChatMessage, Tokenizer } from "../models/tokenizer_types.ts";
import { type ByteStream, linesOf, longestText } from "./lines.ts";

/**
 * What a training file is.
 *
 * - `text`: one document a file, or several with form feeds (U+000C) or `<|endoftext|>` between them. Line breaks at a
 *   document's two ends are not part of it, and white space alone is no document.
 * - `jsonl`: one document a line, a JSON object with `text`, or else `prompt` and `completion`, or else `messages`
 *   (each with `role` and `content`, put together by the model's chat template). Other fields are not looked at.
 */
export type DataFormat = "text" | "jsonl";

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
  readonly tokenizer: Pick<Tokenizer, "chatPrompt">;
}

type Fields = Readonly<Record<string, unknown>>;

/** The format that a file's name speaks of: `jsonl` for .jsonl and .ndjson, else `text`. */
export function formatOf(fileName: string): DataFormat {
  return /\.(jsonl|ndjson)$/i.test(fileName) ? "jsonl" : "text";
}

/**
 * Reads documents one by one.
 *
 * @throws SyntaxError for bytes that are not UTF-8 (with the byte), and for a line that is no document (with its
 * number); RangeError for a document of more than 2^28 characters; ConfigError where the chat template refuses.
 */
export function readDocuments(stream: ByteStream, options: DocumentOptions): AsyncGenerator<TextDocument> {
  const lines = linesOf(stream);
  return options.format === "text" ? textDocuments(lines) : jsonDocuments(lines, options);
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
    yield* jsonDocument(parse(text, line), { ...options, line });
  }
}

function parse(text: string, line: number): Fields {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new SyntaxError(`Cannot read line ${line} as JSON: ${(error as Error).message}`);
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Fields;
  throw new SyntaxError(
    `Cannot read line ${line} as a document: it must be a JSON object, it is ${kindOf(value)}`,
  );
}

function kindOf(value: unknown): string {
  if (value === null) return "null";
  return Array.isArray(value) ? "a list" : typeof value === "object" ? "an object" : `a ${typeof value}`;
}

type LineOptions = DocumentOptions & { readonly line: number };

function* jsonDocument(fields: Fields, options: LineOptions): Generator<TextDocument> {
  const { line, lossOn = "all" } = options;
  if ("text" in fields) {
    yield* plainDocument(textField(fields, { field: "text", line }));
  } else if ("prompt" in fields && "completion" in fields) {
    const prompt = { text: textField(fields, { field: "prompt", line }), isTarget: lossOn === "all" };
    const completion = { text: textField(fields, { field: "completion", line }), isTarget: true };
    yield { segments: [prompt, completion], isTemplated: false };
  } else if ("messages" in fields) {
    yield { segments: chatSegments(messagesField(fields, line), options), isTemplated: true };
  } else {
    const found = Object.keys(fields).slice(0, 10).map((name) => JSON.stringify(name.slice(0, 40)));
    throw new SyntaxError(
      `Cannot read line ${line} as a document: its fields are ${found.join(", ") || "none"}; ` +
        'the rule is "text", or "prompt" and "completion", or "messages"',
    );
  }
}

function textField(fields: Fields, { field, line }: { field: string; line: number }): string {
  const value = fields[field];
  if (typeof value === "string") return value;
  throw new SyntaxError(`Cannot read "${field}" of line ${line}: it must be a text, it is ${kindOf(value)}`);
}

function messagesField(fields: Fields, line: number): readonly ChatMessage[] {
  const { messages } = fields;
  if (!Array.isArray(messages) || messages.length === 0) {
    const found = Array.isArray(messages) ? "empty" : kindOf(messages);
    throw new SyntaxError(
      `Cannot read "messages" of line ${line}: it must be a list of messages, it is ${found}`,
    );
  }
  messages.forEach((message: unknown, index) => {
    const { role, content } = Object(message) as Fields;
    if (typeof role === "string" && typeof content === "string") return;
    throw new SyntaxError(
      `Cannot read message ${index} of line ${line}: "role" and "content" must be texts, ` +
        `they are ${kindOf(role)} and ${kindOf(content)}`,
    );
  });
  return messages;
}

/**
 * A conversation as the template writes it, cut where the assistant's turns begin and end: a turn begins where the
 * prompt that asks for it ends. Takes two renderings an assistant's turn.
 */
function chatSegments(messages: readonly ChatMessage[], options: LineOptions): Segment[] {
  const { tokenizer, line, lossOn = "all" } = options;
  const closed = { addGenerationPrompt: false };
  const whole = tokenizer.chatPrompt(messages, closed);
  if (lossOn === "all") return [{ text: whole, isTarget: true }];
  const segments: Segment[] = [];
  let done = 0;
  messages.forEach(({ role }, index) => {
    if (role !== "assistant") return;
    const before = index === 0 ? "" : tokenizer.chatPrompt(messages.slice(0, index));
    const after = tokenizer.chatPrompt(messages.slice(0, index + 1), closed);
    if (before.length < done || !after.startsWith(before) || !whole.startsWith(after)) {
      throw new SyntaxError(
        `Cannot find message ${index} of line ${line} in the conversation: the model's chat template writes what ` +
          "came before a turn anew; the loss must be on all tokens",
      );
    }
    segments.push({ text: whole.slice(done, before.length), isTarget: false });
    segments.push({ text: whole.slice(before.length, after.length), isTarget: true });
    done = after.length;
  });
  if (done === 0) {
    throw new SyntaxError(
      `Cannot learn from line ${line}: the loss is on the assistant's turns, and it has none`,
    );
  }
  return [...segments, { text: whole.slice(done), isTarget: false }].filter(({ text }) => text !== "");
}
