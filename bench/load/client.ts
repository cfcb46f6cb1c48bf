/**
 * Clients of a server under load, in a process of their own. Some streams run at once, each with its requests one
 * after another, until the time is over. `bench/load/run.ts` starts it with one argument, a {@linkcode ClientLoad} as JSON, and
 * reads the outcome.
 *
 * @module
 */
import { readFile } from "node:fs/promises";
import process from "node:process";
import { uniforms } from "../../src/engine/random.ts";
import { zipf } from "../scale/simulation.ts";
import { addUp, type Buckets, count } from "./histogram.ts";

/** What is asked, and the right answers. */
export interface Cases {
  readonly adapters: readonly string[];
  readonly prompts: readonly string[];
  /** By adapter, then by prompt; absent where answers are only counted. */
  readonly texts?: readonly (readonly string[])[];
}

/** How adapters are drawn: all alike, or the first most, by Zipf's law with exponent 1. */
export type Law = "uniform" | "zipf";

/** The streams of one process. */
export interface ClientLoad {
  readonly url: string;
  /** A file of {@linkcode Cases}. */
  readonly cases: string;
  readonly law: Law;
  /** Numbers of the streams: from the first on. */
  readonly first: number;
  readonly streams: number;
  /** No request begins later. */
  readonly seconds: number;
  /** New tokens of a request. */
  readonly tokens: number;
}

/** What came of it. */
export interface Outcome {
  readonly requests: number;
  readonly tokens: number;
  /** Until the first token, and between two, in milliseconds. */
  readonly first: Buckets;
  readonly between: Buckets;
  readonly wrong: number;
  readonly errors: number;
  /** The first of what was wrong or failed. */
  readonly faults: readonly string[];
}

const mostFaults = 5;

/** A streamed completion: its text, and its times. */
export interface Streamed {
  readonly text: string;
  readonly tokens: number;
  readonly firstMs: number;
  readonly betweenMs: readonly number[];
}

/** Asks for one completion, and reads its stream to `[DONE]`. */
export async function streamed(url: string, body: Readonly<Record<string, unknown>>): Promise<Streamed> {
  const begin = performance.now(), betweenMs: number[] = [];
  const response = await fetch(`${url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      ...body,
      ...{ temperature: 0, ignore_eos: true, stream: true, stream_options: { include_usage: true } },
    }),
  });
  if (!response.ok) throw new Error(`${response.status}: ${await response.text()}`);
  const decoder = new TextDecoder();
  let held = "", text = "", tokens = 0, firstMs = 0, lastMs = begin, isDone = false;
  for await (const bytes of response.body!) {
    const events = (held + decoder.decode(bytes, { stream: true })).split("\n\n");
    held = events.pop()!;
    const nowMs = performance.now();
    for (const event of events) {
      if (event === "data: [DONE]") {
        isDone = true;
        continue;
      }
      const { choices, usage, error } = JSON.parse(event.replace(/^data: /, ""));
      if (error) throw new Error(`an event of the stream: ${JSON.stringify(error)}`);
      if (usage) tokens = usage.completion_tokens;
      if (choices.length === 0) continue;
      text += choices[0].text;
      if (firstMs === 0) firstMs = nowMs - begin;
      else betweenMs.push(nowMs - lastMs);
      lastMs = nowMs;
    }
  }
  if (!isDone) throw new Error("a stream ended without [DONE]");
  return { text, tokens, firstMs, betweenMs };
}

/** Draws adapters and prompts: by a stream's number, the same at every run. */
function draws({ adapters, prompts }: Cases, law: Law, stream: number): () => readonly [number, number] {
  const random = uniforms(1000 + stream), rank = zipf(adapters.length, 1);
  return () => [
    law === "zipf" ? rank(random()) : Math.floor(random() * adapters.length),
    Math.floor(random() * prompts.length),
  ];
}

async function run(load: ClientLoad): Promise<Outcome> {
  const cases: Cases = JSON.parse(await readFile(load.cases, "utf8"));
  const first: Buckets = {}, between: Buckets = {}, faults: string[] = [];
  let requests = 0, tokens = 0, wrong = 0, errors = 0;
  const fault = (text: string): void => void (faults.length < mostFaults && faults.push(text.slice(0, 500)));
  const end = performance.now() + load.seconds * 1000;
  await Promise.all(Array.from({ length: load.streams }, async (_, i) => {
    const draw = draws(cases, load.law, load.first + i);
    while (performance.now() < end) {
      const [adapter, prompt] = draw(), model = cases.adapters[adapter];
      requests++;
      try {
        const asked = { model, prompt: cases.prompts[prompt], max_tokens: load.tokens };
        const answer = await streamed(load.url, asked);
        tokens += answer.tokens;
        count(first, answer.firstMs);
        for (const ms of answer.betweenMs) count(between, ms);
        const right = cases.texts?.[adapter][prompt] ?? answer.text;
        if (answer.text === right && answer.tokens === load.tokens) continue;
        wrong++;
        fault(`${model}, prompt ${prompt}: ${JSON.stringify(answer.text)}, not ${JSON.stringify(right)}`);
      } catch (error) {
        errors++;
        fault(`${model}: ${(error as Error).message}`);
      }
    }
  }));
  return { requests, tokens, first, between, wrong, errors, faults };
}

/** The outcomes of several processes as one. */
export function together(outcomes: readonly Outcome[]): Outcome {
  const sum = (of: (outcome: Outcome) => number): number => outcomes.reduce((all, one) => all + of(one), 0);
  const first: Buckets = {}, between: Buckets = {};
  for (const outcome of outcomes) {
    addUp(first, outcome.first);
    addUp(between, outcome.between);
  }
  return {
    requests: sum((one) => one.requests),
    tokens: sum((one) => one.tokens),
    wrong: sum((one) => one.wrong),
    errors: sum((one) => one.errors),
    faults: outcomes.flatMap(({ faults }) => faults),
    first,
    between,
  };
}

if (import.meta.main) console.log(JSON.stringify(await run(JSON.parse(process.argv[2]))));
