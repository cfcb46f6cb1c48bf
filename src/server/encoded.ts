/**
 * Bodies of an encoder's routes to sequences: what cannot fit is refused before it is tokenised.
 *
 * @module
 */
import { breathe } from "../breathe.ts";
import type { EncoderInput } from "../engine/encode_request.ts";
import type { Hold } from "./budget.ts";
import type { ServedEncoder } from "./deps.ts";
import { InvalidRequestError } from "./errors.ts";
import { refusal } from "./fields.ts";
import { hasLongRun, longestRun } from "./long_runs.ts";

const inputRule = "it must be a text, a list of texts, a list of token ids, or a list of such lists";

/** Bytes of a token id in a list, as encoders hold them. */
const idBytes = 8;

/** Where sequences come from, and their bounds. */
export interface SequenceOptions {
  readonly model: ServedEncoder;
  readonly field: string;
  /** Tokens at most, to which texts are cut; -1: as many as the model takes; absent: longer ones are refused. */
  readonly truncate?: number;
  readonly hold: Hold;
  readonly signal: AbortSignal;
}

/** A sequence that an encoder takes. */
export type Sequence = Extract<EncoderInput, { tokenIds: readonly number[] }>;

function tooLong(length: string, { model: { encoder }, field }: SequenceOptions): InvalidRequestError {
  return new InvalidRequestError(
    `Cannot read "${field}" of the request: the model takes ${encoder.maxModelLen} tokens at most, it has ${length}`,
    { param: field, code: "context_length_exceeded" },
  );
}

/** Tokens that a sequence may have, and is cut to. */
function lengthOf({ model: { encoder }, truncate }: SequenceOptions): number | undefined {
  if (truncate === undefined) return undefined;
  if (truncate <= encoder.maxModelLen) return truncate < 0 ? encoder.maxModelLen : truncate;
  throw refusal("truncate_prompt_tokens", `the model takes ${encoder.maxModelLen} tokens at most`);
}

/** A text, or two, as a sequence; the caller's thread is held for milliseconds only, and memory is counted. */
export async function sequenceOf(
  texts: readonly [string, string?],
  options: SequenceOptions,
): Promise<Sequence> {
  const { model: { encoder, tokenizer }, field, hold, signal } = options;
  const maxLength = lengthOf(options);
  const fewest = texts.reduce((sum, text) => sum + (text ? tokenizer.fewestTokens(text) : 0), 0);
  if (maxLength === undefined && fewest > encoder.maxModelLen) throw tooLong(`at least ${fewest}`, options);
  for (const text of texts) {
    if (!text || !await hasLongRun(text)) continue;
    throw refusal(field, `it has more than ${longestRun} letters, digits, blanks or other signs in a row`);
  }
  let sequence: Sequence;
  try {
    sequence = await tokenizer.encodeTexts(texts, { maxLength, signal });
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw refusal("truncate_prompt_tokens", error.message);
  }
  signal.throwIfAborted();
  const { length } = sequence.tokenIds;
  if (length > encoder.maxModelLen) throw tooLong(String(length), options);
  if (length === 0) throw refusal(field, "it must have at least one token");
  hold.take(2 * idBytes * length);
  return sequence;
}

function givenIds(ids: readonly unknown[], path: string, options: SequenceOptions): Sequence {
  const { encoder: { maxModelLen, vocabSize } } = options.model, most = lengthOf(options);
  if (most === undefined && ids.length > maxModelLen) throw tooLong(String(ids.length), options);
  const kept = ids.slice(0, most);
  if (kept.length === 0) throw refusal(path, "it must have at least one token");
  const wrong = kept.findIndex((id) =>
    !Number.isInteger(id) || (id as number) < 0 || (id as number) >= vocabSize
  );
  if (wrong >= 0) throw refusal(`${path}[${wrong}]`, `it must be a token id of 0..${vocabSize - 1}`);
  options.hold.take(idBytes * kept.length);
  return { tokenIds: kept as number[] };
}

/** The texts or lists of ids of a field, one of them as a list of one. */
export function entriesOf(
  value: unknown,
  { field, most }: { readonly field: string; readonly most: number },
) {
  const isOne = typeof value === "string" || (Array.isArray(value) && typeof value[0] === "number");
  const entries: readonly unknown[] = isOne ? [value] : Array.isArray(value) ? value : [];
  if (entries.length === 0) throw refusal(field, inputRule);
  if (entries.length > most) throw refusal(field, `at most ${most} sequences are taken at once`);
  const kind = typeof entries[0];
  if (entries.some((entry) => typeof entry !== kind || (kind !== "string" && !Array.isArray(entry)))) {
    throw refusal(field, inputRule);
  }
  return { entries, isOne };
}

/** The sequences of a body's `input`. */
export async function sequencesOf(
  input: unknown,
  { most, ...options }: SequenceOptions & { readonly most: number },
): Promise<Sequence[]> {
  const { entries, isOne } = entriesOf(input, { field: options.field, most });
  const sequences: Sequence[] = [];
  for (const [i, entry] of entries.entries()) {
    const path = isOne ? options.field : `${options.field}[${i}]`;
    sequences.push(
      typeof entry === "string"
        ? await sequenceOf([entry], { ...options, field: path })
        : givenIds(entry as readonly unknown[], path, options),
    );
    await breathe();
    options.signal.throwIfAborted();
  }
  return sequences;
}
