/**
 * What a request may ask for, checked before anything is spent on it.
 *
 * @module
 */
import { mostTop } from "../../kernels/token_logprobs.ts";
import type { GenerateRequest, Sampling } from "./generate.ts";

/** Most ids that a request may name as its ends. */
export const maxStopTokenIds = 128;

/** Most tokens that a request may name with a bias, and the greatest bias. */
export const maxLogitBias = 1024, maxBias = 100;

/** Most log-probabilities at a position. */
const maxLogprobs = mostTop;

/** The engine that a request is checked for. */
export interface Capacity {
  readonly maxModelLen: number;
  readonly vocabSize: number;
  /** The model's own end tokens. */
  readonly eosTokenIds: readonly number[];
}

function refuse(field: string, value: unknown, rule: string): never {
  const shown = typeof value === "bigint" ? `${value}n` : String(value).slice(0, 80);
  throw new RangeError(`Cannot generate with ${field} ${shown}: it must be ${rule}`);
}

const isIn = (value: unknown, least: number, most: number): boolean =>
  Number.isInteger(value) && (value as number) >= least && (value as number) <= most;

function checkIds(field: string, ids: readonly number[], vocabSize: number): void {
  const bad = ids.find((id) => !isIn(id, 0, vocabSize - 1));
  if (bad === undefined && !ids.includes(undefined as never)) return;
  throw new RangeError(`Cannot use token id ${bad} of ${field}: ids are integers in 0..${vocabSize - 1}`);
}

function checkPrompt({ promptTokenIds }: GenerateRequest, { maxModelLen, vocabSize }: Capacity): void {
  if (promptTokenIds.length === 0) {
    throw new RangeError("Cannot generate from an empty prompt: it needs at least one token");
  }
  if (promptTokenIds.length > maxModelLen) {
    throw new RangeError(
      `Cannot generate from ${promptTokenIds.length} tokens: the context holds ${maxModelLen}`,
    );
  }
  checkIds("promptTokenIds", promptTokenIds, vocabSize);
}

function isSeed(seed: unknown): boolean {
  if (typeof seed === "bigint") return seed >= -(2n ** 63n) && seed < 2n ** 64n;
  return Number.isSafeInteger(seed);
}

/** Whether it is a number from the least to the most: a text or null would pass comparisons. */
const isWithin = (value: unknown, least: number, most: number): boolean =>
  typeof value === "number" && value >= least && value <= most;

function checkPenalties(
  { minP = 0, presencePenalty = 0, frequencyPenalty = 0, repetitionPenalty = 1 }: Sampling,
): void {
  if (!isWithin(minP, 0, 1)) refuse("minP", minP, "0 to 1");
  if (!isWithin(presencePenalty, -2, 2)) refuse("presencePenalty", presencePenalty, "-2 to 2");
  if (!isWithin(frequencyPenalty, -2, 2)) refuse("frequencyPenalty", frequencyPenalty, "-2 to 2");
  if (!isWithin(repetitionPenalty, Number.MIN_VALUE, Number.MAX_VALUE)) {
    refuse("repetitionPenalty", repetitionPenalty, "a finite number above 0");
  }
}

function checkBias({ logitBias }: Sampling, { vocabSize }: Capacity): void {
  if (!logitBias) return;
  if (logitBias.size > maxLogitBias) {
    throw new RangeError(
      `Cannot generate with logitBias of ${logitBias.size} tokens: at most ${maxLogitBias} are taken`,
    );
  }
  checkIds("logitBias", [...logitBias.keys()], vocabSize);
  const bad = [...logitBias.values()].find((bias) => !isWithin(bias, -maxBias, maxBias));
  if (bad !== undefined) refuse("a logitBias of", bad, `-${maxBias} to ${maxBias}`);
}

