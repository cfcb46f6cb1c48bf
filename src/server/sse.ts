/**
 * Server-sent events, as OpenAI's clients read them.
 *
 * @module
 */

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
  /** The reader went away. */
  readonly onCancel: () => void;
}

/** A response of one event a value, as JSON, and `[DONE]` after the last; a failure is an event, and ends the stream. */
export function sseResponse(values: AsyncGenerator<unknown>, { onError, onCancel }: SseOptions): Response {
  const encoder = new TextEncoder();
  const event = (data: string): Uint8Array => encoder.encode(`data: ${data}\n\n`);
  let cancelled = false;
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const { done, value } = await values.next();
        if (cancelled) return;
        controller.enqueue(event(done ? "[DONE]" : JSON.stringify(value)));
        if (done) controller.close();
      } catch (error) {
        // What ends because of the reader's leaving is no failure, and nobody reads of it.
        if (cancelled) return;
        controller.enqueue(event(JSON.stringify(onError(error))));
        controller.close();
      }
    },
    cancel() {
      cancelled = true;
      onCancel();
      // Not awaited: it ends when the sequence has noticed.
      values.return(undefined).catch(() => {});
    },
  });
  return new Response(body, { headers });
}
