/**
 * Fields of requests that are known but not supported: refused by name unless they ask for nothing.
 *
 * @module
 */
import type * as z from "zod";
import { shorten } from "./echo.ts";
import { InvalidRequestError } from "./errors.ts";
import { ruleOf } from "./rule.ts";

/** Fields by name, each with the values that change nothing. */
export type Neutral = Readonly<Record<string, readonly unknown[]>>;

/** They say who asks and how to bill or to cache it, not what. */
const ignored: ReadonlySet<string> = new Set([
  "user",
  "metadata",
  "store",
  "service_tier",
  "safety_identifier",
  "prompt_cache_key",
  "prompt_cache_options",
  "prompt_cache_retention",
  "parallel_tool_calls",
  // It matters to tokenizers that are not those of tokenizer.json.
  "spaces_between_special_tokens",
]);

/** Fields of both routes that are not supported: OpenAI's and vLLM's. */
const unsupported: Neutral = {
  length_penalty: [1],
  max_repetition_pattern_size: [0],
  min_repetition_pattern_size: [0],
  repetition_min_count: [0],
  repetition_detection: [],
  truncate_prompt_tokens: [],
  truncation_side: [],
  prompt_logprobs: [],
  logprob_token_ids: [],
  return_tokens_as_token_ids: [false],
  allowed_token_ids: [],
  bad_words: [[]],
  use_beam_search: [false],
  early_stopping: [false],
  logits_processors: [[]],
  priority: [0],
  kv_transfer_params: [{}],
  vllm_xargs: [{}],
  lora: [[]],
};

/** Fields of /v1/completions that are not supported. */
export const unsupportedInCompletions: Neutral = {
  ...unsupported,
  best_of: [1],
  suffix: [""],
  prompt_embeds: [[]],
  add_special_tokens: [true],
};

/** Fields of /v1/chat/completions that are not supported. */
export const unsupportedInChat: Neutral = {
  ...unsupported,
  models: [[]],
  functions: [[]],
  function_call: ["none", "auto"],
  modalities: [["text"]],
  audio: [],
  moderation: [],
  prediction: [],
  reasoning_effort: ["none"],
  // Nothing is split from the text as reasoning, so that nothing is left out either.
  include_reasoning: [true, false],
  thinking_token_budget: [],
  verbosity: ["medium"],
  web_search_options: [],
  echo: [false],
  add_special_tokens: [false],
  add_generation_prompt: [true],
  continue_final_message: [false],
  chat_template: [],
  chat_template_kwargs: [{}],
  chat_template_content_format: ["auto", "string"],
  mm_processor_kwargs: [{}],
  media_io_kwargs: [{}],
  documents: [[]],
};

/** Whether two JSON values are equal; stops at the first difference. */
function equal(a: unknown, b: unknown): boolean {
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return a === b;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const names = Object.keys(b);
  return Object.keys(a).length === names.length &&
    names.every((name) =>
      Object.hasOwn(a, name) &&
      equal((a as Record<string, unknown>)[name], (b as Record<string, unknown>)[name])
    );
}

/** Whether a field's value asks for nothing, in the company of the others. */
function isNeutral(
  name: string,
  body: Readonly<Record<string, unknown>>,
  neutral: readonly unknown[],
): boolean {
  const value = body[name];
  // The best `n` of `n` are all.
  if (name === "best_of" && value === (body.n ?? 1)) return true;
  return neutral.some((one) => equal(value, one));
}

/** Where in a body a value is, e.g. `messages[1].content`. */
export function pathOf(path: readonly PropertyKey[]): string {
  return path.map((key, i) =>
    typeof key === "number" ? `[${key}]` : `${i === 0 ? "" : "."}${shorten(String(key))}`
  )
    .join("");
}

/** The refusal of a field, by its path and the rule it breaks. */
export function refusal(path: string, rule: string, code = "invalid_value"): InvalidRequestError {
  return new InvalidRequestError(`Cannot read "${path}" of the request: ${rule}`, { param: path, code });
}

function refusalOf(issue: z.core.$ZodIssue): InvalidRequestError {
  if (issue.code === "invalid_key") return refusal(pathOf(issue.path), issue.issues[0].message);
  const unknown = issue.code === "unrecognized_keys" ? issue.keys[0] : undefined;
  return unknown === undefined
    ? refusal(pathOf(issue.path), issue.message)
    : refusal(pathOf([...issue.path, unknown]), "there is no such field", "unknown_field");
}

/**
 * A body as its schema says; null is as good as absent.
 *
 * Each field is looked at once and the first fault ends it. Long lists are for their own checks: the schema takes them as
 * they are.
 *
 * @throws InvalidRequestError that names the field: not supported, unknown, or breaking a rule.
 */
export function checkBody<Shape extends z.ZodRawShape>(
  body: Readonly<Record<string, unknown>>,
  { schema, unsupported }: { readonly schema: z.ZodObject<Shape>; readonly unsupported: Neutral },
): z.output<z.ZodObject<Shape>> {
  const asked: [string, unknown][] = [];
  for (const name in body) {
    const value = body[name];
    if (value === null) continue;
    if (Object.hasOwn(schema.shape, name)) asked.push([name, value]);
    else if (ignored.has(name)) continue;
    else if (!Object.hasOwn(unsupported, name)) throw unknownField(name);
    else if (!isNeutral(name, body, unsupported[name])) {
      throw new InvalidRequestError(`Cannot follow "${name}" of the request: it is not supported`, {
        param: name,
        code: "unsupported_field",
      });
    }
  }
  const checked = schema.safeParse(Object.fromEntries(asked), { error: ruleOf });
  if (!checked.success) throw refusalOf(checked.error.issues[0]);
  return checked.data;
}

function unknownField(name: string): InvalidRequestError {
  return refusal(shorten(name), "there is no such field", "unknown_field");
}
