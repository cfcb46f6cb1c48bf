/**
 * Named tokens (`bos_token`, `eos_token` and their like) and added ones, of the files that transformers reads.
 *
 * @module
 */
import { type NewToken, newToken } from "./tokenizer/added_tokens.ts";
import { type Fields, objects } from "./tokenizer/fields.ts";

/** The four files; those that do not exist are empty. */
export interface TokenFiles {
  /** tokenizer.json, for the tokens that it adds. */
  readonly tokenizer: Fields;
  /** tokenizer_config.json */
  readonly config: Fields;
  /** special_tokens_map.json; not looked at when tokenizer_config.json has `added_tokens_decoder`. */
  readonly map: Fields;
  /** added_tokens.json: ids by content; not looked at then, either. */
  readonly added: Fields;
}

/** What the files say. */
export interface SpecialTokens {
  /** Contents by name, for chat templates. */
  readonly variables: Readonly<Record<string, string>>;
  /** Tokens to add to those of tokenizer.json, in this order; those that it has get these flags. */
  readonly tokens: readonly NewToken[];
}

/** A token named by its text or by an object; flags that are not named are a special token's. */
function tokenOf(value: unknown): NewToken | undefined {
  if (typeof value === "string") return newToken({ content: value }, true);
  const fields = Object(value) as Fields;
  return typeof fields.content === "string" ? newToken(fields, true) : undefined;
}

/** `extra_special_tokens`, or by its older name: a list, or tokens by name. */
function extrasOf(fields: Fields): unknown {
  return fields.extra_special_tokens ?? fields.additional_special_tokens ?? [];
}

function namedTokens(fields: Fields): ReadonlyMap<string, NewToken> {
  const extras = extrasOf(fields);
  const byName = Array.isArray(extras) ? {} : Object(extras) as Fields;
  const tokens = new Map<string, NewToken>();
  const all = Object.entries(fields).filter(([name]) => name.endsWith("_token")).concat(
    Object.entries(byName),
  );
  for (const [name, value] of all) {
    const token = tokenOf(value);
    if (token) tokens.set(name, token);
  }
  return tokens;
}

/** The tokens of `added_tokens_decoder`, in the order of their ids: so JavaScript orders keys that are indices. */
function decoderTokens(decoder: Fields): readonly NewToken[] {
  return Object.values(decoder).map((token) => newToken(Object(token) as Fields));
}

/** The tokens of added_tokens.json whose ids tokenizer.json does not add itself. */
function olderTokens({ tokenizer, added }: TokenFiles, specials: ReadonlySet<string>): readonly NewToken[] {
  const there = new Set(objects(tokenizer, "added_tokens", []).map(({ id }) => id));
  return Object.entries(added).filter(([, id]) => !there.has(id))
    .sort(([, a], [, b]) => Number(a) - Number(b))
    .map(([content]) => newToken({ content }, specials.has(content)));
}

/**
 * Puts the files together as transformers 5 does: special_tokens_map.json outranks tokenizer_config.json, unless the
 * latter has `added_tokens_decoder`; then it stands alone.
 *
 * @throws ConfigError for a flag of a token that is not true or false.
 */
export function specialTokens(files: TokenFiles): SpecialTokens {
  const { config, map } = files;
  const decoder = config.added_tokens_decoder ?? undefined;
  // The token that tokenizer.json pads with is named by it, too.
  const { pad_token } = Object(files.tokenizer.padding) as Fields;
  const merged: Fields = { pad_token, ...config, ...(decoder === undefined ? map : {}) };
  const byName = namedTokens(merged);
  const extras = extrasOf(merged);
  const listedExtras = (Array.isArray(extras) ? extras as unknown[] : []).map(tokenOf)
    .filter((token) => token !== undefined);
  const named = [...byName.values()];
  const specials = new Set([...named, ...listedExtras].map(({ content }) => content));
  const own = objects(files.tokenizer, "added_tokens", []).map((one) => newToken(one));
  const listed = decoder === undefined
    ? [...olderTokens(files, specials), ...own]
    : decoderTokens(Object(decoder) as Fields);
  // A token of the list that has a name is special, whatever its entry says; of other lists only one that is new is.
  const names = new Set(named.map(({ content }) => content));
  const there = new Set([...own, ...listed].map(({ content }) => content));
  const more = [...named, ...listedExtras].filter(({ content }) => !there.has(content));
  return {
    variables: Object.fromEntries([...byName].map(([name, { content }]) => [name, content])),
    tokens: [
      ...listed.map((token) => names.has(token.content) ? { ...token, special: true } : token),
      ...more.map((token) => ({ ...token, special: true })),
    ],
  };
}
