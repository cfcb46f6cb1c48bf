/**
 * The text of a template to tokens, with Jinja2's rules of white space under `trim_blocks` and `lstrip_blocks`.
 *
 * @module
 */
import { TemplateError } from "./errors.ts";
import { isBlank, spaceClass, trimEnd, unescape, withPlainLineEnds } from "./literals.ts";

/** A token; an operator's type is its text, and so is a delimiter's: `{{`, `}}`, `{%`, `%}`. */
export interface Token {
  readonly type: string;
  readonly text: string;
  /** Where it begins in the source. */
  readonly at: number;
}

const space = `[${spaceClass}]`;
const sticky = (pattern: string, flags = ""): RegExp => new RegExp(pattern, `y${flags}`);

const rawBegin = sticky(`\\{%[-+]?${space}*raw${space}*(?:-%\\}${space}*|%\\})`);
const rawEnd = new RegExp(`\\{%([-+]?)${space}*endraw${space}*(?:\\+%\\}|-%\\}${space}*|%\\}\\n?)`, "g");
const commentEnd = new RegExp(`\\+#\\}|-#\\}${space}*|#\\}\\n?`, "g");
const blockEnd = sticky(`\\+%\\}|-%\\}${space}*|%\\}\\n?`);
const variableEnd = sticky(`-\\}\\}${space}*|\\}\\}`);
const whiteSpace = sticky(`${space}+`);

/** In Jinja2's order: the first that matches is taken. */
const inTags: readonly (readonly [type: string, pattern: RegExp])[] = [
  [
    "float",
    sticky("(?<!\\.)(?:\\d+_)*\\d+(?:(?:\\.(?:\\d+_)*\\d+)?e[+-]?(?:\\d+_)*\\d+|\\.(?:\\d+_)*\\d+)", "i"),
  ],
  ["integer", sticky("0b(?:_?[01])+|0o(?:_?[0-7])+|0x(?:_?[\\da-f])+|[1-9](?:_?\\d)*|0(?:_?0)*", "i")],
  ["name", sticky("[\\p{L}\\p{M}\\p{N}\\p{Pc}]+", "u")],
  ["string", sticky("'[^'\\\\]*(?:\\\\[^][^'\\\\]*)*'|\"[^\"\\\\]*(?:\\\\[^][^\"\\\\]*)*\"")],
  ["operator", sticky("//|\\*\\*|[=!<>]=|[-+/*%~[\\](){}<>=.:|,;]")],
];

const identifier = /^[\p{ID_Start}_]\p{ID_Continue}*$/u;
const closing: Readonly<Record<string, string>> = { "{": "}", "(": ")", "[": "]" };

/** The error of a fault at a place of the source. */
export function errorAt(source: string, { at, message }: { at: number; message: string }): TemplateError {
  return new TemplateError(`line ${source.slice(0, at).split("\n").length}: ${message}`);
}

/** The source as the lexer sees it: line ends as "\n", and not the last one. */
export function normalized(source: string): string {
  return withPlainLineEnds(source).replace(/\n$/, "");
}

/**
 * The tokens of a template.
 *
 * @param source what {@linkcode normalized} gave.
 * @throws TemplateError with the line.
 */
export function tokenize(source: string): Token[] {
  return new Lexer(source).run();
}

class Lexer {
  readonly #source: string;
  readonly #tokens: Token[] = [];
  readonly #open: string[] = [];
  #at = 0;
  /** Whether what was read last ended in a line end. */
  #lineStarts = true;

  constructor(source: string) {
    this.#source = source;
  }

  run(): Token[] {
    const begin = /\{[#%{]/g;
    while (this.#at < this.#source.length) {
      begin.lastIndex = this.#at;
      const found = begin.exec(this.#source);
      if (!found) {
        this.#push("data", this.#source.slice(this.#at));
        break;
      }
      this.#tag(found[0], found.index);
    }
    return this.#tokens;
  }

  #tag(kind: string, start: number): void {
    const raw = this.#match(rawBegin, start);
    const sign = this.#source[start + 2];
    this.#data(start, { sign, isVariable: kind === "{{" });
    if (raw !== undefined) {
      this.#advance(start, raw);
      return this.#raw();
    }
    this.#at = start + (sign === "-" || sign === "+" ? 3 : 2);
    this.#lineStarts = false;
    if (kind === "{#") return this.#comment();
    this.#push(kind, kind);
    this.#expression(kind === "{{" ? variableEnd : blockEnd, kind === "{{" ? "}}" : "%}");
  }

  /** The text up to a tag, stripped as the tag's sign says. */
  #data(end: number, { sign, isVariable }: { sign: string | undefined; isVariable: boolean }): void {
    let text = this.#source.slice(this.#at, end);
    if (sign === "-") text = trimEnd(text);
    else if (sign !== "+" && !isVariable) {
      const line = text.lastIndexOf("\n") + 1;
      if ((line > 0 || this.#lineStarts) && isBlank(text.slice(line))) text = text.slice(0, line);
    }
    this.#push("data", text);
  }

  #raw(): void {
    rawEnd.lastIndex = this.#at;
    const found = rawEnd.exec(this.#source);
    if (!found && this.#at === this.#source.length) return;
    if (!found) throw this.#error("Missing end of raw directive");
    this.#data(found.index, { sign: found[1], isVariable: false });
    this.#advance(found.index, found[0]);
  }

  #comment(): void {
    commentEnd.lastIndex = this.#at;
    const found = commentEnd.exec(this.#source);
    if (!found && this.#at === this.#source.length) return;
    if (!found) throw this.#error("Missing end of comment tag");
    this.#advance(found.index, found[0]);
  }

  #expression(end: RegExp, type: string): void {
    while (this.#at < this.#source.length) {
      const ended = this.#open.length === 0 ? this.#match(end, this.#at) : undefined;
      if (ended !== undefined) {
        this.#push(type, type);
        return this.#advance(this.#at, ended);
      }
      const gap = this.#match(whiteSpace, this.#at);
      if (gap === undefined) this.#token();
      else this.#at += gap.length;
    }
  }

  #token(): void {
    for (const [type, pattern] of inTags) {
      const text = this.#match(pattern, this.#at);
      if (text === undefined) continue;
      if (type === "operator") this.#balance(text);
      if (type === "name" && !identifier.test(text)) throw this.#error("Invalid character in identifier");
      this.#push(type === "operator" ? text : type, type === "string" ? this.#literal(text) : text);
      this.#at += text.length;
      return;
    }
    throw this.#error(`unexpected char ${JSON.stringify(this.#source[this.#at])}`);
  }

  #literal(text: string): string {
    try {
      return unescape(text.slice(1, -1));
    } catch (error) {
      throw this.#error((error as Error).message);
    }
  }

  #balance(text: string): void {
    if (text in closing) this.#open.push(closing[text]);
    else if (text === "}" || text === ")" || text === "]") {
      const expected = this.#open.pop();
      if (expected === text) return;
      throw this.#error(`unexpected '${text}'${expected === undefined ? "" : `, expected '${expected}'`}`);
    }
  }

  #match(pattern: RegExp, at: number): string | undefined {
    pattern.lastIndex = at;
    return pattern.exec(this.#source)?.[0];
  }

  #advance(from: number, text: string): void {
    this.#at = from + text.length;
    this.#lineStarts = text.endsWith("\n");
  }

  #push(type: string, text: string): void {
    if (type !== "data" || text !== "") this.#tokens.push({ type, text, at: this.#at });
  }

  #error(message: string): TemplateError {
    return errorAt(this.#source, { at: this.#at, message });
  }
}
