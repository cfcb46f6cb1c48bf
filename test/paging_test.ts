/**
 * The paged key-value cache: who holds which blocks, and that texts are the same whatever room there is.
 *
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { AdapterRegistry, BatchEngine, cpuDevice, type Device, type GenerateEvent } from "../mod.ts";
import { BlockPool } from "../src/engine/block_pool.ts";
import type { EngineOptions } from "../src/engine/batch_engine.ts";
import type { GenerateRequest } from "../src/engine/generate.ts";
import { openCheckpoint } from "../src/models/checkpoint.ts";
import { readConfig } from "../src/models/families.ts";
import { loadModel } from "../src/models/model.ts";
import { openFolder } from "../src/runtime/mod.ts";
import { turns } from "./until.ts";

const cpu = cpuDevice();
const ahead: Device = { ...cpu, runsAhead: true };
const folder = await openFolder(fileURLToPath(new URL("fixtures/tiny/llama", import.meta.url)));
const source = await openCheckpoint(folder);
const model = await loadModel(cpu, { config: await readConfig(folder), source, maxModelLen: 24 })
  .finally(() => source.close());

function engineOf(device: Device, options: Partial<EngineOptions>): BatchEngine {
  const store = { list: () => Promise.resolve([]), open: () => Promise.resolve(undefined) };
  return new BatchEngine(device, model, {
    registry: new AdapterRegistry(device, store),
    options: { eosTokenIds: [], maxStepTokens: 7, ...options },
  });
}

/** What blocks have: the text up to their end, by whose salt. */
type Content = string;

/** Texts of few tokens, so that many begin alike. */
const text = fc.array(fc.integer({ min: 0, max: 1 }), { minLength: 1, maxLength: 9 });

test("BlockPool gives no block to two texts, and finds those alone that have a text's own beginning", () => {
  let found = 0, evicted = 0;
  fc.assert(fc.property(
    fc.integer({ min: 1, max: 3 }),
    fc.array(fc.tuple(text, fc.constantFrom("a", "b"), fc.nat(3)), { maxLength: 40 }),
    (blockSize, visits) => {
      const pool = new BlockPool(9, blockSize);
      const contents = new Map<number, Content>();
      const running: number[][] = [];
      for (const [tokens, salt, leaving] of visits) {
        const contentTo = (end: number): Content => `${salt} ${tokens.slice(0, end)}`;
        let { blocks, chain } = pool.find(salt, tokens);
        assert.ok(blocks.length * blockSize < tokens.length, "the last token is computed");
        blocks.forEach((block, i) => assert.equal(contents.get(block), contentTo((i + 1) * blockSize)));
        found += blocks.length;
        for (let kept = blocks.length; blocks.length * blockSize < tokens.length;) {
          const block = pool.take();
          if (block === undefined) break;
          assert.ok(!running.flat().includes(block) && !blocks.includes(block), "nobody holds it");
          if (contents.has(block)) evicted++;
          blocks = [...blocks, block];
          const end = blocks.length * blockSize;
          contents.set(block, contentTo(end));
          if (end > tokens.length) break;
          chain = pool.keep(blocks[kept++], { chain, tokens, end });
        }
        running.push(blocks);
        if (leaving < running.length) pool.release(running.splice(leaving, 1)[0]);
        assert.equal(pool.free, 9 - new Set(running.flat()).size);
      }
      for (const blocks of running) pool.release(blocks);
      pool.forget();
      assert.deepEqual(pool.find("a", [0, 0, 0, 0, 0]).blocks, []);
      assert.equal(new Set(Array.from({ length: 9 }, () => pool.take())).size, 9);
      assert.equal(pool.take(), undefined);
    },
  ));
  assert.ok(found > 0 && evicted > 0, `${found} found, ${evicted} evicted`);
});

test("BlockPool forgets what was held longest ago first, and a text's end before its beginning", () => {
  const pool = new BlockPool(4, 1);
  const keep = (salt: string): void => {
    const tokens = [7, 8, 9], { blocks, chain: first } = pool.find(salt, tokens);
    let chain = first;
    while (blocks.length < 2) {
      const block = pool.take()!;
      blocks.push(block);
      chain = pool.keep(block, { chain, tokens, end: blocks.length });
    }
    pool.release(blocks);
  };
  const length = (salt: string): number => {
    const { blocks } = pool.find(salt, [7, 8, 9]);
    pool.release(blocks);
    return blocks.length;
  };
  keep("old");
  keep("new");
  assert.equal(pool.free, 4);
  const held = [pool.take()!];
  assert.deepEqual([length("old"), length("new")], [1, 2]);
  held.push(pool.take()!);
  assert.deepEqual([length("old"), length("new")], [0, 2]);
  held.push(pool.take()!, pool.take()!);
  assert.deepEqual([length("new"), pool.take()], [0, undefined]);
});

/** A request, when it comes, and after how many events its reader leaves. */
interface Visit {
  readonly request: GenerateRequest;
  readonly delay: number;
  readonly leavesAfter?: number;
}

