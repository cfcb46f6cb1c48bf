/**
 * The engine with adapters: who waits, who passes, who is told what, and whose numbers are whose.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { normals } from "../kernels/kernel.ts";
import {
  AdapterRegistry,
  type AdapterStore,
  BatchEngine,
  cpuDevice,
  type Device,
  type EngineOptions,
  type GenerateEvent,
  NonFiniteError,
  OverloadedError,
  tensor,
} from "../mod.ts";
import { breathe } from "../src/breathe.ts";
import { openFolder } from "../src/runtime/mod.ts";
import type { GenerateRequest } from "../src/engine/generate.ts";
import { uniforms } from "../src/engine/random.ts";
import { openCheckpoint } from "../src/models/checkpoint.ts";
import { loadModel, type Model } from "../src/models/model.ts";
import { readConfig } from "../src/models/families.ts";
import { type ByteSource, bytesSource, fromTensor, writeSafetensors } from "../src/safetensors/mod.ts";
import { devicesForLongTests } from "./devices.ts";
import { randomSource } from "./kernel_contract.ts";

const maxModelLen = 24;

async function openTiny(device: Device): Promise<Model> {
  const folder = await openFolder(fileURLToPath(new URL("fixtures/tiny/llama", import.meta.url)));
  const source = await openCheckpoint(folder);
  return await loadModel(device, { config: await readConfig(folder), source, maxModelLen })
    .finally(() => source.close());
}

const cpu = cpuDevice();
const model = await openTiny(cpu);
const { vocabSize } = model.config;
const { path } = model.linears[3];

const config = JSON.stringify({ peft_type: "FOURIERFT", n_frequency: 8, random_loc_seed: 3, scaling: 30 });

/** An adapter named by a number has numbers of its own; `huge` overflows. */
function weightsOf(id: string): Uint8Array {
  const values = normals(8, randomSource(1 + Number(id.replace(/\D/g, ""))));
  if (id.startsWith("huge")) values.forEach((value, i) => values[i] = value * 1e37);
  return writeSafetensors([fromTensor(`base_model.model.${path}.fourierft_spectrum`, tensor(values))]);
}

interface Held {
  readonly store: AdapterStore;
  /** Adapters whose files were opened. */
  readonly opened: string[];
  /** Lets readings go on that were held. */
  release(): void;
}

/** A store of any adapter; with `holds` reading waits until it is released. */
function storeOf({ holds = (_: string): boolean => false } = {}): Held {
  const opened: string[] = [], waiting: (() => void)[] = [];
  let released = false;
  const store: AdapterStore = {
    list: () => Promise.resolve([]),
    open: (id) =>
      Promise.resolve(/^(huge)?\d+$/.test(id) || undefined).then((found) =>
        found && {
          folder: {
            async open(): Promise<ByteSource> {
              opened.push(id);
              if (holds(id) && !released) await new Promise<void>((resolve) => waiting.push(resolve));
              return bytesSource(weightsOf(id));
            },
            readText: () => Promise.resolve(config),
            exists: () => Promise.resolve(true),
          },
          version: "1",
          modifiedUnixSeconds: 0,
        }
      ),
  };
  return {
    store,
    opened,
    release() {
      released = true;
      for (const go of waiting.splice(0)) go();
    },
  };
}

interface Setup extends Partial<EngineOptions> {
  readonly device?: Device;
  readonly on?: Model;
  readonly capacity?: number;
  readonly store?: AdapterStore;
}

function engineOf(
  { device = cpu, on = model, capacity = 256, store = storeOf().store, ...options }: Setup = {},
) {
  const registry = new AdapterRegistry(device, store, { linears: on.linears, capacity });
  const engine = new BatchEngine(device, on, {
    registry,
    options: { eosTokenIds: [], maxSequences: 4, maxStepTokens: 8, ...options },
  });
  return { engine, registry };
}

const request = (
  adapter?: GenerateRequest["adapter"],
  more: Partial<GenerateRequest> = {},
): GenerateRequest => ({
  promptTokenIds: [1, 2, 3],
  adapter,
  maxTokens: 4,
  sampling: { temperature: 0, topP: 1, topK: 0 },
  ...more,
});

const all = (engine: BatchEngine, asked: GenerateRequest): Promise<GenerateEvent[]> =>
  Array.fromAsync(engine.generate(asked));

