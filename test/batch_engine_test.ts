import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { AdapterRegistry, BatchEngine, cpuDevice, type Device, type GenerateEvent } from "../mod.ts";
import { openFolder } from "../src/runtime/mod.ts";
import type { ConstrainedRun, Constraint } from "../src/engine/constraint.ts";
import type { GenerateRequest } from "../src/engine/generate.ts";
import { openCheckpoint } from "../src/models/checkpoint.ts";
import { loadModel, type Model } from "../src/models/model.ts";
import { readConfig } from "../src/models/families.ts";
import { turns } from "./until.ts";

const cpu = cpuDevice();
/** Runs at once, as a CPU does, but is driven as a device that runs ahead. */
const ahead: Device = { ...cpu, runsAhead: true };

async function openTiny(): Promise<Model> {
  const folder = await openFolder(fileURLToPath(new URL("fixtures/tiny/llama", import.meta.url)));
  const source = await openCheckpoint(folder);
  return await loadModel(cpu, { config: await readConfig(folder), source, maxModelLen: 24 })
    .finally(() => source.close());
}

const model = await openTiny();

function engineOn(device: Device, eosTokenIds: readonly number[]): BatchEngine {
  const store = { list: () => Promise.resolve([]), open: () => Promise.resolve(undefined) };
  const registry = new AdapterRegistry(device, store);
  return new BatchEngine(device, model, {
    registry,
    options: { eosTokenIds, maxSequences: 3, maxStepTokens: 5 },
  });
}

const { vocabSize } = model.config;

/** Whether a token may follow others, by a rule that any token changes. */
const mayFollow = (tokens: readonly number[], token: number): boolean =>
  (tokens.reduce((sum, one) => sum + one, token) + tokens.length) % 3 !== 0;

/** The rule, told late; and end tokens, always. */
function lateRule(
  eos: readonly number[],
): { readonly constraint: Constraint; readonly counts: { open: number } } {
  const counts = { open: 0 };
  const maskOf = (tokens: readonly number[]): Uint32Array => {
    const mask = new Uint32Array(Math.ceil(vocabSize / 32));
    for (let t = 0; t < vocabSize; t++) {
      if (mayFollow(tokens, t) || eos.includes(t)) mask[t >>> 5] |= 1 << (t & 31);
    }
    return mask;
  };
  const start = async (): Promise<ConstrainedRun> => {
    await turns(1);
    const tokens: number[] = [];
    let ended = false;
    counts.open++;
    return {
      first: maskOf([]),
      accept: async (token) => {
        tokens.push(token);
        await turns(token % 3);
        return maskOf(tokens);
      },
      end: () => {
        if (!ended) counts.open--;
        ended = true;
      },
    };
  };
  return { constraint: { vocabSize, start }, counts };
}

/** A request, when it comes, and after how many events its reader leaves. */
interface Visit {
  readonly request: GenerateRequest;
  readonly isConstrained?: boolean;
  readonly minTokens?: number;
  readonly delay: number;
  readonly leavesAfter?: number;
}

const seldom = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  fc.oneof({ weight: 4, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary });

const visit: fc.Arbitrary<Visit> = fc.record({
  request: fc.record({
    promptTokenIds: fc.array(fc.integer({ min: 0, max: 31 }), { minLength: 1, maxLength: 13 }),
    maxTokens: fc.oneof(fc.constantFrom(0, 1, 2), fc.integer({ min: 8, max: 30 })),
    sampling: fc.record({
      temperature: fc.constantFrom(0, 1, 3),
      topP: fc.constant(1),
      topK: fc.constant(0),
      seed: fc.nat(),
    }),
    logprobs: seldom(fc.integer({ min: 0, max: 2 })),
    promptLogprobs: fc.boolean(),
  }).map(({ promptLogprobs, ...rest }) => ({
    ...rest,
    promptLogprobs: promptLogprobs && rest.logprobs !== undefined,
  })),
  isConstrained: fc.boolean(),
  minTokens: fc.constantFrom(0, 3),
  delay: fc.nat(2),
  leavesAfter: seldom(fc.integer({ min: 1, max: 5 })),
});

async function events(
  engine: BatchEngine,
  { request, delay, leavesAfter = Infinity }: Visit,
): Promise<GenerateEvent[]> {
  await turns(delay);
  const seen: GenerateEvent[] = [];
  for await (const event of engine.generate(request)) {
    seen.push(event);
    if (seen.length === leavesAfter) break;
  }
  return seen;
}

test("BatchEngine ahead of its device says what it says step by step, whoever comes, leaves, and ends", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(visit, { minLength: 1, maxLength: 8 }),
      fc.uniqueArray(fc.integer({ min: 0, max: 31 }), { maxLength: 6 }),
      async (asked, eos) => {
        const { constraint, counts } = lateRule(eos);
        const visits = asked.map(({ request, isConstrained, minTokens = 0, ...rest }) => ({
          ...rest,
          request: {
            ...request,
            minTokens: Math.min(minTokens, request.maxTokens),
            // Without an end token there is no such text.
            ...(isConstrained && eos.length > 0 ? { constraint } : {}),
          },
        }));
        const alone = engineOn(cpu, eos);
        const expected: GenerateEvent[][] = [];
        for (const one of visits) expected.push(await events(alone, one));
        const together = engineOn(ahead, eos);
        assert.deepEqual(await Promise.all(visits.map((one) => events(together, one))), expected);
        await together.trace().catch(() => {}); // when all has landed
        assert.deepEqual(together.load, { running: 0, waiting: 0 });
        assert.equal(counts.open, 0, "every run has ended");
        expected.forEach((told, i) => {
          const tokens = told.flatMap((event) => event.kind === "token" ? [event.tokenId] : []);
          if (!visits[i].request.constraint) return;
          tokens.forEach((token, at) => assert.ok(mayFollow(tokens.slice(0, at), token), `${tokens}`));
        });
      },
    ),
    { numRuns: 40 },
  );
});

