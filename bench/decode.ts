/**
 * Decode speed of the demo model: tokens a second, the base model and each kind of adapter, one sequence and a batch.
 *
 *     deno task bench:decode [--device cpu|webgpu] [--tokens N] [--rounds N] [--quantize int8|int4]
 *
 * @module
 */
import process from "node:process";
import type { QuantizeTo } from "../src/models/quantization.ts";
import { openAdapterStore } from "../src/runtime/adapter_store.ts";
import { openFolder } from "../src/runtime/file.ts";
import { openDevice } from "../src/runtime/open_device.ts";
import { openModel } from "../src/open.ts";
import { machineOf } from "./machine.ts";
import { type Measurement, median } from "./measurement.ts";
import { recordingFile, saveRun, today } from "./results.ts";

function argument(name: string, fallback: string): string {
  const at = process.argv.indexOf(name);
  return at > 0 ? process.argv[at + 1] : fallback;
}

const kind = argument("--device", "cpu") as "cpu" | "webgpu";
const tokens = Number(argument("--tokens", "200"));
const rounds = Number(argument("--rounds", "5"));
const quantize = argument("--quantize", "") as QuantizeTo | "";
const device = await openDevice({ kind, log: console.log });
const { engine, tokenizer } = await openModel(device, {
  folder: await openFolder("examples/demo/base"),
  adapters: await openAdapterStore("examples/demo/adapters"),
  quantize: quantize || undefined,
});
const prompt = tokenizer.encode("In the beginning");

/** Tokens a second from the first new token to the last of `adapters.length` sequences run together. */
async function decode(adapters: readonly (string | undefined)[]): Promise<number> {
  let first = 0;
  let count = 0;
  await Promise.all(adapters.map(async (adapter) => {
    const sampling = { temperature: 1, topP: 1, topK: 0, seed: 7 };
    for await (
      const event of engine.generate({ promptTokenIds: prompt, adapter, maxTokens: tokens, sampling })
    ) {
      if (event.kind !== "token") continue;
      first ||= performance.now();
      count++;
    }
  }));
  return 1000 * (count - adapters.length) / (performance.now() - first);
}

const mixed = [
  "fourierft-kjv",
  "fourierft-jargon",
  undefined,
  "fourierft-kjv-qv",
  "lora-kjv",
  "fourierft-devil",
  "fourierft-sotu",
  "lora-kjv-r1",
];
const runs: Record<string, readonly (string | undefined)[]> = {
  "base": [undefined],
  "FourierFT, seven linears": ["fourierft-kjv"],
  "FourierFT, q and v": ["fourierft-kjv-qv"],
  "LoRA r = 8": ["lora-kjv"],
  "batch of 8, base": mixed.map(() => undefined),
  "batch of 8, 7 adapters and the base": mixed,
};
const results: Record<string, number[]> = Object.fromEntries(Object.keys(runs).map((name) => [name, []]));
for (const adapters of Object.values(runs)) await decode(adapters);
// Interleaved, so that a slow moment of the machine hits every row alike.
for (let round = 0; round < rounds; round++) {
  for (const [name, adapters] of Object.entries(runs)) results[name].push(await decode(adapters));
}
const measurements: Measurement[] = [];
for (const [name, values] of Object.entries(results)) {
  const batch = runs[name].length > 1 ? "batch of 8, base" : "base";
  const ratio = median(values.map((value, i) => results[batch][i] / value));
  console.log(
    `${name.padEnd(38)} ${median(values).toFixed(0).padStart(6)} tokens/s, best ${
      Math.max(...values).toFixed(0)
    }; ${(100 * (ratio - 1)).toFixed(1)} % slower than base`,
  );
  const row = quantize ? `${name}, ${quantize}` : name;
  const cell = { table: "decode-demo", row, runs: values.length };
  const speed = { median: median(values), minimum: Math.min(...values) };
  measurements.push(
    { ...cell, column: "fourierft", unit: "tokens/s", ...speed },
    { ...cell, column: "best", unit: "tokens/s", median: Math.max(...values) },
    { ...cell, column: "slower than the base", unit: "%", median: 100 * (ratio - 1) },
  );
}
const { machine, versions } = machineOf(device);
saveRun(recordingFile(machine.name, false), machine, {
  bench: "decode",
  command: ["deno task bench:decode", ...process.argv.slice(2)].join(" "),
  date: today(),
  versions,
  clock: "wall time",
  quick: false,
  measurements,
});
device.destroy();
process.exit(0);
