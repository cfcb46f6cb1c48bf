/**
 * Sequences of an engine from their first step to their last: what they are told, and what they leave.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { noToken } from "../kernels/sample.ts";
import {
  AdapterRegistry,
  Bank,
  BatchEngine,
  cpuDevice,
  type Device,
  type EngineOptions,
  type GenerateEvent,
  loadAdapter,
  NonFiniteError,
  openModel,
} from "../mod.ts";
import { openFolder } from "../src/runtime/mod.ts";
import type { GenerateRequest } from "../src/engine/generate.ts";
import { Landing } from "../src/engine/landing.ts";
import { uniforms } from "../src/engine/random.ts";
import { endsOf } from "../src/engine/request.ts";
import { Paging } from "../src/engine/paging.ts";
import { Runner } from "../src/engine/runner.ts";
import { schedule, type Sequence } from "../src/engine/schedule.ts";
import { Telling } from "../src/engine/telling.ts";
import { tensor } from "../src/tensor.ts";
import { memoryFolder, weightsFile } from "./model_folders.ts";
import { lane } from "./lanes.ts";
import { turns } from "./until.ts";

const device = cpuDevice();
const folder = await openFolder(fileURLToPath(new URL("fixtures/tiny/llama", import.meta.url)));
const { model } = await openModel(device, { folder, engine: { maxSequences: 1 } });
const { vocabSize } = model.config;

function engineOf(maxSequences = 2, more: Partial<EngineOptions> = {}): BatchEngine {
  const store = { list: () => Promise.resolve([]), open: () => Promise.resolve(undefined) };
  return new BatchEngine(device, model, {
    registry: new AdapterRegistry(device, store),
    options: { eosTokenIds: [], maxSequences, maxStepTokens: 8, ...more },
  });
}

const asked = (more: Partial<GenerateRequest> = {}): GenerateRequest => ({
  promptTokenIds: [1, 2, 3],
  maxTokens: 4,
  sampling: { temperature: 0, topP: 1, topK: 0 },
  ...more,
});

const eventsOf = (request: GenerateRequest): Promise<GenerateEvent[]> =>
  Array.fromAsync(engineOf().generate(request));

test("BatchEngine tells of the prompt once, of each token, and of one end", async () => {
  const kinds = async (request: GenerateRequest): Promise<string[]> =>
    (await eventsOf(request)).map(({ kind }) => kind);
  assert.deepEqual(await kinds(asked()), ["token", "token", "token", "token", "end"]);
  const scored = { logprobs: 1, promptLogprobs: true };
  assert.deepEqual(await kinds(asked(scored)), ["prompt", "token", "token", "token", "token", "end"]);
  assert.deepEqual(await kinds(asked({ ...scored, maxTokens: 1 })), ["prompt", "token", "end"]);
});

test("BatchEngine scores a prompt without a new token, longer than its steps, too", async () => {
  const promptTokenIds = Array.from({ length: 20 }, (_, i) => i % vocabSize);
  const request = asked({ promptTokenIds, logprobs: 2, promptLogprobs: true, maxTokens: 0 });
  const [prompt, ...rest] = await eventsOf(request);
  assert.deepEqual(rest, [{ kind: "end", finishReason: "length" }]);
  assert.ok(prompt.kind === "prompt");
  assert.equal(prompt.logprobs.length, 20);
  assert.equal(prompt.logprobs[0], null);
  assert.ok(prompt.logprobs.slice(1).every((one) => one!.logprob < 0 && one!.top.length === 2));
  assert.deepEqual(await eventsOf(asked({ maxTokens: 0 })), [{ kind: "end", finishReason: "length" }]);
});

test("BatchEngine counts who runs and who waits, and forgets who has left at once", async () => {
  const engine = engineOf(2);
  const readers = [1, 2, 3].map(() => engine.generate(asked({ maxTokens: 100 })));
  await Promise.all(readers.slice(0, 2).map((reader) => reader.next()));
  void readers[2].next();
  assert.deepEqual(engine.load, { running: 2, waiting: 1 });
  await readers[0].return();
  assert.equal(engine.load.running, 1);
  while (engine.load.waiting > 0) await turns(1);
  assert.deepEqual(engine.load, { running: 2, waiting: 0 });
  await readers[1].return();
  const rest = await Array.fromAsync(readers[2]);
  assert.equal(rest.at(-1)?.kind, "end");
  assert.deepEqual(engine.load, { running: 0, waiting: 0 });
});

test("BatchEngine leaves nothing on a request's signal", async () => {
  const { signal } = new AbortController();
  const listeners = new Set<unknown>();
  Object.assign(signal, {
    addEventListener: (_: string, listener: unknown) => listeners.add(listener),
    removeEventListener: (_: string, listener: unknown) => listeners.delete(listener),
  });
  await eventsOf(asked({ signal }));
  assert.equal(listeners.size, 0);
});

/** A sequence whose prompt's first `cached` tokens are in the cache. */
function sequenceOf(
  prompt: number,
  { cached = 0, ...more }: Partial<GenerateRequest & { cached: number }> = {},
) {
  const request = asked({ promptTokenIds: Array(prompt).fill(1), maxTokens: 3, ...more });
  const ends = endsOf(request, { maxModelLen: 99, vocabSize, eosTokenIds: [7] });
  const sequence: Sequence = {
    request,
    passed: 0,
    ends,
    uniform: () => 0.5,
    mostNew: request.maxTokens,
    tokens: [...request.promptTokenIds],
    cached,
    blocks: [0],
    kept: 0,
    promptLogprobs: [],
    events: [],
    finished: false,
    wake: () => {},
  };
  return sequence;
}

