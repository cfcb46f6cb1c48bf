/**
 * The messages of a chat, checked one by one up to the first fault.
 *
 * @module
 */
import { isJsonObject, type JsonObject } from "../json.ts";
import type { ChatMessage } from "../models/tokenizer_types.ts";
import { quoted, shorten } from "./echo.ts";
import { refusal } from "./fields.ts";
import { valueOfText } from "./json_bounds.ts";

const roles: ReadonlySet<unknown> = new Set(["system", "developer", "user", "assistant", "tool"]);

/** Fields that a template may read, each a text. */
const texts: ReadonlySet<string> = new Set(["name", "reasoning_content", "reasoning"]);

/** Parts' fields beside `type` and `text` say how to cache them, and are left out. */
function partText(part: unknown, path: string): string {
  const { type, text } = isJsonObject(part) ? part : {};
  if (type !== "text") {
    throw refusal(path, "it must be a text or a list of text parts; only text is supported");
  }
  if (typeof text !== "string") throw refusal(`${path}.text`, "it must be a text");
  return text;
}

function contentOf({ role, content }: JsonObject, path: string): string {
  if (typeof content === "string") return content;
  if (Array.isArray(content)) return content.map((part) => partText(part, path)).join("\n");
  // An assistant's message may be a call: a history keeps no text then.
  if (role === "assistant" && (content === undefined || content === null)) return "";
  throw refusal(path, "it must be a text or a list of text parts");
}

const mostCalls = 128;

/** A call of a history. Templates write its arguments as JSON themselves: they are given the value, as vLLM gives it. */
function callOf(call: unknown, path: string): JsonObject {
  const { id, type = "function", function: own, ...rest } = isJsonObject(call) ? call : {};
  // A stream's deltas have an index.
  const other = Object.keys(rest).find((name) => name !== "index");
  if (other !== undefined) {
    throw refusal(`${path}.${shorten(other)}`, "there is no such field", "unknown_field");
  }
  if (type !== "function" || !isJsonObject(own)) throw refusal(path, "it must be a call of a function");
  if (id !== undefined && typeof id !== "string") throw refusal(`${path}.id`, "it must be a text");
  const { name, arguments: given = "{}" } = own, at = `${path}.function`;
  if (typeof name !== "string" || name === "") throw refusal(`${at}.name`, "it must be a text");
  const field = `${at}.arguments`, text = given === "" ? "{}" : given;
  const value = typeof text === "string" ? valueOfText(text, field)?.value : undefined;
  if (!isJsonObject(value)) throw refusal(field, "it must be the text of a JSON object");
  return { ...(id === undefined ? {} : { id }), type, function: { name, arguments: value } };
}

function callsOf(value: unknown, { role }: JsonObject, path: string): readonly JsonObject[] {
  if (!Array.isArray(value) || value.length > mostCalls) {
    throw refusal(path, `it must be a list of at most ${mostCalls} calls`);
  }
  if (role !== "assistant" && value.length > 0) throw refusal(path, "only an assistant's message has calls");
  return value.map((call, i) => callOf(call, `${path}[${i}]`));
}

/** What a template is given of a field beside role and content; undefined where that is nothing. */
function givenOf(name: string, message: JsonObject, path: string): unknown {
  const value = message[name];
  if (texts.has(name) || (name === "tool_call_id" && message.role === "tool")) {
    if (typeof value === "string") return value;
    throw refusal(`${path}.${name}`, "it must be a text");
  }
  if (name === "tool_calls") {
    const calls = callsOf(value, message, `${path}.${name}`);
    return calls.length === 0 ? undefined : calls;
  }
  if (name === "function_call") {
    throw refusal(`${path}.${name}`, 'it is not supported: calls are "tool_calls"');
  }
  // Answers have them, and a history repeats them.
  if (name === "refusal" && value === "") return undefined;
  if (name === "annotations" && Array.isArray(value) && value.length === 0) return undefined;
  throw refusal(
    `${path}.${shorten(name)}`,
    "there is no such field, or it is not supported",
    "unknown_field",
  );
}

function messageOf(value: unknown, path: string): ChatMessage {
  if (!isJsonObject(value)) throw refusal(path, "it must be an object");
  const { role } = value;
  if (!roles.has(role)) {
    const found = typeof role === "string" ? `, it is ${quoted(role)}` : "";
    throw refusal(`${path}.role`, `it must be one of ${[...roles].join(", ")}${found}`);
  }
  const given: [string, unknown][] = [];
  for (const name in value) {
    if (name === "role" || name === "content" || value[name] === null) continue;
    const one = givenOf(name, value, path);
    if (one !== undefined) given.push([name, one]);
  }
  const content = contentOf(value, `${path}.content`);
  return { ...Object.fromEntries(given), role: role as string, content };
}

/**
 * The messages of a request.
 *
 * @throws InvalidRequestError that names the first field at fault.
 */
export function messagesOf(value: unknown, most: number): readonly ChatMessage[] {
  if (!Array.isArray(value)) throw refusal("messages", 'it must be a list; "messages" cannot be left out');
  if (value.length === 0) throw refusal("messages", "it must have at least 1 message");
  if (value.length > most) {
    throw refusal("messages", `it must have at most ${most} messages, it has ${value.length}`);
  }
  return value.map((one, i) => messageOf(one, `messages[${i}]`));
}