const greedy = (maxTokens: number, more: Partial<GenerateRequest> = {}): GenerateRequest => ({
  promptTokenIds: [1, 2, 3],
  maxTokens,
  sampling: { temperature: 0, topP: 1, topK: 0 },
  ...more,
});

/** A device that runs ahead: how many steps were submitted, and how many of them were not read at the most. */
function watched(): { device: Device; seen: { submitted: number; mostUnread: number } } {
  const seen = { submitted: 0, mostUnread: 0 };
  let unread = 0;
  const device: Device = {
    ...ahead,
    async runAndRead(program, source, range) {
      seen.submitted++;
      seen.mostUnread = Math.max(seen.mostUnread, ++unread);
      const read = await cpu.runAndRead(program, source, range);
      // Results come late, as a GPU's do.
      await turns(20);
      unread--;
      return read;
    },
  };
  return { device, seen };
}

test("BatchEngine submits one step before it has read the last, and none for a token that is not wanted", async () => {
  const { device, seen } = watched();
  await Array.fromAsync(engineOn(device, []).generate(greedy(4)));
  assert.deepEqual(seen, { submitted: 4, mostUnread: 2 });
});

test("BatchEngine submits one step before it has read the last one's log-probabilities", async () => {
  const { device, seen } = watched();
  await Array.fromAsync(engineOn(device, []).generate(greedy(3, { logprobs: 1 })));
  await Array.fromAsync(engineOn(device, []).generate(greedy(3, { logprobs: 0, promptLogprobs: true })));
  assert.deepEqual(seen, { submitted: 6, mostUnread: 2 });
});

test("BatchEngine drops the one token that follows an end-of-text token", async () => {
  const tokens = async (engine: BatchEngine, maxTokens: number) =>
    (await Array.fromAsync(engine.generate(greedy(maxTokens)))).flatMap((event) =>
      event.kind === "token" ? [event.tokenId] : []
    );
  const all = await tokens(engineOn(cpu, []), 6);
  const eos = all.findIndex((token, i) => i > 0 && !all.slice(0, i).includes(token));
  const { device, seen } = watched();
  const engine = engineOn(device, [all[eos]]);
  assert.deepEqual(await tokens(engine, 6), all.slice(0, eos));
  await engine.trace();
  assert.deepEqual(seen, { submitted: eos + 2, mostUnread: 2 });
});

test("BatchEngine fails all sequences of a step that fails while another is submitted, and goes on", async () => {
  let submitted = 0;
  const device: Device = {
    ...ahead,
    runAndRead: (program, source, range) =>
      ++submitted === 2 ? Promise.reject(new Error("lost")) : cpu.runAndRead(program, source, range),
  };
  const engine = engineOn(device, []);
  await assert.rejects(Array.fromAsync(engine.generate(greedy(8))), { message: "lost" });
  assert.equal((await Array.fromAsync(engine.generate(greedy(2)))).length, 3);
});

test("BatchEngine lets others run while a constraint works, and fails its sequence alone", async () => {
  const engine = engineOn(ahead, [5]);
  const late = Promise.withResolvers<Uint32Array>();
  const first = new Uint32Array(1).fill(0xffffffff);
  const constraint: Constraint = {
    vocabSize,
    start: () => Promise.resolve({ first, accept: () => late.promise, end: () => {} }),
  };
  const held = Array.fromAsync(engine.generate(greedy(4, { constraint, ignoreEos: true })));
  assert.equal((await Array.fromAsync(engine.generate(greedy(6, { ignoreEos: true })))).length, 7);
  assert.deepEqual(engine.load, { running: 1, waiting: 0 });
  late.reject(new Error("too long"));
  await assert.rejects(held, { message: "too long" });
  assert.equal((await Array.fromAsync(engine.generate(greedy(2, { ignoreEos: true })))).length, 3);
});

test("BatchEngine ends a constrained text by end tokens alone where nothing else may come", async () => {
  const engine = engineOn(ahead, [5, 7]);
  const only = (token: number): Uint32Array => Uint32Array.of((1 << token) >>> 0);
  const tokens = [9, 3, 7];
  const start = (): Promise<ConstrainedRun> => {
    let at = 0;
    const next = (): Uint32Array => only(tokens[at++]);
    return Promise.resolve({ first: next(), accept: () => Promise.resolve(next()), end: () => {} });
  };
  const constraint: Constraint = { vocabSize, start };
  // Neither rule about ends keeps a finished text going.
  const told = await Array.fromAsync(
    engine.generate(greedy(9, { constraint, ignoreEos: true, minTokens: 9 })),
  );
  assert.deepEqual(told.map((event) => event.kind === "token" ? event.tokenId : event.kind), [9, 3, "end"]);
  const { refused } = await Array.fromAsync(engineOn(ahead, []).generate(greedy(1, { constraint })))
    .then(() => ({ refused: "" }), (error: Error) => ({ refused: error.message }));
  assert.match(refused, /the model has no end token/);
});