/** The ids of a request's new tokens. */
async function idsOf(engine: BatchEngine, asked: GenerateRequest): Promise<number[]> {
  return (await all(engine, asked)).flatMap((event) => event.kind === "token" ? [event.tokenId] : []);
}

for (const capacity of [1, 16, 256]) {
  test(`BatchEngine answers 300 requests over 300 adapters where ${capacity} fit, each by its own adapter`, async () => {
    const { engine, registry } = engineOf({ capacity, maxSequences: 8 });
    const names = Array.from({ length: 300 }, (_, i) => `${i}`);
    const answers = await Promise.all(names.map((name) => all(engine, request(name))));
    assert.ok(answers.every((events) => events.length === 5));
    assert.ok(registry.banks[0].size <= capacity);
    for (const i of [0, 17, 299]) {
      assert.deepEqual(answers[i], await all(engineOf().engine, request(names[i])));
    }
    assert.deepEqual(engine.load, { running: 0, waiting: 0 });
    assert.ok(new Set(answers.map((events) => JSON.stringify(events))).size > 50, "adapters differ");
  });
}

test("BatchEngine gives 60 requests of sums where one fits what each gets alone", async () => {
  const { engine, registry } = engineOf({ capacity: 1, maxSequences: 8 });
  const sums = Array.from({ length: 60 }, (_, i) => [
    { id: `${i % 5}`, scale: 1 + i % 3 },
    { id: `${(i + 1) % 5}`, scale: -0.5 },
  ]);
  const answers = await Promise.all(sums.map((sum) => all(engine, request(sum))));
  assert.equal(registry.banks[0].size, 1);
  for (const i of [0, 7, 59]) {
    assert.deepEqual(answers[i], await all(engineOf().engine, request(sums[i])));
  }
  assert.deepEqual(engine.load, { running: 0, waiting: 0 });
  assert.ok(new Set(answers.map((events) => JSON.stringify(events))).size > 5, "sums differ");
  // Freed, for nobody uses the last one any more.
  (await registry.acquire("9")).release();
});

test("BatchEngine names the adapters of a sum whose logits are not finite", async () => {
  const { engine } = engineOf();
  await assert.rejects(
    all(engine, request([{ id: "huge1", scale: 0.5 }, { id: "2" }])),
    (error: Error) =>
      error instanceof NonFiniteError &&
      error.message.startsWith('Cannot generate with adapters "huge1" at scale 0.5 and "2" at scale 1:'),
  );
});

test("BatchEngine ends an aborted request at once while its adapter is read, and takes nothing for it", async () => {
  const { store, opened, release } = storeOf({ holds: (id) => id === "1" });
  const { engine, registry } = engineOf({ store, capacity: 1, maxSequences: 1 });
  const abort = new AbortController();
  const left = all(engine, request("1", { signal: abort.signal }));
  const stays = all(engine, request("1"));
  await idsOf(engine, request("2"));
  assert.deepEqual(opened.filter((id) => id === "1"), ["1"]);
  abort.abort(new Error("left"));
  await assert.rejects(left, { message: "left" });
  assert.deepEqual(engine.load, { running: 0, waiting: 1 });
  release();
  assert.equal((await stays).length, 5);
  assert.deepEqual(opened.filter((id) => id === "1"), ["1"], "read once for both");
  (await registry.acquire("3")).release();
});

test("BatchEngine serves the next request at once after 200 that were aborted while they waited", async () => {
  const { store, opened, release } = storeOf({ holds: (id) => Number(id) < 200 });
  const { engine } = engineOf({ store, capacity: 4 });
  const aborts = Array.from({ length: 200 }, () => new AbortController());
  const left = aborts.map(({ signal }, i) =>
    assert.rejects(all(engine, request(`${i}`, { signal })), { message: "left" })
  );
  for (const abort of aborts) {
    // One after the other, while the engine goes on.
    await idsOf(engine, request(undefined, { maxTokens: 1 }));
    abort.abort(new Error("left"));
  }
  await Promise.all(left);
  assert.deepEqual(engine.load, { running: 0, waiting: 0 });
  assert.equal((await idsOf(engine, request())).length, 4);
  assert.ok(opened.length <= 16, `${opened.length} were read ahead`);
  release();
  assert.equal((await idsOf(engine, request("300"))).length, 4);
});

