/**
 * The server as a web handler: guards, routes, and errors as answers.
 *
 * @module
 */
import { Hono, type MiddlewareHandler } from "hono";
import { guards } from "./access.ts";
import { type ServerDeps, type Serving, servingOf } from "./deps.ts";
import { shorten } from "./echo.ts";
import { type ErrorBody, errorBody, HeadersTooLargeError } from "./errors.ts";
import { exchanges, type ServerContext, type ServerEnv } from "./exchange.ts";
import { type Page, pageAnswer } from "./page.ts";
import { report } from "./report.ts";
import type { Route } from "./route.ts";
import { routesOf } from "./routes.ts";

/** The answer to a request that no route takes. */
function noRoute(
  c: ServerContext,
  why: string,
  { status, code, headers = {} }: {
    readonly status: 404 | 405;
    readonly code: string;
    readonly headers?: Record<string, string>;
  },
): Response {
  c.get("exchange").error = code;
  const message = `Cannot ${c.req.method} ${shorten(c.req.path)}: ${why}`;
  return c.json<ErrorBody>(errorBody(message, { code }), status, headers);
}

/** Refuses addresses and headers that no request needs. */
function checkHeaders({ limits: { maxHeaderBytes } }: Serving): MiddlewareHandler<ServerEnv> {
  return async (c, next) => {
    let bytes = c.req.url.length;
    c.req.raw.headers.forEach((value, name) => bytes += name.length + value.length);
    if (bytes > maxHeaderBytes) {
      throw new HeadersTooLargeError(
        `Cannot read this request: address and headers have ${bytes} bytes, at most ${maxHeaderBytes} are accepted`,
      );
    }
    await next();
  };
}

/** A route's handler behind the check of who may call it. */
function mount(
  app: Hono<ServerEnv>,
  { method, path, handler, for: allowed }: Route,
  { auth }: Serving,
): void {
  app.on(method, path, (c) => {
    c.get("exchange").route = path;
    if (allowed === "operator") auth.checkOperator(c);
    else auth.checkTenant(c);
    return handler(c);
  });
}

/** A page's files; whoever may reach the server may see the page, which asks for a token itself. */
function pages(page: Page): MiddlewareHandler<ServerEnv> {
  return async (c, next) => {
    const isRead = c.req.method === "GET" || c.req.method === "HEAD";
    const found = isRead ? pageAnswer(page, c.req.raw) : undefined;
    if (!found) return await next();
    c.get("exchange").route = c.req.path;
    return found;
  };
}

/** Mounts every route; a path's other methods are refused by the ones that it has. */
function mountAll(app: Hono<ServerEnv>, routes: readonly Route[], serving: Serving): void {
  for (const route of routes) mount(app, route, serving);
  for (const path of new Set(routes.map((route) => route.path))) {
    const allowed = routes.filter((route) => route.path === path).map(({ method }) => method).join(", ");
    app.all(path, (c) =>
      noRoute(c, `the method must be ${allowed}`, {
        status: 405,
        code: "method_not_allowed",
        headers: { allow: allowed },
      }));
  }
}

/**
 * A server of a base model and its adapters, as a web handler (`app.fetch`) without a runtime of its own.
 *
 * Routes: OpenAI's `/v1/models`, `/v1/completions` and `/v1/chat/completions`, where `model` names the base, an adapter or
 * `base:adapter`. An encoder has `/v1/embeddings`, `/classify`, `/score` and `/pooling`. Adapters have
 * `/v1/adapters/{id}/apply` and `/v1/adapters/{id}/delta` in safetensors; all have `/health`, `/ready`, `/metrics` and
 * `/openapi.json`. With `page` there is a playground at `/`. Errors are OpenAI's objects, those that a middleware throws, too.
 *
 * Pages of other origins may use it where `access.cors` names them: `createApp({ ..., access: { cors: ["https://a.example"] } })`.
 * With `auth.tenants` every caller needs a token, and has the adapters and the quota of its tenant.
 *
 * @throws RangeError for a limit, or an entry of `access` or `auth`, that cannot be meant.
 */
export function createApp(deps: ServerDeps): Hono {
  const serving = servingOf(deps);
  const app = new Hono<ServerEnv>();
  app.use("*", exchanges(serving.observers), checkHeaders(serving));
  for (const guard of guards(deps.access)) app.use("*", guard);
  if (deps.page) app.use("*", pages(deps.page));
  app.use("*", serving.auth.guard());
  for (const guard of deps.middleware ?? []) app.use("*", guard);
  mountAll(app, routesOf(serving), serving);
  app.notFound((c) => noRoute(c, "there is no such route", { status: 404, code: "unknown_url" }));
  app.onError((error, c) => {
    const { status, body, headers } = report(c, error, serving);
    return c.json(body, status, { ...headers });
  });
  // Users need not know what the context carries.
  return app as unknown as Hono;
}
