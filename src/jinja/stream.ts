/**
 * Tokens one after another, for the parser.
 *
 * @module
 */
import type { TemplateError } from "./errors.ts";
import { errorAt, normalized, type Token, tokenize } from "./lexer.ts";

/** Expressions or blocks inside one another. */
const deepest = 200;

/** The tokens of a template and where the parser is. */
export class TokenStream {
  readonly #source: string;
  readonly #tokens: readonly Token[];
  readonly #end: Token;
  #next = 0;
  #depth = 0;

  constructor(source: string) {
    this.#source = normalized(source);
    this.#tokens = tokenize(this.#source);
    this.#end = { type: "eof", text: "", at: this.#source.length };
  }

  get current(): Token {
    return this.#tokens[this.#next] ?? this.#end;
  }
  get following(): Token {
    return this.#tokens[this.#next + 1] ?? this.#end;
  }
  /** The current token, which is passed. */
  take(): Token {
    const token = this.current;
    this.#next++;
    return token;
  }
  /** Whether the current token is of a type. */
  is(...types: readonly string[]): boolean {
    return types.includes(this.current.type);
  }
  /** Whether the current token is one of some names. */
  isName(...names: readonly string[]): boolean {
    return this.current.type === "name" && names.includes(this.current.text);
  }
  /** Passes a token of a type where there is one. */
  skip(type: string): boolean {
    if (!this.is(type)) return false;
    this.#next++;
    return true;
  }
  /** Passes a name where it is there. */
  skipName(name: string): boolean {
    if (!this.isName(name)) return false;
    this.#next++;
    return true;
  }
  expect(type: string): Token {
    if (this.is(type)) return this.take();
    throw this.error(`expected ${type}, got ${describe(this.current)}`);
  }
  expectName(name: string): void {
    if (!this.skipName(name)) throw this.error(`expected "${name}", got ${describe(this.current)}`);
  }
  /** The result of `parse`, one level deeper. */
  nested<T>(parse: () => T): T {
    if (++this.#depth > deepest) throw this.error(`nested more than ${deepest} deep`);
    const result = parse();
    this.#depth--;
    return result;
  }
  error(message: string, at: number = this.current.at): TemplateError {
    return errorAt(this.#source, { at, message });
  }
}

/** A token as a message names it. */
export function describe({ type, text }: Token): string {
  if (type === "eof") return "the end of the template";
  return type === "data" ? "text" : JSON.stringify(text.slice(0, 40));
}
