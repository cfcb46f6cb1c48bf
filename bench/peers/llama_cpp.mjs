/**
 * What bench/cpu.ts asks llama.cpp, by npm's node-llama-cpp, one measurement a line: a name goes in, a figure comes out.
 *
 *     node bench/peers/llama_cpp.mjs FOLDER THREADS                # FOLDER: where node-llama-cpp was installed
 *     node bench/peers/llama_cpp.mjs FOLDER THREADS MODEL [LORA]   # the first token of a file, and the memory taken
 *
 * The first line that it prints says what it is, and the names that it knows. The models are those that bench/cpu_gguf.ts makes.
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [folder, threadsText, model, lora] = process.argv.slice(2), threads = Number(threadsText);
const find = createRequire(join(resolve(folder), "package.json"));
const { getLlama, LlamaLogLevel } = await import(pathToFileURL(find.resolve("node-llama-cpp")).href);
const llama = await getLlama({
  gpu: false,
  build: "never",
  logLevel: LlamaLogLevel.disabled,
  maxThreads: threads,
});
const files = join(import.meta.dirname, "..", "..", "dist", "bench", "gguf");
const batchSize = 8;
/** Decoding ends after so long: threads that wait for each other on a busy machine take seconds for a token. */
const mostMs = 3000;

async function open(modelPath, { lora, sequences = 1 } = {}) {
  const model = await llama.loadModel({ modelPath });
  return await model.createContext({
    contextSize: 512 * sequences,
    sequences,
    batchSize: 512,
    threads: { ideal: threads, min: threads },
    lora: lora && { adapters: [{ filePath: lora }] },
  });
}

const numbered = (count) => Array.from({ length: count }, (_, i) => i + 1);
const sampling = { temperature: 0, yieldEogToken: true };

/** Tokens a second after the first new one. */
async function decode(sequence, count) {
  await sequence.clearHistory();
  let begin = 0, counted = -1;
  for await (const _ of sequence.evaluate(numbered(5), sampling)) {
    if (++counted === 0) begin = performance.now();
    if (counted === count - 1 || counted > 0 && performance.now() - begin > mostMs) break;
  }
  return 1000 * counted / (performance.now() - begin);
}

/** Tokens of a prompt that are read in a second: until the first new one. */
async function read(sequence, count) {
  await sequence.clearHistory();
  const begin = performance.now();
  for await (const _ of sequence.evaluate(numbered(count), sampling)) break;
  return 1000 * count / (performance.now() - begin);
}

/** Tokens a second of sequences side by side, once each has its first. */
async function decodeBatch(sequences, count) {
  for (const sequence of sequences) await sequence.clearHistory();
  let begin = 0, waiting = sequences.length, counted = 0;
  await Promise.all(sequences.map(async (sequence, i) => {
    let own = 0;
    for await (const _ of sequence.evaluate([i + 1, 2, 3, 4, 5], sampling)) {
      if (own++ === 0 && --waiting === 0) begin = performance.now();
      else if (waiting === 0) counted++;
      if (own === count || waiting === 0 && performance.now() - begin > mostMs) break;
    }
  }));
  return 1000 * counted / (performance.now() - begin);
}

async function measuresOf(name, file, { tokens, batchTokens, format }) {
  const path = join(files, `${file}.gguf`);
  const sequence = (await open(path)).getSequence(), batch = await open(path, { sequences: batchSize });
  const sequences = Array.from({ length: batchSize }, () => batch.getSequence());
  return {
    [`${name}, decoding${format}, tokens/s`]: () => decode(sequence, tokens),
    [`${name}, a prompt of 256${format}, tokens/s`]: () => read(sequence, 256),
    [`${name}, batch of 8${format}, tokens/s`]: () => decodeBatch(sequences, batchTokens),
  };
}

if (model) {
  const sequence = (await open(model, { lora })).getSequence();
  for await (const _ of sequence.evaluate(numbered(5), sampling)) break;
  const [, kibibytes] = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"));
  console.log(Number(kibibytes) / 1024);
  process.exit(0);
}
const formats = [["", "f32"], [", 16 bits", "f16"], [", 8 bits", "q8_0"], [", 4 bits", "q4_0"]];
const measures = {};
for (const [format, type] of formats) {
  const demo = { tokens: 200, batchTokens: 50, format };
  if (type !== "f16") Object.assign(measures, await measuresOf("demo model", `demo-${type}`, demo));
  const smol = { tokens: 30, batchTokens: 10, format };
  Object.assign(measures, await measuresOf("SmolLM2-135M's shape", `smol-${type}`, smol));
}
const adapted = (await open(join(files, "demo-f32.gguf"), { lora: join(files, "lora-kjv.gguf") }))
  .getSequence();
measures["demo model, decoding, LoRA r = 8, tokens/s"] = () => decode(adapted, 200);

const { version } = JSON.parse(
  readFileSync(join(resolve(folder), "node_modules", "node-llama-cpp", "package.json"), "utf8"),
);
console.log(
  JSON.stringify({
    versions: { "node-llama-cpp": version },
    names: Object.keys(measures),
  }),
);
for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await measures[JSON.parse(line)]()));
}
