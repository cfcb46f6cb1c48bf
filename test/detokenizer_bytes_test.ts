/**
 * Tokens of any bytes to text: what waits for the end of a character, and whose text it is.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Detokenizer, type TokenDecoder } from "../src/engine/detokenizer.ts";
import type { GenerateEvent } from "../src/engine/generate.ts";
import { generateText, type TextEvent } from "../src/engine/text.ts";

/** Each id below 256 is a byte; 256 is special and others have no token. `seen` are the ids of each decode. */
function bytesDecoder(seen: (readonly number[])[] = []): TokenDecoder {
  const decodeBytes = (ids: readonly number[], { skipSpecialTokens = true } = {}): Uint8Array => {
    seen.push(ids);
    const special = [...new TextEncoder().encode("<é>")];
    return Uint8Array.from(
      ids.flatMap((id) => id < 256 ? [id] : id === 256 && !skipSpecialTokens ? special : []),
    );
  };
  return { decodeBytes, decode: (ids, options) => new TextDecoder().decode(decodeBytes(ids, options)) };
}

const decoded = (bytes: readonly number[]): string =>
  new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.from(bytes));

/** Bytes at the end that a decoder of streams waits with. */
function open(bytes: readonly number[]): number {
  for (let count = 1; count <= 3; count++) {
    const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    const rest = bytes.slice(-count);
    if (rest.length === count && decoder.decode(Uint8Array.from(rest), { stream: true }) === "") return count;
  }
  return 0;
}

/** What is told at each byte: all that is held, once no character is open, or more than 64 bytes are. */
function expected(bytes: readonly number[]): string[] {
  let held: number[] = [];
  return bytes.map((byte) => {
    held.push(byte);
    const waiting = open(held);
    const told = waiting === 0 ? held.length : held.length > 64 ? held.length - waiting : 0;
    const text = decoded(held.slice(0, told));
    held = held.slice(told);
    return text;
  });
}

function told(bytes: readonly number[]): string[] {
  const detokenizer = new Detokenizer(bytesDecoder());
  return bytes.map((byte) => detokenizer.push(byte).text);
}

test("Detokenizer waits with just the bytes that can begin a character, for any two bytes", () => {
  for (let first = 0x70; first < 256; first++) {
    for (let second = 0x70; second < 256; second++) {
      assert.deepEqual(told([first, second]), expected([first, second]), `${first} ${second}`);
    }
  }
});

test("Detokenizer waits as a decoder of streams does, for bytes at the edges of UTF-8", () => {
  const edges = [
    0x61,
    0x7f,
    0x80,
    0x8f,
    0x90,
    0x9f,
    0xa0,
    0xbf,
    0xc0,
    0xc1,
    0xc2,
    0xdf,
    0xe0,
    0xe1,
    0xec,
    0xed,
  ];
  const byte = fc.constantFrom(...edges, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff);
  fc.assert(fc.property(fc.array(byte, { maxLength: 100 }), (bytes) => {
    assert.deepEqual(told(bytes), expected(bytes));
  }));
});

test("Detokenizer holds sixty-four bytes and no more, where each begins a character that never ends", () => {
  const bytes = Array<number>(140).fill(0xc3);
  const texts = told(bytes);
  assert.deepEqual(texts, expected(bytes));
  assert.equal(texts.findIndex((text) => text !== ""), 64);
  assert.equal(texts[64], "\ufffd".repeat(64));
});

test("Detokenizer decodes seventeen ids at most, and after tokens without text still what stood before", () => {
  const seen: (readonly number[])[] = [];
  const detokenizer = new Detokenizer(bytesDecoder(seen), { context: [65, 66, 67, 68, 69, 70] });
  assert.deepEqual(seen, [[67, 68, 69, 70]]);
  for (let i = 0; i < 40; i++) detokenizer.push(97 + i % 26);
  assert.equal(Math.max(...seen.map(({ length }) => length)), 17);
  assert.ok(seen.slice(2).every(({ length }) => length >= 4), "a few tokens stand before each");
  for (let i = 0; i < 40; i++) assert.equal(detokenizer.push(256).text, "");
  assert.equal(Math.max(...seen.map(({ length }) => length)), 17);
  assert.ok(seen.findLast(({ length }) => length > 4)!.some((id) => id < 256), "what stood before has text");
});

