/**
 * The cuts of a text that `tokenizer.ggml.pre` names, as fields of a tokenizer.json.
 *
 * @module
 */
import type { Fields } from "../config_fields.ts";

/** What a name stands for. */
export interface PreTokenizer {
  readonly normalizer?: Fields;
  readonly preTokenizer: Fields;
  /** A word that is a token is that token, whatever merges say. */
  readonly ignoresMerges?: boolean;
}

const byteLevel = (usesRegex: boolean): Fields => ({
  ...{ type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: usesRegex },
});

const sequence = (...pretokenizers: readonly Fields[]): Fields => ({ type: "Sequence", pretokenizers });

/** Words are cut out by a pattern; their bytes become characters after it. */
const byPattern = (Regex: string): Fields =>
  sequence({ type: "Split", pattern: { Regex }, behavior: "Isolated", invert: false }, byteLevel(false));

/** GPT-4's pattern; `digits` matches a number. */
const gpt4 = (digits: string): string =>
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" + digits +
  "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

const upper = "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]", lower = "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]";

/** GPT-2's words, and digits one by one. */
const digitByDigit: PreTokenizer = {
  preTokenizer: sequence({ type: "Digits", individual_digits: true }, byteLevel(true)),
};

/** GPT-4's words, and digits in threes. */
const threeDigits: PreTokenizer = { preTokenizer: byPattern(gpt4("\\p{N}{1,3}")) };

const llama3: PreTokenizer = { ...threeDigits, ignoresMerges: true };
const qwen2: PreTokenizer = { normalizer: { type: "NFC" }, preTokenizer: byPattern(gpt4("\\p{N}")) };

/** By name, as the tokenizer.json of the models that the names are from has them. */
export const preTokenizers: Readonly<Record<string, PreTokenizer>> = {
  "gpt-2": { preTokenizer: byteLevel(true) },
  "llama-bpe": llama3,
  llama3,
  "llama-v3": llama3,
  qwen2,
  "deepseek-r1-qwen": qwen2,
  smollm: digitByDigit,
  starcoder: digitByDigit,
  refact: digitByDigit,
  olmo: { preTokenizer: byteLevel(true) },
  dbrx: threeDigits,
  "smaug-bpe": threeDigits,
  tekken: {
    preTokenizer: byPattern(
      `[^\\r\\n\\p{L}\\p{N}]?${upper}*${lower}+|[^\\r\\n\\p{L}\\p{N}]?${upper}+${lower}*|\\p{N}` +
        "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
    ),
    ignoresMerges: true,
  },
};
