/**
 * The metrics of a server. Names that vLLM has are vLLM's, so that its dashboards and routers read them.
 *
 * @module
 */
import type { AdapterStats } from "../adapters/service.ts";
import type { EngineStats } from "../engine/generate.ts";
import type { CacheCounts } from "../engine/paging.ts";
import type { ExchangeObserver, RequestRecord } from "./exchange.ts";
import type { PeerStats } from "./peers.ts";
import { collected, Counter, Histogram, type Metric, prometheusText, summary } from "./metrics.ts";

/** What the metrics ask of a server when they are read. */
export interface MetricSources {
  /** The base model's id; empty where none is served. */
  readonly modelName: string;
  readonly engine: () => EngineStats | undefined;
  readonly adapters: () => AdapterStats | undefined;
  /** Open requests for work. */
  readonly open: () => number;
  /** Bytes of bodies and tensors. */
  readonly memory: () => number;
  /** Absent where no quotas are shared. */
  readonly peers?: () => PeerStats;
}

/** Bounds in seconds, of requests and of waits for a first token. */
const requestBounds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300];
const tokenBounds = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];

/** What a `lora_requests_info` says: which adapters have requests, at most so many at once, as of now. */
function* requestsInfo({ engine, adapters }: MetricSources) {
  const { runningAdapters, waitingAdapters } = engine() ?? {};
  if (!runningAdapters || !waitingAdapters) return;
  const most = String(adapters()?.capacity ?? 0);
  yield { labels: [most, runningAdapters.join(","), waitingAdapters.join(",")], value: Date.now() / 1000 };
}

function engineMetrics(sources: MetricSources): Metric[] {
  const { engine, modelName } = sources;
  const labels = ["model_name"];
  const gauge = (name: string, help: string, value: (stats: EngineStats) => number): Metric =>
    collected({ name, help, labels }, () => {
      const stats = engine();
      return stats ? [{ labels: [modelName], value: value(stats) }] : [];
    });
  const counter = (name: string, help: string, value: (cache: CacheCounts) => number): Metric =>
    collected({ name, help, labels, type: "counter" }, () => {
      const cache = engine()?.cache;
      return cache ? [{ labels: [modelName], value: value(cache) }] : [];
    });
  return [
    gauge("vllm:num_requests_running", "Sequences that run on the device.", ({ running }) => running),
    gauge("vllm:num_requests_waiting", "Sequences that wait to run.", ({ waiting }) => waiting),
    gauge(
      "vllm:kv_cache_usage_perc",
      "Used part of the cache of keys and values; 1 is all.",
      ({ cacheUsage }) => cacheUsage,
    ),
    counter(
      "vllm:prefix_cache_queries_total",
      "Tokens of sequences when they started.",
      ({ prefixQueries }) => prefixQueries,
    ),
    counter(
      "vllm:prefix_cache_hits_total",
      "Tokens of those that were in the cache, and not computed.",
      ({ prefixHits }) => prefixHits,
    ),
    counter(
      "vllm:num_preemptions_total",
      "Sequences that gave their blocks of the cache back before their end.",
      ({ preemptions }) => preemptions,
    ),
    gauge("fourierft:max_num_seqs", "Sequences that may run at once.", ({ maxSequences }) => maxSequences),
    collected({
      name: "vllm:lora_requests_info",
      help: "Adapters with requests, in labels; the value is the time in Unix seconds.",
      labels: ["max_lora", "running_lora_adapters", "waiting_lora_adapters"],
    }, () => requestsInfo(sources)),
  ];
}

function adapterMetrics({ adapters }: MetricSources): Metric[] {
  const counter = (name: string, help: string, value: (stats: AdapterStats) => number): Metric =>
    collected({ name, help, type: "counter" }, () => {
      const stats = adapters();
      return stats ? [{ value: value(stats) }] : [];
    });
  return [
    collected({
      name: "adapter_loaded",
      help: "1 for each adapter on the device; level is pinned, in_use or cached.",
      labels: ["adapter", "level"],
    }, () => (adapters()?.resident ?? []).map(({ id, level }) => ({ labels: [id, level], value: 1 }))),
    summary({ name: "adapter_load_seconds", help: "Time to read and check an adapter's files." }, () => {
      const stats = adapters();
      return stats && { sum: stats.loadSeconds, count: stats.loads };
    }),
    collected(
      {
        name: "adapter_evictions_total",
        help: "Adapters taken off the device.",
        labels: ["reason"],
        type: "counter",
      },
      () =>
        Object.entries(adapters()?.evictions ?? {}).map(([reason, value]) => ({ labels: [reason], value })),
    ),
    counter(
      "adapter_cache_hits_total",
      "Adapters that were on the device when they were needed.",
      ({ hits }) => hits,
    ),
    counter(
      "adapter_cache_misses_total",
      "Adapters that had to be put on the device.",
      ({ misses }) => misses,
    ),
  ];
}

