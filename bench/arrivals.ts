/**
 * First tokens of sequences that come while others run, and the longest pause of those that run. Dawn's null backend takes
 * every call and computes nothing: the host's work is left.
 *
 *     deno task bench:arrivals
 *
 * In the first round programs are compiled, in the second most are there.
 *
 * @module
 */
import process from "node:process";
import { create } from "webgpu";
import type { Device } from "../src/device/device.ts";
import { webgpuDevice } from "../src/device/webgpu.ts";
import type { Engine } from "../src/engine/generate.ts";
import { uniforms } from "../src/engine/random.ts";
import { openModel } from "../src/open.ts";
import { openAdapterStore } from "../src/runtime/adapter_store.ts";
import { openFolder } from "../src/runtime/file.ts";
import { elements, newArray } from "../src/tensor.ts";

/** Sequences that begin together, those that come after them, and ms between two of these. */
const together = 40, later = 20, apartMs = 8;

const adapters = ["fourierft-kjv", "lora-kjv", "dora-kjv-r2", undefined, "fourierft-sotu"];

/** The token that every step samples. */
const sampled = 77;

/** Of a sequence, in ms: its first token, and the longest time between two tokens after that. */
interface Waits {
  readonly first: number;
  readonly pause: number;
}

// Kept for the life of the process: collected while a device lives, it takes the process with it.
const nullBackend = create(["backend=null"]);

async function openNull(): Promise<Device> {
  const gpu = await (await nullBackend.requestAdapter())!.requestDevice();
  const device = webgpuDevice(gpu, { destroy: () => gpu.destroy() });
  return {
    ...device,
    async runAndRead(program, source, range) {
      const read = await device.runAndRead(program, source, range);
      return source.dtype === "uint32" ? read.fill(sampled) : read;
    },
    // What adapters ask of the base's weights: norms, which are above 0.
    read: (t) => Promise.resolve(newArray(t.dtype, elements(t.shape)).fill(1)),
  };
}

/** A sequence's waits; `dueMs` is when it had to begin, as a busy process may begin it late. */
async function waitsOf(engine: Engine, i: number, maxTokens: number, dueMs: number): Promise<Waits> {
  const promptTokenIds = Array.from({ length: 12 + i % 7 }, () => 5 + Math.floor(3000 * random()));
  const sampling = { temperature: 0, topP: 1, topK: 0 }, adapter = adapters[i % adapters.length];
  let first = 0, last = 0, pause = 0;
  for await (const { kind } of engine.generate({ promptTokenIds, adapter, maxTokens, sampling })) {
    if (kind !== "token") continue;
    const now = performance.now() - dueMs;
    if (first === 0) first = now;
    else pause = Math.max(pause, now - last);
    last = now;
  }
  return { first, pause };
}

const delay = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Median and 95th percentile. */
function quantiles(values: readonly number[]): string {
  const sorted = values.toSorted((a, b) => a - b);
  return [0.5, 0.95].map((part) => sorted[Math.floor(part * (sorted.length - 1))].toFixed(0).padStart(6))
    .join("");
}

const random = uniforms(1);
let prepared = 0;
const device = await openNull();
const { engine } = await openModel({
  ...device,
  prepare: (plan) => (prepared++, device.prepare(plan)),
}, {
  folder: await openFolder("examples/demo/base"),
  adapters: await openAdapterStore("examples/demo/adapters"),
  // The null backend holds 256 MiB at most; whether merging pays is timed, and nothing takes time here.
  engine: { cacheBytes: 96 * 2 ** 20, maxSequences: together + later, merging: "never" },
  registry: { capacity: 8 },
});
console.log("round   first p50, p95  of later ones  longest pause p50, p95 (ms)  CPU ms  programs");
for (const round of ["first", "second"]) {
  prepared = 0;
  const before = process.cpuUsage(), begin = performance.now();
  const begun = Array.from({ length: together }, (_, i) => waitsOf(engine, i, 120 - i, begin));
  const late: Promise<Waits>[] = [];
  for (let i = 0; i < later; i++) {
    const dueMs = begin + apartMs * (i + 1);
    await delay(Math.max(0, dueMs - performance.now()));
    late.push(waitsOf(engine, i, 60, dueMs));
  }
  const [early, after] = [await Promise.all(begun), await Promise.all(late)];
  const { user, system } = process.cpuUsage(before);
  console.log(
    `${round.padEnd(6)}  ${quantiles(early.map(({ first }) => first))}  ${
      quantiles(after.map(({ first }) => first))
    }  ` +
      `${quantiles(early.map(({ pause }) => pause)).padStart(27)}  ${
        ((user + system) / 1000).toFixed(0).padStart(6)
      }  ` +
      `${String(prepared).padStart(8)}`,
  );
}
process.exit(0);
