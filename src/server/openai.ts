/**
 * Bodies of OpenAI's completion routes to checked requests.
 *
 * @module
 */
import * as z from "zod";
import type { GenerateRequest, Sampling } from "../engine/generate.ts";
import { ConfigError } from "../errors.ts";
import type { ChatMessage } from "../models/tokenizer_types.ts";
import type { ServedModel, ServerDeps } from "./deps.ts";
import { InvalidRequestError } from "./errors.ts";
import { checkBody, unsupportedInChat, unsupportedInCompletions } from "./fields.ts";
import { resolveModel, type Target } from "./models.ts";

/** Sequences that one request may start. */
const maxSequences = 1024;

const maxTopLogprobs = 20;

const tokenId = z.number().int().nonnegative();

const stopString = z.string().min(1, { error: "a stop string must not be empty" });

const common = {
  model: z.string().min(1),
  n: z.number().int().min(1).max(128).default(1),
  temperature: z.number().min(0).max(2).default(1),
  top_p: z.number().min(0).max(1).default(1),
  top_k: z.number().int().min(-1).default(0),
  seed: z.number().int().optional(),
  stop: z.union([stopString, z.array(stopString).max(16)], {
    error: "it must be a text or a list of at most 16 texts",
  })
    .default([]),
  stream: z.boolean().default(false),
  stream_options: z.object({
    include_usage: z.boolean().nullish(),
    include_obfuscation: z.boolean().nullish(),
  }).optional(),
  return_token_ids: z.boolean().default(false),
};

const completionBody = z.strictObject({
  ...common,
  prompt: z.union([
    z.string(),
    z.array(tokenId).min(1),
    z.array(z.string()).min(1),
    z.array(z.array(tokenId)).min(1),
  ], { error: "it must be a text, a list of texts, a list of token ids, or a list of such lists" }),
  max_tokens: z.number().int().min(0).default(16),
  logprobs: z.number().int().min(0).max(maxTopLogprobs).optional(),
  echo: z.boolean().default(false),
});

const contentPart = z.object({
  type: z.literal("text", { error: "only text is supported" }),
  text: z.string(),
});

const message = z.object({
  role: z.enum(["system", "developer", "user", "assistant"]),
  content: z.union([z.string(), z.array(contentPart)], {
    error: "it must be a text or a list of text parts",
  }),
  name: z.string().nullish(),
  tool_calls: z.array(z.unknown()).max(0, { error: "tools are not supported" }).nullish(),
  function_call: z.null({ error: "tools are not supported" }).optional(),
});

const chatBody = z.strictObject({
  ...common,
  messages: z.array(message).min(1),
  max_tokens: z.number().int().min(1).optional(),
  max_completion_tokens: z.number().int().min(1).optional(),
  logprobs: z.boolean().default(false),
  top_logprobs: z.number().int().min(0).max(maxTopLogprobs).optional(),
});

type Common = Omit<z.infer<typeof completionBody>, "prompt" | "max_tokens" | "logprobs" | "echo">;

/** A checked request, ready to run. */
export interface Job {
  readonly model: ServedModel;
  /** What the answer calls the model: the adapter's id, or the base's. */
  readonly modelName: string;
  readonly prompts: readonly (readonly number[])[];
  /** Sequences of each prompt. */
  readonly n: number;
  /** `n` for each prompt, prompt by prompt; signals are the runner's to add. */
  readonly requests: readonly GenerateRequest[];
  readonly stop: readonly string[];
  readonly echo: boolean;
  readonly stream: boolean;
  readonly includeUsage: boolean;
  readonly returnTokenIds: boolean;
}

/** What the two routes find out in their own ways. */
interface Wanted {
  /** The field that the prompts come from. */
  readonly field: "prompt" | "messages";
  readonly prompts: readonly (readonly number[])[];
  /** Absent: as many as fit. */
  readonly maxTokens?: number;
  readonly logprobs?: number;
  readonly echo: boolean;
}

function samplingOf({ temperature, top_p, top_k, seed }: Common, choice: number): Sampling {
  const filters = { temperature, topP: top_p, topK: Math.max(0, top_k) };
  // The choices of one prompt must differ, and do so in the same way each time.
  return seed === undefined ? filters : { ...filters, seed: (seed + choice) >>> 0 };
}

function checkPrompt(
  ids: readonly number[],
  { vocabSize, field }: { readonly vocabSize: number; readonly field: string },
): void {
  if (ids.length === 0) {
    throw new InvalidRequestError("Cannot run an empty prompt: it must have at least one token", {
      param: field,
      code: "invalid_value",
    });
  }
  const unknown = ids.find((id) => id >= vocabSize);
  if (unknown !== undefined) {
    throw new InvalidRequestError(
      `Cannot use token id ${unknown} of the prompt: the vocabulary has ids 0..${vocabSize - 1}`,
      { param: field, code: "invalid_value" },
    );
  }
}

