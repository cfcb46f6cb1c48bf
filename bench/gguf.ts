/**
 * GGUF files on the CPU device and in llama.cpp, each in its turn: decoding, and how far the logits are apart.
 *
 *     deno run -A bench/gguf.ts --llama FOLDER [--rounds N] [--threads 1,2,...] [--files TEXT]
 *
 * FOLDER is one in which `npm install node-llama-cpp` was run. The files are those of cpu_gguf.ts; `--files` is a regular
 * expression for their names. The figures are recorded.
 *
 * @module
 */
import { availableParallelism, loadavg } from "node:os";
import process from "node:process";
import { parseArgs } from "node:util";
import { AdapterRegistry } from "../src/adapters/registry.ts";
import type { Device } from "../src/device/device.ts";
import { BatchEngine } from "../src/engine/batch_engine.ts";
import { Runner } from "../src/engine/runner.ts";
import { openWeights, readConfig } from "../src/models/families.ts";
import { openGguf } from "../src/models/gguf/folder.ts";
import { loadModel, type Model } from "../src/models/model.ts";
import { openFolder } from "../src/runtime/file.ts";
import { openCpuDevice } from "../src/runtime/open_cpu.ts";
import { memoryAdapterStore } from "../src/testing/mod.ts";
import { lane } from "../test/lanes.ts";
import { ggufFile, makeGguf } from "./cpu_gguf.ts";
import { decode, numbered } from "./cpu_measures.ts";
import { openPeer } from "./cpu_peer.ts";
import { machineOf } from "./machine.ts";
import type { Measurement } from "./measurement.ts";
import { recordingFile, saveRun, today } from "./results.ts";

const { values: options } = parseArgs({
  options: {
    llama: { type: "string" },
    rounds: { type: "string", default: "5" },
    threads: { type: "string", default: [...new Set([1, availableParallelism()])].join(",") },
    files: { type: "string", default: "" },
  },
});
const rounds = Number(options.rounds);
const files = [
  ...(["f32", "q8_0", "q4_0"] as const).map((format) => ({ model: "demo", format }) as const),
  ...(["f16", "q8_0", "q4_0"] as const).map((format) => ({ model: "smol", format }) as const),
].filter(({ model, format }) => new RegExp(options.files).test(`${model}-${format}`));
const names = { demo: "demo model", smol: "SmolLM2-135M's shape" };

/** Logits after the tokens 1 to 16. */
async function logitsOf(device: Device, model: Model): Promise<Float32Array> {
  const prompt = numbered(16), { length } = prompt;
  const runner = new Runner(device, model, {
    ...{ banks: [], maxRows: length, maxOutputs: 1, cacheRows: length, blockSize: 1 },
  });
  const rows = prompt.map((token, position) => ({ token, position, blocks: lane(0), length, state: 0 }));
  await runner.step(rows, [{ row: length - 1, temperature: 0, topP: 1, topK: 0, uniform: 0 }]);
  return await runner.logits(0);
}

function engineOf(device: Device, model: Model): BatchEngine {
  const registry = new AdapterRegistry(device, memoryAdapterStore(new Map()), { linears: model.linears });
  return new BatchEngine(device, model, {
    registry,
    options: { eosTokenIds: [], maxSequences: 1, prefixCaching: false },
  });
}

/** A file with a number of threads: figures of both, and how far llama.cpp's logits are from ours. */
async function measured(path: string, threads: number) {
  const device = await openCpuDevice({ threads }), at = path.lastIndexOf("/");
  const folder = await openGguf(await openFolder(path.slice(0, at)), path.slice(at + 1));
  const config = await readConfig(folder), source = await openWeights(folder, config);
  const model = await loadModel(device, { config, source }).finally(() => source.close?.());
  const peer = await openPeer(["node", "bench/peers/llama_gguf.mjs", options.llama!, `${threads}`, path]);
  const engine = engineOf(device, model), request = { prompt: numbered(5), maxTokens: 100 };
  const ours: number[] = [], theirs: number[] = [];
  await decode(engine, request);
  await peer.measures.decoding();
  for (let round = 0; round < rounds; round++) {
    ours.push(await decode(engine, request));
    theirs.push(await peer.measures.decoding());
  }
  const expected = await peer.measures.logits() as unknown as readonly number[];
  const logits = await logitsOf(device, model);
  const off = Math.max(...expected.map((logit, i) => Math.abs(logit - logits[i])));
  const [{ versions }, { machine, versions: own }] = [peer, machineOf(device)];
  peer.close();
  device.destroy();
  // Rows have the threads.
  const described = own.device.replace(/, (one thread|\d+ threads) of its own/, "");
  return { ours, theirs, off, machine, versions: { ...versions, ...own, device: described } };
}

if (options.llama === undefined) throw new Error("Cannot compare without --llama FOLDER");
await makeGguf();
const recorded: Measurement[] = [], before = loadavg()[0].toFixed(1);
for (const { model, format } of files) {
  for (const threads of options.threads.split(",").map(Number)) {
    const { ours, theirs, off, machine, versions } = await measured(ggufFile(model, format), threads);
    const counted = threads === 1 ? "1 thread" : `${threads} threads`;
    const note = "The best of each; `ours to llama.cpp` is how many times as fast ours is.";
    const cell = {
      table: "gguf",
      row: `${names[model]}, ${format.toUpperCase()}, ${counted}`,
      runs: rounds,
      note,
    };
    const figures = { "ours": ours, "llama.cpp": theirs };
    for (const [column, values] of Object.entries(figures)) {
      const [minimum, slowest] = [Math.min(...values), Math.max(...values)];
      recorded.push({ ...cell, column, unit: "tokens/s", median: slowest, minimum, slowest });
    }
    const ratio = Math.max(...ours) / Math.max(...theirs);
    recorded.push({ ...cell, column: "ours to llama.cpp", unit: "", median: ratio });
    recorded.push({ ...cell, column: "logits apart, at most", unit: "", median: off });
    console.log(cell.row, ours, theirs, ratio, off);
    saveRun(recordingFile(machine.name, false), machine, {
      bench: "gguf",
      command: `deno run -A bench/gguf.ts --llama FOLDER --rounds ${rounds}`,
      ...{ date: today(), versions, clock: "wall time", quick: false },
      note: `load ${before} to ${loadavg()[0].toFixed(1)}`,
      measurements: recorded,
    });
  }
}
process.exit(0);