function peerMetrics({ peers }: MetricSources): Metric[] {
  if (!peers) return [];
  const metric = (name: string, help: string, value: (stats: PeerStats) => number): Metric =>
    collected({ name, help, ...(name.endsWith("_total") ? { type: "counter" as const } : {}) }, () => {
      return [{ value: value(peers()) }];
    });
  return [
    metric("fourierft:redis_up", "1 where Redis answered the last call.", ({ isUp }) => Number(isUp)),
    metric(
      "fourierft:quota_servers",
      "Servers that share quotas, as was last known.",
      (stats) => stats.servers,
    ),
    metric(
      "fourierft:quota_alone_total",
      "Requests that were let in or refused by this server's part of a quota, without Redis.",
      ({ alone }) => alone,
    ),
  ];
}

/** Methods that have series of their own: whoever asks may name any. */
const methods: ReadonlySet<string> = new Set(["GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "PATCH"]);

/** See the module's documentation. */
export class ServerMetrics implements ExchangeObserver {
  readonly #requests = new Counter({
    name: "fourierft:http_requests_total",
    help: "Requests that are over.",
    labels: ["route", "method", "status"],
  });
  readonly #seconds = new Histogram({
    name: "vllm:e2e_request_latency_seconds",
    help: "Time from a request for text or vectors to the end of its answer.",
    labels: ["model_name"],
    bounds: requestBounds,
  });
  readonly #firstToken = new Histogram({
    name: "vllm:time_to_first_token_seconds",
    help: "Time from a request to its first new token.",
    labels: ["model_name"],
    bounds: requestBounds,
  });
  readonly #betweenTokens = new Histogram({
    name: "vllm:inter_token_latency_seconds",
    help: "Time between new tokens of a request.",
    labels: ["model_name"],
    bounds: tokenBounds,
  });
  readonly #promptTokens = new Counter({
    name: "vllm:prompt_tokens_total",
    help: "Tokens of prompts.",
    labels: ["model_name"],
  });
  readonly #newTokens = new Counter({
    name: "vllm:generation_tokens_total",
    help: "New tokens.",
    labels: ["model_name"],
  });
  readonly #tenantRequests = new Counter({
    name: "fourierft:tenant_requests_total",
    help: "Requests of a tenant that are over.",
    labels: ["tenant", "status"],
  });
  readonly #tenantTokens = new Counter({
    name: "fourierft:tenant_tokens_total",
    help: "Tokens of a tenant, of prompts and of answers.",
    labels: ["tenant", "kind"],
  });
  readonly #metrics: readonly Metric[];
  readonly #name: readonly string[];
  /** Of each token: labels are not looked up again. */
  readonly #observeGap: (seconds: number, times: number) => void;
  readonly #addNewTokens: (count: number) => void;

  constructor(sources: MetricSources) {
    this.#name = [sources.modelName];
    this.#observeGap = this.#betweenTokens.observer(this.#name);
    this.#addNewTokens = this.#newTokens.adder(this.#name);
    this.#metrics = [
      ...engineMetrics(sources),
      collected(
        { name: "fourierft:open_requests", help: "Requests for work that are open." },
        () => [{ value: sources.open() }],
      ),
      collected(
        { name: "fourierft:request_memory_bytes", help: "Bytes of bodies and tensors of open requests." },
        () => [{ value: sources.memory() }],
      ),
      this.#promptTokens,
      this.#newTokens,
      this.#firstToken,
      this.#betweenTokens,
      this.#seconds,
      this.#requests,
      this.#tenantRequests,
      this.#tenantTokens,
      ...adapterMetrics(sources),
      ...peerMetrics(sources),
    ];
  }

  tokens(count: number, { seconds, first }: { readonly seconds: number; readonly first: boolean }): void {
    if (first) this.#firstToken.observe(this.#name, seconds);
    else this.#observeGap(seconds / count, count);
    this.#addNewTokens(count);
  }

  ended({ route = "none", method, status, seconds, tenant, promptTokens, newTokens }: RequestRecord): void {
    this.#requests.add([route, methods.has(method) ? method : "other", String(status)]);
    if (promptTokens > 0) {
      this.#seconds.observe(this.#name, seconds);
      this.#promptTokens.add(this.#name, promptTokens);
    }
    if (tenant === undefined) return;
    this.#tenantRequests.add([tenant, String(status)]);
    this.#tenantTokens.add([tenant, "prompt"], promptTokens);
    this.#tenantTokens.add([tenant, "generation"], newTokens);
  }

  /** Everything, as Prometheus reads it. */
  text(): string {
    return prometheusText(this.#metrics);
  }
}
