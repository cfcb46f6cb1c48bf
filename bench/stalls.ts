/**
 * How long one request holds up the thread that serves, by the worst bodies of 4 MB. `deno run -A bench/stalls.ts`;
 * also on Bun, and on Node with type stripping. It prints, for each body, its answer, how long that took, and the
 * longest time in which nothing else ran. The engine is a stub: what is measured is reading, checking and tokenising.
 *
 * @module
 */
import type { Engine } from "../src/engine/generate.ts";
import { createApp } from "../src/server/mod.ts";
import { demoTokenizer } from "../test/demo_model.ts";
import { fakeAdapters } from "../test/server_fakes.ts";

const size = 4 * 2 ** 20 - 200;

/** `piece` as often as it fits. */
function filled(piece: string, last: string = piece.replace(/,$/, "")): string {
  return piece.repeat(Math.floor((size - last.length) / piece.length)) + last;
}

const long = filled("the king ");
const chat = (
  messages: string,
): [string, string] => ["chat/completions", `{"model":"m","messages":${messages}}`];
const complete = (prompt: string): [string, string] => ["completions", `{"model":"m","prompt":${prompt}}`];
const bounded = (piece: (i: number) => string, count: number): string =>
  Array.from({ length: count }, (_, i) => piece(i)).join(",");

const bodies: Readonly<Record<string, [string, string]>> = {
  "messages [{},{},...]": chat(`[${filled("{},")}]`),
  "2048 messages": chat(`[${bounded(() => '{"role":"user","content":"a"}', 2048)}]`),
  "2048 long messages": chat(`[${bounded(() => `{"role":"user","content":"${"a".repeat(1990)}"}`, 2048)}]`),
  "2048 messages, the last wrong": chat(
    `[${bounded((i) => i === 2047 ? "{}" : '{"role":"user","content":"a"}', 2048)}]`,
  ),
  "16,000 parts": chat(
    `[{"role":"user","content":[${bounded(() => '{"type":"text","text":"a"}', 8000)}]}]`,
  ),
  "a million parts": chat(`[{"role":"user","content":[${filled("{},")}]}]`),
  "one long message": chat(`[{"role":"user","content":"${long}"}]`),
  "one long text": complete(`"${long}"`),
  "a text without spaces": complete(`"${filled("a")}"`),
  "a text of characters of three bytes": complete(`"${"一".repeat(size / 3)}"`),
  "a text of escapes": complete(`"${filled("\\u4e00")}"`),
  "a million ids": complete(`[${filled("1,")}]`),
  "260,000 ids": complete(`[${bounded(() => "1", 260_000)}]`),
  "1024 texts": complete(`[${bounded(() => `"${"the king ".repeat(40)}"`, 1024)}]`),
  "65,000 texts": complete(`[${bounded((i) => `"x${i}"`, 65_000)}]`),
  "a million texts": complete(`[${filled('"",')}]`),
  "[[[[": complete(filled("[", "")),
  "16,000 keys": ["completions", `{${bounded((i) => `"x${i * 7919}":1`, 16_000)}}`],
  "a million keys": ["completions", `{${filled('"a":1,')}}`],
  "a long logit_bias": [
    "completions",
    `{"model":"m","prompt":"a","logit_bias":{${bounded((i) => `"${i}":0`, 16_000)}}}`,
  ],
  "a long unknown field": ["completions", `{"${filled("a")}":1}`],
  "a long model": ["completions", `{"prompt":"a","model":"${filled("a")}"}`],
  "a long stop string": ["completions", `{"model":"m","prompt":"a","stop":"${filled("a")}"}`],
  "a million stop ids": [
    "completions",
    `{"model":"m","prompt":"a","stop_token_ids":[${bounded(() => "1", 260_000)}]}`,
  ],
  "a number of 4 MB": complete(filled("1")),
  "no JSON": ["completions", filled("a")],
};

/** The longest time between two turns of the event loop while `work` runs, in ms. */
async function longestStall(work: () => Promise<unknown>): Promise<number> {
  let longest = 0, last = performance.now(), done = false;
  const tick = (): void => {
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
    if (!done) setTimeout(tick, 0);
  };
  tick();
  await work();
  done = true;
  return Math.max(longest, performance.now() - last);
}

const engine: Engine = {
  maxModelLen: 8192,
  vocabSize: 4096,
  async *generate() {
    yield await Promise.resolve({ kind: "end", finishReason: "stop" } as const);
  },
};
const model = { id: "m", createdUnixSeconds: 0, engine, tokenizer: await demoTokenizer() };

for (const [name, [path, body]] of Object.entries(bodies)) {
  const app = createApp({ model, adapters: fakeAdapters() });
  const bytes = new TextEncoder().encode(body);
  for (const run of ["first", "again"]) {
    let told = "", tookMs = 0;
    const stallMs = await longestStall(async () => {
      const began = performance.now();
      const response = await app.request(`/v1/${path}`, { method: "POST", body: bytes });
      told = `${response.status} ${(await response.text()).slice(0, 90)}`;
      tookMs = performance.now() - began;
    });
    console.log(
      `${stallMs.toFixed(0).padStart(5)} ms stall ${
        tookMs.toFixed(0).padStart(6)
      } ms in all  ${name} (${run}): ${told}`,
    );
  }
}
