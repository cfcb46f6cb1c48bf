/**
 * What bench/gguf.ts asks llama.cpp of one file, by npm's node-llama-cpp: a name goes in, its answer comes out.
 *
 *     node bench/peers/llama_gguf.mjs FOLDER THREADS MODEL     # FOLDER: where node-llama-cpp was installed
 *
 * `decoding` is tokens a second. `logits` are those after the tokens 1 to 16.
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [folder, threadsText, modelPath] = process.argv.slice(2), threads = Number(threadsText);
const find = createRequire(join(resolve(folder), "package.json"));
const { getLlama, LlamaLogLevel } = await import(pathToFileURL(find.resolve("node-llama-cpp")).href);
const llama = await getLlama({
  gpu: false,
  build: "never",
  logLevel: LlamaLogLevel.disabled,
  maxThreads: threads,
});
const model = await llama.loadModel({ modelPath });
const context = await model.createContext({
  contextSize: 512,
  batchSize: 512,
  threads: { ideal: threads, min: threads },
});
const sequence = context.getSequence();
const numbered = (count) => Array.from({ length: count }, (_, i) => i + 1);

const measures = {
  async decoding() {
    await sequence.clearHistory();
    let begin = 0, counted = -1;
    for await (const _ of sequence.evaluate(numbered(5), { temperature: 0, yieldEogToken: true })) {
      if (++counted === 0) begin = performance.now();
      if (counted === 99 || counted > 0 && performance.now() - begin > 3000) break;
    }
    return 1000 * counted / (performance.now() - begin);
  },
  async logits() {
    await sequence.clearHistory();
    const prompt = numbered(16), last = prompt.pop();
    const found = await sequence.controlledEvaluate([...prompt, [last, { generateNext: { logits: true } }]]);
    return [...found[prompt.length].next.logits].sort(([a], [b]) => a - b).map(([, logit]) => logit);
  },
};
const { version } = JSON.parse(
  readFileSync(join(resolve(folder), "node_modules", "node-llama-cpp", "package.json"), "utf8"),
);
console.log(JSON.stringify({ versions: { "node-llama-cpp": version }, names: Object.keys(measures) }));
for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await measures[JSON.parse(line)]()));
}
