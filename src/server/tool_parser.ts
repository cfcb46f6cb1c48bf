/**
 * Calls of tools in a text that comes piece by piece.
 *
 * @module
 */
import { isJsonObject } from "../json.ts";
import type { ToolFormat } from "./tool_formats.ts";

/** A call that a model wrote. */
export interface ToolCall {
  readonly id: string;
  readonly name: string;
  /** JSON, as the model wrote it. */
  readonly arguments: string;
}

/** What is known of some more text. */
export interface Parsed {
  /** Text that is no call. */
  readonly text: string;
  readonly calls: readonly ToolCall[];
}

const idLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

function newId({ idLength }: ToolFormat): string {
  if (idLength === undefined) return `call_${crypto.randomUUID().replaceAll("-", "").slice(0, 24)}`;
  const bytes = crypto.getRandomValues(new Uint8Array(idLength));
  return Array.from(bytes, (byte) => idLetters[byte % idLetters.length]).join("");
}

/** The place after the JSON value that begins at `at`; the text is JSON. */
function valueEnd(text: string, at: number): number {
  let depth = 0, i = at;
  for (; i < text.length; i++) {
    const letter = text[i];
    if (letter === '"') {
      for (i++; text[i] !== '"'; i++) if (text[i] === "\\") i++;
    } else if (letter === "{" || letter === "[") depth++;
    else if (letter === "}" || letter === "]") {
      if (depth === 0) break;
      depth--;
    } else if (letter === "," && depth === 0) break;
  }
  return i;
}

const blank = /[ \t\n\r]*/y;

function skipBlanks(text: string, at: number): number {
  blank.lastIndex = at;
  blank.test(text);
  return blank.lastIndex;
}

/** The texts of a JSON list's values, or of an object's by their names; the last counts of a name that comes twice. */
function partsOf(
  text: string,
): { readonly values: readonly string[]; readonly fields: ReadonlyMap<string, string> } {
  const values: string[] = [], fields = new Map<string, string>(), isList = text[0] === "[";
  for (let at = skipBlanks(text, 1); at < text.length && !/[\]}]/.test(text[at]);) {
    let name: string | undefined;
    if (!isList) {
      const end = text.indexOf(":", valueEndOfName(text, at));
      name = JSON.parse(text.slice(at, end)) as string;
      at = skipBlanks(text, end + 1);
    }
    const end = valueEnd(text, at), value = text.slice(at, end).trim();
    if (name === undefined) values.push(value);
    else fields.set(name, value);
    at = skipBlanks(text, end + (text[end] === "," ? 1 : 0));
  }
  return { values, fields };
}

/** The place after a field's name. */
function valueEndOfName(text: string, at: number): number {
  let i = at + 1;
  for (; text[i] !== '"'; i++) if (text[i] === "\\") i++;
  return i + 1;
}

/** The call of a JSON object's text. */
function callOf(text: string, format: ToolFormat): ToolCall | undefined {
  const { fields } = partsOf(text);
  const { name } = JSON.parse(text) as { name?: unknown };
  // Models now and then take the other word.
  const given = fields.get(format.field) ?? fields.get("arguments") ?? fields.get("parameters") ?? "{}";
  if (typeof name !== "string" || name === "") return undefined;
  const value: unknown = JSON.parse(given);
  if (typeof value === "string" || isJsonObject(value)) {
    return { id: newId(format), name, arguments: typeof value === "string" ? value : given };
  }
  return undefined;
}

/** Mistral's newer way: the name, then the arguments. */
const namedCall = /^\s*([\w.-]+)(?:\[CALL_ID\]\w+)?\[ARGS\](.*)$/s;

/** The calls of a body; undefined where the body is none. */
function callsOf(body: string, format: ToolFormat): readonly ToolCall[] | undefined {
  try {
    const [, name, given] = format.isList ? namedCall.exec(body) ?? [] : [];
    if (name !== undefined) {
      return isJsonObject(JSON.parse(given))
        ? [{ id: newId(format), name, arguments: given.trim() }]
        : undefined;
    }
    const text = body.trim(), value: unknown = JSON.parse(text);
    const texts = Array.isArray(value) ? partsOf(text).values : [text];
    if (!(Array.isArray(value) ? value : [value]).every(isJsonObject)) return undefined;
    const calls = texts.map((one) => callOf(one, format));
    return calls.length > 0 && calls.every((call) => call !== undefined) ? calls : undefined;
  } catch {
    return undefined;
  }
}