/** New tokens at most for a prompt of `length` tokens. */
function roomFor(length: number, { maxTokens, field }: Wanted, context: number): number {
  const wanted = maxTokens ?? Math.max(1, context - length);
  if (length + wanted <= context) return wanted;
  const asked = maxTokens ?? "at least one";
  throw new InvalidRequestError(
    `Cannot run this request: the model's context length is ${context} tokens, ` +
      `but the prompt has ${length} and ${asked} more ${wanted === 1 ? "is" : "are"} asked for`,
    { param: length >= context ? field : "max_tokens", code: "context_length_exceeded" },
  );
}

function requestsOf(body: Common, { model, adapter }: Target, wanted: Wanted): GenerateRequest[] {
  const { prompts, logprobs, echo, field } = wanted;
  const { maxModelLen, vocabSize } = model.engine;
  if (prompts.length * body.n > maxSequences) {
    throw new InvalidRequestError(
      `Cannot run ${prompts.length} prompts ${body.n} times each: at most ${maxSequences} sequences are started at once`,
      { param: "n", code: "invalid_value" },
    );
  }
  return prompts.flatMap((promptTokenIds) => {
    checkPrompt(promptTokenIds, { vocabSize, field });
    const maxTokens = roomFor(promptTokenIds.length, wanted, maxModelLen);
    return Array.from({ length: body.n }, (_, choice): GenerateRequest => ({
      promptTokenIds,
      adapter,
      maxTokens,
      sampling: samplingOf(body, choice),
      logprobs,
      promptLogprobs: echo && logprobs !== undefined,
    }));
  });
}

function jobOf(body: Common, target: Target, wanted: Wanted): Job {
  if (body.stream_options && !body.stream) {
    throw new InvalidRequestError('Cannot follow "stream_options" of the request: "stream" is not set', {
      param: "stream_options",
      code: "invalid_value",
    });
  }
  return {
    model: target.model,
    modelName: target.adapter ?? target.model.id,
    prompts: wanted.prompts,
    n: body.n,
    requests: requestsOf(body, target, wanted),
    stop: typeof body.stop === "string" ? [body.stop] : body.stop,
    echo: wanted.echo,
    stream: body.stream,
    includeUsage: body.stream_options?.include_usage ?? false,
    returnTokenIds: body.return_token_ids,
  };
}

type Prompt = z.infer<typeof completionBody>["prompt"];

function promptIds(prompt: Prompt, { tokenizer }: ServedModel): readonly (readonly number[])[] {
  if (typeof prompt === "string") return [tokenizer.encode(prompt)];
  if (typeof prompt[0] === "number") return [prompt as number[]];
  return (prompt as (string | number[])[]).map((one) =>
    typeof one === "string" ? tokenizer.encode(one) : one
  );
}

/**
 * The job that a body of /v1/completions asks for.
 *
 * @throws InvalidRequestError, ModelNotFoundError, ConfigError of the adapter.
 */
export async function completionJob(body: Readonly<Record<string, unknown>>, deps: ServerDeps): Promise<Job> {
  const checked = checkBody(body, { schema: completionBody, unsupported: unsupportedInCompletions });
  const target = await resolveModel(checked.model, deps);
  return jobOf(checked, target, {
    field: "prompt",
    prompts: promptIds(checked.prompt, target.model),
    maxTokens: checked.max_tokens,
    logprobs: checked.logprobs,
    echo: checked.echo,
  });
}

function chatMessages(messages: z.infer<typeof chatBody>["messages"]): ChatMessage[] {
  return messages.map(({ role, content, name }) => ({
    role,
    content: typeof content === "string" ? content : content.map(({ text }) => text).join("\n"),
    ...(typeof name === "string" ? { name } : {}),
  }));
}

function chatIds(messages: readonly ChatMessage[], { tokenizer }: ServedModel): readonly number[] {
  try {
    return tokenizer.encode(tokenizer.chatPrompt(messages), { addSpecialTokens: false });
  } catch (error) {
    // Here it says that the model and these messages do not fit; no adapter's file is broken.
    if (error instanceof ConfigError) throw new InvalidRequestError(error.message, { param: "messages" });
    throw error;
  }
}

/**
 * The job that a body of /v1/chat/completions asks for.
 *
 * @throws as {@linkcode completionJob}; InvalidRequestError, too, when the model has no chat template for the messages.
 */
export async function chatJob(body: Readonly<Record<string, unknown>>, deps: ServerDeps): Promise<Job> {
  const checked = checkBody(body, { schema: chatBody, unsupported: unsupportedInChat });
  if (checked.top_logprobs !== undefined && !checked.logprobs) {
    throw new InvalidRequestError('Cannot follow "top_logprobs" of the request: "logprobs" is not true', {
      param: "top_logprobs",
      code: "invalid_value",
    });
  }
  const target = await resolveModel(checked.model, deps);
  return jobOf(checked, target, {
    field: "messages",
    prompts: [chatIds(chatMessages(checked.messages), target.model)],
    maxTokens: checked.max_completion_tokens ?? checked.max_tokens,
    logprobs: checked.logprobs ? checked.top_logprobs ?? 0 : undefined,
    echo: false,
  });
}
