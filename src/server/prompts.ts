/**
 * Prompts to token ids: what cannot fit is refused before it is tokenised, the rest is tokenised in slices.
 *
 * @module
 */
import { breathe } from "../breathe.ts";
import type { ServedModel } from "./deps.ts";
import type { Hold } from "./budget.ts";
import { InvalidRequestError } from "./errors.ts";
import { refusal } from "./fields.ts";
import { hasLongRun, longestRun } from "./long_runs.ts";

const promptRule = "it must be a text, a list of texts, a list of token ids, or a list of such lists";

/** Time after which others have their turn. */
const turnMs = 5;

/** Bytes of a token id in a list, as engines hold them. */
const idBytes = 8;

/** The model, field and bounds of a request's prompts. */
export interface PromptOptions {
  readonly model: ServedModel;
  /** The field that they come from. */
  readonly field: "prompt" | "messages";
  /** New tokens that are asked for; absent: as many as fit, but one. */
  readonly maxTokens?: number;
  readonly addSpecialTokens?: boolean;
  readonly hold: Hold;
  readonly signal: AbortSignal;
}

/** The refusal of a prompt that does not fit the context with the new tokens; `length` as the message is to say it. */
export function tooLong(
  length: string,
  { context, maxTokens, param }: {
    readonly context: number;
    readonly maxTokens?: number;
    readonly param: string;
  },
): InvalidRequestError {
  return new InvalidRequestError(
    `Cannot run this request: the model's context length is ${context} tokens, ` +
      `but the prompt has ${length} and ${maxTokens ?? "at least one"} more ` +
      `${(maxTokens ?? 1) === 1 ? "is" : "are"} asked for`,
    { param, code: "context_length_exceeded" },
  );
}

/** New tokens at most for a prompt of `length` tokens. */
export function roomFor(
  length: number,
  { model, maxTokens, field }: Pick<PromptOptions, "model" | "maxTokens" | "field">,
): number {
  const context = model.engine.maxModelLen;
  const wanted = maxTokens ?? Math.max(1, context - length);
  if (length + wanted <= context) return wanted;
  throw tooLong(String(length), { context, maxTokens, param: length >= context ? field : "max_tokens" });
}

/** A text's token ids; the caller's thread is held for milliseconds only, and memory is counted. */
export async function encodeText(text: string, options: PromptOptions): Promise<readonly number[]> {
  const { model: { tokenizer, engine }, field, maxTokens, addSpecialTokens = true, hold, signal } = options;
  const fewest = tokenizer.fewestTokens(text);
  const context = engine.maxModelLen;
  if (fewest + (maxTokens ?? 1) > context) {
    const param = fewest >= context ? field : "max_tokens";
    throw tooLong(`at least ${fewest}`, { context, maxTokens, param });
  }
  if (await hasLongRun(text)) {
    throw refusal(field, `it has more than ${longestRun} letters, digits, blanks or other signs in a row`);
  }
  const ids = await tokenizer.encodeAsync(text, { addSpecialTokens, signal });
  signal.throwIfAborted();
  hold.take(idBytes * ids.length);
  return ids;
}

/** A list of token ids, checked by a plain loop. */
function checkIds(ids: readonly unknown[], path: string, options: PromptOptions): readonly number[] {
  const { maxModelLen, vocabSize } = options.model.engine;
  if (ids.length > maxModelLen) {
    throw tooLong(String(ids.length), {
      context: maxModelLen,
      maxTokens: options.maxTokens,
      param: "prompt",
    });
  }
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i];
    if (typeof id !== "number" || !Number.isInteger(id)) throw refusal("prompt", promptRule);
    if (id < 0) throw refusal(`${path}[${i}]`, `it must be a token id, at least 0, and is ${id}`);
    if (id >= vocabSize) {
      throw new InvalidRequestError(
        `Cannot use token id ${id} of the prompt: the vocabulary has ids 0..${vocabSize - 1}`,
        { param: "prompt", code: "invalid_value" },
      );
    }
  }
  options.hold.take(idBytes * ids.length);
  return ids as readonly number[];
}

/** The texts or lists of ids that a `prompt` has, as they are. */
function listed(prompt: unknown): readonly unknown[] {
  if (typeof prompt === "string") return [prompt];
  if (!Array.isArray(prompt) || prompt.length === 0) throw refusal("prompt", promptRule);
  return typeof prompt[0] === "number" ? [prompt] : prompt;
}

/**
 * Token ids of each prompt of a body of /v1/completions.
 *
 * @throws InvalidRequestError that names the first fault; what tokenising throws.
 */
export async function promptsOf(
  prompt: unknown,
  options: PromptOptions,
): Promise<readonly (readonly number[])[]> {
  const entries = listed(prompt);
  const kind = typeof entries[0];
  const single = !Array.isArray(prompt) || typeof prompt[0] === "number";
  // Of one kind, before the first is tokenised.
  if (entries.some((entry) => typeof entry !== kind || (kind !== "string" && !Array.isArray(entry)))) {
    throw refusal("prompt", promptRule);
  }
  const prompts: (readonly number[])[] = [];
  let turn = performance.now();
  for (const [i, entry] of entries.entries()) {
    const path = single ? "prompt" : `prompt[${i}]`;
    // Many short texts are as long as one long text.
    if (performance.now() - turn > turnMs) {
      await breathe();
      turn = performance.now();
      options.signal.throwIfAborted();
    }
    prompts.push(
      typeof entry === "string"
        ? await encodeText(entry, options)
        : checkIds(entry as readonly unknown[], path, options),
    );
  }
  return prompts;
}
