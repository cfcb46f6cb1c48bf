import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Engine, GenerateEvent, GenerateRequest } from "../src/engine/generate.ts";
import { Detokenizer } from "../src/engine/detokenizer.ts";
import { StopFinder } from "../src/engine/stop_finder.ts";
import { generateText, type TextEvent, type TextOptions } from "../src/engine/text.ts";
import { demoTokenizer, goldenCases } from "./demo_model.ts";

const tokenizer = await demoTokenizer();

/** Any text, often with characters of several bytes and several tokens. */
const anyText = fc.oneof(
  fc.string({ unit: "binary", maxLength: 40 }),
  fc.string({ unit: fc.constantFrom("a", " ", "é", "日", "😀", "👩‍🚀", "\ufffd", "\n"), maxLength: 30 }),
);

/** Any token ids: mostly single bytes, so that characters are cut and bytes are wrong; some special or unknown. */
const anyIds = fc.array(
  fc.oneof(fc.integer({ min: 95, max: 256 }), fc.integer({ min: 0, max: 4200 })),
  { maxLength: 90 },
);

function pieces(ids: readonly number[], context: readonly number[] = []): string[] {
  const detokenizer = new Detokenizer(tokenizer, { context });
  return [...ids.map((id) => detokenizer.push(id).text), detokenizer.end()];
}

test("Detokenizer's pieces joined are the text, and each is whole characters", () => {
  fc.assert(fc.property(anyText, (text) => {
    const all = pieces(tokenizer.encode(text, { addSpecialTokens: false }));
    assert.equal(all.join(""), text);
    for (const piece of all) assert.ok(piece.isWellFormed());
  }));
});

test("Detokenizer's pieces of any ids joined are their decoded text", () => {
  fc.assert(fc.property(anyIds, (ids) => assert.equal(pieces(ids).join(""), tokenizer.decode(ids))));
});

test("Detokenizer gives nothing out that a later token changes", () => {
  fc.assert(fc.property(anyIds, (ids) => {
    const detokenizer = new Detokenizer(tokenizer);
    const whole = tokenizer.decode(ids);
    let given = "";
    for (const id of ids) {
      given += detokenizer.push(id).text;
      assert.ok(whole.startsWith(given));
    }
  }));
});

test("Detokenizer finds a character after any number of wrong bytes", () => {
  const stray = tokenizer.encode("é", { addSpecialTokens: false })[0];
  const emoji = tokenizer.encode("😀", { addSpecialTokens: false });
  for (let count = 0; count < 100; count++) {
    const ids = [...new Array<number>(count).fill(stray), ...emoji];
    assert.equal(pieces(ids).join(""), "\ufffd".repeat(count) + "😀");
  }
});

test("generateText tells the same text and tokens of bursts, however they are cut", async () => {
  const request = { promptTokenIds: [1], maxTokens: 99, sampling: { temperature: 0, topP: 1, topK: 0 } };
  const told = async (engine: Pick<Engine, "generate" | "bursts">, options: Partial<TextOptions>) => {
    const events = await Array.fromAsync(generateText(engine, request, { tokenizer, ...options }));
    const { tokens: _, text: __, ...end } = events.at(-1)!;
    return {
      text: events.map(({ text }) => text).join(""),
      tokens: events.flatMap(({ tokens }) => tokens),
      end,
    };
  };
  await fc.assert(fc.asyncProperty(
    anyIds,
    fc.array(fc.integer({ min: 1, max: 5 }), { maxLength: 30 }),
    fc.constantFrom([], ["a"], [" th", "e"]),
    async (ids, sizes, stop) => {
      const end = { kind: "end", finishReason: "length" } as const;
      const events: GenerateEvent[] = [...ids.map((tokenId) => ({ kind: "token", tokenId }) as const), end];
      async function* generate(): AsyncGenerator<GenerateEvent> {
        yield* events;
      }
      async function* bursts(): AsyncGenerator<readonly GenerateEvent[]> {
        const left = [...events], own = [...sizes];
        while (left.length > 0) yield left.splice(0, own.shift() ?? 3);
      }
      assert.deepEqual(await told({ generate, bursts }, { stop }), await told({ generate }, { stop }));
    },
  ));
});

