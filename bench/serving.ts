/**
 * A server under streams: time to the first token, time between tokens, and tokens a second through HTTP on loopback.
 *
 *     deno task bench:serving [--device webgpu] [--streams 1,16,64,256] [--tokens 128] [--requests 4] [--clients 4]
 *     [--model DIR] [--adapters DIR] [--step-tokens 256] [--bursts 8000] [--profile DIR]
 *
 * Every number of streams has a server of its own, of the demo model unless told. Each stream asks so many requests, one after
 * another, of different prompts; the adapters take turns. Clients are so many processes of their own. A first round, which is not counted, lets the device prepare its
 * programs. `--profile` writes profiles of the servers for Chrome's developer tools; the servers are slower then.
 *
 * @module
 */
import { spawn } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import process from "node:process";
import { parseArgs } from "node:util";
import { startProfile } from "./remote_profile.ts";
import { askStreams, secondsOf } from "./stream_load.ts";

const { values: options } = parseArgs({
  options: {
    device: { type: "string", default: "auto" },
    streams: { type: "string", default: "1,16,64,256" },
    tokens: { type: "string", default: "128" },
    requests: { type: "string", default: "4" },
    model: { type: "string", default: "examples/demo/base" },
    adapters: { type: "string", default: "examples/demo/adapters" },
    clients: { type: "string", default: "4" },
    "step-tokens": { type: "string", default: "256" },
    bursts: { type: "string", default: "8000" },
    profile: { type: "string" },
  },
});
const [tokens, requests, processes] = [options.tokens, options.requests, options.clients].map(Number);
const counts = options.streams.split(",").map(Number);

/** Where a profiled server's inspector listens. */
const inspector = "127.0.0.1:9333";

interface Server {
  readonly url: string;
  stop(): Promise<void>;
}

async function start(): Promise<Server> {
  const child = spawn(process.execPath, [
    ...["run", "-A", "--unstable-no-legacy-abort", ...(options.profile ? [`--inspect=${inspector}`] : [])],
    ...["src/cli/main.ts", "serve", "--port", "0"],
    ...["--max-step-tokens", options["step-tokens"], "--max-bursts-per-second", options.bursts],
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

const quantile = (sorted: readonly number[], part: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))];

const cell = (value: number, digits = 0): string => value.toFixed(digits).padStart(8);

console.log("streams  tokens/s  first p50  first p95  first max  between p50  between p95 (ms)");
for (const streams of counts) {
  const server = await start();
  const load = { url: server.url, streams, requests, tokens, processes };
  await askStreams({ ...load, round: 0 });
  const profile = options.profile === undefined ? undefined : await startProfile(inspector);
  const answers = await askStreams({ ...load, round: 1 });
  const seconds = secondsOf(answers);
  if (profile) {
    await mkdir(options.profile!, { recursive: true });
    await writeFile(`${options.profile}/serving-${streams}.cpuprofile`, JSON.stringify(await profile.stop()));
  }
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
