/**
 * What a streamed token costs the process that serves: its CPU time, on a device that computes nothing. Detokenizing,
 * events, HTTP and the engine's own steps are left. CPU time counts: other work on the machine changes it less than the time that passes.
 *
 *     deno task bench:streams [--streams 64,256] [--tokens 128] [--requests 2] [--clients 2] [--bursts 8000] [--dawn]
 *     [--profile FILE]
 *
 * `--dawn` adds what a GPU's calls cost, by Dawn's null backend. `--profile` writes a profile of the last row for Chrome's developer tools.
 *
 * @module
 */
import { writeFile } from "node:fs/promises";
import { Session } from "node:inspector/promises";
import process from "node:process";
import { parseArgs } from "node:util";
import { cpuDevice } from "../src/device/cpu.ts";
import type { Device } from "../src/device/device.ts";
import { webgpuDevice } from "../src/device/webgpu.ts";
import { openTokenizer } from "../src/models/tokenizer.ts";
import { elements, newArray } from "../src/tensor.ts";
import { openModel } from "../src/open.ts";
import { openAdapterStore } from "../src/runtime/adapter_store.ts";
import { openFolder } from "../src/runtime/file.ts";
import { serveApp } from "../src/runtime/serve.ts";
import { createApp } from "../src/server/mod.ts";
import { askStreams, secondsOf } from "./stream_load.ts";

const { values: options } = parseArgs({
  options: {
    streams: { type: "string", default: "64,256" },
    tokens: { type: "string", default: "128" },
    requests: { type: "string", default: "2" },
    clients: { type: "string", default: "2" },
    bursts: { type: "string", default: "8000" },
    model: { type: "string", default: "examples/demo/base" },
    adapters: { type: "string", default: "examples/demo/adapters" },
    dawn: { type: "boolean", default: false },
    profile: { type: "string" },
  },
});
const [tokens, requests, processes] = [options.tokens, options.requests, options.clients].map(Number);
const counts = options.streams.split(",").map(Number);

const text =
  "In the beginning God created the heaven and the earth. And the earth was without form, and void; " +
  "and darkness was upon the face of the deep. And the Spirit of God moved upon the face of the waters.";

/** Programs that a device made ready, how long that took, and the launches of the longest. */
const prepared = { count: 0, ms: 0, launches: 0 };

/**
 * A device whose steps are over at once and sample the ids of a text; all else is computed, as adapters' norms are. Dawn's null
 * backend has a GPU's calls, too.
 */
function idle(base: Device, ids: readonly number[], dawn?: Device): Device {
  let step = 0;
  return {
    ...(dawn ?? base),
    async prepare(plan) {
      const begin = performance.now();
      const program = await (dawn ?? base).prepare(plan);
      prepared.count++;
      prepared.launches = Math.max(prepared.launches, program.launches);
      prepared.ms += performance.now() - begin;
      return program;
    },
    prefersFewSizes: true,
    runsAhead: true,
    // What adapters ask of the base's weights: norms, which are above 0.
    ...(dawn ? { read: (t) => Promise.resolve(newArray(t.dtype, elements(t.shape)).fill(1)) } : {}),
    async runAndRead(program, source, range) {
      const isStep = source.dtype === "uint32" && range;
      if (!isStep) return await (dawn ?? base).runAndRead(program, source, range);
      step++;
      const of = step;
      if (dawn) await dawn.runAndRead(program, source, range);
      return Uint32Array.from({ length: range.count }, (_, i) => ids[(7 * i + of) % ids.length]);
    },
  };
}

// Kept for the life of the process: collected while a device lives, it takes the process with it.
const nullBackend = options.dawn ? (await import("webgpu")).create(["backend=null"]) : undefined;

async function openNull(): Promise<Device | undefined> {
  const gpu = await (await nullBackend?.requestAdapter())?.requestDevice();
  return gpu && webgpuDevice(gpu, { destroy: () => gpu.destroy() });
}

const seconds = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};

const folder = await openFolder(options.model);
const ids = (await openTokenizer(folder)).encode(text, { addSpecialTokens: false });
const { engine, tokenizer, registry } = await openModel(idle(cpuDevice(), ids, await openNull()), {
  folder,
  adapters: await openAdapterStore(options.adapters),
  engine: {
    maxSequences: Math.max(...counts),
    maxBurstsPerSecond: Number(options.bursts),
    // As on a GPU; but the null backend holds 256 MiB at most: up to 64 streams.
    cacheBytes: options.dawn ? 96 * 2 ** 20 : 2 ** 30,
  },
  registry: options.dawn ? { capacity: 8 } : {},
});
const app = createApp({
  model: { id: "base", createdUnixSeconds: 0, engine, tokenizer },
  adapters: registry,
});
const server = await serveApp((request) => app.fetch(request), { port: 0, hostname: "127.0.0.1" });
const load = { url: `http://127.0.0.1:${server.port}`, requests, tokens, processes };

const quantile = (sorted: readonly number[], part: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))];

console.log("streams  round  CPU us a token  tokens/s  first p50  first p95 (ms)  programs prepared");
// In the first round of a number of streams programs are prepared; in the second most are there.
for (const [row, streams] of counts.flatMap((streams) => [streams, streams]).entries()) {
  const session = options.profile && row === 2 * counts.length - 1 ? new Session() : undefined;
  session?.connect();
  await session?.post("Profiler.enable");
  await session?.post("Profiler.start");
  prepared.count = prepared.ms = 0;
  const before = seconds();
  const answers = await askStreams({ ...load, streams, round: row });
  const wall = secondsOf(answers), cpu = seconds() - before;
  if (session) {
    const { profile } = await session.post("Profiler.stop");
    await writeFile(options.profile!, JSON.stringify(profile));
  }
  const first = answers.map(({ firstMs }) => firstMs).sort((a, b) => a - b);
  const all = answers.reduce((sum, { tokens }) => sum + tokens, 0);
  console.log(
    `${String(streams).padStart(7)}  ${(row % 2 === 0 ? "first" : "second").padStart(6)}` +
      `${(1e6 * cpu / all).toFixed(1).padStart(15)}  ${(all / wall).toFixed(0).padStart(8)}  ` +
      [0.5, 0.95].map((part) => quantile(first, part).toFixed(1).padStart(9)).join("  ") +
      `       ${prepared.count}, ${
        prepared.ms.toFixed(0)
      } ms; a step has up to ${prepared.launches} launches`,
  );
}
process.exit(0);
