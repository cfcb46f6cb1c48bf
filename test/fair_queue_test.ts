import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import type { EngineOptions } from "../src/engine/batch_engine.ts";
import { FairQueue, mayTake } from "../src/engine/fair_queue.ts";
import type { EngineStats, GenerateRequest, Owner } from "../src/engine/generate.ts";
import { openModel } from "../src/open.ts";
import { cpuDevice } from "../src/device/cpu.ts";
import { openFolder } from "../src/runtime/file.ts";
import { demo } from "./demo_model.ts";

interface Item {
  readonly owner?: Owner;
  readonly cost: number;
  readonly at: number;
}

const queueOf = () => new FairQueue<Item>({ ownerOf: ({ owner }) => owner, costOf: ({ cost }) => cost });

/** Takes every item in its turn. */
function drained(queue: FairQueue<Item>, most = Infinity): Item[] {
  const taken: Item[] = [];
  while (queue.length > 0 && taken.length < most) {
    const [next] = queue.inOrder();
    queue.take(next);
    taken.push(next);
  }
  return taken;
}

test("FairQueue keeps the order of those without an owner, and of each owner's own", () => {
  fc.assert(fc.property(
    fc.array(fc.tuple(fc.constantFrom("", "a", "b", "c"), fc.integer({ min: 1, max: 50 })), {
      maxLength: 40,
    }),
    (given) => {
      const queue = queueOf();
      const items = given.map(([id, cost], at): Item => ({
        owner: id === "" ? undefined : { id, weight: 1 },
        cost,
        at,
      }));
      for (const item of items) queue.push(item);
      const preview = [...queue.inOrder()], taken = drained(queue);
      assert.deepEqual(taken, preview, "a look at the order is the order");
      assert.equal(taken.length, items.length);
      for (const id of ["", "a", "b", "c"]) {
        const own = taken.filter(({ owner }) => (owner?.id ?? "") === id).map(({ at }) => at);
        assert.deepEqual(own, [...own].sort((a, b) => a - b));
      }
    },
  ));
});

test("FairQueue gives owners who wait work by their weights, within one item", () => {
  fc.assert(fc.property(
    fc.integer({ min: 1, max: 9 }),
    fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 100, maxLength: 100 }),
    (weight, costs) => {
      const queue = queueOf(), heavy = { id: "h", weight }, light = { id: "l", weight: 1 };
      costs.forEach((cost, at) => {
        queue.push({ owner: heavy, cost, at });
        queue.push({ owner: light, cost: costs[99 - at], at });
      });
      const given = { h: 0, l: 0 };
      for (const { owner, cost } of drained(queue, 90)) given[owner!.id as "h" | "l"] += cost;
      assert.ok(Math.abs(given.h / weight - given.l) <= 20, JSON.stringify(given));
    },
  ));
});

test("FairQueue lets who comes anew be next, saves nothing up, and forgets what left without a turn", () => {
  const queue = queueOf(), a = { id: "a", weight: 1 }, b = { id: "b", weight: 1 };
  const long = Array.from({ length: 500 }, (_, at): Item => ({ owner: a, cost: 1000, at }));
  for (const item of long) queue.push(item);
  drained(queue, 20);
  const short = { owner: b, cost: 1, at: 0 };
  queue.push(short);
  assert.equal([...queue.inOrder()][0], short);
  queue.take(short);
  // b was away while a had 20 turns: it has no 20 turns to its credit.
  const more = Array.from({ length: 30 }, (_, at): Item => ({ owner: b, cost: 1000, at }));
  for (const item of more) queue.push(item);
  const next = drained(queue, 20).map(({ owner }) => owner!.id);
  assert.ok(next.filter((id) => id === "a").length >= 9, next.join());
  for (const item of long) queue.remove(item);
  const late = { owner: a, cost: 1000, at: 0 };
  queue.push(late);
  assert.ok([...queue.inOrder()].indexOf(late) <= 2, "an owner owes nothing for items that were removed");
});

test("FairQueue leaves out owners who are passed over", () => {
  const queue = queueOf();
  for (const id of ["a", "a", "b", "a"]) queue.push({ owner: { id, weight: 1 }, cost: 1, at: 0 });
  const passed = new Set<string>(), seen: string[] = [];
  for (const { owner } of queue.inOrder(passed)) {
    seen.push(owner!.id);
    passed.add("a");
  }
  assert.deepEqual(seen, ["a", "b"]);
  assert.equal(queue.items.length, 4);
});

test("mayTake keeps places for owners who have none, and none from those without an owner", () => {
  const owner = { id: "a", weight: 1 };
  const of = (free: number, taken: number, total = 16) => mayTake(owner, { free, taken, total });
  assert.deepEqual([3, 2, 1].map((free) => of(free, 5)), [true, false, false]);
  assert.deepEqual([2, 1, 0].map((free) => of(free, 0)), [true, true, false]);
  assert.equal(mayTake(undefined, { free: 1, taken: 0, total: 16 }), true);
  assert.equal(mayTake(undefined, { free: 0, taken: 0, total: 16 }), false);
  // The only lane is not kept for ever.
  assert.equal(of(1, 1, 1), true);
});

/** Steps of the longest-served sequence of owner a, from when owner b asks until b has a token. */
async function stepsUntilServed(
  options: Partial<EngineOptions>,
  begun: (stats: EngineStats) => boolean,
): Promise<number> {
  const device = cpuDevice();
  const { engine } = await openModel(device, {
    folder: await openFolder(fileURLToPath(new URL("base", demo))),
    maxModelLen: 128,
    engine: { maxStepTokens: 64, prefixCaching: false, ...options },
  });
  const request = (owner: Owner, maxTokens: number, signal?: AbortSignal): GenerateRequest => ({
    ...{ promptTokenIds: [1, 2, 3], maxTokens, owner, signal, ignoreEos: true },
    sampling: { temperature: 0, topP: 1, topK: 0 },
  });
  const stop = new AbortController();
  const steps: number[] = Array(500).fill(0);
  let isBegun = (): void => {};
  const running = new Promise<void>((resolve) => isBegun = resolve);
  const long = steps.map(async (_, i) => {
    try {
      for await (const { kind } of engine.generate(request({ id: "a", weight: 1 }, 100, stop.signal))) {
        if (kind === "token" && ++steps[i] >= 2 && begun(engine.stats())) isBegun();
      }
    } catch (error) {
      if (!stop.signal.aborted) throw error;
    }
  });
  await running;
  const before = [...steps];
  for await (const { kind } of engine.generate(request({ id: "b", weight: 1 }, 1))) {
    if (kind === "token") break;
  }
  const passed = Math.max(...steps.map((count, i) => count - before[i]));
  stop.abort();
  await Promise.all(long);
  device.destroy();
  return passed;
}

test("BatchEngine: 500 long requests of one owner delay another's short one by at most one step", async () => {
  const passed = await stepsUntilServed({ maxSequences: 4 }, () => true);
  // The step under way, and the one that has it.
  assert.ok(passed >= 1 && passed <= 2, `${passed} steps passed`);
});

test("BatchEngine: nor where long requests fill the cache, and some wait for its blocks", async () => {
  // 8 layers of 4 heads of 32 numbers, keys and values: 16 blocks of 16 positions.
  const cacheBytes = 16 * 2 * 8 * 16 * 128 * 4;
  const passed = await stepsUntilServed(
    { maxSequences: 8, cacheBytes },
    ({ cache }) => cache!.preemptions > 0,
  );
  assert.ok(passed >= 1 && passed <= 2, `${passed} steps passed`);
});
