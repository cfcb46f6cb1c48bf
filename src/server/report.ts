/**
 * Errors to answers, and into the log where they are the server's own.
 *
 * @module
 */
import type { ServerDeps } from "./deps.ts";
import { shorten } from "./echo.ts";
import { answerTo, DeadlineError, type ErrorAnswer, NotReadyError, QueueTimeoutError } from "./errors.ts";
import type { ServerContext } from "./exchange.ts";

/** Whether a failure says nothing of the server's health that its operator does not know. */
function isExpected(error: unknown): boolean {
  return [NotReadyError, DeadlineError, QueueTimeoutError].some((known) => error instanceof known);
}

/** The answer to an error; logged when the failure is the server's own and somebody still waits for an answer. */
export function report(c: ServerContext, error: unknown, { log }: Pick<ServerDeps, "log">): ErrorAnswer {
  const told = answerTo(error);
  const exchange = c.get("exchange"), { code, type } = told.body.error;
  exchange.error = code ?? type;
  if (told.status >= 500 && !isExpected(error) && !c.req.raw.signal.aborted) {
    const what = error instanceof Error ? error.stack ?? error.message : String(error);
    const { method, path } = c.req;
    log?.(`${method} ${shorten(path)} failed with ${told.status}, request ${exchange.requestId}: ${what}`);
  }
  return told;
}
