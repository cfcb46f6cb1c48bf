/**
 * A fresh process of `bench:cpu`: opens a GGUF file, or the demo model with an adapter, and writes one token.
 *
 *     deno run -A bench/cpu_start.ts MODEL THREADS [ADAPTER]
 *
 * It prints the most memory that it had, in MiB, once the token is there.
 *
 * @module
 */
import process from "node:process";
import { openNamedFolder } from "../src/cli/folder.ts";
import { openModel } from "../src/open.ts";
import { openAdapterStore } from "../src/runtime/adapter_store.ts";
import { openCpuDevice } from "../src/runtime/open_cpu.ts";
import { peakMiB } from "./cpu_peer.ts";

const [model, threads, adapter] = process.argv.slice(2);
const device = await openCpuDevice({ threads: Number(threads) });
const { engine } = await openModel(device, {
  folder: await openNamedFolder(model),
  adapters: adapter ? await openAdapterStore("examples/demo/adapters") : undefined,
  maxModelLen: 512,
  engine: { maxSequences: 1 },
});
const sampling = { temperature: 0, topP: 1, topK: 0 };
for await (const _ of engine.generate({ promptTokenIds: [1, 2, 3, 4, 5], adapter, maxTokens: 1, sampling }));
console.log(JSON.stringify(peakMiB()));
process.exit(0);
