/**
 * Messages of training data, as a chat template is given them.
 *
 * @module
 */
import { isJsonObject, type JsonObject } from "../json.ts";
import type { ChatMessage } from "../models/tokenizer_types.ts";

/** A JSON object. */
export type Fields = JsonObject;

/** A message, and what it is to training. */
export interface Turn {
  readonly message: ChatMessage;
  /**
   * `answer`: learnt always. `context`: learnt where the loss is on all tokens. `skipped`: of the assistant, and learnt
   * never.
   */
  readonly role: "answer" | "context" | "skipped";
}

/** What a value is, for a message. */
export function kindOf(value: unknown): string {
  if (value === null) return "null";
  return Array.isArray(value) ? "a list" : typeof value === "object" ? "an object" : `a ${typeof value}`;
}

interface Place {
  readonly index: number;
  readonly place: string;
}

/** Fields of messages that no chat template writes. */
const remedies: Readonly<Record<string, string>> = {
  function_call: 'write it as "tool_calls"',
  refusal: 'write it as "content"',
  audio: "only text is learnt",
};

function fail({ index, place }: Place, why: string): never {
  throw new SyntaxError(`Cannot read message ${index} of ${place}: ${why}`);
}

/** The roles of `conversations`, by the names in `from`. */
const speakers: Readonly<Record<string, string>> = {
  system: "system",
  human: "user",
  user: "user",
  gpt: "assistant",
  chatgpt: "assistant",
  assistant: "assistant",
};

/** A message of `from` and `value` as one of `role` and `content`. */
function named(message: Fields, place: Place): Fields {
  if (!("from" in message) || "role" in message) return message;
  const { from, value, ...rest } = message;
  if (typeof from === "string" && Object.hasOwn(speakers, from)) {
    return { ...rest, role: speakers[from], content: value };
  }
  return fail(
    place,
    `"from" must be one of ${Object.keys(speakers).join(", ")}, it is ${
      JSON.stringify(from)
    }; write "messages" instead`,
  );
}

/** The text of a message's parts, as the server takes them: texts, with a line end between. */
function textOfParts(parts: readonly unknown[], place: Place): string {
  return parts.map((part) => {
    const { type, text } = Object(part) as Fields;
    if (type === "text" && typeof text === "string") return text;
    return fail(place, `its parts must be texts, one is of the type ${JSON.stringify(type) ?? kindOf(part)}`);
  }).join("\n");
}

function contentOf({ role, content, tool_calls: calls }: Fields, place: Place): ChatMessage["content"] {
  if (typeof role === "string") {
    if (typeof content === "string") return content;
    if (Array.isArray(content)) return textOfParts(content, place);
    const hasCalls = role === "assistant" && Array.isArray(calls) && calls.length > 0;
    if (hasCalls && (content === null || content === undefined)) return content;
  }
  return fail(
    place,
    `"role" and "content" must be texts, they are ${kindOf(role)} and ${kindOf(content)}` +
      (role === "assistant" ? '; without "content" there must be "tool_calls"' : ""),
  );
}

/** Whether a message is learnt, by the `weight` of OpenAI's format. */
function isWeighted({ role, weight }: Fields, place: Place): boolean {
  if (weight === undefined || weight === null) return true;
  if (role !== "assistant") return fail(place, '"weight" is for messages of the assistant only');
  // A number that was written as 1.0 is an object that keeps how it was written.
  const value = isJsonObject(weight) ? weight.value : weight;
  if (value === 0 || value === 1) return value === 1;
  return fail(place, `"weight" must be 0 or 1, it is ${JSON.stringify(value) ?? kindOf(value)}`);
}

function turnOf(given: unknown, place: Place): Turn {
  if (!isJsonObject(given)) return fail(place, `it must be an object, it is ${kindOf(given)}`);
  const message = named(given, place);
  for (const [field, remedy] of Object.entries(remedies)) {
    if (message[field] !== undefined && message[field] !== null) {
      return fail(place, `the field "${field}" is not followed; ${remedy}`);
    }
  }
  if (message.role === "function") {
    return fail(place, 'the role "function" is not followed; write it as "tool"');
  }
  const { weight: _weight, ...seen } = message;
  const content = contentOf(message, place);
  const isWhole = isWeighted(message, place);
  const role = message.role !== "assistant" ? "context" : isWhole ? "answer" : "skipped";
  return {
    message: { ...seen, role: message.role as string, ...("content" in seen ? { content } : {}) },
    role,
  };
}

/**
 * The messages of a field.
 *
 * @throws SyntaxError that names the message and its field.
 */
export function turnsOf(fields: Fields, { field, place }: { field: string; place: string }): readonly Turn[] {
  const messages = fields[field];
  if (!Array.isArray(messages) || messages.length === 0) {
    const found = Array.isArray(messages) ? "empty" : kindOf(messages);
    throw new SyntaxError(
      `Cannot read "${field}" of ${place}: it must be a list of messages, it is ${found}`,
    );
  }
  return messages.map((message: unknown, index) => turnOf(message, { index, place }));
}