/** Blocks of any sequence's length. */
const paging = new Paging({ blocks: 9, blockSize: 99, prefixCaching: true, fixedLength: Infinity });

test("schedule gives the oldest prompt its half, then short prompts before long ones, and no empty share", () => {
  const room = { maxRows: 12, promptRows: 3, usualRows: 12, maxOutputs: 12, maxBlocks: 9 };
  const lengths = [20, 9, 2, 3];
  const sequences = lengths.map((length) => sequenceOf(length));
  const { shares } = schedule(sequences, { room, paging });
  assert.deepEqual(shares.map(({ sequence, count }) => [sequence.tokens.length, count]), [[20, 6], [2, 2], [
    3,
    3,
  ], [
    9,
    1,
  ]]);
  const full = schedule(lengths.map((length) => sequenceOf(length)), {
    room: { ...room, maxRows: 4, usualRows: 4 },
    paging,
  });
  assert.deepEqual(full.shares.map(({ count }) => count), [2, 2]);
  // Scored prompts take no more rows than there are outputs.
  const scored = schedule([sequenceOf(9, { logprobs: 0, promptLogprobs: true })], {
    room: { ...room, maxOutputs: 4 },
    paging,
  });
  assert.deepEqual(scored.shares.map(({ count, outputs, samples }) => [count, outputs, samples]), [[
    4,
    4,
    false,
  ]]);
  assert.equal(scored.outputs.length, 4);
});

const landingOf = () => {
  const told: string[] = [];
  const landing = new Landing({
    advance: (_, tokenId) => void told.push(`advance ${tokenId}`),
    tell: () => {},
    finish: (sequence) => void (told.push("finish"), sequence.finished = true),
    fail: (_, error) => void told.push(String(error)),
  });
  return { landing, told };
};

const shareOf = (sequence: Sequence) => ({
  sequence,
  begin: 0,
  count: sequence.tokens.length,
  firstOutput: 0,
  outputs: sequence.request.promptLogprobs ? sequence.tokens.length : 1,
  samples: true,
});

/** A clock that tests move on, and sequences that count how often they are told. */
function tellingAt(mostPerSecond: number) {
  let nowMs = 0;
  const calls: { readonly atMs: number; readonly call: () => void }[] = [];
  const clock = {
    now: () => nowMs,
    after: (ms: number, call: () => void) => calls.push({ atMs: nowMs + ms, call }),
  };
  const telling = new Telling(mostPerSecond, clock);
  const told: string[] = [];
  return {
    telling,
    told,
    sequence(name: string, more: Partial<GenerateRequest> = {}): Sequence {
      return Object.assign(sequenceOf(2, more), { wake: () => void told.push(name) });
    },
    /** Goes to a time; what is due until then is called. */
    at(ms: number): void {
      nowMs = ms;
      for (const { call } of calls.splice(0, calls.length).filter(({ atMs }) => atMs <= ms)) call();
    },
  };
}

