/**
 * Answers of /v1/chat/completions.
 *
 * @module
 */
import type { AnswerShape } from "./answer.ts";
import { chatLogprobs } from "./logprobs.ts";
import type { Job } from "./openai.ts";
import { type Part, stopReasonOf } from "./run.ts";
import type { ToolCall } from "./tool_parser.ts";

function rest(part: Part, job: Job): Record<string, unknown> {
  const { index, tokens, finishReason } = part;
  const wantsLogprobs = job.requests[index].logprobs !== undefined;
  return {
    logprobs: wantsLogprobs ? chatLogprobs(tokens) : null,
    finish_reason: finishReason,
    ...stopReasonOf(part, job),
    ...(job.returnTokenIds ? { token_ids: tokens.map(({ tokenId }) => tokenId) } : {}),
  };
}

/** A call as OpenAI's objects have it. */
function written({ id, name, arguments: given }: ToolCall) {
  return { id, type: "function", function: { name, arguments: given } };
}

/** A whole message's text and calls. */
function contentOf({ text, calls }: Part): Record<string, unknown> {
  if (calls.length === 0) return { content: text };
  return { content: text === "" ? null : text, tool_calls: calls.map(written) };
}

/** The shape of /v1/chat/completions: whole messages, or deltas. A choice's first delta names the role. */
export const chatShape: AnswerShape = {
  idPrefix: "chatcmpl-",
  object: "chat.completion",
  chunkObject: "chat.completion.chunk",
  choice: (part, job) => ({
    index: part.index,
    message: { role: "assistant", ...contentOf(part), refusal: null },
    ...rest(part, job),
  }),
  chunk: (part, job, { first }) => ({
    index: part.index,
    delta: {
      ...(first ? { role: "assistant" } : {}),
      ...(part.text !== "" || first ? { content: part.text } : {}),
      ...(part.calls.length > 0
        ? { tool_calls: part.calls.map((call, i) => ({ index: part.callsBefore + i, ...written(call) })) }
        : {}),
    },
    ...rest(part, job),
  }),
  extra: ({ returnTokenIds, prompts }) => returnTokenIds ? { prompt_token_ids: prompts[0] } : {},
};
