/**
 * A job's answer: one JSON object, or a stream of chunks.
 *
 * @module
 */
import type { ServerContext } from "./exchange.ts";
import type { Job } from "./openai.ts";
import { collect, counts, type Part, startJob, type Usage, usageOf } from "./run.ts";
import { sseResponse } from "./sse.ts";

/** Every answer and chunk begins with these. */
interface Head {
  readonly id: string;
  readonly object: string;
  /** Unix seconds. */
  readonly created: number;
  readonly model: string;
}

/** The differences between the routes: names, and how a part is written. */
export interface AnswerShape {
  readonly idPrefix: string;
  readonly object: string;
  readonly chunkObject: string;
  /** A whole choice. */
  choice(part: Part, job: Job): unknown;
  /** Some more of a choice; `first` is true for its first chunk. */
  chunk(part: Part, job: Job, options: { readonly first: boolean }): unknown;
  /** Fields of an answer, or of the first chunk, besides its choices. */
  extra(job: Job): Readonly<Record<string, unknown>>;
}

function headOf(job: Job, { idPrefix }: AnswerShape, object: string): Head {
  return {
    id: idPrefix + (job.requestId ?? crypto.randomUUID().replaceAll("-", "")),
    object,
    created: Math.floor(Date.now() / 1000),
    model: job.modelName,
  };
}

/**
 * The counts in a chunk: those of its choice so far, as vLLM has them, where each chunk is to say them. Absent unless counts
 * were asked for; null in every chunk but the last, unless each is to have them.
 */
function usageIn(part: Part, job: Job, newTokens: number): Usage | null | undefined {
  if (job.continuousUsage) return counts(job.requests[part.index].promptTokenIds.length, newTokens);
  return job.includeUsage ? null : undefined;
}

/** An object's JSON, open for more fields. */
const opened = (fields: Readonly<Record<string, unknown>>): string => JSON.stringify(fields).slice(0, -1);

/** The JSON of a chunk that begins with these fields. */
function chunkText(begin: string, choices: readonly unknown[], usage: Usage | null | undefined): string {
  const counted = usage === undefined ? "" : `,"usage":${JSON.stringify(usage)}`;
  return `${begin},"choices":${JSON.stringify(choices)}${counted}}`;
}

/** The JSON of each chunk. The head, which all have, is written once. */
async function* chunks(
  job: Job,
  parts: AsyncIterable<Part>,
  shape: AnswerShape,
): AsyncGenerator<string, void, void> {
  const head = headOf(job, shape, shape.chunkObject), begin = opened({ ...head });
  const newTokens = new Map<number, number>();
  for await (const part of parts) {
    const begun = newTokens.size === 0 ? opened({ ...head, ...shape.extra(job) }) : begin;
    const before = newTokens.get(part.index);
    const sum = (before ?? 0) + part.tokens.length;
    newTokens.set(part.index, sum);
    const choices = [shape.chunk(part, job, { first: before === undefined })];
    yield chunkText(begun, choices, usageIn(part, job, sum));
  }
  const all = [...newTokens.values()].reduce((sum, count) => sum + count, 0);
  if (job.includeUsage) yield chunkText(begin, [], usageOf(job, all));
}

/** How a job's answer is written, and who is told of its end. */
export interface AnswerOptions {
  readonly shape: AnswerShape;
  /** Aborted when nobody waits for the answer any more. */
  readonly signal: AbortSignal;
  /** A failed stream's last event. */
  readonly onError: (error: unknown) => unknown;
  /** Called when the answer is complete, or its reader has left; not when this throws. */
  readonly onEnd: () => void;
  /** Time after which a reader that takes nothing is cut off. */
  readonly readerMs: number;
  /** Time until a sequence must run. */
  readonly queueSeconds: number;
}

/** Runs a job and answers the request; see {@linkcode startJob} for what is thrown before anything is answered. */
export async function answer(c: ServerContext, job: Job, options: AnswerOptions): Promise<Response> {
  const { shape, signal, onError, onEnd, readerMs, queueSeconds } = options;
  const run = await startJob(job, { signal, queueSeconds });
  if (job.stream) {
    return sseResponse(chunks(job, run.parts, shape), { onError, onCancel: run.cancel, onEnd, readerMs });
  }
  const head = headOf(job, shape, shape.object);
  const whole = await collect(job, run.parts);
  const newTokens = whole.reduce((sum, { tokens }) => sum + tokens.length, 0);
  onEnd();
  return c.json({
    ...head,
    ...shape.extra(job),
    choices: whole.map((part) => shape.choice(part, job)),
    usage: usageOf(job, newTokens),
  });
}
