/**
 * Routes as data: who may call them, their handlers, and what the OpenAPI document says of them.
 *
 * @module
 */
import type * as z from "zod";
import type { ServerContext } from "./exchange.ts";

/** A handler of a route. */
export type Handler = (c: ServerContext) => Response | Promise<Response>;

/** A parameter of a route's path or query. */
export interface Parameter {
  readonly name: string;
  readonly in: "path" | "query";
  readonly description: string;
  /** A regular expression of its values. */
  readonly pattern?: string;
  readonly required?: boolean;
}

/** What a route takes and gives, for the OpenAPI document. */
export interface RouteDescription {
  readonly summary: string;
  /** The very schema that checks a JSON body; or `safetensors`; or an adapter's files as a form. */
  readonly body?: z.ZodType | "safetensors" | "adapter";
  readonly parameters?: readonly Parameter[];
  /** What status 200 has; JSON unless named. */
  readonly answer?: "json" | "safetensors" | "text";
  /** Whether it may also be a stream of events. */
  readonly streams?: boolean;
  /** Statuses that a right request may have, besides those that every route has. Default 200. */
  readonly statuses?: readonly number[];
}

/** A route. */
export interface Route {
  readonly method: "GET" | "POST" | "PUT" | "DELETE";
  /** Hono's pattern. */
  readonly path: string;
  /** Who may call it: whoever is let in, or the operator alone. */
  readonly for: "callers" | "operator";
  readonly about: RouteDescription;
  readonly handler: Handler;
}
