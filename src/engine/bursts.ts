/**
 * A sequence's events in bursts, whatever its engine offers.
 *
 * @module
 */
import type { Engine, GenerateEvent, GenerateRequest } from "./generate.ts";

async function* singly(events: AsyncIterable<GenerateEvent>): AsyncGenerator<readonly GenerateEvent[]> {
  for await (const event of events) yield [event];
}

/** An engine's bursts; of one that has none each event alone. */
export function burstsOf(
  engine: Pick<Engine, "generate" | "bursts">,
  request: GenerateRequest,
): AsyncIterable<readonly GenerateEvent[]> {
  return engine.bursts?.(request) ?? singly(engine.generate(request));
}

/** Each event of bursts. */
export async function* eventsOf(
  bursts: AsyncIterable<readonly GenerateEvent[]>,
): AsyncGenerator<GenerateEvent, void, void> {
  for await (const events of bursts) {
    for (const event of events) yield event;
  }
}
