/**
 * An encoder's routes: OpenAI's /v1/embeddings, and vLLM's /classify, /score and /pooling.
 *
 * @module
 */
import * as z from "zod";
import type { EncodeRequest, EncoderOutput } from "../engine/encode_request.ts";
import { ModelNotFoundError } from "./errors.ts";
import type { HostTensor } from "../tensor.ts";
import type { Hold } from "./budget.ts";
import type { RequestServing, ServedEncoder } from "./deps.ts";
import { quoted } from "./echo.ts";
import { entriesOf, type Sequence, sequenceOf, type SequenceOptions, sequencesOf } from "./encoded.ts";
import { checkBody, type Neutral, refusal } from "./fields.ts";
import { modelCard } from "./models.ts";
import { textsField } from "./schema.ts";
import { base64Of, cosine, listOf, probabilities } from "./vectors.ts";

/** A request's body, and what its work is bound by. */
export interface EncodingOptions {
  readonly serving: RequestServing;
  readonly hold: Hold;
  readonly signal: AbortSignal;
}

/** An answer: a list of data, and what is said of all. */
export interface EncodingAnswer extends Readonly<Record<string, unknown>> {
  readonly data: readonly Readonly<Record<string, unknown>>[];
}

/** A route: a body to the answer's JSON. */
export type EncodingRoute = (
  body: Readonly<Record<string, unknown>>,
  options: EncodingOptions,
) => Promise<EncodingAnswer>;

const common = {
  model: z.string().min(1),
  truncate_prompt_tokens: z.number().int().min(-1).refine((value) => value !== 0, {
    error: "it must be -1, or 1 or more",
  }).optional(),
};
const pairField = z.unknown().meta({
  anyOf: [{ type: "string" }, { type: "array", items: { type: "string" } }],
});
const format = z.enum(["float", "base64"], { error: "it must be float or base64" }).default("float");
const unsupported: Neutral = { priority: [0], add_special_tokens: [true], request_id: [] };

/** A body of /v1/embeddings. */
export const embeddingsBody = z.strictObject({
  ...common,
  input: textsField.optional(),
  encoding_format: format,
  dimensions: z.number().int().optional(),
});
/** A body of /classify. */
export const classifyBody = z.strictObject({
  ...common,
  input: textsField.optional(),
  use_activation: z.boolean().default(true),
});
/** A body of /score. */
export const scoreBody = z.strictObject({
  ...common,
  text_1: pairField.optional(),
  text_2: pairField.optional(),
  use_activation: z.boolean().default(true),
});
/** A body of /pooling. */
export const poolingBody = z.strictObject({
  ...common,
  input: textsField.optional(),
  encoding_format: format,
  task: z.enum(["embed", "classify", "token_embed"], {
    error: "it must be embed, classify or token_embed",
  }).default("embed"),
  use_activation: z.boolean().default(true),
});

/** The encoder and adapter that a request names. */
interface Target {
  readonly model: ServedEncoder;
  readonly adapter?: string;
  /** The name in the answer. */
  readonly name: string;
}

async function targetOf(name: string, { encoder: model, ...deps }: RequestServing): Promise<Target> {
  if (!model) {
    throw new ModelNotFoundError(`Cannot use model ${quoted(name)}: no encoder is served here`);
  }
  const { id, parent } = await modelCard(name, { encoder: model, ...deps });
  deps.exchange.model = id;
  return parent === null ? { model, name: id } : { model, adapter: id, name: id };
}

const textBytes = 24;