test("Telling tells of a first token at once, and of those that follow soon together", () => {
  const { telling, told, sequence, at } = tellingAt(1000);
  const a = sequence("a"), b = sequence("b");
  // Ten sequences: each is told of every 10 ms.
  for (const one of [a, b, a, b, a]) telling.tell(one, 10);
  assert.deepEqual(told.splice(0), ["a", "b"]);
  at(10);
  assert.deepEqual(told.splice(0), ["a", "b"]);
  // The next token's own time has come: no call is waited for.
  at(25);
  telling.tell(a, 10);
  assert.deepEqual(told.splice(0), ["a"]);
});

test("Telling tells of an end at once, and of no token after that", () => {
  const { telling, told, sequence, at } = tellingAt(1000);
  const a = sequence("a");
  for (let i = 0; i < 3; i++) telling.tell(a, 10);
  telling.end(a);
  assert.deepEqual(told.splice(0), ["a", "a"]);
  at(100);
  assert.deepEqual(told, []);
});

test("Telling holds nothing of eager sequences, nor where no bound is set, and nothing for longer than 50 ms", () => {
  const free = tellingAt(Infinity), one = free.sequence("one");
  for (let i = 0; i < 3; i++) free.telling.tell(one, 1000);
  assert.equal(free.told.length, 3);
  const { telling, told, sequence, at } = tellingAt(1);
  const eager = sequence("eager", { eager: true }), patient = sequence("patient");
  for (const each of [eager, patient, eager, patient]) telling.tell(each, 1000);
  assert.deepEqual(told.splice(0), ["eager", "patient", "eager"]);
  at(50);
  assert.deepEqual(told, ["patient"]);
  assert.throws(() => new Telling(0), {
    name: "RangeError",
    message: "Cannot open an engine with maxBurstsPerSecond 0: it must be a number above 0",
  });
});

test("BatchEngine refuses a bound of bursts before it takes memory of the device", () => {
  let tensors = 0;
  const counting: Device = { ...device, alloc: (...args) => (tensors++, device.alloc(...args)) };
  const store = { list: () => Promise.resolve([]), open: () => Promise.resolve(undefined) };
  const registry = new AdapterRegistry(device, store);
  const open = (maxBurstsPerSecond: number) =>
    new BatchEngine(counting, model, { registry, options: { eosTokenIds: [], maxBurstsPerSecond } });
  assert.throws(() => open(0), /maxBurstsPerSecond 0/);
  assert.equal(tensors, 0);
  open(1);
  assert.ok(tensors > 0);
});

test("BatchEngine tells the same events in bursts, whatever their bound", async () => {
  const requests = [1, 2, 3].map((first) => asked({ promptTokenIds: [first, 2], maxTokens: 9 }));
  const all = (engine: BatchEngine) =>
    Promise.all(requests.map(async (request) => (await Array.fromAsync(engine.bursts(request))).flat()));
  const expected = await all(engineOf(3));
  assert.deepEqual(await all(engineOf(3, { maxBurstsPerSecond: 1 })), expected);
  assert.deepEqual(expected.map((events) => events.length), [10, 10, 10]);
});

test("Landing fails a sequence whose logits are not finite, and names whose numbers they were", () => {
  for (const [adapter, who] of [[undefined, "the base model"], ["x", 'adapter "x"']] as const) {
    const { landing, told } = landingOf();
    landing.take(shareOf(sequenceOf(2, { adapter })), Uint32Array.of(noToken));
    const message = `Cannot generate with ${who}: its numbers overflow, a step's logits are not finite`;
    assert.deepEqual(told, [String(new NonFiniteError(message))]);
  }
});

test("Landing says nothing of a sequence that ended before", () => {
  const { landing, told } = landingOf();
  const before = { ...sequenceOf(2), finished: true };
  landing.take(shareOf(before), Uint32Array.of(noToken));
  landing.take(shareOf(before), Uint32Array.of(3));
  assert.deepEqual([before.events, told], [[], []]);
});

