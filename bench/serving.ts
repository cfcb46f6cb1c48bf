/**
 * A server under streams: time to the first token, time between tokens, and tokens a second through HTTP on loopback.
 *
 *     deno task bench:serving [--device webgpu] [--streams 1,16,64,256] [--tokens 128] [--requests 4] [--model DIR]
 *
 * Every number of streams has a server of its own, of the demo model unless told. Each stream asks so many requests, one after
 * another, of different prompts; the adapters take turns. A first round, which is not counted, lets the device prepare its
 * programs.
 *
 * @module
 */
import { spawn } from "node:child_process";
import process from "node:process";
import { parseArgs } from "node:util";

const { values: options } = parseArgs({
  options: {
    device: { type: "string", default: "auto" },
    streams: { type: "string", default: "1,16,64,256" },
    tokens: { type: "string", default: "128" },
    requests: { type: "string", default: "4" },
    model: { type: "string", default: "examples/demo/base" },
    adapters: { type: "string", default: "examples/demo/adapters" },
  },
});
const tokens = Number(options.tokens), requests = Number(options.requests);
const counts = options.streams.split(",").map(Number);

interface Server {
  readonly url: string;
  stop(): Promise<void>;
}

async function start(): Promise<Server> {
  const child = spawn(process.execPath, [
    ...["run", "-A", "--unstable-no-legacy-abort", "src/cli/main.ts", "serve", "--port", "0"],
    ...["--model", options.model, "--adapters", options.adapters, "--device", options.device],
    ...["--drain-seconds", "1"],
  ], { stdio: ["ignore", "ignore", "pipe"] });
  let told = "";
  const url = await new Promise<string>((resolve, reject) => {
    child.on("exit", () => reject(new Error(`the server ended: ${told}`)));
    child.stderr.on("data", (bytes: Uint8Array) => {
      told += new TextDecoder().decode(bytes);
      const found = /listening on (http:\S+)/.exec(told);
      if (found) resolve(found[1]);
    });
  });
  return {
    url,
    async stop() {
      const ended = new Promise((resolve) => child.on("exit", resolve));
      child.kill("SIGTERM");
      await ended;
    },
  };
}

/** What one streamed request took, in milliseconds from its start. */
interface Answer {
  readonly firstMs: number;
  readonly endMs: number;
  readonly tokens: number;
}

/** The length of a stream's usage: the last thing before its end. */
const usage = /"completion_tokens":(\d+)/;

async function ask(url: string, body: Readonly<Record<string, unknown>>): Promise<Answer> {
  const begin = performance.now();
  const response = await fetch(`${url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }),
  });
  if (!response.ok) throw new Error(`${response.status}: ${await response.text()}`);
  let firstMs = 0, last = "";
  const decoder = new TextDecoder();
  for await (const bytes of response.body!) {
    firstMs ||= performance.now() - begin;
    last = (last + decoder.decode(bytes, { stream: true })).slice(-600);
  }
  const found = usage.exec(last);
  if (!found) throw new Error(`a stream ended early: ${last}`);
  return { firstMs, endMs: performance.now() - begin, tokens: Number(found[1]) };
}

const quantile = (sorted: readonly number[], part: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))];

async function models(url: string): Promise<readonly string[]> {
  const { data } = await (await fetch(`${url}/v1/models`)).json() as { data: { id: string }[] };
  return data.map(({ id }) => id);
}

/** All streams at once, each with its requests one after another. */
async function load(url: string, streams: number, round: number): Promise<Answer[]> {
  const names = await models(url);
  const answers = await Promise.all(Array.from({ length: streams }, async (_, stream) => {
    const own: Answer[] = [];
    for (let i = 0; i < requests; i++) {
      own.push(
        await ask(url, {
          model: names[(stream + i) % names.length],
          prompt: `${round}.${stream}.${i} The king said to the people of the city, and they`,
          ...{ max_tokens: tokens, temperature: 0, ignore_eos: true },
        }),
      );
    }
    return own;
  }));
  return answers.flat();
}

const cell = (value: number, digits = 0): string => value.toFixed(digits).padStart(8);

console.log("streams  tokens/s  first p50  first p95  first max  between p50  between p95 (ms)");
for (const streams of counts) {
  const server = await start();
  await load(server.url, streams, 0);
  const begin = performance.now();
  const answers = await load(server.url, streams, 1);
  const seconds = (performance.now() - begin) / 1000;
  const first = answers.map(({ firstMs }) => firstMs).sort((a, b) => a - b);
  const between = answers.map(({ firstMs, endMs, tokens }) => (endMs - firstMs) / Math.max(1, tokens - 1))
    .sort((a, b) => a - b);
  const all = answers.reduce((sum, { tokens }) => sum + tokens, 0);
  console.log(
    `${cell(streams).slice(1)}  ${cell(all / seconds)}  ${cell(quantile(first, 0.5), 1)}  ` +
      `${cell(quantile(first, 0.95), 1)}   ${cell(first.at(-1)!, 1)}     ${
        cell(quantile(between, 0.5), 2)
      }     ` +
      cell(quantile(between, 0.95), 2),
  );
  await server.stop();
}
