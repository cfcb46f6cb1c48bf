/**
 * A server under load on loopback: the demo model on the CPU, many streams over many adapters. Each text must be the one
 * that the server gives when it has nothing else to do, and memory must stay in the second half.
 *
 *     deno task bench:load [--minutes 10] [--laws zipf,uniform] [--streams 200] [--adapters 100] [--tokens 32]
 *     [--clients 2] [--threads N] [--counts 1,100,10000] [--count-seconds 30] [--only load|counts]
 *
 * `load` runs `--minutes` in all, shared out among the laws by which requests choose their adapters. `counts` compares
 * tokens a second by the number of adapters that requests are of, all of them on the device. It exits with 1 where an
 * answer is wrong or missing, or memory grows.
 *
 * @module
 */
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";
import { median } from "../measurement.ts";
import { type Cases, type ClientLoad, type Law, type Outcome, streamed, together } from "./client.ts";
import { quantile } from "./histogram.ts";
import { makeAdapters, nameOf, type Server, startServer } from "./server.ts";

const { values: options } = parseArgs({
  options: {
    minutes: { type: "string", default: "10" },
    laws: { type: "string", default: "zipf,uniform" },
    streams: { type: "string", default: "200" },
    adapters: { type: "string", default: "100" },
    tokens: { type: "string", default: "32" },
    clients: { type: "string", default: "2" },
    threads: { type: "string" },
    counts: { type: "string", default: "1,100,10000" },
    "count-seconds": { type: "string", default: "30" },
    only: { type: "string" },
  },
});
const [minutes, streams, adapters, tokens, clients, countSeconds] = [
  ...[options.minutes, options.streams, options.adapters, options.tokens, options.clients],
  options["count-seconds"],
].map(Number);
const laws = options.laws.split(",") as Law[], counts = options.counts.split(",").map(Number);

const prompts = [
  "And the king said unto the people of the city, Go ye out of the house of the Lord, and see what is done",
  "In the beginning of the year the governor of the land sent letters to all the towns by the river",
  "The machine was built of wood and iron, and nobody in the village knew who had brought it there",
  "hacker n. [originally, someone who makes furniture with an axe]",
];

/** Memory may grow by so much from the third quarter to the fourth: what is collected when is the runtime's choice. */
const mostGrowth = 1.05;

const flags = (most: number): string[] => [
  ...["--max-sequences", String(streams), "--max-waiting", String(2 * streams)],
  ...["--max-adapters", String(most)],
  ...(options.threads === undefined ? [] : ["--threads", options.threads]),
];

const client = fileURLToPath(new URL("./client.ts", import.meta.url));

/** All streams at once, in some processes. */
async function ask(load: Omit<ClientLoad, "first">): Promise<Outcome> {
  const used = Math.min(clients, load.streams);
  return together(
    await Promise.all(Array.from({ length: used }, async (_, i) => {
      const first = Math.floor(load.streams * i / used), end = Math.floor(load.streams * (i + 1) / used);
      const own: ClientLoad = { ...load, first, streams: end - first };
      const run = ["run", "-A", "--no-check", client, JSON.stringify(own)];
      const { stdout } = await promisify(execFile)(process.execPath, run, { maxBuffer: 2 ** 26 });
      return JSON.parse(stdout) as Outcome;
    })),
  );
}

/** Every adapter with every prompt, one at a time: the right texts, and tokens a second. */
async function alone({ url }: Server): Promise<{ readonly cases: Cases; readonly perSecond: number }> {
  const texts: string[][] = [], begin = performance.now();
  for (let i = 0; i < adapters; i++) {
    texts[i] = [];
    for (const prompt of prompts) {
      texts[i].push((await streamed(url, { model: nameOf(i), prompt, max_tokens: tokens })).text);
    }
  }
  const seconds = (performance.now() - begin) / 1000;
  const names = Array.from({ length: adapters }, (_, i) => nameOf(i));
  const distinct = new Set(texts.flat()).size, all = texts.flat().length;
  console.log(`one at a time: ${all} completions in ${seconds.toFixed(1)} s, ${distinct} distinct texts`);
  return { cases: { adapters: names, prompts, texts }, perSecond: all * tokens / seconds };
}

/** Looks at a server's memory while `work` goes on. */
async function watching<T>(
  server: Server,
  work: Promise<T>,
): Promise<{ value: T; bytes: readonly number[] }> {
  const bytes: number[] = [];
  let going = true;
  const looking = (async () => {
    while (going) {
      bytes.push(await server.memory());
      await delay(500);
    }
  })();
  try {
    return { value: await work, bytes };
  } finally {
    going = false;
    await looking;
  }
}

