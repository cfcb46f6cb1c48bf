/**
 * Fields of requests that are known but not supported: refused by name unless they ask for nothing.
 *
 * @module
 */
import type * as z from "zod";
import { InvalidRequestError } from "./errors.ts";

/** Fields by name, each with the values that change nothing. */
type Neutral = Readonly<Record<string, readonly unknown[]>>;

/** They say who asks and how to bill it, not what. */
const ignored: ReadonlySet<string> = new Set([
  "user",
  "metadata",
  "store",
  "service_tier",
  "safety_identifier",
  "prompt_cache_key",
  "prompt_cache_retention",
  "parallel_tool_calls",
  "request_id",
  "priority",
]);

const unsupported: Neutral = {
  logit_bias: [{}],
  frequency_penalty: [0],
  presence_penalty: [0],
  repetition_penalty: [1],
  length_penalty: [1],
  min_p: [0],
  min_tokens: [0],
  ignore_eos: [false],
  stop_token_ids: [[]],
  include_stop_str_in_output: [false],
  skip_special_tokens: [true],
  spaces_between_special_tokens: [true],
  truncate_prompt_tokens: [],
  prompt_logprobs: [],
  use_beam_search: [false],
  response_format: [{ type: "text" }],
  structured_outputs: [],
  guided_json: [],
  guided_regex: [],
  guided_choice: [],
  guided_grammar: [],
  logits_processors: [[]],
  adapters: [[]],
  lora: [[]],
  models: [[]],
};

/** Fields of /v1/completions that are not supported. */
export const unsupportedInCompletions: Neutral = {
  ...unsupported,
  best_of: [1],
  suffix: [""],
  add_special_tokens: [true],
};

/** Fields of /v1/chat/completions that are not supported. */
export const unsupportedInChat: Neutral = {
  ...unsupported,
  tools: [[]],
  tool_choice: ["none", "auto"],
  functions: [[]],
  function_call: ["none", "auto"],
  modalities: [["text"]],
  audio: [],
  prediction: [],
  reasoning_effort: [],
  verbosity: [],
  web_search_options: [],
  echo: [false],
  add_special_tokens: [false],
  add_generation_prompt: [true],
  continue_final_message: [false],
  chat_template: [],
  chat_template_kwargs: [{}],
  documents: [[]],
};

function isNeutral(value: unknown, neutral: readonly unknown[]): boolean {
  const text = JSON.stringify(value);
  return neutral.some((one) => JSON.stringify(one) === text);
}

function pathOf(path: readonly PropertyKey[]): string {
  return path.map((key, i) =>
    typeof key === "number" ? `[${key}]` : i === 0 ? String(key) : `.${String(key)}`
  )
    .join("");
}

function refusal(issue: z.core.$ZodIssue): InvalidRequestError {
  const unknown = issue.code === "unrecognized_keys" ? issue.keys[0] : undefined;
  const param = unknown === undefined ? pathOf(issue.path) : pathOf([...issue.path, unknown]);
  const rule = unknown === undefined ? issue.message : "there is no such field";
  return new InvalidRequestError(`Cannot read "${param}" of the request: ${rule}`, {
    param: param === "" ? null : param,
    code: unknown === undefined ? "invalid_value" : "unknown_field",
  });
}

/**
 * A body as its schema says; null is as good as absent.
 *
 * @throws InvalidRequestError that names the field: not supported, unknown, or breaking a rule.
 */
export function checkBody<T>(
  body: Readonly<Record<string, unknown>>,
  { schema, unsupported }: { readonly schema: z.ZodType<T>; readonly unsupported: Neutral },
): T {
  const asked: [string, unknown][] = [];
  for (const [name, value] of Object.entries(body)) {
    if (value === null || ignored.has(name)) continue;
    if (!Object.hasOwn(unsupported, name)) asked.push([name, value]);
    else if (!isNeutral(value, unsupported[name])) {
      throw new InvalidRequestError(`Cannot follow "${name}" of the request: it is not supported`, {
        param: name,
        code: "unsupported_field",
      });
    }
  }
  const checked = schema.safeParse(Object.fromEntries(asked));
  if (!checked.success) throw refusal(checked.error.issues[0]);
  return checked.data;
}