test("BatchEngine refuses what its queue has no place for, whatever those in it wait for", async () => {
  const { store, release } = storeOf({ holds: () => true });
  const { engine } = engineOf({ store, maxWaiting: 5 });
  const asked = Array.from({ length: 40 }, (_, i) => all(engine, request(`${i % 7}`)));
  const settled = Promise.allSettled(asked);
  assert.equal(engine.load.waiting, 5);
  await assert.rejects(all(engine, request()), OverloadedError);
  release();
  const failures = (await settled).flatMap((one) => one.status === "rejected" ? [one.reason] : []);
  assert.equal(failures.length, 35);
  assert.ok(failures.every((error) => error instanceof OverloadedError));
});

test("BatchEngine reads an adapter while others run, and lets pass who needs none", async () => {
  const { store, release } = storeOf({ holds: (id) => id === "1" });
  const { engine } = engineOf({ store });
  let answered = false;
  const slow = all(engine, request("1")).then(() => answered = true);
  for (let i = 0; i < 3; i++) await Promise.all([idsOf(engine, request()), idsOf(engine, request("2"))]);
  assert.equal(answered, false);
  release();
  await slow;
});

test("BatchEngine lets only so many pass a sequence that waits for a slot", async () => {
  const { engine, registry } = engineOf({ capacity: 1, maxSequences: 3 });
  // Kept, so that it waits for a slot alone: while it is read any number may pass.
  const kept = await registry.load("2");
  const ends: string[] = [];
  const ask = async (name: string, maxTokens = 20): Promise<void> => {
    await all(engine, request(name, { maxTokens }));
    ends.push(name);
  };
  // There is always a sequence of adapter 1 that runs when another one of it comes.
  let more = 400;
  const chain = async (maxTokens: number): Promise<void> => {
    while (more-- > 0) await ask("1", maxTokens);
  };
  // They end at different steps.
  const chains = [3, 5, 7].map(chain);
  await ask("1", 1);
  await ask("2");
  const before = ends.indexOf("2");
  more = 0;
  await Promise.all(chains);
  assert.ok(before < 200, `${before} were answered before`);
  assert.equal(kept.modules.size, 1);
});

test("BatchEngine fails a sequence for which there is no room though none of its own holds any", async () => {
  const { engine, registry } = engineOf({ capacity: 1 });
  const lease = await registry.acquire("1");
  await assert.rejects(all(engine, request("2")), /Cannot load adapter "2": 1 FOURIERFT adapters in use/);
  assert.equal((await all(engine, request("1"))).length, 5);
  lease.release();
  assert.equal((await all(engine, request("2"))).length, 5);
});

test("BatchEngine leaves a sequence that has ended as it ended, whatever fails before its reader has seen the end", async () => {
  let steps = 0;
  const device: Device = {
    ...cpu,
    runAndRead: (program, source, range) =>
      ++steps === 2 ? Promise.reject(new Error("lost")) : cpu.runAndRead(program, source, range),
  };
  const { engine } = engineOf({ device });
  const ended = engine.generate(request(undefined, { maxTokens: 1 }));
  const first = ended.next();
  const failed = all(engine, request(undefined, { maxTokens: 2 }));
  assert.equal((await first).value?.kind, "token");
  await assert.rejects(failed, { message: "lost" });
  assert.deepEqual((await ended.next()).value, { kind: "end", finishReason: "length" });
  assert.equal((await ended.next()).done, true);
});

test("BatchEngine gives back every slot, whoever comes, leaves, aborts and fails", async () => {
  const visit = fc.record({
    adapter: fc.constantFrom(undefined, "1", "2", "3", "4", "huge5", "none"),
    leavesAfter: fc.oneof(fc.constant(99), fc.integer({ min: 1, max: 4 })),
    abortsAfter: fc.oneof(fc.constant(-1), fc.nat(6)),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(visit, { minLength: 1, maxLength: 12 }), async (visits) => {
      const { engine, registry } = engineOf({ capacity: 2, device: { ...cpu, runsAhead: true } });
      await Promise.allSettled(visits.map(async ({ adapter, leavesAfter, abortsAfter }) => {
        const abort = new AbortController();
        let seen = 0;
        if (abortsAfter === 0) queueMicrotask(() => abort.abort());
        for await (const _ of engine.generate(request(adapter, { signal: abort.signal }))) {
          if (++seen === abortsAfter) abort.abort();
          if (seen === leavesAfter) break;
        }
      }));
      await engine.trace().catch(() => {}); // when all has landed
      assert.deepEqual(engine.load, { running: 0, waiting: 0 });
      const leases = await Promise.all(["8", "9"].map((name) => registry.acquire(name)));
      assert.equal(new Set(leases.map(({ slot }) => slot)).size, 2);
    }),
    { numRuns: 25 },
  );
});