const row = (cells: readonly (string | number)[]): string => `| ${cells.join(" | ")} |`;
const ms = (value: number): string => value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0);
const mib = (bytes: number): number => Math.round(bytes / 2 ** 20);
let failed = false;

async function underLoad(folder: string): Promise<void> {
  const file = join(folder, ".cases.json"), seconds = 60 * minutes / laws.length;
  const rows: string[] = [];
  let right: Awaited<ReturnType<typeof alone>> | undefined;
  for (const law of laws) {
    const server = await startServer(folder, flags(Math.max(256, adapters)));
    try {
      if (!right) {
        right = await alone(server);
        await writeFile(file, JSON.stringify(right.cases));
      }
      const begin = performance.now();
      const asked = ask({ url: server.url, cases: file, law, streams, seconds, tokens });
      const { value: outcome, bytes } = await watching(server, asked);
      const perSecond = outcome.tokens / ((performance.now() - begin) / 1000);
      const quarter = (i: number): number =>
        median(bytes.slice(Math.floor(bytes.length * i / 4), Math.ceil(bytes.length * (i + 1) / 4)));
      const grew = quarter(3) > mostGrowth * quarter(2);
      failed ||= outcome.wrong > 0 || outcome.errors > 0 || grew;
      for (const fault of outcome.faults) console.log(fault);
      const times = [outcome.first, outcome.between].flatMap((buckets) =>
        [0.5, 0.95, 0.99].map((part) => ms(quantile(buckets, part)))
      );
      rows.push(row([
        ...[law, outcome.requests, outcome.errors, outcome.wrong, perSecond.toFixed(0)],
        ...[(perSecond / right.perSecond).toFixed(1), ...times],
        [0, 1, 2, 3].map((i) => mib(quarter(i))).join(", ") + (grew ? ": it grows" : ""),
      ]));
    } finally {
      await server.stop();
    }
  }
  const head = [
    ...["law", "requests", "errors", "wrong", "tokens/s", "times one at a time"],
    ...["first p50, ms", "p95", "p99", "between p50, ms", "p95", "p99", "memory by quarters, MiB"],
  ];
  console.log(`\n${minutes} minutes, ${streams} streams, ${adapters} adapters, ${tokens} tokens a request`);
  console.log([row(head), row(head.map((_, i) => i === 0 ? "---" : "--:")), ...rows].join("\n"));
}

/** Tokens a second by the number of adapters, there and back again: a machine may become slower meanwhile. */
async function byCounts(folder: string): Promise<void> {
  const found = new Map<number, number[]>(counts.map((count) => [count, []]));
  for (const count of [...counts, ...counts.toReversed()]) {
    const own = await mkdtemp(join(folder, "count-")), file = join(own, ".cases.json");
    await makeAdapters(own, count);
    // Prompts of few adapters would be in the cache more often: that is no cost of adapters.
    const server = await startServer(own, [...flags(Math.max(256, count)), "--no-prefix-caching"]);
    try {
      for (let i = 0; i < count; i++) await server.load(nameOf(i));
      const names = Array.from({ length: count }, (_, i) => nameOf(i));
      await writeFile(file, JSON.stringify({ adapters: names, prompts }));
      const load = { url: server.url, cases: file, law: "uniform" as const, streams, tokens };
      await ask({ ...load, seconds: 5 });
      const begin = performance.now();
      const outcome = await ask({ ...load, seconds: countSeconds });
      const perSecond = outcome.tokens / ((performance.now() - begin) / 1000);
      failed ||= outcome.errors > 0;
      for (const fault of outcome.faults) console.log(fault);
      found.get(count)!.push(perSecond);
      console.log(`${count} adapters: ${perSecond.toFixed(0)} tokens/s, ${mib(await server.memory())} MiB`);
    } finally {
      await server.stop();
      await rm(own, { recursive: true });
    }
  }
  const mean = (of: number[]): number => of.reduce((a, b) => a + b, 0) / of.length;
  const first = mean(found.get(counts[0])!);
  const rows = counts.map((count) => {
    const perSecond = mean(found.get(count)!);
    return row([count, perSecond.toFixed(0), `${(100 * (1 - perSecond / first)).toFixed(1)} %`]);
  });
  console.log(["", row(["adapters", "tokens/s", "cost"]), row(["--:", "--:", "--:"]), ...rows].join("\n"));
}

const folder = await mkdtemp(join(tmpdir(), "fourierft-load-"));
try {
  if (options.only !== "counts") {
    const own = await mkdtemp(join(folder, "load-"));
    await makeAdapters(own, adapters);
    await underLoad(own);
  }
  if (options.only !== "load") await byCounts(folder);
} finally {
  await rm(folder, { recursive: true });
}
process.exit(failed ? 1 : 0);
