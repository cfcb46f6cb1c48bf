/**
 * An engine's parts at their edges: sizes, the queue, log-probabilities, and tokens that may not be drawn.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { cpuDevice, type Device, openModel, OverloadedError } from "../mod.ts";
import type { FoundAdapter } from "../src/adapters/registry.ts";
import { generateText, type TextEvent } from "../src/engine/text.ts";
import type { GenerateEvent, GenerateRequest } from "../src/engine/generate.ts";
import { cacheBytesOf, sizesOf } from "../src/engine/sizes.ts";
import { mostTop, tokenLogprobs } from "../kernels/token_logprobs.ts";
import type { Admission } from "../src/engine/paging.ts";
import { type Capacity, checkRequest } from "../src/engine/request.ts";
import { kvCacheDtypes } from "../kernels/caches/mod.ts";
import { Runner } from "../src/engine/runner.ts";
import type { Sequence } from "../src/engine/schedule.ts";
import { Waiting } from "../src/engine/waiting.ts";
import type { Model } from "../src/models/model.ts";
import { openFolder } from "../src/runtime/mod.ts";
import { demoTokenizer } from "./demo_model.ts";
import { lane } from "./lanes.ts";
import { turns } from "./until.ts";

const cacheHeads = { kvHeads: 2, headDim: 2 };

/** A model of which sizes alone are looked at: a token takes 64 bytes of cache, 16 of a tensor. */
const sized = (vocabSize = 32, heads = cacheHeads): Model =>
  ({
    maxModelLen: 8,
    config: { vocabSize },
    graph: { operations: [{ cacheHeads: heads }, {}, { cacheHeads: heads }] },
  }) as unknown as Model;

const sizes = (options: object, { vocabSize, ...limits }: Partial<Device> & { vocabSize?: number } = {}) =>
  sizesOf({ ...cpuDevice(), ...limits }, sized(vocabSize), { eosTokenIds: [], ...options });

test("sizesOf gives steps their rows and outputs by sequences, tokens and logits", () => {
  assert.deepEqual(sizes({ maxSequences: 3, maxStepTokens: 10 }), {
    maxSequences: 3,
    kvCacheDtype: "float32",
    blocks: 3,
    blockSize: 16,
    maxBlocks: 3,
    maxRows: 10,
    maxOutputs: 10,
    promptRows: 3,
    usualRows: 10,
    states: 0,
  });
  // A quarter of a step beside a row for each sequence.
  const many = sizes({ maxSequences: 20, maxStepTokens: 9 });
  assert.deepEqual([many.maxRows, many.promptRows, many.maxOutputs], [23, 3, 23]);
  // No more rows than sequences have.
  assert.equal(sizes({ maxSequences: 1, maxStepTokens: 9 }).maxRows, 8);
  // Logits of 2^24 numbers, but one for each sequence.
  assert.equal(sizes({ maxSequences: 3, maxStepTokens: 10 }, { vocabSize: 2 ** 22 }).maxOutputs, 4);
  assert.equal(sizes({ maxSequences: 3, maxStepTokens: 10 }, { vocabSize: 2 ** 23 }).maxOutputs, 3);
  assert.equal(sizes({ maxSequences: 3 }).usualRows, 256);
});

test("sizesOf lets 256 sequences run, or as many as have their logits", () => {
  const sequences = (device: Partial<Device>, vocabSize?: number) =>
    sizes({}, { ...device, vocabSize }).maxSequences;
  assert.equal(sequences({}), 256);
  assert.equal(sequences({}, 2 ** 17), 128);
  assert.equal(sequences({ kind: "webgpu" }, 2 ** 17), 256);
  assert.equal(sequences({}, 2 ** 22), 16);
  assert.equal(sequences({ maxTensorBytes: 4 * 100 * 5 }, 100), 5);
  assert.equal(sequences({ maxTensorBytes: 1 }), 1);
});