test("BatchEngine keeps no block of a sequence that ended, and let its adapter go, before its step ran", async () => {
  const leaver = new AbortController();
  let swapped = false;
  // The step is compiled when its sequence leaves, and another adapter takes the one slot.
  const device: Device = {
    ...cpu,
    async prepare(plan) {
      const program = await cpu.prepare(plan);
      if (leaver.signal.aborted || swapped || !registry.banks.some(({ size }) => size > 0)) return program;
      leaver.abort(new Error("gone"));
      await registry.preload("2");
      swapped = true;
      return program;
    },
  };
  const { engine, registry } = engineOf({ device, capacity: 1, blockSize: 2 });
  const asked = request("1", { promptTokenIds: [1, 2, 3, 4, 5, 6, 7], logprobs: 3 });
  await assert.rejects(all(engine, { ...asked, signal: leaver.signal }), /gone/);
  const answer = await all(engine, asked);
  assert.ok(swapped);
  assert.deepEqual(answer, await all(engineOf().engine, asked));
});

test("BatchEngine tells of each new token, also of one that nobody takes", async () => {
  const { engine } = engineOf();
  let made = 0;
  const events = engine.generate(request(undefined, { onToken: () => made++ }));
  await events.next();
  while (engine.load.running > 0) await breathe();
  assert.equal(made, 4);
  await events.return();
});

for (const device of await devicesForLongTests()) {
  test(`BatchEngine ends a sequence whose numbers overflow by name, and no neighbour notices, on ${device.kind}`, async () => {
    const on = device.kind === "cpu" ? model : await openTiny(device);
    for (const runsAhead of new Set([device.runsAhead, true])) {
      const setup = { device: { ...device, runsAhead } as Device, on, maxSequences: 3 };
      const alone = engineOf(setup).engine, { engine } = engineOf(setup);
      const asked = [request("1", { maxTokens: 9 }), request(undefined, { maxTokens: 9, logprobs: 2 })];
      const expected = [await all(alone, asked[0]), await all(alone, asked[1])];
      const huge = [{}, { logprobs: 1 }, { logprobs: 0, promptLogprobs: true }, { maxTokens: 0 }];
      for (const more of huge) {
        const [first, failed, second] = await Promise.allSettled([
          all(engine, asked[0]),
          all(engine, request("huge7", more)),
          all(engine, asked[1]),
        ]);
        assert.equal(failed.status, "rejected");
        assert.ok(failed.reason instanceof NonFiniteError);
        assert.match(failed.reason.message, /adapter "huge7": .* logits are not finite/);
        assert.deepEqual([first, second].map((one) => one.status === "fulfilled" && one.value), expected);
      }
      // Lanes that hold what overflowed are used again.
      for (const one of [0, 1, 0]) assert.deepEqual(await all(engine, asked[one]), expected[one]);
    }
  });

  test(`BatchEngine draws no end token before minTokens, and reports the logits as they are, on ${device.kind}`, async () => {
    const on = device.kind === "cpu" ? model : await openTiny(device);
    const plain = await all(
      engineOf({ device, on }).engine,
      request(undefined, { maxTokens: 1, logprobs: 20 }),
    );
    const [first] = plain;
    assert.ok(first.kind === "token");
    const [best, next] = first.logprobs!.top;
    const { engine } = engineOf({ device, on, eosTokenIds: [best.tokenId, vocabSize + 3] });
    const ended = await all(engine, request(undefined, { logprobs: 20 }));
    assert.deepEqual(ended, [{
      kind: "end",
      finishReason: "stop",
      stopToken: { tokenId: best.tokenId, logprobs: first.logprobs },
    }]);
    const [longer] = await all(engine, request(undefined, { logprobs: 20, minTokens: 1 }));
    assert.ok(longer.kind === "token");
    assert.equal(longer.tokenId, next.tokenId);
    assert.deepEqual(longer.logprobs, { ...first.logprobs!, logprob: next.logprob });
    const drawn = { temperature: 5, topP: 1, topK: 2 };
    const stops = Array.from({ length: vocabSize - 1 }, (_, i) => i + 1);
    const together = await Promise.all([
      ...Array.from(
        { length: 3 },
        (_, seed) =>
          idsOf(
            engine,
            request(undefined, { minTokens: 3, sampling: { ...drawn, seed }, stopTokenIds: [5, 6] }),
          ),
      ),
      idsOf(engine, request(undefined, { minTokens: 4, ignoreEos: best.tokenId === 0, stopTokenIds: stops })),
    ]);
    for (const ids of together) assert.ok(ids.length >= 3 && ids.length <= 4);
    for (const ids of together.slice(0, 3)) {
      assert.ok(ids.slice(0, 3).every((id) => ![best.tokenId, 5, 6].includes(id)), `${ids}`);
    }
    if (best.tokenId !== 0) assert.deepEqual(together[3], [0, 0, 0, 0]);
  });
}

