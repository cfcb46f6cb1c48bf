import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { AdapterRegistry, BatchEngine, cpuDevice, type Device, type GenerateEvent } from "../mod.ts";
import { openFolder } from "../src/runtime/mod.ts";
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

/** A request, when it comes, and after how many events its reader leaves. */
interface Visit {
  readonly request: GenerateRequest;
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
      async (visits, eos) => {
        const alone = engineOn(cpu, eos);
        const expected: GenerateEvent[][] = [];
        for (const one of visits) expected.push(await events(alone, one));
        const together = engineOn(ahead, eos);
        assert.deepEqual(await Promise.all(visits.map((one) => events(together, one))), expected);
        await together.trace().catch(() => {}); // when all has landed
        assert.deepEqual(together.load, { running: 0, waiting: 0 });
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

test("BatchEngine waits for each step whose logits are read", async () => {
  const { device, seen } = watched();
  await Array.fromAsync(engineOn(device, []).generate(greedy(3, { logprobs: 1 })));
  await Array.fromAsync(engineOn(device, []).generate(greedy(3, { logprobs: 0, promptLogprobs: true })));
  assert.deepEqual(seen, { submitted: 6, mostUnread: 1 });
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