test("sizesOf has as many blocks as fit into their bytes and into a tensor, for one sequence at the least", () => {
  const blocks = (options: object, limits?: Partial<Device>) =>
    sizes({ blockSize: 2, ...options }, limits).blocks;
  assert.equal(blocks({ cacheBytes: 128 * 20 }), 20);
  assert.equal(blocks({ cacheBytes: 128 * 21 - 1 }), 20);
  assert.equal(blocks({ cacheBytes: 1 }), 4);
  assert.equal(blocks({ maxSequences: 3 }), 12);
  assert.equal(blocks({}, { maxTensorBytes: 32 * 7 + 31, vocabSize: 1 } as Partial<Device>), 7);
  // Sequences that share blocks have more entries together.
  assert.equal(sizes({ blockSize: 2, cacheBytes: 128 * 4 }).maxBlocks, 16);
  for (const value of [0, -1, 1.5, NaN]) {
    for (const field of ["cacheBytes", "blockSize", "maxSequences", "maxStepTokens"]) {
      assert.throws(() => sizes({ [field]: value }), {
        name: "RangeError",
        message: `Cannot open an engine with ${field} ${value}: it must be an integer of 1 or more`,
      });
    }
  }
});

test("sizesOf counts the bytes that tokens take in the cache's format, and refuses formats that there are not", () => {
  const model = sized(32, { kvHeads: 3, headDim: 64 });
  const rowBytes = { float32: 4 * 3 * 64, float16: 2 * 3 * 64, int8: 3 * (64 + 4) };
  for (const kvCacheDtype of kvCacheDtypes) {
    const ofBlock = 2 * 2 * 2 * rowBytes[kvCacheDtype];
    const of = (cacheBytes: number, limits: Partial<Device> = {}) =>
      sizesOf({ ...cpuDevice(), ...limits }, model, {
        ...{ eosTokenIds: [], blockSize: 2, kvCacheDtype, cacheBytes },
      });
    assert.equal(of(20 * ofBlock).blocks, 20);
    assert.equal(of(21 * ofBlock - 1).blocks, 20);
    assert.equal(cacheBytesOf(model, of(20 * ofBlock)), 20 * ofBlock);
    assert.equal(of(2 ** 30, { maxTensorBytes: 7 * 2 * rowBytes[kvCacheDtype] }).blocks, 7);
  }
  assert.throws(() => sizes({ kvCacheDtype: "fp8" }), {
    name: "TypeError",
    message: 'Cannot open an engine with kvCacheDtype "fp8": it must be one of float32, float16, int8',
  });
});

test("token_logprobs gives the likeliest tokens in order, of equal ones the lower id, and none twice", () => {
  const row = [1, 3, 2, 3, -50, 2];
  const sum = Math.log(row.reduce((total, value) => total + Math.exp(value), 0));
  const close = (a: number, b: number): void => assert.ok(Math.abs(a - b) < 1e-5, `${a}, not ${b}`);
  const told = (logits: readonly number[], token: number, count: number) => {
    const buffers = {
      logits: Float32Array.from(logits),
      wanted: Uint32Array.of(token, count),
      sampled: Uint32Array.of(0),
      top: new Uint32Array(mostTop),
      logprobs: new Float32Array(1 + mostTop),
    };
    tokenLogprobs.reference(buffers, { rows: 1, vocab: logits.length });
    return buffers;
  };
  for (let count = 0; count <= 7; count++) {
    const { top, logprobs } = told(row, 2, count), order = [1, 3, 2, 5, 0, 4].slice(0, count);
    close(logprobs[0], 2 - sum);
    assert.deepEqual([...top.subarray(0, order.length)], order);
    order.forEach((token, k) => close(logprobs[1 + k], row[token] - sum));
  }
  // Great logits do not overflow.
  close(told([1e4, 1e4], 0, 0).logprobs[0], -Math.log(2));
});

const capacity: Capacity = { maxModelLen: 10, vocabSize: 6, eosTokenIds: [5] };
const sampling = { temperature: 0.5, topP: 0.5, topK: 3 };
const valid: GenerateRequest = { promptTokenIds: [0, 5], maxTokens: 4, sampling };