test("Detokenizer decodes a few tokens at once, however long the text", () => {
  let most = 0;
  const counting = {
    decode: tokenizer.decode,
    decodeBytes(ids: readonly number[]): Uint8Array {
      most = Math.max(most, ids.length);
      return tokenizer.decodeBytes!(ids);
    },
  };
  for (const text of ["the sea 😀 ".repeat(50), "\ufffd".repeat(200)]) {
    const detokenizer = new Detokenizer(counting);
    const all = tokenizer.encode(text).map((id) => detokenizer.push(id).text);
    assert.equal(all.join("") + detokenizer.end(), text);
  }
  assert.ok(most > 0 && most <= 17, `${most} tokens were decoded at once`);
});

test("Detokenizer holds back a character until its last byte", () => {
  const ids = tokenizer.encode("😀", { addSpecialTokens: false });
  assert.equal(ids.length, 4);
  assert.deepEqual(pieces(ids), ["", "", "", "😀", ""]);
  assert.deepEqual(pieces(ids.slice(0, 3)), ["", "", "", "\ufffd"]);
});

test("Detokenizer's context is not given out but for the character it leaves unfinished", () => {
  const ids = tokenizer.encode("ab😀", { addSpecialTokens: false });
  const cut = ids.length - 2;
  assert.deepEqual(pieces(ids.slice(cut), ids.slice(0, cut)), ["", "😀", ""]);
  fc.assert(fc.property(anyText, anyText, (before, after) => {
    const context = tokenizer.encode(before, { addSpecialTokens: false });
    const added = tokenizer.encode(after, { addSpecialTokens: false });
    fc.pre(!before.endsWith("\ufffd"));
    assert.equal(pieces(added, context).join(""), after);
  }));
});

test("Detokenizer keeps the space that a decoder drops at the start of a text", () => {
  // The way of SentencePiece models: a word's token has its space, the first word's is dropped.
  const words = ["<s>", " a", " b", "c"];
  const decode = (ids: readonly number[]): string =>
    ids.filter((id) => id > 0).map((id) => words[id]).join("").replace(/^ /, "");
  const detokenizer = new Detokenizer({ decode });
  assert.deepEqual([0, 1, 2, 0, 3, 0, 1].map((id) => detokenizer.push(id).text), [
    "",
    "a",
    " b",
    "",
    "c",
    "",
    " a",
  ]);
  assert.equal(new Detokenizer({ decode }, { context: [0, 1] }).push(2).text, " b");
  // However many tokens without text stand between.
  const specials = new Array<number>(100).fill(0);
  assert.equal(new Detokenizer({ decode }, { context: [1, ...specials] }).push(2).text, " b");
  const far = new Detokenizer({ decode }, { context: [1] });
  assert.deepEqual([...specials, 2].map((id) => far.push(id).text).join(""), " b");
  const none = new Detokenizer({ decode }, { context: specials });
  assert.deepEqual([...specials, 2].map((id) => none.push(id).text).join(""), "b");
});

/** Text up to the stop that is completed first, found by looking at every end. */
function cutAtFirst(text: string, stops: readonly string[]): { text: string; stopped: boolean } {
  for (let end = 1; end <= text.length; end++) {
    const starts = stops.filter((stop) => text.slice(0, end).endsWith(stop)).map((stop) => end - stop.length);
    if (starts.length > 0) return { text: text.slice(0, Math.min(...starts)), stopped: true };
  }
  return { text, stopped: false };
}

function found(chunks: readonly string[], stops: readonly string[]): { text: string; stopped: boolean } {
  const finder = new StopFinder(stops);
  let text = "";
  for (const chunk of chunks) {
    const piece = finder.push(chunk);
    text += piece.text;
    if (piece.stop !== undefined) return { text, stopped: true };
  }
  return { text: text + finder.end(), stopped: false };
}

