/**
 * The HTTP routes.
 *
 * @module
 */
import { type Context, Hono } from "hono";
import { guards } from "./access.ts";
import { adapterDelta, applyAdapter } from "./adapters.ts";
import { answer, type AnswerShape } from "./answer.ts";
import { chatShape } from "./chat.ts";
import { completionShape } from "./completions.ts";
import { breathe } from "../breathe.ts";
import { beginWork, isReady, type ServerDeps, type Serving, servingOf } from "./deps.ts";
import { shorten } from "./echo.ts";
import { classify, embeddings, type EncodingAnswer, type EncodingRoute, pooling, score } from "./encoding.ts";
import { answerTo, type ErrorBody, errorBody, NotReadyError } from "./errors.ts";
import { requestBounds } from "./json_bounds.ts";
import { readJson } from "./json.ts";
import { modelCard, modelCards } from "./models.ts";
import { chatJob, completionJob, type JobMaker } from "./openai.ts";

type Handler = (c: Context) => Response | Promise<Response>;

interface Route {
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly handler: Handler;
}

/** A route that runs a job on the engine. */
function generating(
  serving: Serving,
  { jobOf, shape }: { readonly jobOf: JobMaker; readonly shape: AnswerShape },
): Handler {
  const { limits } = serving;
  const bounds = requestBounds(serving.model?.engine.maxModelLen ?? 0);
  return async (c) => {
    const { signal, end } = beginWork(serving, c.req.raw.signal);
    const hold = serving.budget.hold();
    try {
      const body = await readJson(c.req.raw, { maxBytes: limits.maxBodyBytes, bounds, hold, signal, limits });
      const job = await jobOf(body, { serving, hold, signal });
      return await answer(c, job, {
        shape,
        signal,
        onError: (error) => report(c, error, serving).body,
        onEnd: end,
        readerMs: 1000 * limits.readerSeconds,
      });
    } catch (error) {
      end();
      throw error;
    } finally {
      // From here on the engine's own bounds hold: of what runs, and of what waits.
      hold.free();
    }
  };
}

/** An answer's JSON, an item of its data at a time: one with many numbers takes a while. */
async function answerText({ data, ...rest }: EncodingAnswer): Promise<string> {
  const items: string[] = [];
  for (const item of data) {
    items.push(JSON.stringify(item));
    await breathe();
  }
  return `${JSON.stringify(rest).slice(0, -1)},"data":[${items.join(",")}]}`;
}

/** A route that encodes. */
function encoding(serving: Serving, route: EncodingRoute): Handler {
  const { limits } = serving;
  // Token ids of many sequences may stand in one body.
  const bounds = requestBounds(limits.maxBodyBytes / 2);
  return async (c) => {
    const { signal, end } = beginWork(serving, c.req.raw.signal);
    const hold = serving.budget.hold();
    try {
      const body = await readJson(c.req.raw, { maxBytes: limits.maxBodyBytes, bounds, hold, signal, limits });
      const text = await answerText(await route(body, { serving, hold, signal }));
      return c.body(text, 200, { "content-type": "application/json" });
    } finally {
      hold.free();
      end();
    }
  };
}

/** The answer to an error; logged when the failure is the server's own and somebody still waits for an answer. */
function report(c: Context, error: unknown, { log }: ServerDeps): ReturnType<typeof answerTo> {
  const told = answerTo(error);
  if (told.status >= 500 && !(error instanceof NotReadyError) && !c.req.raw.signal.aborted) {
    const what = error instanceof Error ? error.stack ?? error.message : String(error);
    log?.(`${c.req.method} ${shorten(c.req.path)} failed with ${told.status}: ${what}`);
  }
  return told;
}

const post = (path: string, handler: Handler): Route => ({ method: "POST", path, handler });

function routes(serving: Serving): readonly Route[] {
  return [
    { method: "GET", path: "/health", handler: (c) => c.json({ status: "ok" }) },
    {
      method: "GET",
      path: "/ready",
      handler: (c) =>
        isReady(serving) ? c.json({ status: "ready" }) : c.json({ status: "not ready" }, 503, {
          "retry-after": "5",
        }),
    },
    {
      method: "GET",
      path: "/v1/models",
      handler: async (c) => c.json({ object: "list", data: await modelCards(serving) }),
    },
    {
      method: "GET",
      // A base's id may have a slash in it.
      path: "/v1/models/:id{.+}",
      handler: async (c) => c.json(await modelCard(c.req.param("id")!, serving)),
    },
    {
      method: "POST",
      path: "/v1/completions",
      handler: generating(serving, { jobOf: completionJob, shape: completionShape }),
    },
    {
      method: "POST",
      path: "/v1/chat/completions",
      handler: generating(serving, { jobOf: chatJob, shape: chatShape }),
    },
    post("/v1/embeddings", encoding(serving, embeddings)),
    ...["/classify", "/v1/classify"].map((path) => post(path, encoding(serving, classify))),
    ...["/score", "/v1/score"].map((path) => post(path, encoding(serving, score))),
    post("/pooling", encoding(serving, pooling)),
    {
      method: "POST",
      path: "/v1/adapters/:id/apply",
      handler: (c) => applyAdapter(c, c.req.param("id")!, serving),
    },
    {
      method: "GET",
      path: "/v1/adapters/:id/delta",
      handler: (c) => adapterDelta(c, c.req.param("id")!, serving),
    },
  ];
}

function notAllowed(c: Context, allowed: string): Response {
  const message = `Cannot ${c.req.method} ${shorten(c.req.path)}: the method must be ${allowed}`;
  return c.json<ErrorBody>(errorBody(message, { code: "method_not_allowed" }), 405, { allow: allowed });
}

/**
 * A server of a base model and its adapters, as a web handler (`app.fetch`) without a runtime of its own.
 *
 * Routes: OpenAI's `/v1/models`, `/v1/completions` and `/v1/chat/completions`, where `model` names the base, an adapter or
 * `base:adapter`. An encoder has `/v1/embeddings`, `/classify`, `/score` and `/pooling`. Adapters have
 * `/v1/adapters/{id}/apply` and `/v1/adapters/{id}/delta` in safetensors; all have `/health` and `/ready`. Errors are
 * OpenAI's objects, those that a middleware throws, too.
 *
 * Pages of other origins may use it where `access.cors` names them: `createApp({ ..., access: { cors: ["https://a.example"] } })`.
 *
 * @throws RangeError for a limit or an entry of `access` that cannot be meant.
 */
export function createApp(deps: ServerDeps): Hono {
  const serving = servingOf(deps);
  const app = new Hono();
  for (const guard of [...guards(deps.access), ...deps.middleware ?? []]) app.use("*", guard);
  for (const { method, path, handler } of routes(serving)) {
    app.on(method, path, handler);
    app.all(path, (c) => notAllowed(c, method));
  }
  app.notFound((c) => {
    const message = `Cannot ${c.req.method} ${shorten(c.req.path)}: there is no such route`;
    return c.json<ErrorBody>(errorBody(message, { code: "unknown_url" }), 404);
  });
  app.onError((error, c) => {
    const { status, body, headers } = report(c, error, serving);
    return c.json(body, status, { ...headers });
  });
  return app;
}
