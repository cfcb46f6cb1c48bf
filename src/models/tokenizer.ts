/**
 * Tokenizers of Hugging Face model folders.
 *
 * @module
 */
import { Tokenizer as Encoder } from "@huggingface/tokenizers";
import { ConfigError } from "../errors.ts";
import type { ReadableFolder } from "../folder.ts";
import { chatFormatter, type ChatTemplate, templateOf, tokenVariables } from "./chat_template.ts";
import type { Tokenizer } from "./tokenizer_types.ts";

/** What reading a tokenizer needs of a folder. */
export type TextFolder = Pick<ReadableFolder, "readText" | "exists">;

type Fields = Readonly<Record<string, unknown>>;

async function readFields(folder: TextFolder, name: string): Promise<Fields> {
  const text = await folder.readText(name);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new ConfigError(`Cannot read ${name} as JSON: ${(error as Error).message}`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new ConfigError(`Cannot read ${name}: it must be a JSON object`);
  }
  return value as Fields;
}

async function readOptional(folder: TextFolder, name: string): Promise<Fields> {
  return await folder.exists(name) ? await readFields(folder, name) : {};
}

/** The ids of an `eos_token_id` field: one, a list, or none. */
function eosOf(fields: Fields, file: string): readonly number[] {
  const value = fields.eos_token_id ?? [];
  const ids: readonly unknown[] = Array.isArray(value) ? value : [value];
  if (!ids.every((id): id is number => Number.isInteger(id) && (id as number) >= 0)) {
    throw new ConfigError(
      `Cannot read "eos_token_id" of ${file}: it must be a token id or a list of them, it is ${
        JSON.stringify(value)
      }`,
    );
  }
  return ids;
}

async function readTemplate(folder: TextFolder, config: Fields): Promise<ChatTemplate | undefined> {
  if (await folder.exists("chat_template.jinja")) return await folder.readText("chat_template.jinja");
  const template = templateOf(config.chat_template, "tokenizer_config.json");
  if (template !== undefined) return template;
  return templateOf(
    (await readOptional(folder, "chat_template.json")).chat_template,
    "chat_template.json",
  );
}

function openEncoder(fields: Fields, config: Fields): Encoder {
  try {
    return new Encoder(fields, config);
  } catch (error) {
    throw new ConfigError(`Cannot use tokenizer.json: ${(error as Error).message}`);
  }
}

/**
 * Opens the tokenizer of a model folder.
 *
 * Reads tokenizer.json, and where they exist tokenizer_config.json (token names, chat template), chat_template.jinja (it
 * outranks the former) or chat_template.json, and the end-of-text ids of generation_config.json and config.json.
 * Decoded text is never cleaned up around punctuation: what was decoded must not change as tokens are added.
 *
 * @throws ConfigError that names the file and the rule it breaks.
 */
export async function openTokenizer(folder: TextFolder): Promise<Tokenizer> {
  if (!await folder.exists("tokenizer.json")) {
    throw new ConfigError("Cannot find tokenizer.json in the model's folder");
  }
  const config = await readOptional(folder, "tokenizer_config.json");
  const encoder = openEncoder(await readFields(folder, "tokenizer.json"), config);
  const eos = new Set<number>();
  for (const file of ["generation_config.json", "config.json"]) {
    for (const id of eosOf(await readOptional(folder, file), file)) eos.add(id);
  }
  return {
    encode: (text, { addSpecialTokens = true } = {}) =>
      encoder.encode(text, { add_special_tokens: addSpecialTokens }).ids,
    encodeAsync(text, { addSpecialTokens = true, signal } = {}) {
      signal?.throwIfAborted();
      return Promise.resolve(encoder.encode(text, { add_special_tokens: addSpecialTokens }).ids);
    },
    fewestTokens: () => 0,
    decode(ids, { skipSpecialTokens = true } = {}) {
      // A model's embeddings may have padding rows: such ids have no text.
      const known = ids.filter((id) => encoder.id_to_token(id) !== undefined);
      if (known.length === 0) return "";
      return encoder.decode(known, {
        skip_special_tokens: skipSpecialTokens,
        clean_up_tokenization_spaces: false,
      });
    },
    eosTokenIds: [...eos],
    chatPrompt: chatFormatter(await readTemplate(folder, config), tokenVariables(config)),
  };
}