const smallText = fc.string({ unit: fc.constantFrom("a", "b", "c"), maxLength: 24 });
const smallStops = fc.array(fc.string({ unit: fc.constantFrom("a", "b", "c"), minLength: 1, maxLength: 4 }), {
  maxLength: 4,
});

test("StopFinder cuts any chunking of a text where the first stop string is completed", () => {
  fc.assert(
    fc.property(fc.array(smallText, { maxLength: 10 }), smallStops, (chunks, stops) => {
      assert.deepEqual(found(chunks, stops), cutAtFirst(chunks.join(""), stops));
    }),
    { numRuns: 1000 },
  );
});

test("StopFinder cuts at a single stop string's first occurrence", () => {
  fc.assert(fc.property(smallText, smallText.filter((stop) => stop !== ""), (text, stop) => {
    const at = text.indexOf(stop);
    assert.equal(found([...text], [stop]).text, at < 0 ? text : text.slice(0, at));
  }));
});

test("StopFinder holds back no more than what a stop string may begin with", () => {
  const finder = new StopFinder(["\n\nQ:"]);
  assert.deepEqual(finder.push("yes\n"), { text: "yes" });
  assert.deepEqual(finder.push("\n"), { text: "" });
  assert.deepEqual(finder.push("A"), { text: "\n\nA" });
  assert.deepEqual(finder.push(".\n\n\nQ"), { text: ".\n" });
  assert.equal(finder.end(), "\n\nQ");
  assert.deepEqual(finder.push(":"), { text: "", stop: "\n\nQ:" });
});

interface Fake extends Pick<Engine, "generate"> {
  ended: boolean;
  steps: number;
}

function fakeEngine(
  ids: readonly number[],
  finishReason: "stop" | "length" = "length",
  stopTokenId?: number,
): Fake {
  const engine: Fake = {
    ended: false,
    steps: 0,
    async *generate(request: GenerateRequest): AsyncGenerator<GenerateEvent> {
      try {
        const logprobs = (tokenId: number) => ({ logprob: -tokenId, top: [{ tokenId, logprob: -tokenId }] });
        if (request.promptLogprobs) {
          const rest = request.promptTokenIds.slice(1).map(logprobs);
          yield { kind: "prompt", logprobs: [null, ...rest] };
        }
        for (const tokenId of ids) {
          request.signal?.throwIfAborted();
          engine.steps++;
          yield request.logprobs === undefined
            ? { kind: "token", tokenId }
            : { kind: "token", tokenId, logprobs: logprobs(tokenId) };
        }
        yield stopTokenId === undefined ? { kind: "end", finishReason } : {
          kind: "end",
          finishReason,
          stopToken: { tokenId: stopTokenId, logprobs: logprobs(stopTokenId) },
        };
      } finally {
        engine.ended = true;
      }
    },
  };
  return engine;
}

const sampling = { temperature: 0, topP: 1, topK: 0 };

async function events(
  engine: Pick<Engine, "generate">,
  request: Partial<GenerateRequest> = {},
  options: Partial<TextOptions> = {},
): Promise<TextEvent[]> {
  const all: TextEvent[] = [];
  const whole = { promptTokenIds: [0], maxTokens: 99, sampling, ...request };
  for await (const event of generateText(engine, whole, { tokenizer, ...options })) all.push(event);
  return all;
}

test("generateText() gives the golden texts, with every token in order", async () => {
  for (const { prompt_token_ids, token_ids, text } of goldenCases()) {
    const all = await events(fakeEngine(token_ids), { promptTokenIds: prompt_token_ids });
    assert.equal(all.map((event) => event.text).join(""), text);
    const tokens = all.flatMap((event) => event.tokens);
    assert.deepEqual(tokens.map(({ tokenId }) => tokenId), token_ids);
    assert.ok(tokens.every((token) => !("logprobs" in token)));
    for (const { tokenId, offset } of tokens) {
      assert.ok(text.startsWith(tokenizer.decode([tokenId]), offset), `token ${tokenId} at ${offset}`);
    }
    const last = all.at(-1);
    assert.ok(last?.kind === "end" && last.finishReason === "length");
  }
});

