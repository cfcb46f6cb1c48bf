/**
 * What benches stand on: the clockwork, recordings, tables, fits and plots. Nothing here asserts on time.
 *
 * @module
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { prepareCase } from "../bench/data.ts";
import { traceCells } from "../bench/decode_trace.ts";
import { HostMeter } from "../bench/host_meter.ts";
import { describeFit, fit, type Term } from "../bench/fit.ts";
import type { Measurement } from "../bench/measurement.ts";
import { parsePeer } from "../bench/peers.ts";
import { barChart, lineChart, logTicks } from "../bench/plot.ts";
import { plotsOf } from "../bench/plots.ts";
import { demo, randomWeights, tiny } from "../bench/random_model.ts";
import { quickRows, recipeRows } from "../bench/recipe_rows.ts";
import { withTables } from "../bench/report.ts";
import { formatRecording, type Recording, recordings, type Run, slug, withRun } from "../bench/results.ts";
import { markdownTable } from "../bench/table.ts";
import { timePrograms } from "../bench/timer.ts";
import { casesOf } from "../kernels/cases/mod.ts";
import { copy, kernels } from "../kernels/mod.ts";
import { adapterPlan, createAdapter } from "../src/adapters/create.ts";
import { uniforms } from "../src/engine/random.ts";
import { cpuDevice } from "../src/device/cpu.ts";
import type { Device, Program } from "../src/device/device.ts";
import { spans } from "../src/device/timestamps.ts";
import { weightsOf } from "../src/models/families.ts";
import { loadModel } from "../src/models/model.ts";
import { layerLinears } from "../src/models/spec.ts";
import { type Plan, step } from "../src/plan.ts";
import { tensor } from "../src/tensor.ts";

const cell = (row: string, column: string, median: number, rest: Partial<Measurement> = {}): Measurement => ({
  table: "t",
  row,
  column,
  unit: "us",
  median,
  ...rest,
});

function run(measurements: readonly Measurement[], rest: Partial<Run> = {}): Run {
  const versions = { Deno: "2" };
  return {
    bench: "b",
    command: "c",
    date: "2026-11-24",
    versions,
    clock: "wall time",
    quick: false,
    measurements,
    ...rest,
  };
}

const recording = (...runs: Run[]): Recording => ({ machine: { name: "M 1", os: "Linux x64" }, runs });

test("spans counts a pass from the end of the one before, where it began earlier", () => {
  // The second pass was stamped while the first still ran; the third waited.
  const times = [[1, 5], [3, 9], [10, 12]].map(([beginUs, endUs]) => ({ beginUs, endUs }));
  assert.deepEqual(spans(times), [4, 4, 2]);
});

test("timePrograms runs programs in turn, through all attempts", async () => {
  const order: Program[] = [];
  const device: Device = { ...cpuDevice(), run: (program) => void order.push(program) };
  const programs = await Promise.all([1, 2, 3].map(() => device.prepare([])));
  const timing = await timePrograms(device, programs, { quick: true });
  assert.ok(order.length > 3);
  order.forEach((program, i) => assert.equal(program, programs[i % 3]));
  assert.equal(timing.clock, "wall time");
  assert.ok(timing.minimumUs <= timing.medianUs && timing.medianUs <= timing.slowestUs);
});

test("prepareCase copies inputs beyond a cache and shares outputs", async () => {
  const plans: Plan[] = [];
  const inner = cpuDevice();
  const device: Device = { ...inner, prepare: (plan) => (plans.push(plan), inner.prepare(plan)) };
  const kernel = kernels.find(({ name }) => name === "linear")!;
  const context = { device, quick: true, log: () => {} };
  const { programs } = await prepareCase(context, { kernel, testCase: casesOf(kernel).cases[0] });
  assert.equal(programs.length, 64);
  const bound = (name: string): number => new Set(plans.map(([{ buffers }]) => buffers[name])).size;
  assert.deepEqual([bound("weight"), bound("x"), bound("y")], [64, 64, 1]);
});

test("HostMeter knows the program that was run most, what calls took, and leaves them out when idle", async () => {
  let runs = 0;
  const cpu = cpuDevice();
  const meter = new HostMeter({ ...cpu, run: () => void runs++ });
  const { device } = meter;
  const [once, twice] = [await device.prepare([]), await device.prepare([])];
  for (const program of [once, once, once]) device.run(program);
  meter.forget();
  for (const program of [once, twice, twice]) device.run(program);
  assert.deepEqual([meter.usual.program === twice, meter.usual.runs, meter.runs, runs], [true, 2, 3, 6]);
  const t = device.upload(tensor(Float32Array.of(5, 6)));
  meter.idle = true;
  device.run(once);
  assert.deepEqual(await device.runAndRead(once, t), new Float32Array(2));
  device.write(t, Float32Array.of(7));
  meter.idle = false;
  assert.deepEqual(await device.read(t), Float32Array.of(5, 6));
  assert.equal(runs, 6);
});

test("traceCells adds launches up by kernel and sizes, each launch's median over the rounds", async () => {
  const cpu = cpuDevice();
  const x = cpu.alloc([9], "float32");
  const y = cpu.alloc([9], "float32");
  const plan = [9, 4, 9].map((count) => step(copy, { x, y }, { count }));
  let round = 0;
  const device: Device = {
    ...cpu,
    trace: () => {
      // One round is out of line; gaps of 1 us between the launches.
      const us = [5, 1, round++ === 0 ? 500 : 7];
      let at = 0;
      const launches = us.map((length) => {
        const beginUs = at;
        at = beginUs + length + 1;
        return { kernel: "copy", beginUs, endUs: beginUs + length };
      });
      return Promise.resolve({ clock: "gpu", launches, wholeUs: 14 });
    },
  };
  const metered = { program: await device.prepare(plan), plan, runs: 1 };
  const cells = await Array.fromAsync(
    traceCells(device, metered, { table: "decode-llama-trace", of: "a step" }),
  );
  const of = (row: string) => cells.filter((c) => c.row === `a step: ${row}`).map(({ median }) => median);
  assert.deepEqual(of("copy, count 9"), [2, 6, 12, 100 * 12 / 13]);
  assert.deepEqual(of("copy, count 4"), [1, 1, 1, 100 / 13]);
  assert.deepEqual([of("all launches"), of("gaps between them"), of("the step in one pass")], [[3, 13], [2], [
    14,
  ]]);
});

test("withRun takes a cell that was measured anew out of older runs", () => {
  const old = recording(run([cell("a", "x", 1), cell("a", "y", 2)]), run([cell("b", "x", 3)]));
  const next = withRun(old, run([cell("a", "x", 4), cell("b", "x", 5)], { date: "2026-12-01" }));
  assert.deepEqual(next.runs.map(({ measurements }) => measurements.map(({ median }) => median)), [[2], [
    4,
    5,
  ]]);
});

test("formatRecording gives JSON of the same recording, a line for each measurement", () => {
  const given = recording(run([cell("a", "x", 1.25), cell("a", "y", 123456)]));
  assert.deepEqual(JSON.parse(formatRecording(given)), given);
  assert.equal(formatRecording(given).trim().split("\n").length, 6);
});

test("slug makes a file's name of a machine's", () => {
  assert.equal(slug("NVIDIA H100 80GB HBM3"), "nvidia-h100-80gb-hbm3");
});

test("markdownTable has a row for each row name, - where nothing was measured, and each note once", () => {
  const table = markdownTable([
    cell("a", "x", 1.23456, { note: "n" }),
    cell("b", "y", 12345.6, { note: "n" }),
  ]);
  assert.equal(
    table,
    "|  | x (us) | y (us) |\n| --- | --: | --: |\n| a | 1.235 | - |\n| b | - | 12346 |\n\n- n",
  );
});

test("withTables remakes what is marked, adds what is not, and leaves prose alone", () => {
  const known = new Map([["m", recording(run([cell("a", "x", 7), cell("a", "z", 8, { table: "u" })]))]]);
  const document = "before\n<!-- table t of m -->\nold\n<!-- end -->\nafter\n";
  const made = withTables(document, known);
  assert.match(
    made,
    /^before\n<!-- table t of m -->\n\n\| {2}\| x \(us\) \|\n.*\n\| a \| 7 \|\n\n- M 1, Linux x64\n/,
  );
  assert.match(
    made,
    /<!-- end -->\nafter\n\n## u, M 1\n\n<!-- table u of m -->\n[^]*\| a \| 8 \|[^]*<!-- end -->\n$/,
  );
  assert.ok(!made.includes("old"));
  assert.equal(withTables(made, known), made);
});

test("withTables says that a run was a quick one", () => {
  const known = new Map([["m", recording(run([cell("a", "x", 7)], { quick: true }))]]);
  assert.match(withTables("", known), /QUICK/);
});

test("withTables refuses a marker that names nothing recorded, and one that stands twice", () => {
  const known = new Map([["m", recording(run([cell("a", "x", 7)]))]]);
  const marker = (name: string): string => `<!-- table ${name} -->\n<!-- end -->\n`;
  assert.throws(
    () => withTables(marker("gone of m"), known),
    /Cannot make RESULTS.md: its marker "gone of m"/,
  );
  assert.throws(() => withTables(marker("t of m").repeat(2), known), /stands twice/);
});

const terms: readonly Term[] = [
  { name: "us", of: () => 1 },
  { name: "us x d log2 d", of: (d) => d * Math.log2(d) },
];

test("fit finds the constants that points were made with", () => {
  const points = [256, 512, 4096, 32768].map((x) => ({ x, y: 7 + 0.003 * x * Math.log2(x) }));
  const { constants, worst, at } = fit(points, terms);
  assert.ok(Math.abs(constants[0] - 7) < 1e-6 && Math.abs(constants[1] - 0.003) < 1e-9);
  assert.ok(worst < 1e-9 && Math.abs(at(256) - points[0].y) < 1e-6);
  assert.equal(
    describeFit({ constants, worst: 0.041, at }, terms),
    "Model: 7 us + 0.003 us x d log2 d; within 5 % of every point.",
  );
});

test("fit leaves out a term whose constant would be negative", () => {
  const falling = [{ x: 64, y: 10 }, { x: 128, y: 9 }, { x: 256, y: 8 }];
  const { constants, worst } = fit(falling, terms);
  assert.equal(constants[1], 0);
  assert.ok(worst > 0.05 && worst < 0.2);
});

test("fit refuses fewer points than constants", () => {
  assert.throws(() => fit([{ x: 1, y: 1 }], terms), /Cannot fit 2 constants to 1 points/);
});

test("logTicks holds the range between its first and last tick", () => {
  for (const [least, most] of [[1, 1], [0.3, 0.31], [7, 90], [64, 16384], [1, 5e6]]) {
    const ticks = logTicks(least, most);
    assert.ok(ticks[0] <= least && ticks.at(-1)! >= most && ticks.length >= 2, `${least} ${most}: ${ticks}`);
    assert.ok(ticks.every((tick, i) => i === 0 || tick > ticks[i - 1]));
  }
});

test("lineChart draws every positive point, escapes text, and writes no NaN", () => {
  const points = [{ x: 1, y: 2 }, { x: 10, y: 20 }, { x: 100, y: 0 }];
  const labels = { title: "a < b & c", subtitle: "s", xLabel: "x", yLabel: "y" };
  const svg = lineChart([{ name: "m", style: "measured", points }], labels);
  // Two points, and a sample of the line beside its name.
  assert.equal(svg.match(/<circle/g)!.length, 2 + 1);
  assert.ok(svg.includes("a &lt; b &amp; c") && !svg.includes("NaN"));
});

test("barChart sorts its bars", () => {
  const bars = [{ name: "short", percent: 5 }, { name: "long", percent: 80 }];
  const svg = barChart(bars, { title: "t", subtitle: "s" });
  assert.ok(svg.indexOf(">long<") < svg.indexOf(">short<"));
});

test("plotsOf plots tables whose cells all have an x, and parts of a copy's rate", () => {
  const swept = [1, 2].map((x) => cell(`d = ${x}`, "measured", x, { x, table: "sweep" }));
  const rates = ["a", "b", "c"].map((row) => cell(row, "of a copy's rate", 50, { unit: "%" }));
  assert.deepEqual([...plotsOf(recording(run([...swept, ...rates]))).keys()], ["sweep", "t"]);
});

test("plotsOf draws a line for each method where cells name theirs, and leaves out cells without", () => {
  const point = (row: string, x: number, line: string) =>
    cell(row, "perplexity", 100 / x, { x, line, over: "KiB" });
  const cells = [
    cell("base", "perplexity", 200),
    point("A 1", 1, "A"),
    point("A 2", 2, "A"),
    point("B", 2, "B"),
  ];
  const svg = plotsOf(recording(run([...cells, cell("A 1", "lr", 0.1)]))).get("t")!;
  assert.equal(svg.match(/<g [^>]*aria-label="line"/g)!.length, 2);
  assert.equal(svg.match(/<circle/g)!.length, 3 + 2);
  for (const word of [">A<", ">B<", ">KiB<", ">perplexity<"]) assert.ok(svg.includes(word), word);
});

test("the recipe's rows are adapters that the demo model's linears take, each by its own name", () => {
  const linears = layerLinears(weightsOf(demo));
  const rows = [...recipeRows, ...quickRows];
  assert.equal(new Set(recipeRows.map(({ row }) => row)).size, recipeRows.length);
  for (const { row, adapter } of rows) {
    const { modules } = createAdapter(linears, adapterPlan(adapter), uniforms(0));
    assert.equal(modules.size, linears.length, row);
  }
});

test("parsePeer reads a script's first line and its measurements", () => {
  const first = { versions: { torch: "2" }, clock: "CUDA events" };
  const output = [first, cell("a", "PEFT", 3)].map((line) => JSON.stringify(line)).join("\n") + "\n";
  assert.deepEqual(parsePeer(output), { ...first, measurements: [cell("a", "PEFT", 3)] });
});

const results = join(import.meta.dirname!, "../bench");

test("RESULTS.md has the tables, and bench/plots the plots, that bench/results make: deno task bench:report", () => {
  // The formatter pads tables and breaks lines.
  const plain = (text: string): string =>
    text.replace(/\s+/g, " ").replace(/-{2,}/g, "--").replaceAll("| |", "||");
  const document = readFileSync(join(results, "RESULTS.md"), "utf8");
  assert.equal(plain(withTables(document, recordings())), plain(document));
  for (const [machine, recording] of recordings()) {
    for (const [table, svg] of plotsOf(recording)) {
      assert.equal(readFileSync(join(results, `plots/${machine}/${table}.svg`), "utf8"), svg);
    }
  }
});

test("models of random weights have every weight that the forward reads", async () => {
  const device = await cpuDevice();
  for (const dtype of ["float32", "float16"] as const) {
    const model = await loadModel(device, {
      config: tiny,
      source: randomWeights(tiny, dtype),
      maxModelLen: 16,
    });
    assert.equal(model.linears.length, layerLinears(weightsOf(tiny)).length + 1);
  }
});
