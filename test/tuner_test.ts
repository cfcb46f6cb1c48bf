import assert from "node:assert/strict";
import { test } from "node:test";
import { type Kernel, type Launch, portableLimits } from "../kernels/kernel.ts";
import { type KnownWay, withFound } from "../src/device/known_ways.ts";
import { type Tuned, Tuner, type WayTimer } from "../src/device/tuner.ts";
import type { Step } from "../src/plan.ts";
import { tensor } from "../src/tensor.ts";
import { turns } from "./until.ts";

/** A kernel whose calls have a key for each number of rows, and three ways. */
function kernelOf(name: string, programs = "v1"): Kernel {
  return {
    name,
    doc: "",
    buffers: { y: { access: "read_write", dtypes: ["float32"], doc: "" } },
    uniforms: { rows: "u32" },
    ways: ({ uniforms }) => ({ key: `${uniforms.rows}`, ways: ["usual", "tiled", "split"] }),
    launch: (_call, _limits, way = "usual"): Launch => ({
      dispatches: [{ wgsl: `${programs} ${way}`, bindings: [], grid: [1, 1, 1] }],
    }),
    reference() {},
    tolerance: 0,
  };
}

const stepOf = (kernel: Kernel, rows: number): Step => ({
  kernel,
  buffers: { y: tensor(new Float32Array(1)) },
  uniforms: { rows },
});

/** A timer that is told what it finds, and tells what it was asked. */
function fakeTimer(us: Readonly<Record<string, number | Error>>, { brokenWays = [] as string[] } = {}) {
  const asked: string[] = [];
  let running = 0, mostRunning = 0;
  const timer: WayTimer = {
    async compile(_step, way) {
      await Promise.resolve();
      if (brokenWays.includes(way)) throw new Error("it does not compile");
    },
    async time(steps, ways) {
      asked.push(`${steps[0].kernel.name} ${steps[0].uniforms.rows}, ${steps.length}: ${ways}`);
      mostRunning = Math.max(mostRunning, ++running);
      await turns(2);
      running--;
      return ways.map((way) => {
        const time = us[way];
        if (time instanceof Error) throw time;
        return time;
      });
    },
  };
  return { timer, asked, mostRunning: () => mostRunning };
}

const known = (way: string, programs: string): KnownWay => ({ kernel: "product", key: "4", way, programs });

/** The way that a tuner finds for a call, and what else it did. */
async function tuned(
  timing: ReturnType<typeof fakeTimer>,
  { before = [] as readonly KnownWay[], kernel = kernelOf("product") } = {},
) {
  const reports: Tuned[] = [];
  const tuner = new Tuner(timing.timer, portableLimits, {
    known: before,
    onTuned: (report) => reports.push(report),
  });
  const [way] = await tuner.ways([stepOf(kernel, 4)]);
  return { way, reports };
}

test("Tuner takes the fastest way, if it is at least 3 % faster than the usual one", async () => {
  assert.equal((await tuned(fakeTimer({ usual: 100, tiled: 96, split: 90 }))).way, "split");
  assert.equal((await tuned(fakeTimer({ usual: 100, tiled: 98, split: 120 }))).way, "usual");
  assert.equal((await tuned(fakeTimer({ usual: 100, tiled: 96.9, split: 120 }))).way, "tiled");
  assert.equal((await tuned(fakeTimer({ usual: 0, tiled: 0, split: 0 }))).way, "usual");
});

test("Tuner gives steps of kernels with one way none, and times nothing for them", async () => {
  const timing = fakeTimer({});
  const { ways: _, ...plain } = kernelOf("plain");
  const single: Kernel = { ...plain, ways: () => ({ key: "", ways: ["usual"] }) };
  const tuner = new Tuner(timing.timer, portableLimits);
  assert.deepEqual(await tuner.ways([stepOf(plain, 1), stepOf(single, 1)]), [undefined, undefined]);
  assert.deepEqual(timing.asked, []);
});

