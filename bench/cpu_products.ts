/**
 * The CPU device with x of 8 bits in its products beside x of 16, by weights of 8 and 4 bits of SmolLM2-135M's shape.
 *
 *     deno run -A bench/cpu_products.ts [--rounds N] [--threads N] [--llama FOLDER]
 *
 * Each round measures all, one after the other. A cell is the median of its rounds, and a ratio is that of the rounds' ratios.
 * `--llama` is a folder in which `npm install node-llama-cpp` was run: llama.cpp takes its turn.
 *
 * @module
 */
import { availableParallelism, cpus, loadavg } from "node:os";
import process from "node:process";
import { parseArgs } from "node:util";
import type { QuantizeTo } from "../src/models/quantization.ts";
import { openCpuDevice } from "../src/runtime/open_cpu.ts";
import { llamaCpp } from "./cpu_entrants.ts";
import { makeGguf } from "./cpu_gguf.ts";
import { decode, decodeBatch, type Measures, numbered, read, smol } from "./cpu_measures.ts";
import { median } from "./measurement.ts";

const { values: options } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    threads: { type: "string", default: "1" },
    llama: { type: "string" },
  },
});
const rounds = Number(options.rounds), threads = Number(options.threads);
const bits: Readonly<Record<string, QuantizeTo>> = { "8 bits": "int8", "4 bits": "int4" };

/** Measurements of a device, by the rows' names in `bench:cpu`. */
async function measuresOf(products: "int8" | undefined): Promise<Measures> {
  const device = await openCpuDevice({ threads, products });
  console.log(device.description);
  const rows = await Promise.all(
    Object.entries(bits).map(async ([name, quantize]) => {
      const engine = await smol(device, { quantize }), prompt = numbered(5);
      return [
        [
          `SmolLM2-135M's shape, decoding, ${name}, tokens/s`,
          () => decode(engine, { prompt, maxTokens: 30 }),
        ],
        [`SmolLM2-135M's shape, a prompt of 256, ${name}, tokens/s`, () => read(engine, 256)],
        [`SmolLM2-135M's shape, batch of 8, ${name}, tokens/s`, () => decodeBatch(engine, 10)],
      ] as const;
    }),
  );
  return Object.fromEntries(rows.flat());
}

const entrants: Record<string, Measures> = {
  "x of 16 bits": await measuresOf(undefined),
  "x of 8 bits": await measuresOf("int8"),
};
if (options.llama !== undefined) {
  await makeGguf();
  entrants["llama.cpp"] = (await llamaCpp(options.llama, threads)).measures;
}

console.log(
  `${cpus()[0].model}, ${availableParallelism()} processors; load ${loadavg()[0].toFixed(1)} before`,
);
const figures: Record<string, Record<string, number[]>> = {};
for (const row of Object.keys(entrants["x of 8 bits"])) {
  const all = Object.entries(entrants);
  for (const [, measures] of all) await measures[row]();
  figures[row] = Object.fromEntries(all.map(([name]) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (const [name, measures] of all) figures[row][name].push(await measures[row]());
  }
  const cells = all.map(([name]) => `${name} ${median(figures[row][name]).toPrecision(4)}`);
  const ratios = all.filter(([name]) => name !== "x of 8 bits").map(([name]) => {
    const each = figures[row]["x of 8 bits"].map((value, i) => value / figures[row][name][i]);
    return `8 bits to ${name} ${median(each).toFixed(2)}`;
  });
  console.log([row, ...cells, ...ratios].join("; "));
}
console.log(`load ${loadavg()[0].toFixed(1)} after`);
process.exit(0);
