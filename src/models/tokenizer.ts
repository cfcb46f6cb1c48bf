/**
 * Tokenizers of Hugging Face model folders.
 *
 * @module
 */
import { ConfigError } from "../errors.ts";
import { type JsonObject, parseJsonObject } from "../json.ts";
import { specialTokens } from "./special_tokens.ts";
import { Encoder } from "./tokenizer/encoder.ts";
import { type ChatTemplate, readTemplate, type TextFolder, toolTemplateOf } from "./template_files.ts";
import { loadExpressions } from "./tokenizer/patterns.ts";
import { finish, finishInTurns } from "./tokenizer/steps.ts";
import type { ChatWriter, PairTokenizer } from "./tokenizer_types.ts";

export type { TextFolder } from "./template_files.ts";

/** How a tokenizer is opened. */
export interface OpenTokenizerOptions {
  /** When the engine of chat templates is loaded: `now` (default), or `later` by `prepareChat`, where few will chat. */
  readonly chat?: "now" | "later";
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

/** Writes chats by a template, whose engine is loaded now or later. */
async function chatsBy(
  template: ChatTemplate | undefined,
  variables: Readonly<Record<string, string>>,
  { chat = "now" }: OpenTokenizerOptions,
): Promise<ChatWriter> {
  let writer: Pick<ChatWriter, "chatPrompt" | "chatGenerations"> | undefined;
  const prepareChat = async (): Promise<void> => {
    const { chatWriter } = await import("./chat_template.ts");
    writer ??= chatWriter(template, variables);
  };
  if (chat === "now") await prepareChat();
  const loaded = (): Pick<ChatWriter, "chatPrompt" | "chatGenerations"> => {
    if (writer) return writer;
    throw new TypeError(
      'Cannot write a chat prompt yet: the tokenizer was opened with chat "later", await its prepareChat() first',
    );
  };
  return {
    prepareChat,
    toolTemplate: toolTemplateOf(template),
    chatPrompt: (messages, options) => loaded().chatPrompt(messages, options),
    chatGenerations: (messages, options) => loaded().chatGenerations(messages, options),
  };
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
export async function openTokenizer(
  folder: TextFolder,
  options: OpenTokenizerOptions = {},
): Promise<PairTokenizer> {
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
  await loadExpressions(tokenizer);
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
    ...await chatsBy(await readTemplate(folder, config), special.variables, options),
  };
}
