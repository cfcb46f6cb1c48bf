/**
 * Biases and penalties against their definitions, which vLLM and OpenAI give.
 *
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { adjustLogits } from "../kernels/adjust_logits.ts";
import { AdapterRegistry, BatchEngine, cpuDevice, type Device } from "../mod.ts";
import type { GenerateRequest, Sampling } from "../src/engine/generate.ts";
import { Runner } from "../src/engine/runner.ts";
import { openCheckpoint } from "../src/models/checkpoint.ts";
import { readConfig } from "../src/models/families.ts";
import { loadModel } from "../src/models/model.ts";
import { openFolder } from "../src/runtime/mod.ts";
import { lane } from "./lanes.ts";

const cpu = cpuDevice();
const ahead: Device = { ...cpu, runsAhead: true };
const folder = await openFolder(fileURLToPath(new URL("fixtures/tiny/llama", import.meta.url)));
const source = await openCheckpoint(folder);
const model = await loadModel(cpu, { config: await readConfig(folder), source, maxModelLen: 24 })
  .finally(() => source.close());

/** The likeliest token after penalties, token by token from the logits of the whole text so far. */
async function naive({ promptTokenIds, maxTokens, sampling }: GenerateRequest): Promise<number[]> {
  const { presencePenalty = 0, frequencyPenalty = 0, repetitionPenalty = 1, logitBias = new Map() } =
    sampling;
  const made: number[] = [];
  const runner = new Runner(cpu, model, {
    ...{ banks: [], maxRows: 24, maxOutputs: 1, cacheRows: 24, blockSize: 1 },
  });
  while (made.length < maxTokens) {
    const tokens = [...promptTokenIds, ...made];
    await runner.step(
      tokens.map((token, position) => ({ token, position, blocks: lane(0) })),
      [{ row: tokens.length - 1, temperature: 0, topP: 1, topK: 0, uniform: 0 }],
    );
    const logits = [...await runner.logits(0)].map((logit, token) => {
      const value = logit + (logitBias.get(token) ?? 0), count = made.filter((one) => one === token).length;
      const repeated = tokens.includes(token) ? repetitionPenalty : 1;
      return (value > 0 ? value / repeated : value * repeated) - frequencyPenalty * count -
        (count > 0 ? presencePenalty : 0);
    });
    made.push(logits.indexOf(Math.max(...logits)));
  }
  return made;
}

const registry = new AdapterRegistry(cpu, {
  list: () => Promise.resolve([]),
  open: () => Promise.resolve(undefined),
});

async function generated(device: Device, request: GenerateRequest): Promise<number[]> {
  const engine = new BatchEngine(device, model, { registry, options: { eosTokenIds: [], maxSequences: 2 } });
  const events = await Array.fromAsync(engine.generate(request));
  return events.flatMap((event) => event.kind === "token" ? [event.tokenId] : []);
}

const strength = fc.constantFrom(-2, 0, 0.5, 2);

test("BatchEngine draws by biases and penalties as they are defined, ahead of its device, too", async () => {
  const texts = new Set<string>();
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 0, max: 31 }), { minLength: 1, maxLength: 6 }),
      fc.record({
        presencePenalty: strength,
        frequencyPenalty: strength,
        repetitionPenalty: fc.constantFrom(0.5, 1, 2),
        logitBias: fc.array(fc.tuple(fc.integer({ min: 0, max: 31 }), fc.constantFrom(-4, 0, 3)), {
          maxLength: 4,
        }).map((pairs) => new Map(pairs)),
      }),
      async (promptTokenIds, changes) => {
        const sampling: Sampling = { temperature: 0, topP: 1, topK: 0, ...changes };
        const request = { promptTokenIds, maxTokens: 9, sampling };
        const expected = await naive(request);
        assert.deepEqual(await generated(cpu, request), expected);
        assert.deepEqual(await generated(ahead, request), expected);
        texts.add(String(expected));
      },
    ),
    { numRuns: 25 },
  );
  assert.ok(texts.size > 5, `${texts.size} texts`);
});

test("BatchEngine reports log-probabilities of the logits as they are, whatever changes what is drawn", async () => {
  const base: GenerateRequest = {
    promptTokenIds: [1, 2, 3],
    maxTokens: 1,
    sampling: { temperature: 0, topP: 1, topK: 0 },
    logprobs: 20,
  };
  const engine = new BatchEngine(cpu, model, { registry, options: { eosTokenIds: [] } });
  const first = async (more: Partial<Sampling>) => {
    const request = { ...base, sampling: { ...base.sampling, ...more } };
    const [event] = await Array.fromAsync(engine.generate(request));
    assert.equal(event.kind, "token");
    return event as Extract<typeof event, { kind: "token" }>;
  };
  const plain = await first({}), third = plain.logprobs!.top[2];
  const biased = await first({ logitBias: new Map([[third.tokenId, 100]]), repetitionPenalty: 3 });
  assert.equal(biased.tokenId, third.tokenId);
  assert.deepEqual(biased.logprobs!.top, plain.logprobs!.top);
  assert.equal(biased.logprobs!.logprob, third.logprob);
});

test("minP keeps tokens by the likeliest one's probability: at 1 no other is drawn", async () => {
  const request = (seed: number, minP: number): GenerateRequest => ({
    promptTokenIds: [4, 5],
    maxTokens: 6,
    sampling: { temperature: 2, topP: 1, topK: 0, seed, minP },
  });
  const greedy = await generated(cpu, { ...request(0, 0), sampling: { temperature: 0, topP: 1, topK: 0 } });
  const texts = async (minP: number) =>
    new Set(
      await Promise.all([1, 2, 3, 4].map(async (seed) => `${await generated(cpu, request(seed, minP))}`)),
    );
  assert.deepEqual(await texts(1), new Set([`${greedy}`]));
  assert.ok((await texts(0)).size > 1);
});

test("adjust_logits leaves what is not finite as it is, and makes nothing infinite", () => {
  const logits = Float32Array.of(Infinity, -3.4e38, NaN, 3.4e38);
  const words = { rows: 1, vocab: 4, size: 4, outputs: 0 };
  const entries = Uint32Array.from([0, 1, 2, 3].flatMap((token) => [token, 1, 0]));
  adjustLogits.reference({
    ...{ logits, entries, strengths: Float32Array.of(0, 0, 0.5), lists: Uint32Array.of(0, 4, 9) },
    ...{ sampled: new Uint32Array(1), kept: new Float32Array(5), extra: new Uint32Array(1) },
  }, words);
  const most = Math.fround(3.4028234663852886e38);
  assert.deepEqual([...logits], [Infinity, Math.fround(-1.7e38), NaN, most]);
});
