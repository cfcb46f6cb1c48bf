/**
 * Answers of /v1/completions.
 *
 * @module
 */
import type { AnswerShape } from "./answer.ts";
import { completionLogprobs } from "./logprobs.ts";
import type { Job } from "./openai.ts";
import { type Part, stopReasonOf } from "./run.ts";

function choice(part: Part, job: Job, { first }: { readonly first: boolean }): Record<string, unknown> {
  const { index, text, promptTokens, tokens, finishReason } = part;
  const wantsLogprobs = job.requests[index].logprobs !== undefined;
  const ids = job.returnTokenIds
    ? {
      token_ids: tokens.map(({ tokenId }) => tokenId),
      prompt_token_ids: first ? job.requests[index].promptTokenIds : null,
    }
    : {};
  return {
    index,
    ...(job.models ? { model: job.models[index] } : {}),
    text,
    logprobs: wantsLogprobs ? completionLogprobs([...promptTokens, ...tokens]) : null,
    finish_reason: finishReason,
    ...stopReasonOf(part, job),
    ...ids,
  };
}

/** The shape of /v1/completions: a chunk's choice is a whole one's, with less text. */
export const completionShape: AnswerShape = {
  idPrefix: "cmpl-",
  object: "text_completion",
  chunkObject: "text_completion",
  choice: (part, job) => choice(part, job, { first: true }),
  chunk: choice,
  extra: () => ({}),
};