test("Landing gives each output's log-probabilities to its token, once where a prompt is run anew", () => {
  const { landing } = landingOf();
  const scores = (output: number) => ({ logprob: -output, top: [] });
  const sequence = sequenceOf(3, { logprobs: 0, promptLogprobs: true });
  sequence.promptLogprobs.push(null);
  for (let i = 0; i < 2; i++) {
    const share = { ...shareOf(sequence), samples: i === 1 };
    landing.take(share, Uint32Array.of(1, 1, 3), scores);
  }
  const prompt = [null, { logprob: -0, top: [] }, { logprob: -1, top: [] }];
  assert.deepEqual(sequence.promptLogprobs, prompt);
  assert.deepEqual(sequence.events, [
    { kind: "prompt", logprobs: prompt },
    { kind: "token", tokenId: 3, logprobs: { logprob: -2, top: [] } },
  ]);
});

/** The first 24 bits of streams: what a seed has given must not change. */
const pinned = [[6578768, 14270585, 11482670], [14993725, 16448222, 3130722], [11068225, 15224354, 1620833], [
  12948416,
  16184424,
  2908697,
], [11068225, 15224354, 1620833]];

test("uniforms gives the streams that it always gave, all of them from 0 on and below 1", () => {
  const first = (seed: number | bigint): number[] => {
    const random = uniforms(seed);
    return [random(), random(), random()].map((value) => value * 2 ** 24);
  };
  assert.deepEqual([0, 7, -1, 2 ** 33 + 5, 2n ** 64n - 1n].map(first), pinned);
  for (const seed of [3, -3, 2 ** 40, 2n ** 63n]) {
    const random = uniforms(seed);
    for (let i = 0; i < 1000; i++) {
      const value = random();
      assert.ok(value >= 0 && value < 1 && Number.isInteger(value * 2 ** 24), `${value}`);
    }
  }
});

test("Runner gives the head's adapter to the outputs of its own rows, wherever they stand in a step", async () => {
  const head = model.linears.find(({ path }) => path === "lm_head")!;
  const { method, modules } = await loadAdapter(memoryFolder({
    "adapter_config.json": JSON.stringify({ peft_type: "LORA", lora_alpha: 1 }),
    "adapter_model.safetensors": weightsFile({
      "base_model.model.lm_head.lora_A.weight": tensor(new Float32Array(head.shape.in).fill(1), [
        1,
        head.shape.in,
      ]),
      "base_model.model.lm_head.lora_B.weight": tensor(
        Float32Array.from({ length: head.shape.out }, (_, i) => i),
        [head.shape.out, 1],
      ),
    }),
  }));
  const bank = new Bank(device, method, { linears: model.linears, capacity: 2 });
  const adapters = [{ bank, slot: bank.load(modules)! }];
  const runner = new Runner(device, model, {
    banks: [bank],
    maxRows: 4,
    maxOutputs: 3,
    cacheRows: 32,
    blockSize: 1,
  });
  const logits = async (adapted: readonly boolean[], outputs: readonly number[]): Promise<Float32Array[]> => {
    const rows = adapted.map((is, at) => ({
      token: 5 + at,
      position: 0,
      blocks: lane(8 * at),
      adapters: is ? adapters : undefined,
    }));
    await runner.step(rows, outputs.map((row) => ({ row, temperature: 0, topP: 1, topK: 0, uniform: 0 })));
    const found: Float32Array[] = [];
    for (const output of outputs.keys()) found.push(await runner.logits(output));
    return found;
  };
  const base = await logits([false, false, false, false], [1, 2, 3]);
  const adapted = await logits([false, false, true, false], [1, 2, 3]);
  assert.deepEqual([adapted[0], adapted[2]], [base[0], base[2]]);
  // Row i of dW is i times the sum of the hidden state.
  const sum = adapted[1][1] - base[1][1];
  assert.ok(Math.abs(sum) > 1e-3);
  adapted[1].forEach((value, i) => assert.ok(Math.abs(value - base[1][i] - i * sum) < 1e-3, `${i}`));
  const moved = await logits([false, true, false, true], [3, 2, 1]);
  assert.deepEqual(moved[1], base[1]);
  assert.notDeepEqual(moved[0], base[2]);
  assert.notDeepEqual(moved[2], base[0]);
});