function checkSampling({ sampling }: GenerateRequest, capacity: Capacity): void {
  const { temperature, topP, topK, seed } = sampling;
  checkPenalties(sampling);
  checkBias(sampling, capacity);
  if (!(Number.isFinite(temperature) && temperature >= 0)) {
    refuse("temperature", temperature, "a finite number of 0 or more");
  }
  // A number: a text or null would pass comparisons.
  if (!(typeof topP === "number" && topP > 0 && topP <= 1)) {
    refuse("topP", topP, "more than 0, and at most 1");
  }
  if (!isIn(topK, 0, Number.MAX_SAFE_INTEGER)) refuse("topK", topK, "an integer of 0 or more");
  if (seed !== undefined && !isSeed(seed)) {
    refuse("seed", seed, "a safe integer, or a bigint of at most 64 bits");
  }
}

function checkLogprobs({ logprobs, promptLogprobs }: GenerateRequest): void {
  if (logprobs !== undefined && !isIn(logprobs, 0, maxLogprobs)) {
    refuse("logprobs", logprobs, `an integer in 0..${maxLogprobs}`);
  }
  if (promptLogprobs && logprobs === undefined) refuse("promptLogprobs", true, "asked for with logprobs");
}

function checkEnds(request: GenerateRequest, capacity: Capacity): void {
  const { maxTokens, stopTokenIds = [], minTokens = 0 } = request;
  if (stopTokenIds.length > maxStopTokenIds) {
    throw new RangeError(
      `Cannot generate with ${stopTokenIds.length} stopTokenIds: at most ${maxStopTokenIds} are taken`,
    );
  }
  checkIds("stopTokenIds", stopTokenIds, capacity.vocabSize);
  if (!isIn(minTokens, 0, maxTokens)) {
    refuse("minTokens", minTokens, `an integer in 0..${maxTokens} (maxTokens)`);
  }
  if (minTokens > 0 && endsOf(request, capacity).size === capacity.vocabSize) {
    refuse("minTokens", minTokens, "0 where every token is an end token");
  }
}

function checkResume(
  { resumeTokenIds, promptTokenIds, maxTokens }: GenerateRequest,
  { maxModelLen, vocabSize }: Capacity,
): void {
  if (!resumeTokenIds?.length) return;
  checkIds("resumeTokenIds", resumeTokenIds, vocabSize);
  const most = Math.min(maxTokens, maxModelLen - promptTokenIds.length);
  if (resumeTokenIds.length < most) return;
  throw new RangeError(`Cannot resume after ${resumeTokenIds.length} tokens: the sequence may have ${most}`);
}

function checkConstraint({ constraint }: GenerateRequest, { vocabSize, eosTokenIds }: Capacity): void {
  if (!constraint) return;
  if (constraint.vocabSize !== vocabSize) {
    refuse("a constraint of vocabSize", constraint.vocabSize, `the model's: ${vocabSize}`);
  }
  if (!eosTokenIds.some((id) => isIn(id, 0, vocabSize - 1))) {
    throw new RangeError(
      "Cannot generate with a constraint: the model has no end token, so its text could not end",
    );
  }
}

/** The ids that end a request's sequence. */
export function endsOf(
  { stopTokenIds = [], ignoreEos, constraint }: GenerateRequest,
  { eosTokenIds, vocabSize }: Capacity,
): ReadonlySet<number> {
  // A tokenizer may know more ids than the model has logits.
  const own = ignoreEos && !constraint ? [] : eosTokenIds.filter((id) => isIn(id, 0, vocabSize - 1));
  return new Set([...own, ...stopTokenIds]);
}

/**
 * Checks a request.
 *
 * @throws RangeError that names the field, the value and the rule.
 */
export function checkRequest(request: GenerateRequest, capacity: Capacity): void {
  const { maxTokens } = request;
  checkPrompt(request, capacity);
  if (!isIn(maxTokens, 0, Number.MAX_SAFE_INTEGER)) {
    throw new RangeError(`Cannot generate ${maxTokens} tokens: the count must be an integer of 0 or more`);
  }
  checkSampling(request, capacity);
  checkLogprobs(request);
  checkEnds(request, capacity);
  checkResume(request, capacity);
  checkConstraint(request, capacity);
}
