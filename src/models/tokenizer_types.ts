/**
 * What the server and the CLI need of a tokenizer.
 *
 * @module
 */

/** One message of a chat; a chat template sees all its fields. */
export interface ChatMessage {
  readonly role: string;
  /** Text; null or nothing beside tool calls; or parts, for templates that take such. */
  readonly content?: string | null | readonly Readonly<Record<string, unknown>>[];
  readonly [field: string]: unknown;
}

/** What a chat template is given besides messages, by the names of transformers. */
export interface ChatOptions {
  /** Whether the prompt asks for the assistant's next message; true by default. */
  readonly addGenerationPrompt?: boolean;
  /** JSON schemas of functions. Of a model with several templates, the one named `tool_use` is for them. */
  readonly tools?: readonly Readonly<Record<string, unknown>>[];
  readonly documents?: readonly Readonly<Record<string, unknown>>[];
  /** Other variables: `chat_template_kwargs`. They outrank the names of tokens. */
  readonly variables?: Readonly<Record<string, unknown>>;
}

/** A text's token ids as encoders take them. */
export interface TypedTokens {
  readonly tokenIds: readonly number[];
  /** Which text each belongs to, 0 or 1, where the model tells them apart. */
  readonly typeIds: readonly number[];
}

/** A tokenizer that knows how encoders take texts. */
export interface PairTokenizer extends Tokenizer {
  /**
   * Token ids of a text, or of two, with the special tokens around them. The calling thread is never held for more than some
   * milliseconds.
   *
   * @param options `maxLength` cuts what is longer: the longer text first, as transformers' `truncation=True`.
   * @throws the signal's reason once it is aborted; RangeError for a `maxLength` without room for a text; ConfigError for two texts where the tokenizer has no rule for them.
   */
  encodeTexts(
    texts: readonly [text: string, pair?: string],
    options?: { maxLength?: number; signal?: AbortSignal },
  ): Promise<TypedTokens>;
}

/** Text to token ids and back. */
export interface Tokenizer {
  /** Token ids of a text; with `addSpecialTokens` (default true) what the tokenizer's post-processor adds, too. */
  encode(text: string, options?: { addSpecialTokens?: boolean }): number[];
  /**
   * As `encode`, for texts of any length: the calling thread is never held for more than some milliseconds.
   *
   * @throws the signal's reason once it is aborted.
   */
  encodeAsync(
    text: string,
    options?: { addSpecialTokens?: boolean; signal?: AbortSignal },
  ): Promise<number[]>;
  /** A lower bound of the tokens of a text, from its length and the longest token; costs no encoding. */
  fewestTokens(text: string): number;
  /** Text of token ids; special tokens are left out unless `skipSpecialTokens` is false. */
  decode(ids: readonly number[], options?: { skipSpecialTokens?: boolean }): string;
  /**
   * UTF-8 bytes of token ids, also where they are no whole characters: those of a part of a character are its own. Absent
   * where a tokenizer knows texts only.
   */
  decodeBytes?(ids: readonly number[], options?: { skipSpecialTokens?: boolean }): Uint8Array;
  /**
   * Whether `decodeBytes` gives a token the same bytes wherever the token stands: those of ids, joined, are those of all. Tokens
   * of GPT-2's bytes are so; SentencePiece's lose a space at the start of a text.
   */
  readonly decodesEachAlone?: boolean;
  /** Ids that end a sequence: the tokenizer's own, and those of generation_config.json and config.json. */
  readonly eosTokenIds: readonly number[];
  /**
   * The prompt text of a chat, by the model's own template, ready for `encode` with `addSpecialTokens: false`. It asks
   * for the assistant's next message unless `addGenerationPrompt` is false.
   *
   * @throws ConfigError when the model has no chat template, when the template refuses the messages or uses what is not
   * supported, and when it takes too many steps.
   */
  chatPrompt(messages: readonly ChatMessage[], options?: ChatOptions): string;
  /** Loads what chats need; to be awaited before the first where the tokenizer was opened with `chat: "later"`. */
  prepareChat?(): Promise<void>;
  /** The text of the template that writes chats with tools; absent where the model has none. */
  readonly toolTemplate?: string;
  /**
   * Stretches of that text, in UTF-16 units, which `{% generation %}` blocks of the template wrote: the assistant's own
   * tokens, as transformers' `return_assistant_tokens_mask` has them. Undefined where the template has no such block.
   *
   * @throws ConfigError as `chatPrompt`, and where such a block stands in a macro or another text that is caught first.
   */
  chatGenerations?(
    messages: readonly ChatMessage[],
    options?: ChatOptions,
  ): readonly { readonly start: number; readonly end: number }[] | undefined;
}

/** What a tokenizer has for chats. */
export type ChatWriter =
  & Required<Pick<Tokenizer, "prepareChat" | "chatPrompt" | "chatGenerations">>
  & Pick<Tokenizer, "toolTemplate">;
