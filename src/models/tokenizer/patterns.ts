/**
 * Patterns of tokenizer.json: a plain text, or a regular expression in the language of Oniguruma.
 *
 * @module
 */
import type { toRegExp } from "oniguruma-to-es";
import { type Fields, object, refuse } from "./fields.ts";

/** Finds a pattern's next match from a place on. */
export type Finder = (
  text: string,
  from: number,
) => { readonly start: number; readonly end: number } | undefined;

let translate: typeof toRegExp | undefined;

/** Loads what translates regular expressions where fields have one: to be awaited before anything is made of them. */
export async function loadExpressions({ normalizer, pre_tokenizer, decoder }: Fields): Promise<void> {
  if (translate || !/"Regex":/.test(JSON.stringify([normalizer, pre_tokenizer, decoder]))) return;
  translate = (await import("oniguruma-to-es")).toRegExp;
}

/**
 * A regular expression as JavaScript's, with flag g.
 *
 * @throws ConfigError when it uses what JavaScript cannot follow.
 */
export function expression(source: string): RegExp {
  if (!translate) throw new Error("Cannot translate a regular expression: loadExpressions() comes first");
  try {
    return translate(source, {
      accuracy: "strict",
      global: true,
      // A tokenizer's own engine allows what Ruby's `(?<name>)` rules would not; captures are never read.
      rules: { captureGroup: true },
      lazyCompileLength: Infinity,
    });
  } catch (error) {
    throw refuse("Regex", source, `this regular expression cannot be followed (${(error as Error).message})`);
  }
}

/** @throws RangeError for a word that the runtime's own stack of a regular expression does not hold: millions of letters. */
function found(regex: RegExp, text: string): RegExpExecArray | null {
  try {
    return regex.exec(text);
  } catch (error) {
    throw new RangeError(
      `Cannot encode a text of ${text.length} characters: it has a word that is too long for this runtime's regular ` +
        `expressions (${(error as Error).message})`,
    );
  }
}

/** The finder of a regular expression. */
export function finderOf(regex: RegExp): Finder {
  return (text, from) => {
    regex.lastIndex = from;
    const match = found(regex, text);
    return match ? { start: match.index, end: match.index + match[0].length } : undefined;
  };
}

/** A plain text's finder; an empty one is found nowhere. */
export function plainFinder(plain: string): Finder {
  return (text, from) => {
    const start = plain === "" ? -1 : text.indexOf(plain, from);
    return start < 0 ? undefined : { start, end: start + plain.length };
  };
}

/** The plain text of a `pattern` field, where it is one. */
export function plainPattern(fields: Fields): string | undefined {
  const { String: plain } = object(fields, "pattern");
  return typeof plain === "string" ? plain : undefined;
}

/** The finder of a `pattern` field. */
export function patternFinder(fields: Fields): Finder {
  const plain = plainPattern(fields);
  if (plain !== undefined) return plainFinder(plain);
  const { Regex: source } = object(fields, "pattern");
  if (typeof source !== "string") throw refuse("pattern", fields.pattern, 'it must have "String" or "Regex"');
  return finderOf(expression(source));
}

/** Stretches of a text in order, each a match or what lies between two. */
export function* stretches(
  text: string,
  find: Finder,
): Generator<{ readonly start: number; readonly end: number; readonly matched: boolean }, void, void> {
  let done = 0;
  for (let from = 0; from <= text.length;) {
    const match = find(text, from);
    if (!match) break;
    const { start, end } = match;
    if (start > done) yield { start: done, end: start, matched: false };
    yield { start, end, matched: true };
    done = end;
    // After an empty match the search goes on at the next character.
    from = end > start ? end : end + ((text.codePointAt(end) ?? 0) > 0xffff ? 2 : 1);
  }
  if (done < text.length) yield { start: done, end: text.length, matched: false };
}
