/**
 * A server whose model is being opened: it lives, and takes no work yet.
 *
 * @module
 */
import { Hono } from "hono";
import { answerTo, NotReadyError } from "./errors.ts";
import { type Page, pageAnswer } from "./page.ts";

/** Answers `/health` with 200, and a page's files; everything else, `/ready` among it, with 503. */
export function loadingApp(page?: Page): Hono {
  const app = new Hono();
  app.get("/health", (c) => c.json({ status: "ok" }));
  app.get("/ready", (c) => c.json({ status: "loading" }, 503, { "retry-after": "5" }));
  app.all("*", (c) => {
    const isRead = c.req.method === "GET" || c.req.method === "HEAD";
    const found = page && isRead ? pageAnswer(page, c.req.raw) : undefined;
    if (found) return found;
    const error = new NotReadyError("Cannot take new work: the model is being loaded");
    const { status, body, headers } = answerTo(error);
    return c.json(body, status, { ...headers });
  });
  return app;
}
