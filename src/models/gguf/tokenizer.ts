/**
 * The fields of a model folder's tokenizer files from the metadata of a GGUF file.
 *
 * @module
 */
import type { Fields } from "../config_fields.ts";
import { failKey, flagAt, type Metadata, numberAt, numbersAt, textAt, textsAt } from "./metadata.ts";
import { preTokenizers } from "./pre_tokenizers.ts";
import { mergesOfScores } from "./sentencepiece.ts";

/** Kinds of tokens, by their numbers in `tokenizer.ggml.token_type`. */
const kinds = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

const prefix = "tokenizer.ggml.";

/** Keys that are read, or change nothing; ids of named tokens beside them. */
const known = new Set([
  ...["model", "pre", "tokens", "scores", "token_type", "merges", "token_type_count"],
  ...["add_bos_token", "add_eos_token", "add_sep_token", "add_space_prefix", "remove_extra_whitespaces"],
].map((key) => prefix + key));

/** A vocabulary as the file has it: tokens by their ids. */
interface Vocabulary {
  readonly tokens: readonly string[];
  readonly kinds: readonly number[];
}

function refuseOthers(metadata: Metadata): void {
  for (const key of metadata.keys()) {
    if (!key.startsWith(prefix) || known.has(key) || key.endsWith("_token_id")) continue;
    failKey(metadata, key, "it may change what tokens a text has and is not known");
  }
  for (const key of [`${prefix}add_sep_token`, `${prefix}remove_extra_whitespaces`]) {
    if (flagAt(metadata, key, false)) failKey(metadata, key, "it is not supported");
  }
}

function vocabularyOf(metadata: Metadata): Vocabulary {
  const key = `${prefix}tokens`, tokens = textsAt(metadata, key);
  if (!tokens || tokens.length === 0) return failKey(metadata, key, "a model needs tokens");
  const seen = new Set(tokens);
  if (seen.size < tokens.length) {
    const twice = tokens.find((token, i) => tokens.indexOf(token) < i);
    failKey(metadata, key, `token ${JSON.stringify(twice)} stands there twice`);
  }
  const listed = numbersAt(metadata, `${prefix}token_type`) ?? tokens.map(() => kinds.normal);
  const all: readonly number[] = Object.values(kinds);
  if (listed.length !== tokens.length || listed.some((kind) => !all.includes(kind))) {
    failKey(
      metadata,
      `${prefix}token_type`,
      `it must be a kind from 1 to 6 for each of ${tokens.length} tokens`,
    );
  }
  return { tokens, kinds: listed };
}

/** The token whose id a key has; undefined where there is none. */
function tokenAt(metadata: Metadata, { tokens }: Vocabulary, name: string): string | undefined {
  const key = `${prefix}${name}_token_id`, id = numberAt(metadata, key);
  if (id === undefined || tokens[id] !== undefined) return id === undefined ? undefined : tokens[id];
  return failKey(metadata, key, `it must be an id below ${tokens.length}`);
}

/** Tokens that are found in a text as they are: control tokens and those that users defined. */
function addedTokens({ tokens, kinds: all }: Vocabulary): Fields[] {
  return tokens.flatMap((content, id) => {
    const special = all[id] === kinds.control;
    if (!special && all[id] !== kinds.userDefined) return [];
    return [{ id, content, special, single_word: false, lstrip: false, rstrip: false, normalized: false }];
  });
}

const idsOf = ({ tokens }: Vocabulary): Fields => Object.fromEntries(tokens.map((token, id) => [token, id]));

/** What surrounds a text: the token that begins it, and the token that ends it. */
function postProcessor(metadata: Metadata, vocabulary: Vocabulary, addsBos: boolean): Fields | null {
  const around = [
    flagAt(metadata, `${prefix}add_bos_token`, addsBos) ? tokenAt(metadata, vocabulary, "bos") : undefined,
    flagAt(metadata, `${prefix}add_eos_token`, false) ? tokenAt(metadata, vocabulary, "eos") : undefined,
  ];
  const [before, after] = around.map((token) =>
    token === undefined ? [] : [{ SpecialToken: { id: token, type_id: 0 } }]
  );
  const named = around.filter((token) => token !== undefined);
  if (named.length === 0) return null;
  const single = [...before, { Sequence: { id: "A", type_id: 0 } }, ...after];
  const tokens = named.map((id) => [id, { id, ids: [vocabulary.tokens.indexOf(id)], tokens: [id] }]);
  return {
    type: "TemplateProcessing",
    single,
    pair: [...single, { Sequence: { id: "B", type_id: 1 } }],
    special_tokens: Object.fromEntries(tokens),
  };
}