/** Encodes sequences for one target; the memory of results, and of their text, is counted. */
async function encoded(
  sequences: readonly Sequence[],
  { target: { model: { encoder }, adapter }, output, labels = 0, options: { serving, hold, signal } }: {
    readonly target: Target;
    readonly output: EncoderOutput;
    /** Of the classifier, for logits. */
    readonly labels?: number;
    readonly options: EncodingOptions;
  },
): Promise<HostTensor[]> {
  const rows = output === "hidden"
    ? sequences.reduce((sum, { tokenIds }) => sum + tokenIds.length, 0)
    : sequences.length;
  const numbers = rows * (output === "logits" ? labels : encoder.hiddenSize);
  if (4 * numbers > serving.limits.maxTensorBytes) {
    throw refusal(
      "input",
      `its answer has ${4 * numbers} bytes, at most ${serving.limits.maxTensorBytes} are given`,
    );
  }
  const longest = Math.max(...sequences.map(({ tokenIds }) => tokenIds.length));
  if (longest > serving.limits.maxPromptTokens) {
    throw refusal(
      "input",
      `a sequence has ${longest} tokens, at most ${serving.limits.maxPromptTokens} are taken here`,
    );
  }
  hold.take(textBytes * numbers);
  serving.exchange.prompt(sequences.reduce((sum, { tokenIds }) => sum + tokenIds.length, 0));
  const requests = sequences.map((input): EncodeRequest => ({ input, adapter, output }));
  return await encoder.encode(requests, { signal });
}

const randomId = (prefix: string): string => `${prefix}-${crypto.randomUUID().replaceAll("-", "")}`;

function answer(
  prefix: string,
  { target, sequences, data }: {
    readonly target: Target;
    readonly sequences: readonly Sequence[];
    readonly data: EncodingAnswer["data"];
  },
): EncodingAnswer {
  const tokens = sequences.reduce((sum, { tokenIds }) => sum + tokenIds.length, 0);
  return {
    id: randomId(prefix),
    object: "list",
    created: Math.floor(Date.now() / 1000),
    model: target.name,
    data,
    usage: { prompt_tokens: tokens, total_tokens: tokens, completion_tokens: 0, prompt_tokens_details: null },
  };
}

const sequenceOptions = (
  { hold, signal }: EncodingOptions,
  { model }: Target,
  truncate: number | undefined,
): Omit<SequenceOptions, "field"> => ({ model, truncate, hold, signal });

/** The sequences of a body's `input`, for the target that its `model` names. */
async function inputOf(
  body: { readonly model: string; readonly input?: unknown; readonly truncate_prompt_tokens?: number },
  options: EncodingOptions,
): Promise<{ readonly target: Target; readonly sequences: readonly Sequence[] }> {
  const target = await targetOf(body.model, options.serving);
  const sequences = await sequencesOf(body.input, {
    ...sequenceOptions(options, target, body.truncate_prompt_tokens),
    field: "input",
    most: options.serving.limits.maxSequencesPerRequest,
  });
  return { target, sequences };
}

/** OpenAI's embeddings. */
export const embeddings: EncodingRoute = async (raw, options) => {
  const body = checkBody(raw, { schema: embeddingsBody, unsupported });
  const { target, sequences } = await inputOf(body, options);
  const { hiddenSize } = target.model.encoder;
  if (body.dimensions !== undefined && body.dimensions !== hiddenSize) {
    throw refusal("dimensions", `the model's embeddings have ${hiddenSize}, and are not cut`);
  }
  const found = await encoded(sequences, { target, output: "embedding", options });
  const written = body.encoding_format === "base64" ? base64Of : listOf;
  const data = found.map((vector, index) => ({ object: "embedding", index, embedding: written(vector) }));
  return answer("embd", { target, sequences, data });
};

/** The classifier of a target, for `activate` to make probabilities of its logits. */
async function classifierOf({ model: { encoder }, adapter, name }: Target) {
  const count = await encoder.labelCount(adapter);
  if (count === 0) {
    throw refusal("model", `${quoted(name)} has no classifier, neither its folder nor the adapter`);
  }
  // Labels are the adapter's own; else they and their kind are those of the folder, where a classifier has as many.
  const own = await encoder.labelsOf?.(adapter);
  const isFolders = count === encoder.labels.length;
  const problem = isFolders ? encoder.problem : undefined;
  return {
    count,
    labelOf: (index: number): string =>
      own?.[index] ?? (isFolders ? encoder.labels[index] : `LABEL_${index}`),
    activate: (logits: HostTensor, wanted: boolean): number[] =>
      wanted ? probabilities(logits, problem) : listOf(logits),
  };
}