test("generateText() of any text, stops and token boundaries cuts as the whole text is cut", async () => {
  const stops = fc.array(anyText.filter((stop) => stop !== ""), { maxLength: 3 });
  await fc.assert(fc.asyncProperty(anyText, anyText, stops, async (before, after, others) => {
    // A part of the text itself, so that stops are often hit.
    const stop = [...others, ...(before === "" ? [] : [before.slice(-2)])];
    const text = before + after;
    const ids = tokenizer.encode(text, { addSpecialTokens: false });
    const engine = fakeEngine(ids, "stop");
    const all = await events(engine, {}, { stop });
    const cut = cutAtFirst(text, stop);
    const joined = all.map((event) => event.text).join("");
    // A cut within a surrogate pair's character cannot be told from its halves.
    fc.pre(stop.every((one) => one.isWellFormed()));
    assert.equal(joined, cut.text);
    assert.ok(engine.ended);
    for (const event of all.slice(0, -1)) assert.notEqual(event.text, "");
  }));
});

test("generateText() ends the engine's sequence at a stop string, and reports its tokens", async () => {
  const ids = tokenizer.encode(" one two three four", { addSpecialTokens: false });
  const engine = fakeEngine(ids);
  const all = await events(engine, {}, { stop: [" three"] });
  assert.equal(all.map((event) => event.text).join(""), " one two");
  const last = all.at(-1);
  assert.ok(last?.kind === "end" && last.finishReason === "stop");
  assert.ok(engine.ended);
  assert.ok(engine.steps < ids.length);
  assert.equal(all.flatMap((event) => event.tokens).length, engine.steps);
});

test("generateText() gives out held-back text when the engine ends", async () => {
  const ids = tokenizer.encode(" one two", { addSpecialTokens: false });
  const all = await events(fakeEngine(ids, "stop"), {}, { stop: [" two three"] });
  assert.equal(all.map((event) => event.text).join(""), " one two");
  const last = all.at(-1);
  assert.ok(last?.kind === "end" && last.finishReason === "stop" && last.text === " two");
});

test("generateText() finds a stop string in the replacement of an unfinished character", async () => {
  const ids = tokenizer.encode("a😀", { addSpecialTokens: false }).slice(0, -1);
  const all = await events(fakeEngine(ids), {}, { stop: ["\ufffd"] });
  assert.equal(all.map((event) => event.text).join(""), "a");
  const last = all.at(-1);
  assert.ok(last?.kind === "end" && last.finishReason === "stop");
});

test("generateText() echoes the prompt first, with log-probabilities and offsets in characters", async () => {
  const promptTokenIds = tokenizer.encode("a😀b");
  const request = { promptTokenIds, logprobs: 1, promptLogprobs: true };
  const [prompt, ...rest] = await events(fakeEngine([66]), request, { echo: true });
  assert.equal(prompt.kind, "prompt");
  assert.equal(prompt.text, "a😀b");
  assert.deepEqual(prompt.tokens.map(({ offset }) => offset), [0, 0, 1, 1, 1, 1, 2]);
  assert.equal(prompt.tokens[0].logprobs, null);
  assert.equal(prompt.tokens[1].logprobs?.logprob, -promptTokenIds[1]);
  const added = rest.flatMap((event) => event.tokens);
  assert.deepEqual(added, [{
    tokenId: 66,
    text: "b",
    bytes: [98],
    offset: 3,
    logprobs: { logprob: -66, top: [{ tokenId: 66, text: "b", bytes: [98], logprob: -66 }] },
  }]);
});