test("Runner takes one size for up to 8 rows by powers of two, to 32 by eights, and beyond by sixty-fours", async () => {
  let prepared = 0;
  const few: Device = {
    ...device,
    prefersFewSizes: true,
    prepare: (plan) => (prepared++, device.prepare(plan)),
  };
  const runner = new Runner(few, model, {
    banks: [],
    maxRows: 130,
    maxOutputs: 2,
    cacheRows: 260,
    blockSize: 1,
  });
  const newSizes = async (...counts: number[]): Promise<number> => {
    const before = prepared;
    for (const count of counts) {
      const rows = Array.from({ length: count }, (_, i) => ({ token: 1, position: 0, blocks: lane(2 * i) }));
      await runner.step(rows, [{ row: 0, temperature: 0, topP: 1, topK: 0, uniform: 0 }]);
    }
    return prepared - before;
  };
  assert.equal(await newSizes(5, 6, 7, 8), 1);
  assert.equal(await newSizes(9, 16), 1);
  assert.equal(await newSizes(17, 24), 1);
  assert.equal(await newSizes(25, 32), 1);
  assert.equal(await newSizes(33, 40, 64), 1);
  assert.equal(await newSizes(65, 128), 1);
  assert.equal(await newSizes(129, 130), 1);
});

test("Runner runs a step of a rare size as a larger one, and prepares a program once the size comes again", async () => {
  const sizes: number[] = [];
  const few: Device = {
    ...device,
    prefersFewSizes: true,
    prepare: (
      plan,
    ) => (sizes.push(plan.find(({ kernel }) => kernel.name === "embedding")!.uniforms.rows),
      device.prepare(plan)),
  };
  const options = { banks: [], maxRows: 256, maxOutputs: 2, cacheRows: 512, blockSize: 1 };
  const runner = new Runner(few, model, options), exact = new Runner(device, model, options);
  const step = async (count: number): Promise<void> => {
    const rows = Array.from(
      { length: count },
      (_, i) => ({ token: i % 7, position: 0, blocks: lane(2 * i) }),
    );
    const outputs = [{ row: count - 1, temperature: 0, topP: 1, topK: 0, uniform: 0 }];
    assert.deepEqual(await runner.step(rows, outputs), await exact.step(rows, outputs));
    assert.deepEqual(await runner.logits(0), await exact.logits(0));
  };
  await step(128);
  assert.deepEqual(sizes.splice(0), [128]);
  // A program of twice the rows stands in eight times; one of more never does, and none does for few rows.
  for (let i = 0; i < 8; i++) await step(64);
  assert.deepEqual(sizes.splice(0), []);
  await step(64);
  await step(64);
  await step(24);
  await step(16);
  assert.deepEqual(sizes, [64, 24, 16]);
});

test("schedule runs a sequence anew, once, when it grows past the length that its keys are right for", () => {
  const room = { maxRows: 4, promptRows: 4, usualRows: 4, maxOutputs: 4, maxBlocks: 9, rerunBeyond: 6 };
  const sequence = sequenceOf(5, { cached: 5, maxTokens: 9, promptLogprobs: true });
  const take = (token: number): void => {
    sequence.flying = undefined;
    sequence.tokens.push(token);
  };
  /** Positions of the next step's rows, the length that turns them, and how many outputs there are. */
  const next = () => {
    const { rows, outputs, shares: [share] } = schedule([sequence], { room, paging });
    if (!share) return undefined;
    sequence.cached += share.count;
    sequence.flying = share.samples ? share : undefined;
    return [rows.map(({ position }) => position), rows.map(({ length }) => length), outputs.length];
  };
  take(2);
  assert.deepEqual(next(), [[5], [6], 1]);
  // The next token is not known yet: it cannot be run together with those before it.
  assert.equal(next(), undefined);
  take(3);
  assert.deepEqual(next(), [[0, 1, 2, 3], [7, 7, 7, 7], 0]);
  assert.deepEqual(next(), [[4, 5, 6], [7, 7, 7], 1]);
  assert.deepEqual(next(), [[7], [8], 1], "its token is in flight");
  take(4);
  assert.equal(sequence.rerun, 7);

  const long = sequenceOf(7, { cached: 0 });
  assert.deepEqual(schedule([long], { room, paging }).rows.map(({ length }) => length), [7, 7, 7, 7]);
  assert.equal(long.rerun, undefined, "a prompt past the length is right from the start");
});