test("Detokenizer says the same of tokens that are decoded alone, and decodes one at a time", () => {
  const id = fc.oneof(
    fc.integer({ min: 0, max: 257 }),
    fc.constantFrom(0x41, 0xc3, 0xa9, 0xe2, 0x82, 0xf0, 0x9f, 256),
  );
  const ids = fc.array(id, { maxLength: 60 });
  fc.assert(fc.property(ids, ids, fc.boolean(), (context, tokens, skipSpecialTokens) => {
    const seen: (readonly number[])[] = [], options = { context, skipSpecialTokens };
    const one = new Detokenizer({ ...bytesDecoder(seen), decodesEachAlone: true }, options);
    const other = new Detokenizer(bytesDecoder(), options);
    seen.length = 0;
    for (const token of tokens) {
      assert.deepEqual(one.peek(token), other.peek(token));
      assert.deepEqual(one.push(token), other.push(token));
    }
    assert.equal(one.end(), other.end());
    assert.ok(seen.every(({ length }) => length === 1));
  }));
});

test("Detokenizer looks back for context until it finds text, or the beginning", () => {
  const ids = (seen: (readonly number[])[]): number[] => seen.map(({ length }) => length);
  const specials = Array<number>(9).fill(256);
  const found: (readonly number[])[] = [];
  new Detokenizer(bytesDecoder(found), { context: [65, ...specials] });
  assert.deepEqual(ids(found), [4, 8, 10]);
  const none: (readonly number[])[] = [];
  new Detokenizer(bytesDecoder(none), { context: specials.slice(1) });
  assert.deepEqual(ids(none), [4, 8]);
  const empty: (readonly number[])[] = [];
  new Detokenizer(bytesDecoder(empty));
  assert.deepEqual(empty, []);
});

interface Asked {
  readonly prompt?: readonly number[];
  readonly stop?: readonly string[];
  readonly includeStop?: boolean;
  readonly stopToken?: number;
  readonly tokenizer?: TokenDecoder;
}

async function eventsOf(ids: readonly number[], asked: Asked = {}): Promise<TextEvent[]> {
  const { prompt = [65], stop, includeStop, stopToken, tokenizer = bytesDecoder() } = asked;
  const engine = {
    async *generate(): AsyncGenerator<GenerateEvent> {
      for (const tokenId of ids) yield await Promise.resolve({ kind: "token", tokenId } as const);
      yield stopToken === undefined
        ? { kind: "end", finishReason: "length" }
        : { kind: "end", finishReason: "stop", stopToken: { tokenId: stopToken } };
    },
  };
  const sampling = { temperature: 0, topP: 1, topK: 0 };
  const request = { promptTokenIds: prompt, maxTokens: 99, sampling, stopTokenIds: [33, 256, 300] };
  return await Array.fromAsync(generateText(engine, request, { tokenizer, stop, includeStop }));
}

const tokensOf = (events: readonly TextEvent[]) => events.flatMap(({ tokens }) => tokens);

test("generateText() gives a special stop token its name and bytes, and one without a token nothing", async () => {
  const [special] = tokensOf(await eventsOf([], { stopToken: 256 }));
  assert.deepEqual(special, {
    tokenId: 256,
    text: "<é>",
    bytes: [...new TextEncoder().encode("<é>")],
    offset: 0,
  });
  const [none] = tokensOf(await eventsOf([], { stopToken: 300 }));
  assert.deepEqual(none, { tokenId: 300, text: "", bytes: [], offset: 0 });
});

test("generateText() gives the last of several tokens the text of a character that stays unfinished", async () => {
  const events = await eventsOf([97, 0xf0, 0x9f, 0x98]);
  assert.deepEqual(events.map(({ text }) => text), ["a", "\ufffd"]);
  assert.deepEqual(tokensOf(events).map(({ text, offset }) => [text, offset]), [
    ["a", 0],
    ["", 1],
    ["", 1],
    ["\ufffd", 1],
  ]);
});

test("generateText() leaves a prompt's unfinished character out where no token follows", async () => {
  assert.deepEqual(await eventsOf([], { prompt: [0xc3] }), [
    { kind: "end", text: "", tokens: [], finishReason: "length" },
  ]);
  const [first] = await eventsOf([0xa9], { prompt: [0xc3] });
  assert.equal(first.text, "é");
});

test("generateText() decodes after the prompt, though that is not told", async () => {
  // As SentencePiece's decoders do: a text's first space is dropped.
  const plain = bytesDecoder();
  const tokenizer: TokenDecoder = {
    decode: (ids, options) => plain.decode(ids, options).replace(/^ /, ""),
  };
  const text = (await eventsOf([32, 98], { tokenizer })).map((event) => event.text).join("");
  assert.equal(text, " b");
});

test("generateText() does not stop at a string that the stop token completes", async () => {
  const ids = [...new TextEncoder().encode("wow")];
  const asked = { stop: ["ow!"], stopToken: 33 };
  for (const includeStop of [false, true]) {
    const events = await eventsOf(ids, { ...asked, includeStop });
    const last = events.at(-1)!;
    assert.ok(last.kind === "end");
    assert.equal(last.stopReason, 33);
    assert.equal(events.map(({ text }) => text).join(""), includeStop ? "wow!" : "wow");
  }
});
