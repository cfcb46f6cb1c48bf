/**
 * Server-sent events, as OpenAI's clients read them.
 *
 * @module
 */
import { errorBody } from "./errors.ts";
import { outflow } from "./outflow.ts";

const headers = {
  "content-type": "text/event-stream; charset=utf-8",
  "cache-control": "no-cache",
  // Proxies that buffer would hold the stream back.
  "x-accel-buffering": "no",
};

/** How a stream of events ends early. */
export interface SseOptions {
  /** The last event's value when the iteration fails. */
  readonly onError: (error: unknown) => unknown;
  /** The reader went away, or takes nothing. */
  readonly onCancel: () => void;
  /** Called once, however the stream ends. */
  readonly onEnd: () => void;
  /** Time after which a reader that takes nothing is cut off. */
  readonly readerMs: number;
}

/** A response of one event a text of JSON, and `[DONE]` after the last; a failure is an event, and ends the stream. */
export function sseResponse(texts: AsyncGenerator<string, void, void>, options: SseOptions): Response {
  const { onError, onCancel, onEnd, readerMs } = options;
  const encoder = new TextEncoder();
  const event = (data: string): Uint8Array => encoder.encode(`data: ${data}\n\n`);
  let ended = false, left = false;
  const next = async (): Promise<Uint8Array | undefined> => {
    if (ended) return undefined;
    try {
      const { done, value } = await texts.next();
      ended = done === true;
      return event(done ? "[DONE]" : value!);
    } catch (error) {
      ended = true;
      // An end because the reader left is no failure, and nobody reads of it.
      return left ? undefined : event(JSON.stringify(onError(error)));
    }
  };
  const onLeave = (): void => {
    left = true;
    onCancel();
    // Not awaited: it ends when the sequence has noticed.
    texts.return().catch(() => {});
  };
  const cutOff = errorBody("Cannot go on with this answer: nothing of it was read for too long", {
    code: "reader_too_slow",
  });
  const lastWords = event(JSON.stringify(cutOff));
  return new Response(outflow({ next, readerMs, lastWords, onLeave, onEnd }), { headers });
}
