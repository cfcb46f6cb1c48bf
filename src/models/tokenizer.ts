/**
 * Tokenizers of Hugging Face model folders.
 *
 * @module
 */
import { ConfigError } from "../errors.ts";
import type { ReadableFolder } from "../folder.ts";
import { type JsonObject, parseJsonObject } from "../json.ts";
import { foreignKindOfText } from "../safetensors/mod.ts";
import { type ChatTemplate, chatWriter, templateOf } from "./chat_template.ts";
import { namedTemplates } from "./checkpoint.ts";
import { specialTokens } from "./special_tokens.ts";
import { Encoder } from "./tokenizer/encoder.ts";
import { finish, finishInTurns } from "./tokenizer/steps.ts";
import type { PairTokenizer } from "./tokenizer_types.ts";

/** What reading a tokenizer needs of a folder. */
export interface TextFolder extends Pick<ReadableFolder, "readText" | "exists"> {
  folder?(name: string): Promise<Pick<ReadableFolder, "readText" | "exists"> | undefined>;
}

type Fields = JsonObject;

async function readFields(folder: TextFolder, name: string): Promise<Fields> {
  return parseJsonObject(await folder.readText(name), name);
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

/** Every text is a template, so a pointer would be written out as a prompt; the start of its text is looked for. */
async function readJinja(folder: Pick<ReadableFolder, "readText">, name: string): Promise<string> {
  const text = await folder.readText(name);
  if (!text.startsWith("version https://git-lfs.github.com/spec/")) return text;
  throw new ConfigError(`Cannot read ${name} as a template: ${foreignKindOfText(text)}`);
}

/** Templates in files of their own; a file beside others outranks chat_template.jinja by its name, as in transformers. */
async function readJinjaFiles(folder: TextFolder): Promise<ChatTemplate | undefined> {
  const named = await folder.folder?.(namedTemplates.folder);
  const read = async (name: string) => await named?.exists(name) ? await readJinja(named!, name) : undefined;
  const alone = await folder.exists("chat_template.jinja")
    ? await readJinja(folder, "chat_template.jinja")
    : undefined;
  const templates = { default: await read("default.jinja") ?? alone, tool_use: await read("tool_use.jinja") };
  return templates.tool_use === undefined ? templates.default : templates;
}

async function readTemplate(folder: TextFolder, config: Fields): Promise<ChatTemplate | undefined> {
  const inFiles = await readJinjaFiles(folder);
  if (inFiles !== undefined) return inFiles;
  const template = templateOf(config.chat_template, "tokenizer_config.json");
  if (template !== undefined) return template;
  return templateOf(
    (await readOptional(folder, "chat_template.json")).chat_template,
    "chat_template.json",
  );
}

/**
 * Opens the tokenizer of a model folder.
 *
 * Reads tokenizer.json, and where they exist tokenizer_config.json, special_tokens_map.json and added_tokens.json (names
 * of tokens, and more of them), chat_template.jinja and additional_chat_templates/tool_use.jinja (they outrank
 * tokenizer_config.json) or chat_template.json, and the ids that end a text of generation_config.json and config.json. Texts become tokens as in the Python libraries
 * tokenizers 0.23 and transformers 5.17: `add_bos_token` and `add_eos_token` of tokenizer_config.json and `truncation`
 * and `padding` of tokenizer.json change nothing, as there.
 * Decoded text is never cleaned up around punctuation: what was decoded must not change as tokens are added.
 *
 * @throws ConfigError that names the file and the rule it breaks.
 */
export async function openTokenizer(folder: TextFolder): Promise<PairTokenizer> {
  if (!await folder.exists("tokenizer.json")) {
    throw new ConfigError("Cannot find tokenizer.json in the model's folder");
  }
  const config = await readOptional(folder, "tokenizer_config.json");
  const tokenizer = await readFields(folder, "tokenizer.json");
  const special = specialTokens({
    tokenizer,
    config,
    map: await readOptional(folder, "special_tokens_map.json"),
    added: await readOptional(folder, "added_tokens.json"),
  });
  const encoder = new Encoder(tokenizer, {
    added: special.tokens,
    splitSpecialTokens: config.split_special_tokens === true,
  });
  const eos = new Set<number>();
  for (const file of ["generation_config.json", "config.json"]) {
    for (const id of eosOf(await readOptional(folder, file), file)) eos.add(id);
  }
  // A chat model often has its own end token here while the other files still name the base model's.
  const named = special.variables.eos_token;
  const id = named === undefined ? undefined : encoder.added.idOf(named);
  if (id !== undefined) eos.add(id);
  return {
    encode: (text, { addSpecialTokens = true } = {}) => finish(encoder.steps(text, addSpecialTokens)),
    encodeAsync: (text, { addSpecialTokens = true, signal } = {}) =>
      finishInTurns(encoder.steps(text, addSpecialTokens), signal),
    encodeTexts: (texts, { maxLength, signal } = {}) =>
      finishInTurns(
        encoder.typedSteps(texts, { maxLength, keepEnd: config.truncation_side === "left" }),
        signal,
      ),
    fewestTokens: (text) => encoder.fewestTokens(text),
    decode: (ids, { skipSpecialTokens = true } = {}) => encoder.decode(ids, skipSpecialTokens),
    decodeBytes: (ids, { skipSpecialTokens = true } = {}) => encoder.decodeBytes(ids, skipSpecialTokens),
    decodesEachAlone: encoder.decodesEachAlone,
    eosTokenIds: [...eos],
    ...chatWriter(await readTemplate(folder, config), special.variables),
  };
}
