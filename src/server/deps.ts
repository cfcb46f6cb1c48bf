/**
 * A server's dependencies, and the state that routes share.
 *
 * @module
 */
import type { MiddlewareHandler } from "hono";
import type { AdapterAdmin } from "../adapters/admin.ts";
import type { AdapterService } from "../adapters/service.ts";
import type { EncodingService } from "../engine/encoding.ts";
import type { Engine } from "../engine/generate.ts";
import type { GrammarService } from "../grammar/grammars.ts";
import type { PairTokenizer, Tokenizer } from "../models/tokenizer_types.ts";
import type { Access } from "./access.ts";
import { adaptersOf, type Auth, Authentication } from "./auth.ts";
import { MemoryBudget } from "./budget.ts";
import { NotReadyError } from "./errors.ts";
import type { Exchange, ExchangeObserver, RequestRecord, ServerContext } from "./exchange.ts";
import { limitsOf, type ServerLimits } from "./limits.ts";
import { type OpenRequest, OpenRequests } from "./open_requests.ts";
import type { Page } from "./page.ts";
import type { PeerStats } from "./peers.ts";
import { ServerMetrics } from "./server_metrics.ts";
import { checkToolParser } from "./tools.ts";
import { Turns } from "./turns.ts";

/** The base model that is served. */
export interface ServedModel {
  /** Its name in requests and answers. */
  readonly id: string;
  readonly createdUnixSeconds: number;
  readonly engine: Engine;
  readonly tokenizer: Tokenizer;
  /** Makes constraints of schemas and expressions; absent: fields that ask for such are refused. */
  readonly grammars?: GrammarService;
  /** How the model writes calls of tools, by vLLM's names of parsers; by default as its chat template says. */
  readonly toolParser?: string;
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
  /** Changes the adapters that are served; its routes are there where `auth.operator` has a token, too. */
  readonly admin?: AdapterAdmin;
  /** Whether new work is taken; always, when absent. */
  readonly ready?: () => boolean;
  /** Takes one line for each failure that is the server's own. */
  readonly log?: (line: string) => void;
  /** Bounds of requests; see {@linkcode ServerLimits} for the defaults. */
  readonly limits?: Partial<ServerLimits>;
  /** Which hosts and origins may ask, and CORS; by default every host, and no page of another origin. */
  readonly access?: Access;
  /** Tenants and their tokens, and the operator's; by default everybody may ask. */
  readonly auth?: Auth;
  /** Takes what is known of each request when its answer is over. */
  readonly onRequest?: (record: RequestRecord) => void;
  /** Runs before the routes, after `access`; what it throws is answered as OpenAI's object. */
  readonly middleware?: readonly MiddlewareHandler[];
  /** The files of a page at `/`, for whoever may reach the server; absent: there is none. */
  readonly page?: Page;
  /** What is known of servers that share quotas with this one, for the metrics. */
  readonly peers?: () => PeerStats;
  /** Give one to stop the server in peace: its `drain` ends what is open. */
  readonly requests?: OpenRequests;
}

/** The state that routes share. */
export interface Serving extends Omit<ServerDeps, "auth"> {
  readonly auth: Authentication;
  readonly limits: ServerLimits;
  readonly metrics: ServerMetrics;
  /** Takes what happens in each exchange. */
  readonly observers: readonly ExchangeObserver[];
  readonly requests: OpenRequests;
  /** Memory of bodies and tensors. */
  readonly budget: MemoryBudget;
  /** Turns of products with adapters. */
  readonly turns: Turns;
}

/** The routes' state for a server's dependencies. */
export function servingOf(deps: ServerDeps): Serving {
  const limits = limitsOf(deps.limits);
  const requests = deps.requests ?? new OpenRequests(), budget = new MemoryBudget(limits.memoryBytes);
  const { model, encoder, adapters, onRequest } = deps;
  if (model?.toolParser !== undefined) checkToolParser(model.toolParser);
  const metrics = new ServerMetrics({
    modelName: (model ?? encoder)?.id ?? "",
    engine: () => model?.engine.stats?.(),
    adapters: () => adapters.stats?.(),
    open: () => requests.size,
    memory: () => budget.used,
    peers: deps.peers,
  });
  return {
    ...deps,
    auth: new Authentication(deps.auth ?? {}),
    limits,
    requests,
    budget,
    metrics,
    observers: [metrics, ...(onRequest ? [{ ended: onRequest }] : [])],
    turns: new Turns({ atOnce: limits.tensorRuns, waiting: limits.tensorQueue }),
  };
}

/** The routes' state for one request: its adapters are those that the caller may use. */
export interface RequestServing extends Serving {
  readonly exchange: Exchange;
}

/** The state for the request of a context. */
export function forRequest(c: ServerContext, serving: Serving): RequestServing {
  const exchange = c.get("exchange");
  return { ...serving, exchange, adapters: adaptersOf(exchange.tenant, serving.adapters) };
}

/** Whether new work is taken. */
export function isReady({ ready, requests }: Serving): boolean {
  return !requests.draining && (ready?.() ?? true);
}

/**
 * Counts a request for work in.
 *
 * @throws NotReadyError, OverloadedError; QuotaError of the tenant.
 */
export async function beginWork(
  { ready, requests, limits, exchange }: RequestServing,
  client: AbortSignal,
): Promise<OpenRequest> {
  if (ready?.() === false) throw new NotReadyError("Cannot take new work: the server is not ready");
  const { signal, end } = requests.begin(client, limits.maxRequests, limits.requestSeconds);
  try {
    // Whoever leaves meanwhile is noticed by the work, which looks at the signal.
    await exchange.begin();
  } catch (error) {
    end();
    throw error;
  }
  return {
    signal,
    end: () => {
      end();
      exchange.end();
    },
  };
}