/** GPT-2's kind: characters that stand for bytes, and merges. */
function bytePairs(metadata: Metadata, vocabulary: Vocabulary): Fields {
  const key = `${prefix}pre`, name = textAt(metadata, key) ?? "";
  if (!Object.hasOwn(preTokenizers, name)) {
    failKey(metadata, key, `supported are ${Object.keys(preTokenizers).join(", ")}`);
  }
  const { normalizer = null, preTokenizer, ignoresMerges = false } = preTokenizers[name];
  const merges = textsAt(metadata, `${prefix}merges`);
  if (!merges) return failKey(metadata, `${prefix}merges`, "a tokenizer of GPT-2's kind needs merges");
  return {
    normalizer,
    pre_tokenizer: preTokenizer,
    post_processor: postProcessor(metadata, vocabulary, ignoresMerges),
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: { type: "BPE", ignore_merges: ignoresMerges, vocab: idsOf(vocabulary), merges },
  };
}

/** SentencePiece's kind, as Llama 2's: a mark for spaces, scores, and bytes where nothing else is there. */
function sentencePieces(metadata: Metadata, vocabulary: Vocabulary): Fields {
  const { tokens, kinds: all } = vocabulary, key = `${prefix}scores`, scores = numbersAt(metadata, key);
  if (scores?.length !== tokens.length) {
    return failKey(metadata, key, `it must have ${tokens.length} numbers`);
  }
  const merged = tokens.map((content, id) => ({ content, id, score: scores[id] }))
    .filter(({ id }) => all[id] === kinds.normal || all[id] === kinds.userDefined);
  const addsSpace = flagAt(metadata, `${prefix}add_space_prefix`, true);
  const spaces = { type: "Replace", pattern: { String: " " }, content: "\u2581" };
  return {
    normalizer: addsSpace
      ? { type: "Sequence", normalizers: [{ type: "Prepend", prepend: "\u2581" }, spaces] }
      : spaces,
    pre_tokenizer: null,
    post_processor: postProcessor(metadata, vocabulary, true),
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace", pattern: { String: "\u2581" }, content: " " },
        { type: "ByteFallback" },
        { type: "Fuse" },
        ...(addsSpace ? [{ type: "Strip", content: " ", start: 1, stop: 0 }] : []),
      ],
    },
    model: {
      type: "BPE",
      unk_token: tokenAt(metadata, vocabulary, "unknown") ?? null,
      fuse_unk: true,
      byte_fallback: true,
      vocab: idsOf(vocabulary),
      merges: mergesOfScores(merged),
    },
  };
}

const makers: Readonly<Record<string, (metadata: Metadata, vocabulary: Vocabulary) => Fields>> = {
  gpt2: bytePairs,
  llama: sentencePieces,
};

/** Templates: `tokenizer.chat_template`, and others by name. */
function chatTemplate(metadata: Metadata): unknown {
  const key = "tokenizer.chat_template", standard = textAt(metadata, key);
  const named = [...metadata.keys()].filter((name) => name.startsWith(`${key}.`))
    .map((name) => ({ name: name.slice(key.length + 1), template: textAt(metadata, name) }));
  if (standard === undefined || named.length === 0) return standard;
  return [{ name: "default", template: standard }, ...named];
}

/** Tokens that end a text, by their names: a chat's turn and a message have their own. */
const endings = ["eos", "eot", "eom"];

/**
 * The fields of tokenizer.json, tokenizer_config.json and generation_config.json.
 *
 * @throws ConfigError that names the key, its value and the rule.
 */
export function tokenizerOfGguf(metadata: Metadata): Readonly<Record<string, Fields>> {
  refuseOthers(metadata);
  const key = `${prefix}model`, model = textAt(metadata, key) ?? "";
  if (!Object.hasOwn(makers, model)) {
    failKey(metadata, key, `supported are ${Object.keys(makers).join(", ")}`);
  }
  const vocabulary = vocabularyOf(metadata);
  const named = Object.entries({ bos: "bos", eos: "eos", unk: "unknown", pad: "padding" }).flatMap(
    ([name, stored]) => {
      const token = tokenAt(metadata, vocabulary, stored);
      return token === undefined ? [] : [[`${name}_token`, token]];
    },
  );
  const template = chatTemplate(metadata);
  const ends = endings.flatMap((name) => {
    const token = tokenAt(metadata, vocabulary, name);
    return token === undefined ? [] : vocabulary.tokens.indexOf(token);
  });
  return {
    "tokenizer.json": { added_tokens: addedTokens(vocabulary), ...makers[model](metadata, vocabulary) },
    "tokenizer_config.json": {
      ...Object.fromEntries(named),
      ...(template === undefined ? {} : { chat_template: template }),
    },
    "generation_config.json": ends.length === 0 ? {} : { eos_token_id: [...new Set(ends)] },
  };
}
