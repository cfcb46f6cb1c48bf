/**
 * A job's answer: one JSON object, or a stream of chunks.
 *
 * @module
 */
import type { Context } from "hono";
import type { Job } from "./openai.ts";
import { collect, type Part, startJob, type Usage, usageOf } from "./run.ts";
import { sseResponse } from "./sse.ts";

/** Every answer and chunk begins with these. */
interface Head {
  readonly id: string;
  readonly object: string;
  /** Unix seconds. */
  readonly created: number;
  readonly model: string;
}

/** What differs between the routes: names, and how a part is written. */
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
    id: idPrefix + crypto.randomUUID().replaceAll("-", ""),
    object,
    created: Math.floor(Date.now() / 1000),
    model: job.modelName,
  };
}

interface Chunk extends Head {
  readonly choices: readonly unknown[];
  /** Absent unless counts were asked for; null in every chunk but the last. */
  readonly usage?: Usage | null;
}

async function* chunks(
  job: Job,
  parts: AsyncIterable<Part>,
  shape: AnswerShape,
): AsyncGenerator<Chunk, void, void> {
  const head = headOf(job, shape, shape.chunkObject);
  const noUsage = job.includeUsage ? { usage: null } : {};
  const begun = new Set<number>();
  let newTokens = 0;
  for await (const part of parts) {
    const extra = begun.size === 0 ? shape.extra(job) : {};
    const first = !begun.has(part.index);
    begun.add(part.index);
    newTokens += part.tokens.length;
    yield { ...head, ...extra, choices: [shape.chunk(part, job, { first })], ...noUsage };
  }
  if (job.includeUsage) yield { ...head, choices: [], usage: usageOf(job, newTokens) };
}

/** Runs a job and answers the request; see {@linkcode startJob} for what is thrown before anything is answered. */
export async function answer(
  c: Context,
  job: Job,
  { shape, onError }: { readonly shape: AnswerShape; readonly onError: (error: unknown) => unknown },
): Promise<Response> {
  const run = await startJob(job, c.req.raw.signal);
  if (job.stream) return sseResponse(chunks(job, run.parts, shape), { onError, onCancel: run.cancel });
  const head = headOf(job, shape, shape.object);
  const whole = await collect(job, run.parts);
  const newTokens = whole.reduce((sum, { tokens }) => sum + tokens.length, 0);
  return c.json({
    ...head,
    ...shape.extra(job),
    choices: whole.map((part) => shape.choice(part, job)),
    usage: usageOf(job, newTokens),
  });
}
