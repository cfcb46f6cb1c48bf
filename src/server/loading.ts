/**
 * A server whose model is being opened: it lives, and takes no work yet.
 *
 * @module
 */
import { Hono } from "hono";
import { answerTo, NotReadyError } from "./errors.ts";

/** Answers `/health` with 200 and everything else, `/ready` among it, with 503. */
export function loadingApp(): Hono {
  const app = new Hono();
  app.get("/health", (c) => c.json({ status: "ok" }));
  app.get("/ready", (c) => c.json({ status: "loading" }, 503, { "retry-after": "5" }));
  app.all("*", (c) => {
    const error = new NotReadyError("Cannot take new work: the model is being loaded");
    const { status, body, headers } = answerTo(error);
    return c.json(body, status, { ...headers });
  });
  return app;
}