test("checkRequest takes values at their limits, and refuses the next ones by field, value and rule", () => {
  const taken: Partial<GenerateRequest>[] = [
    { promptTokenIds: Array(10).fill(0) },
    { maxTokens: 0 },
    { maxTokens: Number.MAX_SAFE_INTEGER },
    { sampling: { ...sampling, temperature: 0 } },
    { sampling: { ...sampling, topP: 1 } },
    { sampling: { ...sampling, topK: 0 } },
    { sampling: { ...sampling, seed: -(2n ** 63n) } },
    { sampling: { ...sampling, seed: -(2 ** 53) + 1 } },
    { logprobs: 0, promptLogprobs: true },
    { logprobs: 20 },
    { sampling: { ...sampling, minP: 1, presencePenalty: -2, frequencyPenalty: 2, repetitionPenalty: 1e-9 } },
    { sampling: { ...sampling, logitBias: new Map([[0, -100], [5, 100]]) } },
    { minTokens: 4 },
    { stopTokenIds: Array(128).fill(0) },
    { stopTokenIds: [0, 1, 2, 3, 4], ignoreEos: true, minTokens: 1 },
    { stopTokenIds: [0, 1, 2, 3, 4] },
  ];
  for (const more of taken) checkRequest({ ...valid, ...more }, capacity);
  const refused: [Partial<GenerateRequest>, string][] = [
    [{ sampling: { ...sampling, minP: 1.1 } }, "Cannot generate with minP 1.1: it must be 0 to 1"],
    [
      { sampling: { ...sampling, presencePenalty: -2.1 } },
      "Cannot generate with presencePenalty -2.1: it must be -2 to 2",
    ],
    [
      { sampling: { ...sampling, frequencyPenalty: NaN } },
      "Cannot generate with frequencyPenalty NaN: it must be -2 to 2",
    ],
    [
      { sampling: { ...sampling, repetitionPenalty: 0 } },
      "Cannot generate with repetitionPenalty 0: it must be a finite number above 0",
    ],
    [
      { sampling: { ...sampling, logitBias: new Map([[6, 1]]) } },
      "Cannot use token id 6 of logitBias: ids are integers in 0..5",
    ],
    [
      { sampling: { ...sampling, logitBias: new Map([[5, 101]]) } },
      "Cannot generate with a logitBias of 101: it must be -100 to 100",
    ],
    [
      { sampling: { ...sampling, logitBias: new Map(Array.from({ length: 1025 }, (_, i) => [i, 0])) } },
      "Cannot generate with logitBias of 1025 tokens: at most 1024 are taken",
    ],
    [{ promptTokenIds: [] }, "Cannot generate from an empty prompt: it needs at least one token"],
    [{ promptTokenIds: Array(11).fill(0) }, "Cannot generate from 11 tokens: the context holds 10"],
    [{ promptTokenIds: [6] }, "Cannot use token id 6 of promptTokenIds: ids are integers in 0..5"],
    [
      { promptTokenIds: [undefined!] },
      "Cannot use token id undefined of promptTokenIds: ids are integers in 0..5",
    ],
    [{ maxTokens: 0.5 }, "Cannot generate 0.5 tokens: the count must be an integer of 0 or more"],
    [
      { sampling: { ...sampling, topP: "0.5" as never } },
      "Cannot generate with topP 0.5: it must be more than 0, and at most 1",
    ],
    [
      { sampling: { ...sampling, seed: 2n ** 64n } },
      "Cannot generate with seed 18446744073709551616n: it must be a safe integer, or a bigint of at most 64 bits",
    ],
    [
      { sampling: { ...sampling, topK: "x".repeat(100) as never } },
      `Cannot generate with topK ${"x".repeat(80)}: it must be an integer of 0 or more`,
    ],
    [
      { promptLogprobs: true },
      "Cannot generate with promptLogprobs true: it must be asked for with logprobs",
    ],
    [{ minTokens: 5 }, "Cannot generate with minTokens 5: it must be an integer in 0..4 (maxTokens)"],
    [
      { stopTokenIds: [0, 1, 2, 3, 4], minTokens: 1 },
      "Cannot generate with minTokens 1: it must be 0 where every token is an end token",
    ],
  ];
  for (const [more, message] of refused) {
    assert.throws(() => checkRequest({ ...valid, ...more }, capacity), { name: "RangeError", message });
  }
});