/** How much of a text's end may be the beginning of a mark. */
function beginningOf(mark: string, text: string): number {
  for (let length = Math.min(mark.length - 1, text.length); length > 0; length--) {
    if (text.endsWith(mark.slice(0, length))) return length;
  }
  return 0;
}

/** See the module's documentation. A call is told when it is complete; what is no call after all is text. */
export class ToolParser {
  /** Text that may be, or begin, a call; `#inside` the call's own. */
  #held = "";
  #inside = false;
  /** Characters of a call that were looked at for its end: a text that does not end its call is read once. */
  #searched = 0;
  /** Whether any text has come that is not blank. */
  #begun = false;
  #calls = 0;

  /** @param isForced Whether the whole text is calls, whose marks of special tokens are left out. */
  constructor(private readonly format: ToolFormat, private readonly isForced = false) {}

  /** How many calls the text has had. */
  get count(): number {
    return this.#calls;
  }

  /** Takes some more text. */
  push(text: string): Parsed {
    this.#held += text;
    // What the text begins with tells. Blanks are looked at once, as they come.
    if (!this.#begun && this.#mayBeginBare && !/\S/.test(text)) return { text: "", calls: [] };
    const parsed: { text: string; calls: ToolCall[] } = { text: "", calls: [] };
    while (this.#step(parsed));
    return this.#counted(parsed);
  }

  /** The text is over. */
  end(): Parsed {
    const { mark, end } = this.format, held = this.#held;
    this.#held = "";
    if (!this.#inside) return { text: held, calls: [] };
    const bodies = end === undefined ? held.split(mark) : [held];
    const calls = bodies.map((body) => callsOf(body, this.format));
    this.#inside = false;
    if (calls.every((some) => some !== undefined)) return this.#counted({ text: "", calls: calls.flat() });
    return { text: (this.#isBare ? "" : mark) + held, calls: [] };
  }

  #isBare = false;

  /** Whether the text is a call from its beginning on. */
  get #beginsBare(): boolean {
    return this.isForced && this.format.isSpecial === true;
  }

  get #mayBeginBare(): boolean {
    return this.#beginsBare || this.format.mayBeBare === true;
  }

  #counted(parsed: Parsed): Parsed {
    this.#calls += parsed.calls.length;
    return parsed;
  }

  /** Moves on by one mark; false where more text is needed. */
  #step(parsed: { text: string; calls: ToolCall[] }): boolean {
    const { mark, end, mayBeBare } = this.format;
    if (this.#inside) {
      if (end === undefined) return false;
      const at = this.#held.indexOf(end, Math.max(0, this.#searched - end.length + 1));
      this.#searched = at < 0 ? this.#held.length : 0;
      if (at < 0) return false;
      const body = this.#held.slice(0, at), calls = callsOf(body, this.format);
      if (calls) parsed.calls.push(...calls);
      else parsed.text += mark + body + end;
      this.#held = this.#held.slice(at + end.length);
      this.#inside = false;
      return true;
    }
    if (!this.#begun) {
      this.#begun = true;
      this.#isBare = this.#beginsBare || (mayBeBare === true && this.#held.trimStart().startsWith("{"));
      if (this.#isBare) {
        this.#inside = true;
        return true;
      }
    }
    const at = this.#held.indexOf(mark);
    const outside = at < 0 ? this.#held.length - beginningOf(mark, this.#held) : at;
    const text = this.#held.slice(0, outside);
    // Blanks between calls are none of the answer's.
    if (!(this.#calls + parsed.calls.length > 0 && /^\s*$/.test(text))) parsed.text += text;
    this.#held = this.#held.slice(at < 0 ? outside : at + mark.length);
    this.#inside = at >= 0;
    return at >= 0;
  }
}
