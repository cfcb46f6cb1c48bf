/**
 * Clients of a server in a process of their own: some streams at once, each with its requests one after another.
 * `bench/stream_load.ts` starts it with one argument, a {@linkcode ClientLoad} as JSON, and reads the answers.
 *
 * @module
 */
import process from "node:process";

/** The streams of one process. */
export interface ClientLoad {
  readonly url: string;
  /** Names of models, which requests take in turns. */
  readonly models: readonly string[];
  /** Numbers of the streams: from the first on. */
  readonly first: number;
  readonly streams: number;
  /** Requests of a stream. */
  readonly requests: number;
  /** New tokens of a request. */
  readonly tokens: number;
  /** Part of each prompt, so that no round finds the prompts of another in the cache. */
  readonly round: number;
}

/** What one streamed request took, in milliseconds from its start. */
export interface Answer {
  /** When it was asked, in ms since 1970: processes of one machine share that clock. */
  readonly beganMs: number;
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
  const beganMs = performance.timeOrigin + begin;
  return { beganMs, firstMs, endMs: performance.now() - begin, tokens: Number(found[1]) };
}

async function run({ url, models, first, streams, requests, tokens, round }: ClientLoad): Promise<Answer[]> {
  const answers = await Promise.all(Array.from({ length: streams }, async (_, i) => {
    const own: Answer[] = [], stream = first + i;
    for (let request = 0; request < requests; request++) {
      own.push(
        await ask(url, {
          model: models[(stream + request) % models.length],
          prompt: `${round}.${stream}.${request} The king said to the people of the city, and they`,
          ...{ max_tokens: tokens, temperature: 0, ignore_eos: true },
        }),
      );
    }
    return own;
  }));
  return answers.flat();
}

if (import.meta.main) console.log(JSON.stringify(await run(JSON.parse(process.argv[2]))));
