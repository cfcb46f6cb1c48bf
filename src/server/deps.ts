/**
 * A server's dependencies, and the state that routes share.
 *
 * @module
 */
import type { MiddlewareHandler } from "hono";
import type { AdapterService } from "../adapters/service.ts";
import type { EncodingService } from "../engine/encoding.ts";
import type { Engine } from "../engine/generate.ts";
import type { PairTokenizer, Tokenizer } from "../models/tokenizer_types.ts";
import type { Access } from "./access.ts";
import { MemoryBudget } from "./budget.ts";
import { NotReadyError } from "./errors.ts";
import { limitsOf, type ServerLimits } from "./limits.ts";
import { type OpenRequest, OpenRequests } from "./open_requests.ts";
import { Turns } from "./turns.ts";

/** The base model that is served. */
export interface ServedModel {
  /** Its name in requests and answers. */
  readonly id: string;
  readonly createdUnixSeconds: number;
  readonly engine: Engine;
  readonly tokenizer: Tokenizer;
}

/** The encoder that is served. */
export interface ServedEncoder {
  /** Its name in requests and answers. */
  readonly id: string;
  readonly createdUnixSeconds: number;
  readonly encoder: EncodingService;
  readonly tokenizer: PairTokenizer;
}

/** A server's dependencies; it opens nothing by itself. */
export interface ServerDeps {
  /** Absent for a server of adapters alone: then no text is generated. */
  readonly model?: ServedModel;
  /** In place of `model`: then sequences are encoded. */
  readonly encoder?: ServedEncoder;
  readonly adapters: AdapterService;
  /** Whether new work is taken; always, when absent. */
  readonly ready?: () => boolean;
  /** Takes one line for each failure that is the server's own. */
  readonly log?: (line: string) => void;
  /** Bounds of requests; see {@linkcode ServerLimits} for the defaults. */
  readonly limits?: Partial<ServerLimits>;
  /** Which hosts and origins may ask, and CORS; by default every host, and no page of another origin. */
  readonly access?: Access;
  /** Runs before the routes, after `access`; what it throws is answered as OpenAI's object. */
  readonly middleware?: readonly MiddlewareHandler[];
  /** Give one to stop the server in peace: its `drain` ends what is open. */
  readonly requests?: OpenRequests;
}

/** The state that routes share. */
export interface Serving extends ServerDeps {
  readonly limits: ServerLimits;
  readonly requests: OpenRequests;
  /** Memory of bodies and tensors. */
  readonly budget: MemoryBudget;
  /** Turns of products with adapters. */
  readonly turns: Turns;
}

/** The routes' state for a server's dependencies. */
export function servingOf(deps: ServerDeps): Serving {
  const limits = limitsOf(deps.limits);
  return {
    ...deps,
    limits,
    requests: deps.requests ?? new OpenRequests(),
    budget: new MemoryBudget(limits.memoryBytes),
    turns: new Turns({ atOnce: limits.tensorRuns, waiting: limits.tensorQueue }),
  };
}

/** Whether new work is taken. */
export function isReady({ ready, requests }: Serving): boolean {
  return !requests.draining && (ready?.() ?? true);
}

/**
 * Counts a request for work in.
 *
 * @throws NotReadyError, OverloadedError.
 */
export function beginWork({ ready, requests, limits }: Serving, client: AbortSignal): OpenRequest {
  if (ready?.() === false) throw new NotReadyError("Cannot take new work: the server is not ready");
  return requests.begin(client, limits.maxRequests);
}
