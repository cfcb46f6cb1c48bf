/**
 * Requests to a group of servers that are killed meanwhile: each answer is the golden one, or a 503 that is asked again.
 *
 * @module
 */
import { setTimeout as delay } from "node:timers/promises";

/** A request's adapter and prompt, and the text that is right. */
export interface Case {
  readonly model: string;
  readonly prompt: string;
  readonly text: string;
}

/** What the answers were. */
export interface Outcome {
  readonly answers: number;
  /** 503s that were asked again. */
  readonly refusals: number;
}

/** Tries of one request at most, and the wait between two. */
const mostTries = 200, betweenMs = 200;

/** The text that a server gives, or undefined for a status of `refusals`: a 404 by default. Others are errors. */
export async function completion(
  address: string,
  { model, prompt }: Case,
  token: string,
  refusals: readonly number[] = [404],
): Promise<string | undefined> {
  const response = await fetch(`${address}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
    body: JSON.stringify({ model, prompt, temperature: 0, max_tokens: 12 }),
  });
  const body = await response.text();
  if (refusals.includes(response.status)) return undefined;
  if (response.status !== 200) throw new Error(`status ${response.status} for ${model}: ${body}`);
  const answer = JSON.parse(body) as { model: string; choices: { text: string }[] };
  if (answer.model !== model) throw new Error(`An answer of ${answer.model} in place of ${model}`);
  return answer.choices[0].text;
}

/** Whether the right answer came; not so for a 503. Everything else is an error that ends the test. */
async function ask(address: string, one: Case, token: string): Promise<boolean> {
  const found = await completion(address, one, token, [503]);
  if (found === undefined) return false;
  if (found === one.text) return true;
  const { model, prompt, text } = one;
  throw new Error(
    `Wrong answer of ${model} to "${prompt}": ${JSON.stringify(found)}, not ${JSON.stringify(text)}`,
  );
}

/**
 * Sends `count` requests, some at once, in the order of a fixed mixture.
 *
 * @param cases Those of which the next request may be.
 * @param onAnswer Called with the number of answers so far.
 * @throws Error for a wrong answer, a status other than 200 and 503, and a request that no retry cures.
 */
export async function load(
  address: string,
  cases: () => readonly Case[],
  { token, count, atOnce, onAnswer }: {
    readonly token: string;
    readonly count: number;
    readonly atOnce: number;
    readonly onAnswer: (answers: number) => void;
  },
): Promise<Outcome> {
  let next = 0, answers = 0, refusals = 0;
  const worker = async (): Promise<void> => {
    while (next < count) {
      const at = next++;
      const known = cases(), one = known[at % 3 === 0 ? 0 : (at * 7) % known.length];
      for (let tries = 1; !await ask(address, one, token); tries++) {
        refusals++;
        if (tries === mostTries) throw new Error(`${one.model} is refused after ${tries} tries`);
        await delay(betweenMs);
      }
      onAnswer(++answers);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  return { answers, refusals };
}
