/**
 * Log-probabilities as OpenAI's two routes write them.
 *
 * @module
 */
import type { TextToken } from "../engine/text.ts";
import type { Tokenizer } from "../models/tokenizer_types.ts";

type Decoder = Pick<Tokenizer, "decode">;

/** JSON has no infinity; this is as good as none of the probability. */
const least = -9999;

function finite(logprob: number): number {
  return Math.max(logprob, least);
}

function textOf(tokenId: number, tokenizer: Decoder): string {
  return tokenizer.decode([tokenId], { skipSpecialTokens: false });
}

/** The shape of /v1/completions: one entry a token in each list. */
export interface CompletionLogprobs {
  readonly text_offset: readonly number[];
  readonly token_logprobs: readonly (number | null)[];
  readonly tokens: readonly string[];
  readonly top_logprobs: readonly (Readonly<Record<string, number>> | null)[];
}

function topByText({ tokenId, logprobs }: TextToken, tokenizer: Decoder): Record<string, number> | null {
  if (!logprobs) return null;
  const top = new Map<string, number>();
  // Several tokens can have one text (parts of characters): the most likely comes first and stays.
  for (const one of [...logprobs.top, { tokenId, logprob: logprobs.logprob }]) {
    const text = textOf(one.tokenId, tokenizer);
    if (!top.has(text)) top.set(text, finite(one.logprob));
  }
  return Object.fromEntries(top);
}

/** Tokens in the shape of /v1/completions; the chosen token is always among the top ones. */
export function completionLogprobs(tokens: readonly TextToken[], tokenizer: Decoder): CompletionLogprobs {
  return {
    text_offset: tokens.map(({ offset }) => offset),
    token_logprobs: tokens.map(({ logprobs }) => logprobs ? finite(logprobs.logprob) : null),
    tokens: tokens.map(({ tokenId }) => textOf(tokenId, tokenizer)),
    top_logprobs: tokens.map((token) => topByText(token, tokenizer)),
  };
}

/** One token in the shape of /v1/chat/completions. */
export interface ChatLogprob {
  readonly token: string;
  readonly logprob: number;
  /** UTF-8; null for a token that is only a part of a character. */
  readonly bytes: readonly number[] | null;
}

/** The shape of /v1/chat/completions. */
export interface ChatLogprobs {
  readonly content: readonly (ChatLogprob & { readonly top_logprobs: readonly ChatLogprob[] })[];
  readonly refusal: null;
}

function chatLogprob(tokenId: number, logprob: number, tokenizer: Decoder): ChatLogprob {
  const token = textOf(tokenId, tokenizer);
  const bytes = token.includes("\ufffd") ? null : [...new TextEncoder().encode(token)];
  return { token, logprob: finite(logprob), bytes };
}

/** Tokens in the shape of /v1/chat/completions. */
export function chatLogprobs(tokens: readonly TextToken[], tokenizer: Decoder): ChatLogprobs {
  const content = tokens.flatMap(({ tokenId, logprobs }) =>
    logprobs
      ? [{
        ...chatLogprob(tokenId, logprobs.logprob, tokenizer),
        top_logprobs: logprobs.top.map((one) => chatLogprob(one.tokenId, one.logprob, tokenizer)),
      }]
      : []
  );
  return { content, refusal: null };
}
