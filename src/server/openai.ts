/**
 * Bodies of OpenAI's completion routes to checked requests.
 *
 * @module
 */
import type { Constraint } from "../engine/constraint.ts";
import type { GenerateRequest, Owner, Sampling } from "../engine/generate.ts";
import { ConfigError } from "../errors.ts";
import type { ChatMessage, ChatOptions } from "../models/tokenizer_types.ts";
import type { Hold } from "./budget.ts";
import type { RequestServing, ServedModel } from "./deps.ts";
import { shorten } from "./echo.ts";
import type { Exchange } from "./exchange.ts";
import { InvalidRequestError } from "./errors.ts";
import { checkBody, refusal, unsupportedInChat, unsupportedInCompletions } from "./fields.ts";
import { messagesOf } from "./messages.ts";
import { resolveEach, resolveTarget, type Target } from "./models.ts";
import { encodeText, promptsOf, roomFor } from "./prompts.ts";
import { chatBody, type Common, completionBody } from "./schema.ts";
import { constraintOf, structureOf } from "./structured.ts";
import { toolsOf, type ToolUse, toolUseOf } from "./tools.ts";

/** A checked request, ready to run. */
export interface Job {
  readonly model: ServedModel;
  /** The model's name in the answer: the id of the one adapter, or the base's. */
  readonly modelName: string;
  /** The model of each request, where the body names several. */
  readonly models?: readonly string[];
  /** The end of the answer's id; absent for a random end. */
  readonly requestId?: string;
  readonly prompts: readonly (readonly number[])[];
  /** Sequences of each prompt. */
  readonly n: number;
  /** `n` for each prompt, prompt by prompt; signals are the runner's to add. */
  readonly requests: readonly GenerateRequest[];
  readonly stop: readonly string[];
  readonly skipSpecialTokens: boolean;
  readonly includeStop: boolean;
  readonly echo: boolean;
  readonly stream: boolean;
  /** Counts in a last chunk of a stream. */
  readonly includeUsage: boolean;
  /** Counts in each chunk of a stream. */
  readonly continuousUsage: boolean;
  readonly returnTokenIds: boolean;
  /** How calls of tools are found in the answers; absent where there are none. */
  readonly tools?: ToolUse;
  /** Counts what is used. */
  readonly exchange: Exchange;
}

/** The surroundings of a request that becomes a job. */
export interface JobOptions {
  readonly serving: RequestServing;
  /** The hold that counts the prompts' memory. */
  readonly hold: Hold;
  /** Aborted when nobody waits for the answer. */
  readonly signal: AbortSignal;
}

/** A body to the job that it asks for. */
export type JobMaker = (body: Readonly<Record<string, unknown>>, options: JobOptions) => Promise<Job>;

/** The fields that the two routes read in their own ways. */
interface Wanted {
  /** The field that the prompts come from. */
  readonly field: "prompt" | "messages";
  readonly prompts: readonly (readonly number[])[];
  /** Absent: as many as fit. */
  readonly maxTokens?: number;
  readonly logprobs?: number;
  readonly echo: boolean;
  /** What each answer must be. */
  readonly constraint?: Constraint;
  readonly tools?: ToolUse;
  /** Whether each choice says its model. */
  readonly isEach?: boolean;
  readonly serving: RequestServing;
}

/** Whose sequences are, where several tenants take turns. */
function ownerOf({ auth, exchange: { tenant } }: RequestServing): Owner | undefined {
  return tenant && auth.hasSeveral ? { id: tenant.id, weight: tenant.weight } : undefined;
}

/** What beginnings are shared by: also a tenant that is alone shares none with one that takes its place. */
function saltOf({ cache_salt }: Common, { exchange: { tenant } }: RequestServing): string | undefined {
  return tenant
    ? JSON.stringify([tenant.id, cache_salt ?? null])
    : cache_salt && JSON.stringify([cache_salt]);
}

/** What a body asks for beside the usual filters. */
function changesOf(body: Common): Partial<Sampling> {
  const { min_p, presence_penalty, frequency_penalty, repetition_penalty, logit_bias } = body;
  return {
    ...(min_p > 0 ? { minP: min_p } : {}),
    ...(presence_penalty !== 0 ? { presencePenalty: presence_penalty } : {}),
    ...(frequency_penalty !== 0 ? { frequencyPenalty: frequency_penalty } : {}),
    ...(repetition_penalty !== 1 ? { repetitionPenalty: repetition_penalty } : {}),
    ...(logit_bias?.size ? { logitBias: logit_bias } : {}),
  };
}