test("Tuner times a key once for steps and plans that meet it together, and keys one after another", async () => {
  const timing = fakeTimer({ usual: 3, tiled: 2, split: 1 });
  const reports: Tuned[] = [];
  const tuner = new Tuner(timing.timer, portableLimits, { onTuned: (report) => reports.push(report) });
  const product = kernelOf("product"), other = kernelOf("other");
  const plan = [stepOf(product, 4), stepOf(other, 4), stepOf(product, 4), stepOf(product, 8)];
  const [first, second] = await Promise.all([tuner.ways(plan), tuner.ways(plan)]);
  assert.deepEqual(first, ["split", "split", "split", "split"]);
  assert.deepEqual(second, first);
  await tuner.ways(plan);
  assert.deepEqual(timing.asked.sort(), [
    "other 4, 1: usual,tiled,split",
    "product 4, 2: usual,tiled,split",
    "product 8, 1: usual,tiled,split",
  ]);
  assert.equal(timing.mostRunning(), 1);
  assert.deepEqual(reports.map(({ found }) => found.length), [3], "one report of all");
  await tuner.ways([stepOf(product, 16)]);
  assert.deepEqual(reports[1].found.map(({ key }) => key), ["16"], "only what is new");
});

test("Tuner leaves out a way that fails, and falls back to the usual one when timing does", async () => {
  const broken = fakeTimer({ usual: 100, tiled: 50, split: 10 }, { brokenWays: ["split"] });
  assert.equal((await tuned(broken)).way, "tiled");
  assert.deepEqual(broken.asked, ["product 4, 1: usual,tiled"]);
  assert.equal((await tuned(fakeTimer({ usual: 100, tiled: 50, split: Infinity }))).way, "tiled");
  for (const failure of [new Error("out of memory"), Infinity]) {
    const { way, reports } = await tuned(fakeTimer({ usual: failure, tiled: failure, split: failure }));
    assert.equal(way, "usual");
    assert.deepEqual(reports, [], "nothing is known by it");
  }
});

test("Tuner finds again what it is given, unless the programs are others or the way is no more", async () => {
  const times = { usual: 3, tiled: 1, split: 2 };
  const [{ found: kept }] = (await tuned(fakeTimer(times))).reports;
  assert.deepEqual(kept.map(({ kernel, key, way }) => [kernel, key, way]), [["product", "4", "tiled"]]);
  const [{ programs }] = kept;

  const again = fakeTimer({ usual: 1, tiled: 2, split: 3 });
  const { way, reports } = await tuned(again, { before: JSON.parse(JSON.stringify(kept)) });
  assert.equal(way, "tiled");
  assert.deepEqual([again.asked, reports], [[], []]);

  for (const before of [known("gone", programs), known("tiled", "others")]) {
    const timing = fakeTimer({ usual: 1, tiled: 2, split: 3 });
    const { way, reports } = await tuned(timing, { before: [before] });
    assert.equal(way, "usual");
    assert.deepEqual(reports[0].found, [known("usual", programs)]);
  }
  const changed = fakeTimer({ usual: 3, tiled: 2, split: 1 });
  assert.equal((await tuned(changed, { before: kept, kernel: kernelOf("product", "v2") })).way, "split");
});

test("withFound puts what is found in the place of what was known, and forgets the oldest of a key", () => {
  const ways = ["0", "1", "2", "3"].map((programs) => known("tiled", programs));
  const other: KnownWay = { kernel: "other", key: "4", way: "usual", programs: "0" };
  assert.deepEqual(withFound([], ways), ways);
  assert.deepEqual(withFound([other, ...ways], [known("split", "1")]), [
    other,
    known("tiled", "0"),
    known("tiled", "2"),
    known("tiled", "3"),
    known("split", "1"),
  ]);
  assert.deepEqual(withFound([other, ...ways], [known("usual", "4")]), [
    other,
    ...ways.slice(1),
    known("usual", "4"),
  ]);
});