test("generateText() echoes without log-probabilities, and does not look for stops in the prompt", async () => {
  const promptTokenIds = tokenizer.encode("a b");
  const all = await events(fakeEngine([66]), { promptTokenIds }, { echo: true, stop: [" b"] });
  assert.equal(all.map((event) => event.text).join(""), "a bb");
  assert.ok(all.flatMap((event) => event.tokens).every((token) => !("logprobs" in token)));
});

test("generateText() echoes nothing of a request that the engine refuses", async () => {
  const refusing = {
    // deno-lint-ignore require-yield
    async *generate(): AsyncGenerator<GenerateEvent> {
      await Promise.resolve();
      throw new RangeError("too long");
    },
  };
  await assert.rejects(
    generateText(refusing, { promptTokenIds: [0], maxTokens: 1, sampling }, { tokenizer, echo: true }).next(),
    /too long/,
  );
});

test("generateText() ends the engine's sequence when its reader stops, or the signal aborts", async () => {
  const ids = tokenizer.encode(" one two three four", { addSpecialTokens: false });
  const left = fakeEngine(ids);
  for await (const _ of generateText(left, { promptTokenIds: [0], maxTokens: 9, sampling }, { tokenizer })) {
    break;
  }
  assert.ok(left.ended);
  assert.equal(left.steps, 1);

  const aborted = fakeEngine(ids);
  const controller = new AbortController();
  const reading = (async () => {
    const request = { promptTokenIds: [0], maxTokens: 9, sampling, signal: controller.signal };
    for await (const _ of generateText(aborted, request, { tokenizer })) controller.abort(new Error("gone"));
  })();
  await assert.rejects(reading, /gone/);
  assert.ok(aborted.ended);
});

/** The text, and the ids and texts of its tokens, of an engine that ends at a token. */
async function ended(
  stopTokenId: number,
  request: Partial<GenerateRequest> = {},
  options: Partial<TextOptions> = {},
): Promise<{ text: string; tokens: (number | string)[]; reason: unknown }> {
  const ids = tokenizer.encode("one two", { addSpecialTokens: false });
  const all = await events(fakeEngine(ids, "stop", stopTokenId), { logprobs: 1, ...request }, options);
  const last = all.at(-1);
  assert.ok(last?.kind === "end" && last.finishReason === "stop");
  const added = all.flatMap((event) => event.tokens).slice(ids.length);
  assert.ok(added.every(({ logprobs }) => logprobs?.logprob === -stopTokenId));
  return {
    text: all.map((event) => event.text).join(""),
    tokens: added.flatMap((one) => [one.tokenId, one.text]),
    reason: last.stopReason,
  };
}

const the = tokenizer.encode(" the", { addSpecialTokens: false })[0];

test("generateText() reports the stop token that was asked for, and leaves its text out", async () => {
  const stopTokenIds = [the, 0];
  assert.deepEqual(await ended(the, { stopTokenIds }), {
    text: "one two",
    tokens: [the, " the"],
    reason: the,
  });
  assert.deepEqual(await ended(the, { stopTokenIds }, { includeStop: true }), {
    text: "one two the",
    tokens: [the, " the"],
    reason: the,
  });
  // A special token has text only where special ones are shown.
  const special = { text: "one two", tokens: [0, "<|endoftext|>"], reason: 0 };
  assert.deepEqual(await ended(0, { stopTokenIds }, { includeStop: true }), special);
  assert.deepEqual(await ended(0, { stopTokenIds }, { skipSpecialTokens: false }), special);
  assert.deepEqual(await ended(0, { stopTokenIds }, { includeStop: true, skipSpecialTokens: false }), {
    ...special,
    text: "one two<|endoftext|>",
  });
});