function samplingOf(body: Common, choice: number): Sampling {
  const { temperature, top_p, top_k, seed } = body;
  const filters = { temperature, topP: top_p, topK: Math.max(0, top_k), ...changesOf(body) };
  // The choices of one prompt must differ, and do so in the same way each time.
  return seed === undefined ? filters : { ...filters, seed: seed + BigInt(choice) };
}

function checkStopTokens(ids: readonly number[], vocabSize: number): void {
  const at = ids.findIndex((id) => id >= vocabSize);
  if (at < 0) return;
  throw refusal(`stop_token_ids[${at}]`, `it is ${ids[at]}, the vocabulary has ids 0..${vocabSize - 1}`);
}

function checkPromptLength(length: number, { field, serving: { limits } }: Wanted): void {
  if (length <= limits.maxPromptTokens) return;
  throw new InvalidRequestError(
    `Cannot run this request: a prompt has ${length} tokens, at most ${limits.maxPromptTokens} are taken here`,
    { param: field, code: "context_length_exceeded" },
  );
}

function checkBiases(biases: Common["logit_bias"], vocabSize: number): void {
  const bad = [...biases?.keys() ?? []].find((id) => id >= vocabSize);
  if (bad !== undefined) throw refusal(`logit_bias.${bad}`, `the vocabulary has ids 0..${vocabSize - 1}`);
}

function requestsOf(body: Common, { model, adapter }: Target, wanted: Wanted): GenerateRequest[] {
  const { prompts, logprobs, echo, field, constraint } = wanted, owner = ownerOf(wanted.serving);
  checkStopTokens(body.stop_token_ids, model.engine.vocabSize);
  checkBiases(body.logit_bias, model.engine.vocabSize);
  return prompts.flatMap((promptTokenIds) => {
    if (promptTokenIds.length === 0) {
      throw new InvalidRequestError("Cannot run an empty prompt: it must have at least one token", {
        param: field,
        code: "invalid_value",
      });
    }
    checkPromptLength(promptTokenIds.length, wanted);
    const maxTokens = roomFor(promptTokenIds.length, { model, maxTokens: wanted.maxTokens, field });
    if (body.min_tokens > maxTokens) {
      throw refusal("min_tokens", `it is ${body.min_tokens}, at most ${maxTokens} new tokens are made`);
    }
    return Array.from({ length: body.n }, (_, choice): GenerateRequest => ({
      promptTokenIds,
      adapter,
      maxTokens,
      sampling: samplingOf(body, choice),
      logprobs,
      promptLogprobs: echo && logprobs !== undefined,
      stopTokenIds: body.stop_token_ids.length === 0 ? undefined : body.stop_token_ids,
      ignoreEos: body.ignore_eos,
      minTokens: body.min_tokens,
      constraint,
      owner,
      cacheSalt: saltOf(body, wanted.serving),
      askedMs: wanted.serving.exchange.beganMs,
    }));
  });
}

function checkStreaming({ stream, stream_options }: Common): void {
  if (!stream_options || stream) return;
  throw new InvalidRequestError('Cannot follow "stream_options" of the request: "stream" is not set', {
    param: "stream_options",
    code: "invalid_value",
  });
}

/** The name in answers: an adapter's id, or the base's. */
const nameOf = ({ adapter, model }: Target): string => typeof adapter === "string" ? adapter : model.id;

/** The job of a body; of several targets, whose choices come one target after the other. */
function jobOf(body: Common, targets: readonly Target[], wanted: Wanted): Job {
  const { exchange } = wanted.serving, [target] = targets;
  const each = targets.map((one) => requestsOf(body, one, wanted)), requests = each.flat();
  const modelName = wanted.isEach ? target.model.id : nameOf(target);
  exchange.model = modelName;
  // Each sequence reads its prompt.
  exchange.prompt(requests.reduce((sum, { promptTokenIds }) => sum + promptTokenIds.length, 0));
  return {
    model: target.model,
    modelName,
    models: wanted.isEach ? targets.flatMap((one, i) => each[i].map(() => nameOf(one))) : undefined,
    requestId: body.request_id,
    prompts: wanted.prompts,
    n: body.n,
    requests,
    exchange,
    stop: body.stop,
    skipSpecialTokens: body.skip_special_tokens,
    includeStop: body.include_stop_str_in_output,
    echo: wanted.echo,
    stream: body.stream,
    includeUsage: body.stream_options?.include_usage ?? false,
    continuousUsage: body.stream_options?.continuous_usage_stats ?? false,
    returnTokenIds: body.return_token_ids,
    tools: wanted.tools,
  };
}