test("Runner.step refuses more tokens that may not be drawn than it has room for, and draws none of the others", async () => {
  const device = cpuDevice();
  const folder = await openFolder(fileURLToPath(new URL("fixtures/tiny/llama", import.meta.url)));
  const { model } = await openModel(device, { folder, engine: { maxSequences: 1 } });
  const { vocabSize } = model.config;
  const sizes = {
    maxRows: 4,
    maxOutputs: 2,
    cacheRows: 16,
    blockSize: 1,
    banks: [],
    maxForbidden: 2 * (vocabSize - 1),
  };
  const runner = new Runner(device, model, sizes);
  const rows = [{ token: 1, position: 0, blocks: lane(0) }, { token: 2, position: 1, blocks: lane(0) }];
  const output = { temperature: 0, topP: 1, topK: 0, uniform: 0 };
  const allBut = (...kept: number[]): ReadonlySet<number> =>
    new Set(Array.from({ length: vocabSize }, (_, id) => id).filter((id) => !kept.includes(id)));
  const drawn = await runner.step(rows, [
    { ...output, row: 0, forbidden: allBut(7) },
    { ...output, row: 1, forbidden: allBut(9) },
  ]);
  assert.deepEqual([...drawn], [7, 9]);
  // The logits are those that they were.
  const free = await runner.step(rows, [{ ...output, row: 0 }, { ...output, row: 1 }]);
  const logits = await runner.logits(1);
  assert.equal(free[1], logits.indexOf(Math.max(...logits)));
  await assert.rejects(
    runner.step(rows, [{ ...output, row: 0, forbidden: allBut() }, {
      ...output,
      row: 1,
      forbidden: allBut(1),
    }]),
    {
      name: "RangeError",
      message: `Cannot forbid ${2 * vocabSize - 1} tokens in a step: it has room for ${2 * (vocabSize - 1)}`,
    },
  );
});

test("Runner.trace refuses before the first step", async () => {
  const device = cpuDevice();
  const folder = await openFolder(fileURLToPath(new URL("fixtures/tiny/llama", import.meta.url)));
  const { model } = await openModel(device, { folder, engine: { maxSequences: 1 } });
  const runner = new Runner(device, model, {
    maxRows: 1,
    maxOutputs: 1,
    cacheRows: 8,
    blockSize: 1,
    banks: [],
  });
  await assert.rejects(runner.trace(), { name: "RangeError", message: "Cannot trace a step: none was run" });
});

/** A sequence that waits, with an adapter or without. */
const waitingFor = (adapter?: string): Sequence =>
  ({ request: { adapter, promptTokenIds: [1] }, mostNew: 1, passed: 0, lane: -1 }) as unknown as Sequence;

/** A queue whose adapters' readings end when they are told to. */
function queueOf(most = 100) {
  const readings: { readonly id: string; readonly end: (error?: Error) => void }[] = [];
  const failed: unknown[] = [];
  let wakes = 0;
  const find = (id: string): Promise<FoundAdapter> => {
    if (id === "none") return Promise.reject(new Error("no such adapter"));
    let read = false;
    return Promise.resolve({
      id,
      get needsReading() {
        return !read;
      },
      read: () =>
        new Promise<void>((resolve, reject) =>
          readings.push({
            id,
            end: (error) => error ? reject(error) : resolve(void (read = true)),
          })
        ),
      hold: () => read ? { id, release: () => {} } : "unread",
    } as unknown as FoundAdapter);
  };
  const waiting = new Waiting({
    registry: { find },
    most,
    wake: () => void wakes++,
    fail(sequence, error) {
      failed.push(error);
      waiting.remove(sequence);
    },
  });
  return { waiting, readings, failed, wakes: () => wakes };
}

/** Blocks for all. */
const room: Admission = { fits: () => true, take: () => {} };

const idle = { sequences: [], total: 64, room };

test("Waiting takes as many as it may hold, and admits in order those that need no adapter", () => {
  const { waiting } = queueOf(3);
  const sequences = [1, 2, 3].map(() => waitingFor());
  for (const one of sequences) waiting.push(one);
  assert.throws(() => waiting.push(waitingFor()), (error: Error) => {
    assert.ok(error instanceof OverloadedError);
    assert.equal(error.message, "Cannot queue another sequence: 3 are waiting already");
    return true;
  });
  assert.deepEqual(waiting.admit(0, idle), []);
  assert.deepEqual(waiting.admit(2, idle), sequences.slice(0, 2));
  assert.equal(waiting.length, 1);
  waiting.remove(sequences[0]);
  waiting.remove(sequences[2]);
  assert.equal(waiting.length, 0);
});

