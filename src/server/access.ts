/**
 * Access: allowed hosts and origins, and the CORS headers for browsers.
 *
 * @module
 */
import type { MiddlewareHandler } from "hono";
import { cors } from "hono/cors";
import { quoted } from "./echo.ts";
import { ForbiddenError } from "./errors.ts";

/** Restrictions by a request's `Host` and `Origin`; each is off where it is absent. */
export interface Access {
  /** Origins whose pages may use the server from a browser, e.g. `https://app.example.com`; `*` is every one. */
  readonly cors?: readonly string[];
  /**
   * Names in `Host` that are served, with or without a port, e.g. `localhost` or `ai.example.com:8443`; others are 403.
   * It keeps a page whose name was made to point at this machine from asking (DNS rebinding). `/health` and `/ready`
   * answer all the same.
   */
  readonly allowedHosts?: readonly string[];
  /** Origins that may ask at all, besides those of `cors`; others are 403. Requests without `Origin` are no page's. */
  readonly allowedOrigins?: readonly string[];
}

const publicPaths: ReadonlySet<string> = new Set(["/health", "/ready"]);

/** A host without its port. */
function withoutPort(host: string): string {
  const at = host.lastIndexOf(":");
  return at >= 0 && /^\d*$/.test(host.slice(at + 1)) ? host.slice(0, at) : host;
}

function checkHosts(allowed: readonly string[]): MiddlewareHandler {
  const known = new Set(allowed.map((host) => host.toLowerCase()));
  return async (c, next) => {
    const host = (c.req.header("host") ?? new URL(c.req.url).host).toLowerCase();
    if (!known.has(host) && !known.has(withoutPort(host)) && !publicPaths.has(c.req.path)) {
      throw new ForbiddenError(`Cannot answer for host ${quoted(host)}: it is not among the allowed hosts`);
    }
    await next();
  };
}

function checkOrigins(allowed: readonly string[]): MiddlewareHandler {
  const known = new Set(allowed);
  return async (c, next) => {
    const origin = c.req.header("origin");
    if (origin !== undefined && !known.has("*") && !known.has(origin)) {
      throw new ForbiddenError(
        `Cannot answer for origin ${quoted(origin)}: it is not among the allowed origins`,
      );
    }
    await next();
  };
}

/** Refuses an entry that could never match: a path or a missing scheme in an origin, a scheme in a host. */
function checkEntries({ cors = [], allowedHosts = [], allowedOrigins = [] }: Access): void {
  for (const origin of [...cors, ...allowedOrigins]) {
    if (origin === "*" || origin === "null" || /^[a-z][a-z0-9+.-]*:\/\/[^/A-Z]+$/.test(origin)) continue;
    throw new RangeError(
      `Cannot allow origin "${origin}": it must be like https://example.com, without a path, in small letters, or *`,
    );
  }
  for (const host of allowedHosts) {
    if (/^[^\s/]+$/.test(host)) continue;
    throw new RangeError(`Cannot allow host "${host}": it must be a name, with or without a port`);
  }
}

/**
 * The middleware before the routes.
 *
 * @throws RangeError for an entry that no request could match.
 */
export function guards(access: Access = {}): readonly MiddlewareHandler[] {
  checkEntries(access);
  const { cors: origins, allowedHosts, allowedOrigins } = access;
  const made: MiddlewareHandler[] = [];
  if (allowedHosts) made.push(checkHosts(allowedHosts));
  if (allowedOrigins) made.push(checkOrigins([...allowedOrigins, ...origins ?? []]));
  if (origins) {
    made.push(cors({
      origin: origins.includes("*") ? "*" : [...origins],
      allowMethods: ["GET", "POST", "PUT", "DELETE", "OPTIONS"],
      exposeHeaders: ["retry-after", "x-request-id"],
      maxAge: 600,
    }));
  }
  return made;
}