test("generateText() reports the model's own end token only where the text shows it", async () => {
  const none = { text: "one two", tokens: [], reason: undefined };
  assert.deepEqual(await ended(0), none);
  assert.deepEqual(await ended(0, { stopTokenIds: [5] }, { includeStop: true }), none);
  assert.deepEqual(await ended(0, {}, { skipSpecialTokens: false }), none);
  assert.deepEqual(await ended(0, {}, { skipSpecialTokens: false, includeStop: true }), {
    text: "one two<|endoftext|>",
    tokens: [0, "<|endoftext|>"],
    reason: undefined,
  });
});

test("generateText() shows special tokens within a text when asked to", async () => {
  const ids = [...tokenizer.encode("one", { addSpecialTokens: false }), 0, the];
  for (const [skipSpecialTokens, text] of [[true, "one the"], [false, "one<|endoftext|> the"]] as const) {
    const all = await events(fakeEngine(ids), {}, { skipSpecialTokens });
    assert.equal(all.map((event) => event.text).join(""), text);
    const tokens = all.flatMap((event) => event.tokens);
    assert.deepEqual(tokens.slice(-2).map((token) => token.text), ["<|endoftext|>", " the"]);
    assert.equal(tokens.at(-1)?.offset, text.length - 4);
  }
});

test("generateText() says which stop string ended the text, and ends the text with it when asked to", async () => {
  const ids = tokenizer.encode("one two three", { addSpecialTokens: false });
  for (const [includeStop, text] of [[false, "one t"], [true, "one two"]] as const) {
    const all = await events(fakeEngine(ids), {}, { stop: ["nothing", "wo"], includeStop });
    assert.equal(all.map((event) => event.text).join(""), text);
    const last = all.at(-1);
    assert.ok(last?.kind === "end" && last.stopReason === "wo");
  }
});

test("generateText() does not stop at a string that the first minTokens tokens complete", async () => {
  const ids = tokenizer.encode("a b a b a b", { addSpecialTokens: false });
  assert.equal(ids.length, 6);
  for (
    const [minTokens, text] of [[0, "a "], [1, "a "], [2, "a b a "], [5, "a b a b a "], [
      6,
      "a b a b a b",
    ]] as const
  ) {
    const all = await events(fakeEngine(ids), { minTokens }, { stop: ["b"] });
    assert.equal(all.map((event) => event.text).join(""), text, String(minTokens));
  }
  // One that begins before and is completed after them counts.
  const all = await events(fakeEngine(ids), { minTokens: 2 }, { stop: ["b a"] });
  assert.equal(all.map((event) => event.text).join(""), "a ");
});

test("generateText() refuses an empty stop string before it starts", async () => {
  const engine = fakeEngine([the]);
  await assert.rejects(events(engine, {}, { stop: ["a", ""] }), RangeError);
  assert.equal(engine.steps, 0);
});

test("generateText() gives tokens of parts of characters their own bytes", async () => {
  const ids = tokenizer.encode("a😀", { addSpecialTokens: false });
  const all = await events(fakeEngine(ids), { logprobs: 1 });
  const tokens = all.flatMap((event) => event.tokens);
  assert.deepEqual(tokens.map(({ text }) => text), ["a", "", "", "", "😀"]);
  assert.deepEqual(tokens.map(({ bytes }) => bytes), [[97], [0xf0], [0x9f], [0x98], [0x80]]);
  assert.deepEqual(tokens.map(({ logprobs }) => logprobs?.top[0].bytes), tokens.map(({ bytes }) => bytes));
  assert.deepEqual(tokens.map(({ logprobs }) => logprobs?.top[0].text), tokens.map(({ text }) => text));
});

test("generateText() gives a character that stays unfinished to the last token", async () => {
  const ids = tokenizer.encode("a😀", { addSpecialTokens: false }).slice(0, 3);
  const all = await events(fakeEngine(ids, "stop", the), { stopTokenIds: [the] });
  assert.equal(all.map((event) => event.text).join(""), "a\ufffd");
  assert.deepEqual(all.flatMap((event) => event.tokens).map(({ text }) => text), ["a", "", "\ufffd", " the"]);
});