test("Waiting reads the adapters of the first sixteen ahead, each once, also while no lane is free", async () => {
  const { waiting, readings, wakes } = queueOf();
  const sequences = Array.from({ length: 40 }, (_, i) => waitingFor(`${i}`));
  for (const one of sequences) waiting.push(one);
  assert.deepEqual(waiting.admit(40, idle), [], "none is looked up yet");
  await turns(2);
  assert.equal(wakes(), 40);
  for (const lanes of [0, 0, 40]) waiting.admit(lanes, idle);
  assert.deepEqual(readings.map(({ id }) => Number(id)), Array.from({ length: 16 }, (_, i) => i));
  readings[3].end();
  readings[20 - 16].end();
  await turns(2);
  assert.equal(wakes(), 42);
  assert.deepEqual(waiting.admit(1, idle), [sequences[3]]);
  assert.deepEqual(waiting.admit(9, idle), [sequences[4]]);
  // Two more are among the first sixteen now.
  waiting.admit(0, idle);
  assert.deepEqual(readings.slice(16).map(({ id }) => id), ["16", "17"]);
});

test("Waiting fails a sequence whose adapter is not found or cannot be read, and no other", async () => {
  const { waiting, readings, failed } = queueOf();
  const [none, broken, good] = ["none", "broken", "good"].map(waitingFor);
  for (const one of [none, broken, good]) waiting.push(one);
  await turns(2);
  assert.deepEqual(failed.map(String), ["Error: no such adapter"]);
  waiting.admit(3, idle);
  for (const { id, end } of readings) end(id === "broken" ? new Error("broken file") : undefined);
  await turns(2);
  assert.deepEqual(failed.map(String), ["Error: no such adapter", "Error: broken file"]);
  assert.deepEqual(waiting.admit(3, idle), [good]);
  assert.equal(good.lease?.id, "good");
  assert.equal(waiting.length, 0);
});

const tokenizer = await demoTokenizer();

/** Text events of an engine that says `ids`, and ends so. */
async function textOf(
  ids: readonly number[],
  end: Extract<GenerateEvent, { kind: "end" }>,
  more: { readonly stop?: string[]; readonly includeStop?: boolean; readonly minTokens?: number } = {},
): Promise<TextEvent[]> {
  const engine = {
    async *generate(): AsyncGenerator<GenerateEvent> {
      for (const tokenId of ids) yield await Promise.resolve({ kind: "token", tokenId } as const);
      yield end;
    },
  };
  const { minTokens, ...options } = more;
  const request = { promptTokenIds: [1], maxTokens: 50, sampling, stopTokenIds: [33], minTokens };
  return await Array.fromAsync(generateText(engine, request, { tokenizer, ...options }));
}

test("generateText() holds back what may begin a stop string, and gives it out at any end", async () => {
  const ids = tokenizer.encode("one two", { addSpecialTokens: false });
  const length = { kind: "end", finishReason: "length" } as const;
  const told = async (...args: Parameters<typeof textOf>): Promise<[string, string | undefined, unknown]> => {
    const events = await textOf(...args);
    const last = events.at(-1)!;
    assert.equal(last.kind, "end");
    return [
      events.map(({ text }) => text).join(""),
      last.kind === "end" ? last.finishReason : undefined,
      last.kind === "end" ? last.stopReason : undefined,
    ];
  };
  assert.deepEqual(await told(ids, length), ["one two", "length", undefined]);
  assert.deepEqual(await told(ids, length, { stop: ["two three"] }), ["one two", "length", undefined]);
  assert.deepEqual(await told(ids, length, { stop: ["two"] }), ["one ", "stop", "two"]);
  assert.deepEqual(await told(ids, length, { stop: ["two"], includeStop: true }), ["one two", "stop", "two"]);
  assert.deepEqual(await told(ids, length, { stop: ["two"], minTokens: ids.length }), [
    "one two",
    "length",
    undefined,
  ]);
  const stop = { kind: "end", finishReason: "stop", stopToken: { tokenId: 33 } } as const;
  assert.deepEqual(await told(ids, stop, { stop: ["two three"] }), ["one two", "stop", 33]);
  const shown = tokenizer.decode([...ids, 33]);
  assert.deepEqual(await told(ids, stop, { stop: ["two three"], includeStop: true }), [shown, "stop", 33]);
});
