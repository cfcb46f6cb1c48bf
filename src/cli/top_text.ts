/**
 * What `fourierft top` shows of two looks at a server.
 *
 * @module
 */
import type { Snapshot } from "./prometheus.ts";

/** How much a counter grew a second; undefined where it is not there. A server that began anew counts from 0. */
function rate(name: string, before: Snapshot, after: Snapshot, labels?: Readonly<Record<string, string>>) {
  const now = after.sum(name, labels), then = before.sum(name, labels) ?? 0;
  const seconds = (after.atMs - before.atMs) / 1000;
  if (now === undefined || seconds <= 0) return undefined;
  return (now < then ? now : now - then) / seconds;
}

/**
 * The bound below which a part of the observations between two looks lie.
 *
 * @param part 0 to 1.
 * @returns Seconds; undefined where there were no observations.
 */
export function quantile(name: string, part: number, before: Snapshot, after: Snapshot): number | undefined {
  const then = before.buckets(name);
  const grown = [...after.buckets(name)].map(([bound, count]) =>
    [bound, Math.max(0, count - (then.get(bound) ?? 0))] as const
  ).sort(([a], [b]) => a - b);
  const all = grown.at(-1)?.[1] ?? 0;
  return all === 0 ? undefined : grown.find(([, count]) => count >= part * all)?.[0];
}

const rounded = (value: number | undefined): string =>
  value === undefined ? "-" : value.toFixed(value < 10 ? 1 : 0);

function duration(seconds: number | undefined): string {
  if (seconds === undefined) return "-";
  if (!Number.isFinite(seconds)) return "more";
  return seconds < 1 ? `${Number((1000 * seconds).toPrecision(3))} ms` : `${seconds} s`;
}

const times = (name: string, before: Snapshot, after: Snapshot): string =>
  [0.5, 0.95, 0.99].map((part) => `p${100 * part} ${duration(quantile(name, part, before, after))}`).join(
    "  ",
  );

function adaptersLine(before: Snapshot, after: Snapshot): string {
  const resident = after.of("adapter_loaded");
  const pinned = resident.filter(({ labels }) => labels.level === "pinned").length;
  const hits = after.sum("adapter_cache_hits_total") ?? 0,
    misses = after.sum("adapter_cache_misses_total") ?? 0;
  const part = hits + misses === 0 ? "-" : `${(100 * hits / (hits + misses)).toFixed(1)} %`;
  const leaving = rounded(rate("adapter_evictions_total", before, after));
  return `adapters   on the device ${resident.length}  pinned ${pinned}  hits ${part}  taken off ${leaving}/s`;
}

/** Tenants that a screen shows at most: those with most tokens. */
const mostTenants = 20;

function tenantLines(before: Snapshot, after: Snapshot): string[] {
  const ids = after.labels("fourierft:tenant_requests_total", "tenant");
  const rows = ids.map((tenant) => ({
    tenant,
    requests: rate("fourierft:tenant_requests_total", before, after, { tenant }) ?? 0,
    refused: rate("fourierft:tenant_requests_total", before, after, { tenant, status: "429" }) ?? 0,
    tokens: rate("fourierft:tenant_tokens_total", before, after, { tenant }) ?? 0,
  })).sort((a, b) => b.tokens - a.tokens || b.requests - a.requests);
  if (rows.length === 0) return [];
  return [
    "",
    `${"tenant".padEnd(24)} ${"requests/s".padStart(10)} ${"tokens/s".padStart(10)} ${"429/s".padStart(10)}`,
    ...rows.slice(0, mostTenants).map(({ tenant, requests, tokens, refused }) =>
      `${tenant.slice(0, 24).padEnd(24)} ${
        [requests, tokens, refused].map((value) => rounded(value).padStart(10)).join(" ")
      }`
    ),
    ...(rows.length > mostTenants ? [`and ${rows.length - mostTenants} more`] : []),
  ];
}

/** The lines of a screen. */
export function topLines(before: Snapshot, after: Snapshot): readonly string[] {
  const now = (name: string): string => after.sum(name)?.toString() ?? "-";
  const cache = after.sum("vllm:kv_cache_usage_perc");
  const memory = (after.sum("fourierft:request_memory_bytes") ?? 0) / 2 ** 20;
  const a = (name: string, labels?: Readonly<Record<string, string>>) =>
    rounded(rate(name, before, after, labels));
  const failed = after.labels("fourierft:http_requests_total", "status").filter((status) => /^5/.test(status))
    .reduce(
      (sum, status) => sum + (rate("fourierft:http_requests_total", before, after, { status }) ?? 0),
      0,
    );
  return [
    `sequences  running ${now("vllm:num_requests_running")} of ${now("fourierft:max_num_seqs")}  waiting ${
      now("vllm:num_requests_waiting")
    }  cache ${cache === undefined ? "-" : `${(100 * cache).toFixed(1)} %`}`,
    `requests   open ${now("fourierft:open_requests")}  ended ${
      a("fourierft:http_requests_total")
    }/s  failed ${rounded(failed)}/s  bodies ${memory.toFixed(1)} MiB`,
    `tokens     prompts ${a("vllm:prompt_tokens_total")}/s  new ${a("vllm:generation_tokens_total")}/s`,
    `first token     ${times("vllm:time_to_first_token_seconds", before, after)}`,
    `between tokens  ${times("vllm:inter_token_latency_seconds", before, after)}`,
    adaptersLine(before, after),
    ...tenantLines(before, after),
  ];
}