const visit: fc.Arbitrary<Visit> = fc.record({
  request: fc.record({
    // Beginnings of few texts.
    promptTokenIds: fc.tuple(fc.constantFrom(1, 2), fc.integer({ min: 1, max: 13 })).map(([first, length]) =>
      Array.from({ length }, (_, i) => first + i * i % 7)
    ),
    maxTokens: fc.integer({ min: 0, max: 30 }),
    sampling: fc.record({
      temperature: fc.constantFrom(0, 1),
      topP: fc.constant(1),
      topK: fc.constant(0),
      seed: fc.nat(),
      minP: fc.constantFrom(0, 0.05),
      presencePenalty: fc.constantFrom(0, 1.5),
      repetitionPenalty: fc.constantFrom(1, 1.3),
      logitBias: fc.constantFrom(undefined, new Map([[3, 2], [9, -1]])),
    }),
    cacheSalt: fc.constantFrom(undefined, "a"),
    logprobs: fc.oneof({ weight: 4, arbitrary: fc.constant(undefined) }, fc.nat(2)),
    promptLogprobs: fc.boolean(),
  }).map(({ promptLogprobs, ...rest }) => ({
    ...rest,
    promptLogprobs: promptLogprobs && rest.logprobs !== undefined,
  })),
  delay: fc.nat(9),
  leavesAfter: fc.oneof({ weight: 4, arbitrary: fc.constant(undefined) }, fc.integer({ min: 1, max: 9 })),
});

async function events(engine: BatchEngine, { request, delay, leavesAfter = Infinity }: Visit) {
  await turns(delay);
  const seen: GenerateEvent[] = [];
  for await (const event of engine.generate(request)) {
    seen.push(event);
    if (seen.length === leavesAfter) break;
  }
  return seen;
}

for (const device of [cpu, ahead]) {
  test(
    `BatchEngine says the same in blocks that are too few, shared, and taken back; ahead: ${device.runsAhead}`,
    async () => {
      const sums = { preemptions: 0, prefixHits: 0 };
      await fc.assert(
        fc.asyncProperty(
          fc.array(visit, { minLength: 1, maxLength: 9 }),
          fc.uniqueArray(fc.integer({ min: 0, max: 31 }), { maxLength: 3 }),
          fc.integer({ min: 1, max: 5 }),
          async (visits, eosTokenIds, blockSize) => {
            const alone = engineOf(cpu, { eosTokenIds, prefixCaching: false, maxSequences: 1 });
            const expected: GenerateEvent[][] = [];
            for (const one of visits) expected.push(await events(alone, one));
            assert.deepEqual([alone.cache.prefixHits, alone.cache.preemptions], [0, 0]);
            // Blocks of one sequence of 24 tokens, for up to six at once.
            const tight = engineOf(device, { eosTokenIds, maxSequences: 6, blockSize, cacheBytes: 1 });
            assert.equal(tight.cache.blocks, Math.ceil(24 / blockSize));
            assert.deepEqual(await Promise.all(visits.map((one) => events(tight, one))), expected);
            await tight.trace().catch(() => {}); // when all has landed
            assert.deepEqual(tight.load, { running: 0, waiting: 0 });
            assert.equal(tight.cache.usedBlocks, 0);
            sums.preemptions += tight.cache.preemptions;
            sums.prefixHits += tight.cache.prefixHits;
          },
        ),
        { numRuns: 25 },
      );
      assert.ok(sums.preemptions > 0 && sums.prefixHits > 0, JSON.stringify(sums));
    },
  );
}

const greedy = (prompt: readonly number[], more: Partial<GenerateRequest> = {}): GenerateRequest => ({
  promptTokenIds: prompt,
  maxTokens: 3,
  sampling: { temperature: 0, topP: 1, topK: 0 },
  ...more,
});

const prompt = Array.from({ length: 13 }, (_, i) => i);

test("BatchEngine finds what prompts have in common with prompts and answers before, by salt", async () => {
  const engine = engineOf(cpu, { blockSize: 4 });
  const hits = async (request: GenerateRequest): Promise<number> => {
    const before = engine.cache.prefixHits;
    await Array.fromAsync(engine.generate(request));
    return engine.cache.prefixHits - before;
  };
  assert.equal(await hits(greedy(prompt)), 0);
  assert.equal(await hits(greedy(prompt)), 12);
  assert.equal(await hits(greedy(prompt.slice(0, 12))), 8, "the last token is computed");
  assert.equal(await hits(greedy([...prompt.slice(0, 6), 30, 30, 30])), 4);
  assert.equal(await hits(greedy(prompt, { cacheSalt: "other" })), 0);
  assert.equal(await hits(greedy(prompt, { cacheSalt: "other" })), 12);
  assert.equal(await hits(greedy(prompt, { logprobs: 0, promptLogprobs: true })), 0);
  // A chat's next turn: the answer is part of the prompt. Its last token is in no cache.
  const answer = (await Array.fromAsync(engine.generate(greedy(prompt, { maxTokens: 5 })))).flatMap((event) =>
    event.kind === "token" ? [event.tokenId] : []
  );
  assert.equal(await hits(greedy([...prompt, ...answer, 5])), 16);
  await engine.trace(); // when all has landed
  assert.deepEqual(
    [engine.cache.usedBlocks, engine.cache.preemptions, engine.cache.prefixQueries],
    [0, 0, 13 * 6 + 12 + 9 + 19],
  );
});

test("BatchEngine runs more sequences than whole contexts fit, and the rest when there are blocks", async () => {
  // Blocks for 24 tokens: sequences of 8 run three at once, each with one spare block of 2.
  const engine = engineOf(cpu, { blockSize: 2, cacheBytes: 1, prefixCaching: false });
  const requests = Array.from({ length: 5 }, (_, i) => greedy([i, 1, 2, 3], { maxTokens: 3 }));
  let most = 0;
  const answers = requests.map(async (request) => {
    const seen: GenerateEvent[] = [];
    for await (const event of engine.generate(request)) {
      most = Math.max(most, engine.load.running);
      seen.push(event);
    }
    return seen.length;
  });
  assert.deepEqual(await Promise.all(answers), [4, 4, 4, 4, 4]);
  assert.ok(most >= 3 && most < 5, `${most} at once`);
  assert.equal(engine.cache.preemptions, 0);
});
