import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { OverloadedError } from "../src/errors.ts";
import { readBytes } from "../src/server/body.ts";
import { MemoryBudget } from "../src/server/budget.ts";
import { quoted, shorten } from "../src/server/echo.ts";
import { BodyTooLargeError, InvalidRequestError, NotReadyError, TooSlowError } from "../src/server/errors.ts";
import { checkBounds, exactSeed, type JsonBounds, requestBounds } from "../src/server/json_bounds.ts";
import { limitsOf } from "../src/server/limits.ts";
import { OpenRequests } from "../src/server/open_requests.ts";
import { outflow } from "../src/server/outflow.ts";
import { Turns } from "../src/server/turns.ts";
import { turns } from "./until.ts";

const never = new AbortController().signal;
const limits = { bodySeconds: 60, minBodyBytesPerSecond: 2 ** 16 };

/** A request whose body comes as `chunks` do. */
function requestOf(chunks: Iterable<Uint8Array>, headers: Record<string, string> = {}): Request {
  const source = chunks[Symbol.iterator]();
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      const { done, value } = source.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
  });
  const init: RequestInit & { duplex: "half" } = { method: "POST", body, headers, duplex: "half" };
  return new Request("http://localhost/", init);
}

test("readBytes() joins chunks of every size, and counts at most three times their bytes", async () => {
  await fc.assert(fc.asyncProperty(
    fc.array(fc.uint8Array({ minLength: 1, maxLength: 9000 }), { maxLength: 12 }),
    fc.boolean(),
    async (chunks, announced) => {
      const size = chunks.reduce((sum, { length }) => sum + length, 0);
      const budget = new MemoryBudget(3 * size + 2 * 4096);
      const headers: Record<string, string> = announced ? { "content-length": String(size) } : {};
      const hold = budget.hold();
      const read = await readBytes(requestOf(chunks, headers), {
        maxBytes: 2 ** 20,
        hold,
        signal: never,
        limits,
      });
      assert.deepEqual([...read], chunks.flatMap((chunk) => [...chunk]));
      assert.ok(budget.used >= size && budget.used <= 2 * size + 4096, `${budget.used} for ${size}`);
      hold.free();
      assert.equal(budget.used, 0);
    },
  ));
});

test("readBytes() holds what came, not what was announced nor the buffers that it came in", async () => {
  const budget = new MemoryBudget(2 ** 14);
  // Each chunk is a byte of a buffer of 64 KiB; four MiB are announced.
  function* bytes(): Generator<Uint8Array> {
    for (let i = 0; i < 2000; i++) yield new Uint8Array(2 ** 16).subarray(i, i + 1);
  }
  const request = requestOf(bytes(), { "content-length": String(2 ** 22) });
  await assert.rejects(
    readBytes(request, { maxBytes: 2 ** 22, hold: budget.hold(), signal: never, limits }),
    /the connection ended before it/,
  );
  assert.ok(budget.used <= 4096, String(budget.used));
});

test("readBytes() counts its buffer once, however often that has grown", async () => {
  const budget = new MemoryBudget(2 ** 20);
  const chunks = Array.from({ length: 50 }, () => new Uint8Array(1000));
  await readBytes(requestOf(chunks), { maxBytes: 2 ** 20, hold: budget.hold(), signal: never, limits });
  assert.equal(budget.used, 2 ** 16);
});

test("readBytes() refuses what the budget has no room for, and lets others have it again", async () => {
  const budget = new MemoryBudget(20_000);
  const options = { maxBytes: 2 ** 20, signal: never, limits };
  const one = budget.hold(), other = budget.hold();
  await readBytes(requestOf([new Uint8Array(15_000)]), { ...options, hold: one });
  const body = [new Uint8Array(8000)];
  await assert.rejects(readBytes(requestOf(body), { ...options, hold: other }), OverloadedError);
  other.free();
  one.free();
  assert.equal((await readBytes(requestOf(body), { ...options, hold: budget.hold() })).length, 8000);
});

test("readBytes() refuses a body that is too large, too slow, or nobody's any more", async () => {
  const hold = new MemoryBudget(2 ** 20).hold();
  const options = { maxBytes: 10, hold, signal: never, limits };
  await assert.rejects(readBytes(requestOf([new Uint8Array(11)]), options), BodyTooLargeError);
  await assert.rejects(readBytes(requestOf([], { "content-length": "11" }), options), BodyTooLargeError);
  const silent = (): Request => {
    const body = new ReadableStream({ pull: () => new Promise(() => {}) });
    const init: RequestInit & { duplex: "half" } = { method: "POST", body, duplex: "half" };
    return new Request("http://localhost/", init);
  };
  const slow = { ...options, limits: { bodySeconds: 0.02, minBodyBytesPerSecond: 1 } };
  await assert.rejects(readBytes(silent(), slow), TooSlowError);
  const controller = new AbortController();
  const left = readBytes(silent(), { ...options, signal: controller.signal });
  const reason = new Error("left");
  controller.abort(reason);
  await assert.rejects(left, reason);
});

