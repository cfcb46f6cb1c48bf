/**
 * `fourierft top`: what a server does, from its metrics; live in a terminal, blocks of lines in a pipe.
 *
 * @module
 */
import process from "node:process";
import { UsageError } from "./arguments.ts";
import { defineCommand } from "./command.ts";
import { Snapshot } from "./prometheus.ts";
import { topLines } from "./top_text.ts";
import { parseCount, parseNumber } from "./values.ts";
import { failureText, shownText } from "./words.ts";

/** Clears the screen and begins at its top. */
const cleared = "\x1b[H\x1b[2J";

/** Looks in a row that may fail before the command ends. */
const mostFailures = 5;

function metricsUrl(text: string): URL {
  try {
    const url = new URL(text);
    if (/^https?:$/.test(url.protocol)) return new URL("/metrics", url);
  } catch {
    // Told below.
  }
  throw new UsageError(`Cannot read --url ${JSON.stringify(text)}: it must be like http://127.0.0.1:8000`);
}

/** Longest that a look may take. */
const patienceMs = 10_000;

async function look(url: URL, token: string | undefined): Promise<Snapshot> {
  const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
  try {
    const response = await fetch(url, { headers, signal: AbortSignal.timeout(patienceMs) });
    const text = await response.text();
    if (!response.ok) throw new Error(`it answers with status ${response.status}`);
    return new Snapshot(text, performance.now());
  } catch (error) {
    throw new Error(`Cannot read ${url}: ${failureText(error as Error)}`, { cause: error });
  }
}

const pause = (seconds: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, 1000 * seconds));

function show(url: URL, lines: readonly string[]): void {
  const live = process.stdout.isTTY === true;
  const head = `${url.host}  ${new Date().toISOString().slice(11, 19)} UTC`;
  process.stdout.write(
    `${live ? cleared : ""}${[head, ...lines].map(shownText).join("\n")}\n${live ? "" : "\n"}`,
  );
}

/** See the module's documentation. */
export const top = defineCommand({
  meta: {
    name: "top",
    description: "Show what a running server does: sequences, tokens, times, adapters, tenants",
  },
  args: {
    url: {
      type: "string",
      default: "http://127.0.0.1:8000",
      description: "The server's address",
      valueHint: "URL",
    },
    token: {
      type: "string",
      description: "A bearer token, where /metrics needs one; FOURIERFT_TOKEN is as good",
      valueHint: "TOKEN",
    },
    interval: { type: "string", default: "2", description: "Seconds between looks", valueHint: "N" },
    count: { type: "string", description: "Looks until it ends; by default it goes on", valueHint: "N" },
  },
  examples: [
    {
      does: "Look at a server of this machine every two seconds",
      line: "top",
    },
    {
      does: "One look at another server",
      line: "top --url https://ai.example.com --token SECRET --count 1",
    },
  ],
  async run({ args }) {
    const url = metricsUrl(args.url), token = args.token ?? process.env.FOURIERFT_TOKEN;
    const interval = parseNumber("interval", args.interval, { least: 0.1, most: 3600 });
    const count = args.count === undefined ? Infinity : parseCount("count", args.count, { least: 1 });
    let before = await look(url, token), failures = 0;
    for (let shown = 0; shown < count; shown++) {
      await pause(interval);
      try {
        const after = await look(url, token);
        show(url, topLines(before, after));
        before = after;
        failures = 0;
      } catch (error) {
        if (++failures >= mostFailures) throw error;
        show(url, [(error as Error).message]);
      }
    }
  },
});
