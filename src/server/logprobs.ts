/**
 * Log-probabilities as OpenAI's two routes write them.
 *
 * @module
 */
import type { TextToken } from "../engine/text.ts";

/** JSON has no infinity; this is as good as none of the probability. */
const least = -9999;

function finite(logprob: number): number {
  return Math.max(logprob, least);
}

/** The shape of /v1/completions: one entry a token in each list. */
export interface CompletionLogprobs {
  readonly text_offset: readonly number[];
  readonly token_logprobs: readonly (number | null)[];
  readonly tokens: readonly string[];
  readonly top_logprobs: readonly (Readonly<Record<string, number>> | null)[];
}

/**
 * The most likely tokens by their texts. Several can have the same text; parts of characters have none. The most
 * likely keeps the text, and the others are called `token_id:ID`, as vLLM calls tokens by their ids.
 */
function topByText({ tokenId, text, logprobs }: TextToken): Record<string, number> | null {
  if (!logprobs) return null;
  const seen = new Set<number>();
  const top = new Map<string, number>();
  for (const one of [...logprobs.top, { tokenId, text, logprob: logprobs.logprob }]) {
    if (seen.has(one.tokenId)) continue;
    seen.add(one.tokenId);
    top.set(top.has(one.text) ? `token_id:${one.tokenId}` : one.text, finite(one.logprob));
  }
  return Object.fromEntries(top);
}

/** Tokens in the shape of /v1/completions; the chosen token is always among the top ones. */
export function completionLogprobs(tokens: readonly TextToken[]): CompletionLogprobs {
  return {
    text_offset: tokens.map(({ offset }) => offset),
    token_logprobs: tokens.map(({ logprobs }) => logprobs ? finite(logprobs.logprob) : null),
    tokens: tokens.map(({ text }) => text),
    top_logprobs: tokens.map(topByText),
  };
}

/** One token in the shape of /v1/chat/completions. */
export interface ChatLogprob {
  readonly token: string;
  readonly logprob: number;
  /** UTF-8; of a token that is a part of a character that part's, so that those of neighbours make the character. */
  readonly bytes: readonly number[];
}

/** The shape of /v1/chat/completions. */
export interface ChatLogprobs {
  readonly content: readonly (ChatLogprob & { readonly top_logprobs: readonly ChatLogprob[] })[];
  readonly refusal: null;
}

function chatLogprob(
  { text, bytes, logprob }: Pick<TextToken, "text" | "bytes"> & { readonly logprob: number },
): ChatLogprob {
  return { token: text, logprob: finite(logprob), bytes };
}

/** Tokens in the shape of /v1/chat/completions. */
export function chatLogprobs(tokens: readonly TextToken[]): ChatLogprobs {
  const content = tokens.flatMap(({ text, bytes, logprobs }) =>
    logprobs
      ? [{
        ...chatLogprob({ text, bytes, logprob: logprobs.logprob }),
        top_logprobs: logprobs.top.map(chatLogprob),
      }]
      : []
  );
  return { content, refusal: null };
}
