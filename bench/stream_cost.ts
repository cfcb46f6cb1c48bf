/**
 * What a streamed token costs the process that serves: its CPU time, on a device that computes nothing. Detokenizing,
 * events, HTTP and the engine's own steps are left. CPU time counts: other work on the machine changes it less than the time that passes.
 *
 *     deno task bench:streams [--streams 64,256] [--tokens 128] [--requests 2] [--clients 2] [--bursts 8000]
 *     [--profile FILE]
 *
 * `--profile` writes a profile of the last row for Chrome's developer tools.
 *
 * @module
 */
import { writeFile } from "node:fs/promises";
import { Session } from "node:inspector/promises";
import process from "node:process";
import { parseArgs } from "node:util";
import { cpuDevice } from "../src/device/cpu.ts";
import type { Device } from "../src/device/device.ts";
import { openTokenizer } from "../src/models/tokenizer.ts";
import { openModel } from "../src/open.ts";
import { openAdapterStore } from "../src/runtime/adapter_store.ts";
import { openFolder } from "../src/runtime/file.ts";
import { serveApp } from "../src/runtime/serve.ts";
import { createApp } from "../src/server/mod.ts";
import { askStreams } from "./stream_load.ts";

const { values: options } = parseArgs({
  options: {
    streams: { type: "string", default: "64,256" },
    tokens: { type: "string", default: "128" },
    requests: { type: "string", default: "2" },
    clients: { type: "string", default: "2" },
    bursts: { type: "string", default: "8000" },
    model: { type: "string", default: "examples/demo/base" },
    adapters: { type: "string", default: "examples/demo/adapters" },
    profile: { type: "string" },
  },
});
const [tokens, requests, processes] = [options.tokens, options.requests, options.clients].map(Number);
const counts = options.streams.split(",").map(Number);

const text =
  "In the beginning God created the heaven and the earth. And the earth was without form, and void; " +
  "and darkness was upon the face of the deep. And the Spirit of God moved upon the face of the waters.";

/** A device whose steps are over at once and sample the ids of a text; all else is computed, as adapters' norms are. */
function idle(base: Device, ids: readonly number[]): Device {
  let step = 0;
  return {
    ...base,
    prefersFewSizes: true,
    runsAhead: true,
    runAndRead(program, source, range) {
      if (source.dtype !== "uint32" || !range) return base.runAndRead(program, source, range);
      step++;
      return Promise.resolve(
        Uint32Array.from({ length: range.count }, (_, i) => ids[(7 * i + step) % ids.length]),
      );
    },
  };
}

const seconds = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};

const folder = await openFolder(options.model);
const ids = (await openTokenizer(folder)).encode(text, { addSpecialTokens: false });
const { engine, tokenizer, registry } = await openModel(idle(cpuDevice(), ids), {
  folder,
  adapters: await openAdapterStore(options.adapters),
  engine: { maxSequences: Math.max(...counts), maxBurstsPerSecond: Number(options.bursts) },
});
const app = createApp({
  model: { id: "base", createdUnixSeconds: 0, engine, tokenizer },
  adapters: registry,
});
const server = await serveApp((request) => app.fetch(request), { port: 0, hostname: "127.0.0.1" });
const load = { url: `http://127.0.0.1:${server.port}`, requests, tokens, processes };

console.log("streams  CPU us a token  tokens/s");
for (const streams of counts) {
  await askStreams({ ...load, streams, round: 2 * streams });
  const session = options.profile && streams === counts.at(-1) ? new Session() : undefined;
  session?.connect();
  await session?.post("Profiler.enable");
  await session?.post("Profiler.start");
  const begin = performance.now(), before = seconds();
  const answers = await askStreams({ ...load, streams, round: 2 * streams + 1 });
  const wall = (performance.now() - begin) / 1000, cpu = seconds() - before;
  if (session) {
    const { profile } = await session.post("Profiler.stop");
    await writeFile(options.profile!, JSON.stringify(profile));
  }
  const all = answers.reduce((sum, { tokens }) => sum + tokens, 0);
  console.log(
    `${String(streams).padStart(7)}  ${(1e6 * cpu / all).toFixed(1).padStart(14)}  ` +
      `${(all / wall).toFixed(0).padStart(8)}`,
  );
}
process.exit(0);