const small: JsonBounds = { depth: 3, containers: 4, keys: 3, strings: 5, commas: 3 };

test("checkBounds() counts levels, containers, names, strings and commas, and looks into no string", () => {
  const check = (text: string): void => checkBounds(new TextEncoder().encode(text), small);
  for (
    const text of [
      "[[[]]]",
      "[[],[],[]]",
      '{"a":1,"b":2,"c":3}',
      '["[[[[[,,,,,::::","\\"[[[[","\\\\"]',
      "{",
      '"',
    ]
  ) {
    check(text);
  }
  const refused: [string, RegExp][] = [
    ["[[[[", /more than 3 levels/],
    ["[[],[],[],[]]", /more than 4 containers/],
    ['{"a":1,"b":2,"c":3,"d":4}', /more than 3 (keys|commas)/],
    ["[1,1,1,1,1]", /more than 3 commas/],
    ['""""""""""""', /more than 5 strings/],
  ];
  for (const [text, rule] of refused) assert.throws(() => check(text), rule);
});

test("requestBounds() lets a prompt of token ids be as long as the context", () => {
  const ids = new TextEncoder().encode(`{"prompt":[${new Array(300_000).fill(1)}]}`);
  assert.throws(() => checkBounds(ids, requestBounds(8192)), InvalidRequestError);
  checkBounds(ids, requestBounds(300_000));
});

test("exactSeed() reads the last seed of the outermost object to its last digit", () => {
  const seedIn = (text: string): bigint | undefined => exactSeed(new TextEncoder().encode(text));
  assert.equal(seedIn('{"seed":1152921504606846977}'), 1152921504606846977n);
  assert.equal(seedIn('{"a":"seed","seed" :\n-9223372036854775808 }'), -9223372036854775808n);
  assert.equal(seedIn('{"seed":1152921504606846977,"seed":7}'), 7n);
  assert.equal(seedIn('{"seed":9.223372036854775807e18}'), 9223372036854775807n);
  assert.equal(seedIn('{"seed":-1152921504606846977.00}'), -1152921504606846977n);
  assert.equal(seedIn('{"seed":1.25E+1}'), undefined);
  assert.equal(seedIn('{"a":{"seed":1152921504606846977},"b":"\\"seed\\":1152921504606846977"}'), undefined);
  assert.equal(seedIn('{"seed":1152921504606846977.5}'), undefined);
});

test("MemoryBudget gives back no more than was taken", () => {
  const budget = new MemoryBudget(10);
  const hold = budget.hold();
  hold.take(6);
  assert.throws(() => budget.hold().take(5), OverloadedError);
  hold.give(100);
  hold.free();
  hold.free();
  assert.equal(budget.used, 0);
});

/** A promise and what settles it. */
function deferred(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve = (): void => {};
  const promise = new Promise<void>((done) => resolve = done);
  return { promise, resolve };
}

test("Turns runs so many at once, first come first, and refuses what finds the queue full", async () => {
  const turns = new Turns({ atOnce: 1, waiting: 2 });
  const first = deferred(), order: number[] = [];
  const running = turns.run(() => first.promise, never);
  const second = turns.run(() => Promise.resolve(order.push(2)), never);
  const leaving = new AbortController();
  const left = turns.run(() => Promise.resolve(order.push(0)), leaving.signal);
  await assert.rejects(turns.run(() => Promise.resolve(), never), OverloadedError);
  leaving.abort(new Error("left"));
  await assert.rejects(left, /left/);
  const third = turns.run(() => Promise.resolve(order.push(3)), never);
  assert.deepEqual(turns.load, { running: 1, waiting: 2 });
  first.resolve();
  await Promise.all([running, second, third]);
  assert.deepEqual(order, [2, 3]);
  assert.deepEqual(turns.load, { running: 0, waiting: 0 });
});

test("Turns passes the turn on when work fails", async () => {
  const turns = new Turns({ atOnce: 1, waiting: 1 });
  const failing = turns.run(() => Promise.reject(new Error("broken")), never);
  const next = turns.run(() => Promise.resolve("done"), never);
  await assert.rejects(failing, /broken/);
  assert.equal(await next, "done");
});

test("OpenRequests.drain() waits for open requests, takes no more, and cuts those that are left", async () => {
  const requests = new OpenRequests();
  const client = new AbortController();
  const one = requests.begin(never, 2), two = requests.begin(client.signal, 2);
  assert.throws(() => requests.begin(never, 2), OverloadedError);
  client.abort(new Error("left"));
  assert.equal(two.signal.reason.message, "left");
  two.end();
  two.end();
  const drained = requests.drain(60_000);
  assert.throws(() => requests.begin(never, 2), NotReadyError);
  one.end();
  assert.equal(await drained, 0);

  const cutting = new OpenRequests();
  const open = cutting.begin(never, 1);
  assert.equal(await cutting.drain(1), 1);
  assert.ok(open.signal.reason instanceof NotReadyError);
});

