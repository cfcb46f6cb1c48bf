/**
 * The messages of a chat, checked one by one up to the first fault.
 *
 * @module
 */
import { isJsonObject, type JsonObject } from "../json.ts";
import type { ChatMessage } from "../models/tokenizer_types.ts";
import { quoted, shorten } from "./echo.ts";
import { refusal } from "./fields.ts";

const roles: ReadonlySet<unknown> = new Set(["system", "developer", "user", "assistant"]);

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
  // An assistant's message may have been a call: a history keeps no text then.
  if (role === "assistant" && (content === undefined || content === null)) return "";
  throw refusal(path, "it must be a text or a list of text parts");
}

/** Checks a field beside role and content; true for one that the template is given. */
function isGiven(name: string, value: unknown, path: string): boolean {
  if (texts.has(name)) {
    if (typeof value === "string") return true;
    throw refusal(`${path}.${name}`, "it must be a text");
  }
  if (name === "tool_calls" || name === "function_call") {
    if (name === "tool_calls" && Array.isArray(value) && value.length === 0) return false;
    throw refusal(`${path}.${name}`, "tools are not supported");
  }
  // Answers have them, and a history repeats them.
  if (name === "refusal" && value === "") return false;
  if (name === "annotations" && Array.isArray(value) && value.length === 0) return false;
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
    if (isGiven(name, value[name], path)) given.push([name, value[name]]);
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
  if (value.length === 0) throw refusal("messages", "it must have >=1 messages");
  if (value.length > most) {
    throw refusal("messages", `it must have at most ${most} messages, it has ${value.length}`);
  }
  return value.map((one, i) => messageOf(one, `messages[${i}]`));
}