/** vLLM's classification. */
export const classify: EncodingRoute = async (raw, options) => {
  const body = checkBody(raw, { schema: classifyBody, unsupported });
  const { target, sequences } = await inputOf(body, options);
  const { count, labelOf, activate } = await classifierOf(target);
  const found = await encoded(sequences, { target, output: "logits", labels: count, options });
  const data = found.map((logits, index) => {
    const probs = activate(logits, body.use_activation);
    return { index, label: labelOf(probs.indexOf(Math.max(...probs))), probs, num_classes: probs.length };
  });
  return answer("classify", { target, sequences, data });
};

/** vLLM's pooling. */
export const pooling: EncodingRoute = async (raw, options) => {
  const body = checkBody(raw, { schema: poolingBody, unsupported });
  const { target, sequences } = await inputOf(body, options);
  const written = body.encoding_format === "base64" ? base64Of : listOf;
  const item = (index: number, data: unknown) => ({ index, object: "pooling", data });
  if (body.task === "classify") {
    const { count, activate } = await classifierOf(target);
    const found = await encoded(sequences, { target, output: "logits", labels: count, options });
    const data = found.map((logits, i) => item(i, activate(logits, body.use_activation)));
    return answer("pool", { target, sequences, data });
  }
  const output = body.task === "embed" ? "embedding" : "hidden";
  const found = await encoded(sequences, { target, output, options });
  return answer("pool", { target, sequences, data: found.map((one, i) => item(i, written(one))) });
};

/** Pairs of texts: one with each of the others, or one by one. */
function pairsOf(body: z.output<typeof scoreBody>, most: number): readonly (readonly [string, string])[] {
  const texts = (["text_1", "text_2"] as const).map((field) => {
    const { entries } = entriesOf(body[field], { field, most });
    if (typeof entries[0] !== "string") throw refusal(field, "it must be a text or a list of texts");
    return entries as readonly string[];
  });
  const [first, second] = texts;
  if (first.length !== 1 && first.length !== second.length) {
    throw refusal("text_1", `it must be one text, or as many as text_2 has: ${second.length}`);
  }
  return second.map((text, i) => [first.length === 1 ? first[0] : first[i], text]);
}

/** vLLM's scores: of a classifier of one label that reads two texts together, or the cosine of two embeddings. */
export const score: EncodingRoute = async (raw, options) => {
  const body = checkBody(raw, { schema: scoreBody, unsupported });
  const target = await targetOf(body.model, options.serving), { encoder } = target.model;
  const pairs = pairsOf(body, options.serving.limits.maxSequencesPerRequest);
  const shared = sequenceOptions(options, target, body.truncate_prompt_tokens);
  const count = await encoder.labelCount(target.adapter);
  if (count > 1) {
    throw refusal(
      "model",
      `its classifier has ${count} labels: scores are of one, or of embeddings without a classifier`,
    );
  }
  const sequences: Sequence[] = [];
  const add = async (texts: readonly [string, string?], field: string): Promise<void> => {
    sequences.push(await sequenceOf(texts, { ...shared, field }));
  };
  for (const [first, second] of pairs) {
    if (count === 1) await add([first, second], "text_2");
    else {
      await add([first], "text_1");
      await add([second], "text_2");
    }
  }
  const output = count === 1 ? "logits" : "embedding";
  const found = await encoded(sequences, { target, output, labels: count, options });
  const { activate } = count === 1 ? await classifierOf(target) : { activate: undefined };
  const data = pairs.map((_, index) => ({
    index,
    object: "score",
    score: activate
      ? activate(found[index], body.use_activation)[0]
      : cosine(found[2 * index], found[2 * index + 1]),
  }));
  return answer("score", { target, sequences, data });
};