test("outflow() makes no more than is read, and ends where its reader takes nothing", async () => {
  let made = 0, left = 0;
  const ended = deferred();
  const body = outflow({
    next: () => Promise.resolve(new Uint8Array([++made])),
    readerMs: 20,
    lastWords: new Uint8Array([255]),
    onLeave: () => left++,
    onEnd: ended.resolve,
  });
  await ended.promise;
  assert.equal(left, 1);
  assert.ok(made <= 1, String(made));
  const reader = body.getReader();
  const bytes: number[] = [];
  for (let read = await reader.read(); !read.done; read = await reader.read()) bytes.push(...read.value);
  assert.deepEqual(bytes, [1, 255]);
});

test("outflow() leaves no timer behind for a reader that goes away at a chunk", async () => {
  const { prototype } = ReadableStreamDefaultController, { enqueue } = prototype;
  const { setTimeout: start } = globalThis;
  let begun = 0, ends = 0;
  try {
    globalThis.setTimeout =
      ((...args: Parameters<typeof start>) => (begun++, start(...args))) as typeof start;
    // As a server does whose connection broke while it waited for the chunk.
    prototype.enqueue = function (chunk) {
      enqueue.call(this, chunk);
      body.cancel();
    };
    const body = outflow({
      next: () => Promise.resolve(new Uint8Array(1)),
      readerMs: 1,
      onLeave: () => {},
      onEnd: () => ends++,
    });
    while (ends === 0) await Promise.resolve();
    await Promise.resolve();
  } finally {
    prototype.enqueue = enqueue;
    globalThis.setTimeout = start;
  }
  assert.deepEqual([begun, ends], [0, 1]);
});

/** Runs `work` by a clock of its own: `pass` lets so many ms go by, and calls what is due of timers from 1000 ms on. */
async function byClock(
  work: (clock: { readonly pass: (ms: number) => void; readonly waiting: () => number }) => Promise<void>,
): Promise<void> {
  const { setTimeout: start, clearTimeout: stop } = globalThis, now = performance.now;
  const timers = new Map<unknown, { readonly atMs: number; readonly call: () => void }>();
  let nowMs = 5;
  const pass = (ms: number): void => {
    nowMs += ms;
    for (const [timer, { atMs, call }] of [...timers]) {
      if (atMs > nowMs) continue;
      timers.delete(timer);
      call();
    }
  };
  try {
    performance.now = () => nowMs;
    globalThis.setTimeout = ((call: (...args: unknown[]) => void, ms: number, ...args: unknown[]) => {
      if (ms < 1000) return start(call, ms, ...args);
      const timer = {};
      timers.set(timer, { atMs: nowMs + ms, call: () => call(...args) });
      return timer;
    }) as typeof start;
    globalThis.clearTimeout = ((timer?: number) => timers.delete(timer) || stop(timer)) as typeof stop;
    await work({ pass, waiting: () => timers.size });
  } finally {
    performance.now = now;
    globalThis.setTimeout = start;
    globalThis.clearTimeout = stop;
  }
}

test("outflow() sets its reader no limit while it waits for the next bytes", async () => {
  await byClock(async ({ pass, waiting }) => {
    let made = 0;
    const body = outflow({
      async next() {
        pass(100_000);
        assert.equal(waiting(), 0);
        await turns(3);
        return ++made === 3 ? undefined : new Uint8Array([made]);
      },
      readerMs: 3000,
      onLeave: () => assert.fail("its reader has not left"),
      onEnd: () => {},
    });
    assert.deepEqual([...new Uint8Array(await new Response(body).arrayBuffer())], [1, 2]);
    assert.equal(waiting(), 0);
  });
});

test("outflow() counts its reader's time from the last chunk", async () => {
  await byClock(async ({ pass, waiting }) => {
    let made = 0, left = 0;
    const body = outflow({
      next: () => Promise.resolve(new Uint8Array([++made])),
      readerMs: 3000,
      onLeave: () => left++,
      onEnd: () => {},
    });
    const reader = body.getReader();
    for (let i = 0; i < 4; i++) {
      await reader.read();
      await turns(3);
      pass(1900);
      assert.deepEqual([left, waiting()], [0, 1]);
    }
    pass(1099);
    assert.equal(left, 0);
    pass(1);
    assert.deepEqual([left, waiting()], [1, 0]);
  });
});

test("limitsOf() keeps defaults for what is not set, and refuses what cannot be meant", () => {
  assert.equal(limitsOf({ maxBodyBytes: undefined }).maxBodyBytes, 4 * 2 ** 20);
  assert.equal(limitsOf({ maxBodyBytes: 5, tensorQueue: 0 }).maxBodyBytes, 5);
  for (const bad of [0, -1, NaN]) assert.throws(() => limitsOf({ maxBodyBytes: bad }), /"maxBodyBytes"/);
});

test("shorten() and quoted() say a text's beginning and its length", () => {
  assert.equal(quoted("abc"), '"abc"');
  assert.equal(shorten("a".repeat(1_000_000), 3), "aaa… (1000000 characters)");
  assert.equal(shorten("a😀b", 2), "a… (4 characters)");
});
