/**
 * The part of JSON that a header is made of. `JSON.parse` will not do: it hides duplicate keys, rounds integers past
 * 2^53 and lets fractions pass for integers.
 *
 * @module
 */
import { quoted, SafetensorsError } from "./errors.ts";

const escapes: Readonly<Record<string, string>> = {
  '"': '"',
  "\\": "\\",
  "/": "/",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
};

/** Character codes: comparing numbers is faster than comparing texts. */
const quote = 0x22,
  tab = 0x09,
  lineFeed = 0x0a,
  carriageReturn = 0x0d,
  space = 0x20,
  zero = 0x30,
  nine = 0x39;

/** A character that a string does not stand for as it is: an escape's first, or a control character. */
// deno-lint-ignore no-control-regex
const special = /[\\\x00-\x1f]/;

/** Keys of an object, each once. Objects of tensors have three: a list is faster than a set. */
class Keys {
  readonly #few: string[] = [];
  #many: Set<string> | undefined;

  /** False for a key that is there already. */
  add(key: string): boolean {
    if (this.#many) return this.#many.size < this.#many.add(key).size;
    if (this.#few.includes(key)) return false;
    if (this.#few.push(key) > 8) this.#many = new Set(this.#few);
    return true;
  }
}

/** A cursor over a header's text; every method throws SafetensorsError where the text is not what it names. */
export class HeaderScanner {
  /** The name of the text that is read, for messages. */
  subject: () => string = () => "safetensors header";
  #at = 0;
  /** Whether every string of the text stands for itself: then a string ends at the next quote. */
  readonly #isPlain: boolean;

  constructor(readonly text: string) {
    this.#isPlain = !special.test(text);
  }

  /** Throws, saying where. */
  fail(why: string): never {
    throw new SafetensorsError(
      `Cannot read ${this.subject()}: ${why} (before character ${this.#at} of the header)`,
    );
  }

  /** An object: calls `value` with each key, to read the key's value. Refuses a key that comes twice. */
  object(value: (key: string) => void): void {
    this.#expect("{");
    if (this.#skip("}")) return;
    const keys = new Keys();
    do {
      const key = this.string();
      if (!keys.add(key)) this.fail(`the key ${quoted(key)} comes twice`);
      this.#expect(":");
      value(key);
    } while (this.#skip(","));
    this.#expect("}");
  }

  /** Takes `null`, if that is what comes. */
  null(): boolean {
    this.#space();
    if (!this.text.startsWith("null", this.#at)) return false;
    this.#at += 4;
    return true;
  }

  /** An array of non-negative integers. */
  integers(): number[] {
    const values: number[] = [];
    this.#expect("[");
    if (this.#skip("]")) return values;
    do values.push(this.#integer()); while (this.#skip(","));
    this.#expect("]");
    return values;
  }

  /** A string; escapes of half a surrogate pair are refused. */
  string(): string {
    this.#expect('"');
    const end = this.#isPlain ? this.text.indexOf('"', this.#at) : -1;
    if (end < 0) return this.#escapedString();
    const found = this.text.slice(this.#at, end);
    this.#at = end + 1;
    return found;
  }

  #escapedString(): string {
    const pieces: string[] = [];
    let start = this.#at;
    for (;;) {
      const code = this.text.charCodeAt(this.#at);
      if (Number.isNaN(code)) this.fail("a string does not end");
      if (code < space) this.fail("a string holds a control character that is not escaped");
      this.#at++;
      if (code === quote) break;
      if (code !== 0x5c) continue;
      pieces.push(this.text.slice(start, this.#at - 1), this.#escape());
      start = this.#at;
    }
    pieces.push(this.text.slice(start, this.#at - 1));
    return pieces.length === 1 ? pieces[0] : pieces.join("");
  }

  /** The end of the text, after whitespace. */
  end(): void {
    this.#space();
    if (this.#at < this.text.length) this.fail(`expected nothing after the object, found ${this.#found()}`);
  }

  #integer(): number {
    this.#space();
    const start = this.#at;
    let code = this.text.charCodeAt(start), sum = 0;
    for (; code >= zero && code <= nine; code = this.text.charCodeAt(++this.#at)) {
      sum = 10 * sum + code - zero;
    }
    const count = this.#at - start;
    if (count === 0) this.fail(`expected a non-negative integer, found ${this.#found()}`);
    if (count > 1 && this.text.charCodeAt(start) === zero) this.fail("an integer starts with a zero");
    if (".eE".includes(this.text[this.#at] ?? " ")) {
      this.fail("expected an integer, found a fraction or exponent");
    }
    // Fifteen digits are added up without rounding.
    if (count <= 15) return sum;
    const digits = this.text.slice(start, this.#at);
    const value = Number(digits);
    if (!Number.isSafeInteger(value)) {
      this.fail(`the integer ${digits.slice(0, 40)} is greater than 2^53 - 1`);
    }
    return value;
  }

  #escape(): string {
    const letter = this.text[this.#at++];
    if (letter === "u") return this.#unicodeEscape();
    return Object.hasOwn(escapes, letter) ? escapes[letter] : this.fail("a string holds an unknown escape");
  }

  #unicodeEscape(): string {
    const first = this.#hex();
    if (first < 0xd800 || first > 0xdfff) return String.fromCharCode(first);
    const paired = first < 0xdc00 && this.text.startsWith("\\u", this.#at);
    if (paired) this.#at += 2;
    const second = paired ? this.#hex() : 0;
    if (second < 0xdc00 || second > 0xdfff) this.fail("a string holds half a surrogate pair");
    return String.fromCharCode(first, second);
  }

  #hex(): number {
    const digits = this.text.slice(this.#at, this.#at + 4);
    if (!/^[0-9a-fA-F]{4}$/.test(digits)) this.fail("\\u is not followed by four hexadecimal digits");
    this.#at += 4;
    return parseInt(digits, 16);
  }

  #expect(character: string): void {
    if (!this.#skip(character)) this.fail(`expected ${character}, found ${this.#found()}`);
  }

  #skip(character: string): boolean {
    this.#space();
    if (this.text.charCodeAt(this.#at) !== character.charCodeAt(0)) return false;
    this.#at++;
    return true;
  }

  #space(): void {
    for (;; this.#at++) {
      const code = this.text.charCodeAt(this.#at);
      if (code !== space && code !== lineFeed && code !== tab && code !== carriageReturn) return;
    }
  }

  #found(): string {
    return this.#at < this.text.length ? quoted(this.text.slice(this.#at, this.#at + 12)) : "the end";
  }
}
