/**
 * `json.dumps` of Python, as transformers gives it to templates as `tojson`.
 *
 * @module
 */
import { type Bound, operation, type Parameters } from "./arguments.ts";
import { fail } from "./errors.ts";
import { floatText } from "./floats.ts";
import { isLess } from "./operators.ts";
import type { Run } from "./run.ts";
import { iterate } from "./sequences.ts";
import { Dict, intOf, itemsOf, textOf, typeName, type Value } from "./values.ts";

const parameters: Parameters = [
  ["ensure_ascii", false],
  ["indent", null],
  ["separators", null],
  ["sort_keys", false],
];

/** The filter `tojson`. */
export const toJson = operation(parameters, (value, given, run) => {
  const writer = new JsonWriter(given, run);
  writer.write(value, "");
  return run.join(writer.parts, "");
});

const short: Readonly<Record<string, string>> = {
  '"': '\\"',
  "\\": "\\\\",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
  "\f": "\\f",
  "\b": "\\b",
};

const hex = (char: string): string => short[char] ?? `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`;

class JsonWriter {
  readonly parts: string[] = [];
  readonly #escaped: RegExp;
  /** The indent of one level; nothing for one line. */
  readonly #indent: string | undefined;
  readonly #comma: string;
  readonly #colon: string;
  readonly #sortsKeys: boolean;
  readonly #run: Run;

  constructor(given: Bound, run: Run) {
    // deno-lint-ignore no-control-regex
    this.#escaped = given.isTrue(0) ? /["\\]|[^\x20-\x7e]/g : /[\0-\x1f"\\]/g;
    this.#indent = indentOf(given, run);
    const [comma, colon] = given.value(2) === null
      ? [this.#indent === undefined ? ", " : ",", ": "]
      : [...iterate(given.value(2))].map((text) => textOf(text) ?? fail("separators must be texts"));
    if (comma === undefined || colon === undefined) fail("separators must be two texts");
    [this.#comma, this.#colon] = [comma, colon];
    this.#sortsKeys = given.isTrue(3);
    this.#run = run;
  }

  write(value: Value, indent: string): void {
    this.#run.spend();
    const items = itemsOf(value);
    if (items) {
      return this.#list("[]", {
        indent,
        items: items.map((item) => (inner: string) => this.write(item, inner)),
      });
    }
    if (value instanceof Dict) {
      return this.#list("{}", {
        indent,
        items: this.#entries(value).map(([key, item]) => (inner: string) => {
          this.#push(this.#quoted(keyText(key)) + this.#colon);
          this.write(item, inner);
        }),
      });
    }
    this.#push(this.#scalar(value));
  }

  #push(text: string): void {
    this.#run.spend(text.length);
    this.parts.push(text);
  }

  #list(
    brackets: string,
    { indent, items }: { indent: string; items: readonly ((indent: string) => void)[] },
  ): void {
    if (items.length === 0) return this.#push(brackets);
    const inner = this.#indent === undefined ? "" : `${indent}${this.#indent}`;
    const gap = this.#indent === undefined ? "" : `\n${inner}`;
    items.forEach((item, index) => {
      this.#push((index === 0 ? brackets[0] : this.#comma) + gap);
      item(inner);
    });
    this.#push((this.#indent === undefined ? "" : `\n${indent}`) + brackets[1]);
  }

  #entries(dict: Dict): (readonly [Value, Value])[] {
    const entries = [...dict.entries()];
    if (!this.#sortsKeys) return entries;
    return entries.sort(([a], [b]) => isLess(a, b) ? -1 : isLess(b, a) ? 1 : 0);
  }

  #scalar(value: Value): string {
    const text = textOf(value);
    return text === undefined ? atom(value) : this.#quoted(text);
  }

  #quoted(text: string): string {
    return `"${text.replace(this.#escaped, hex)}"`;
  }
}

function indentOf(given: Bound, run: Run): string | undefined {
  const value = given.value(1);
  if (value === null) return undefined;
  return textOf(value) ?? run.repeat(" ", given.int(1));
}

function atom(value: Value): string {
  if (value === null) return "null";
  if (typeof value === "boolean") return String(value);
  if (typeof value === "bigint") return value.toString();
  if (typeof value !== "number") return fail(`Object of type ${typeName(value)} is not JSON serializable`);
  if (Number.isNaN(value)) return "NaN";
  return Number.isFinite(value) ? floatText(value) : value < 0 ? "-Infinity" : "Infinity";
}

function keyText(key: Value): string {
  const text = textOf(key);
  if (text !== undefined) return text;
  if (key === null || typeof key === "number" || intOf(key) !== undefined) return atom(key);
  return fail(`keys must be str, int, float, bool or None, not ${typeName(key)}`);
}