test("BatchEngine ends at stopTokenIds, beside or in place of the model's own ends", async () => {
  const ids = await idsOf(engineOf().engine, request(undefined, { maxTokens: 8 }));
  const at = ids.findIndex((id, i) => i > 0 && !ids.slice(0, i).includes(id));
  for (const device of [cpu, { ...cpu, runsAhead: true }]) {
    const { engine } = engineOf({ device, eosTokenIds: [ids[at]] });
    const end = async (more: Partial<GenerateRequest>) =>
      (await all(engine, request(undefined, { maxTokens: 8, ...more }))).slice(-1)[0];
    const stopped = {
      kind: "end",
      finishReason: "stop",
      stopToken: { tokenId: ids[at], logprobs: undefined },
    };
    assert.deepEqual(await end({}), stopped);
    assert.deepEqual(await end({ ignoreEos: true }), { kind: "end", finishReason: "length" });
    assert.deepEqual(await end({ ignoreEos: true, stopTokenIds: [ids[at]] }), stopped);
    assert.deepEqual(await idsOf(engine, request(undefined, { maxTokens: 8, ignoreEos: true })), ids);
  }
});

test("BatchEngine refuses every field that breaks its rule, by name", async () => {
  const { engine } = engineOf({ eosTokenIds: [1] });
  const sampling = { temperature: 1, topP: 1, topK: 0 };
  const refused: [Partial<GenerateRequest>, RegExp][] = [
    ...[-1, NaN, Infinity, "1" as unknown as number].map((temperature) =>
      [{ sampling: { ...sampling, temperature } }, /temperature/] as [Partial<GenerateRequest>, RegExp]
    ),
    ...[0, -0.1, 1.1, 5, NaN, null as unknown as number].map((topP) =>
      [{ sampling: { ...sampling, topP } }, /topP/] as [Partial<GenerateRequest>, RegExp]
    ),
    ...[-3, 0.5, NaN, Infinity].map((topK) =>
      [{ sampling: { ...sampling, topK } }, /topK/] as [Partial<GenerateRequest>, RegExp]
    ),
    ...[0.5, NaN, 2 ** 53, 2n ** 64n, -(2n ** 63n) - 1n, "1" as unknown as number].map((seed) =>
      [{ sampling: { ...sampling, seed } }, /seed/] as [Partial<GenerateRequest>, RegExp]
    ),
    ...[-1, 21, 1.5, NaN].map((logprobs) => [{ logprobs }, /logprobs/] as [Partial<GenerateRequest>, RegExp]),
    [{ promptLogprobs: true }, /promptLogprobs/],
    ...[-1, 5, 1.5, NaN].map((minTokens) =>
      [{ minTokens }, /minTokens/] as [Partial<GenerateRequest>, RegExp]
    ),
    ...[[-1], [vocabSize], [0.5], [NaN]].map((stopTokenIds) =>
      [{ stopTokenIds }, /stopTokenIds/] as [Partial<GenerateRequest>, RegExp]
    ),
    [{ stopTokenIds: Array(129).fill(1) }, /129 stopTokenIds/],
    [{ stopTokenIds: Array.from({ length: vocabSize }, (_, i) => i), minTokens: 1 }, /minTokens/],
    [{ promptTokenIds: [] }, /empty prompt/],
    [{ promptTokenIds: [vocabSize] }, /promptTokenIds/],
    [{ promptTokenIds: Array(maxModelLen + 1).fill(1) }, /context holds/],
    [{ maxTokens: -1 }, /Cannot generate -1 tokens/],
  ];
  for (const [more, message] of refused) {
    await assert.rejects(all(engine, request(undefined, more)), (error: Error) => {
      assert.ok(error instanceof RangeError, `${error}`);
      assert.match(error.message, message);
      return true;
    });
  }
  assert.deepEqual(engine.load, { running: 0, waiting: 0 });
  const edges = {
    sampling: { temperature: 1e300, topP: 1e-9, topK: 1e9, seed: 2n ** 64n - 1n },
    logprobs: 20,
  };
  assert.ok((await all(engine, request(undefined, edges))).length > 0);
});

