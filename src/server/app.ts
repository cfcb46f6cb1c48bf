/**
 * The HTTP routes.
 *
 * @module
 */
import { type Context, Hono } from "hono";
import { adapterDelta, applyAdapter } from "./adapters.ts";
import { answer, type AnswerShape } from "./answer.ts";
import { readJson } from "./body.ts";
import { chatShape } from "./chat.ts";
import { completionShape } from "./completions.ts";
import type { ServerDeps } from "./deps.ts";
import { answerTo, type ErrorBody, errorBody, NotReadyError } from "./errors.ts";
import { modelCard, modelCards } from "./models.ts";
import { chatJob, completionJob, type Job } from "./openai.ts";

const defaultMaxBodyBytes = 4 * 2 ** 20;

type Handler = (c: Context) => Response | Promise<Response>;

interface Route {
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly handler: Handler;
}

/** A route that runs a job on the engine. */
function generating(
  deps: ServerDeps,
  { jobOf, shape }: {
    readonly jobOf: (body: Readonly<Record<string, unknown>>, deps: ServerDeps) => Promise<Job>;
    readonly shape: AnswerShape;
  },
): Handler {
  return async (c) => {
    if (deps.ready?.() === false) throw new NotReadyError("Cannot take new work: the server is not ready");
    const body = await readJson(c.req.raw, deps.maxBodyBytes ?? defaultMaxBodyBytes);
    return await answer(c, await jobOf(body, deps), {
      shape,
      onError: (error) => report(c, error, deps).body,
    });
  };
}

/** The answer to an error; logged when the failure is the server's own and somebody still waits for an answer. */
function report(c: Context, error: unknown, deps: ServerDeps): ReturnType<typeof answerTo> {
  const told = answerTo(error);
  if (told.status >= 500 && !c.req.raw.signal.aborted) {
    const what = error instanceof Error ? error.stack ?? error.message : String(error);
    deps.log?.(`${c.req.method} ${c.req.path} failed with ${told.status}: ${what}`);
  }
  return told;
}

function routes(deps: ServerDeps): readonly Route[] {
  const ready = (): boolean => deps.ready?.() ?? true;
  return [
    { method: "GET", path: "/health", handler: (c) => c.json({ status: "ok" }) },
    {
      method: "GET",
      path: "/ready",
      handler: (c) => c.json({ status: ready() ? "ready" : "not ready" }, ready() ? 200 : 503),
    },
    {
      method: "GET",
      path: "/v1/models",
      handler: async (c) => c.json({ object: "list", data: await modelCards(deps) }),
    },
    {
      method: "GET",
      // A base's id may have a slash in it.
      path: "/v1/models/:id{.+}",
      handler: async (c) => c.json(await modelCard(c.req.param("id")!, deps)),
    },
    {
      method: "POST",
      path: "/v1/completions",
      handler: generating(deps, { jobOf: completionJob, shape: completionShape }),
    },
    {
      method: "POST",
      path: "/v1/chat/completions",
      handler: generating(deps, { jobOf: chatJob, shape: chatShape }),
    },
    {
      method: "POST",
      path: "/v1/adapters/:id/apply",
      handler: (c) => applyAdapter(c, c.req.param("id")!, deps),
    },
    {
      method: "GET",
      path: "/v1/adapters/:id/delta",
      handler: (c) => adapterDelta(c, c.req.param("id")!, deps),
    },
  ];
}

function notAllowed(c: Context, allowed: string): Response {
  const message = `Cannot ${c.req.method} ${c.req.path}: the method must be ${allowed}`;
  return c.json<ErrorBody>(errorBody(message, { code: "method_not_allowed" }), 405, { allow: allowed });
}

/**
 * A server of a base model and its adapters, as a web handler (`app.fetch`) without a runtime of its own.
 *
 * Routes: OpenAI's `/v1/models`, `/v1/completions` and `/v1/chat/completions`, where `model` names the base, an adapter or
 * `base:adapter`; `/v1/adapters/{id}/apply` and `/v1/adapters/{id}/delta` in safetensors; `/health` and `/ready`. Errors are
 * OpenAI's objects.
 */
export function createApp(deps: ServerDeps): Hono {
  const app = new Hono();
  for (const { method, path, handler } of routes(deps)) {
    app.on(method, path, handler);
    app.all(path, (c) => notAllowed(c, method));
  }
  app.notFound((c) => {
    const message = `Cannot ${c.req.method} ${c.req.path}: there is no such route`;
    return c.json<ErrorBody>(errorBody(message, { code: "unknown_url" }), 404);
  });
  app.onError((error, c) => {
    const { status, body, headers } = report(c, error, deps);
    return c.json(body, status, { ...headers });
  });
  return app;
}