/** Refuses more sequences than one request may start, before any prompt is looked at. */
function checkCount(
  { prompt, n, models }: {
    readonly prompt?: unknown;
    readonly n: number;
    readonly models: readonly string[];
  },
  most: number,
): void {
  const prompts = Array.isArray(prompt) && typeof prompt[0] !== "number" ? prompt.length : 1;
  if (prompts * n * Math.max(1, models.length) <= most) return;
  const by = models.length > 1 ? ` by ${models.length} models` : "";
  throw new InvalidRequestError(
    `Cannot run ${prompts} prompts ${n} times each${by}: at most ${most} sequences are started at once`,
    { param: models.length > 1 ? "models" : "n", code: "invalid_value" },
  );
}

/**
 * The job that a body of /v1/completions asks for.
 *
 * @throws InvalidRequestError, ModelNotFoundError, ConfigError of the adapter, OverloadedError of the hold, the signal's
 * reason.
 */
export const completionJob: JobMaker = async (body, { serving, hold, signal }) => {
  const checked = checkBody(body, { schema: completionBody, unsupported: unsupportedInCompletions });
  checkStreaming(checked);
  checkCount(checked, serving.limits.maxSequencesPerRequest);
  const structure = structureOf(checked);
  const target = await resolveTarget(checked, serving);
  const targets = await resolveEach(checked.models, target, serving);
  signal.throwIfAborted();
  const { max_tokens: maxTokens, logprobs, echo } = checked;
  const prompts = await promptsOf(checked.prompt, {
    model: target.model,
    field: "prompt",
    maxTokens,
    hold,
    signal,
  });
  const constraint = await constraintOf(structure, target.model, signal);
  return jobOf(checked, targets, {
    isEach: checked.models.length > 0,
    field: "prompt",
    prompts,
    constraint,
    maxTokens,
    logprobs,
    echo,
    serving,
  });
};

function chatText(
  messages: readonly ChatMessage[],
  { tokenizer }: ServedModel,
  tools: ChatOptions["tools"],
): string {
  try {
    return tokenizer.chatPrompt(messages, { tools });
  } catch (error) {
    // Here it says that the model and these messages do not fit; no adapter's file is broken.
    if (error instanceof ConfigError) {
      throw new InvalidRequestError(shorten(error.message, 300), { param: "messages" });
    }
    throw error;
  }
}

/**
 * The job that a body of /v1/chat/completions asks for.
 *
 * @throws as {@linkcode completionJob}; InvalidRequestError, too, when the model has no chat template for the messages.
 */
export const chatJob: JobMaker = async (body, { serving, hold, signal }) => {
  const checked = checkBody(body, { schema: chatBody, unsupported: unsupportedInChat });
  checkStreaming(checked);
  if (checked.top_logprobs && !checked.logprobs) {
    throw new InvalidRequestError('Cannot follow "top_logprobs" of the request: "logprobs" is not true', {
      param: "top_logprobs",
      code: "invalid_value",
    });
  }
  const messages = messagesOf(checked.messages, serving.limits.maxMessages);
  const asked = structureOf(checked), tools = toolsOf(checked);
  if (asked && tools) throw refusal(asked.param, 'it is not supported beside "tools"');
  const target = await resolveTarget(checked, serving);
  signal.throwIfAborted();
  const maxTokens = checked.max_completion_tokens ?? checked.max_tokens;
  const { use, structure = asked } = tools ? toolUseOf(tools, target.model) : {};
  const ids = await encodeText(chatText(messages, target.model, tools?.tools), {
    model: target.model,
    field: "messages",
    maxTokens,
    addSpecialTokens: false,
    hold,
    signal,
  });
  const logprobs = checked.logprobs ? checked.top_logprobs ?? 0 : undefined;
  const constraint = await constraintOf(structure, target.model, signal);
  return jobOf(checked, [target], {
    field: "messages",
    constraint,
    tools: use,
    prompts: [ids],
    maxTokens,
    logprobs,
    echo: false,
    serving,
  });
};