test("uniforms gives two seeds of 64 bits two streams, and small ones those they always had", () => {
  const take = (seed: number | bigint): string => {
    const random = uniforms(seed);
    return Array.from({ length: 4 }, random).join();
  };
  assert.equal(uniforms(7)(), uniforms(7n)());
  const special = [0, 1, -1, 2 ** 32, 2 ** 32 + 1, -(2 ** 32), 2 ** 53 - 1].map(BigInt);
  const mirrored = [
    3n << 32n | 5n,
    5n << 32n | 3n,
    5n << 32n | 5n,
    3n << 32n | 3n,
    2n ** 64n - 2n,
    2n ** 63n,
  ];
  const streams = [...special, ...mirrored].map(take);
  assert.equal(new Set(streams).size, streams.length);
  const bits = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
  fc.assert(fc.property(bits, bits, (a, b) => {
    assert.equal(take(a) === take(b), a === b);
    assert.equal(new Set(take(a).split(",")).size, 4);
  }));
});

test("BatchEngine has caches of as many blocks as their bytes have room for, or as its sequences need", () => {
  const { layers, kvHeads, headDim } = model.config;
  const block = 2 * layers * kvHeads * headDim * 4 * 8;
  const rows: number[] = [];
  const counting: Device = {
    ...cpu,
    alloc(shape, dtype) {
      if (shape[1] === kvHeads * headDim) rows.push(shape[0]);
      return cpu.alloc(shape, dtype);
    },
  };
  const blocks = (options: Partial<EngineOptions>, device: Device = counting): number => {
    rows.length = 0;
    engineOf({ device, blockSize: 8, maxSequences: undefined, ...options });
    assert.equal(new Set(rows).size, 1);
    return rows[0] / 8;
  };
  assert.equal(blocks({ cacheBytes: 40 * block }), 40);
  assert.equal(blocks({ cacheBytes: 41 * block - 1 }), 40);
  assert.equal(blocks({ cacheBytes: block }), 3);
  assert.equal(blocks({}), 256 * 3);
  assert.equal(blocks({ maxSequences: 3, cacheBytes: 40 * block }), 9);
});

test("BatchEngine shares no cached keys between adapters, nor with the base or sums of other scales", async () => {
  const { engine } = engineOf({ blockSize: 4 });
  const promptTokenIds = Array.from({ length: 13 }, (_, i) => i), half = [{ id: "1", scale: 0.5 }];
  const hits: number[] = [], ids: number[][] = [];
  for (const adapter of [undefined, "1", "2", "1", "2", half, [{ id: "1", scale: 0.25 }], half]) {
    const before = engine.cache.prefixHits;
    ids.push(await idsOf(engine, request(adapter, { promptTokenIds })));
    hits.push(engine.cache.prefixHits - before);
  }
  assert.deepEqual(hits, [0, 0, 0, 12, 12, 0, 0, 12]);
  assert.deepEqual([ids[3], ids[4], ids[7]], [ids[1], ids[2], ids[5]]);
});

test("BatchEngine of 256 sequences gives each what it gives it alone", async () => {
  const { engine } = engineOf({ maxSequences: 256, maxStepTokens: 256, capacity: 5 });
  const asked = Array.from({ length: 256 }, (_, i) =>
    request(i % 3 === 0 ? undefined : `${i % 7}`, {
      promptTokenIds: Array.from({ length: 1 + i % 17 }, (_, j) => (i + j) % vocabSize),
      maxTokens: 1 + i % 6,
      sampling: { temperature: 1, topP: 0.9, topK: 0, seed: i },
    }));
  const together = await Promise.all(asked.map((one) => all(engine, one)));
  const alone = engineOf().engine;
  for (const i of [0, 1, 2, 100, 200, 254, 255]) assert.deepEqual(together[i], await all(alone, asked[i]));
});
