/**
 * Compares a GGUF file's logits and greedy ids with llama.cpp's, which `llama_cpp.py` prints; no test needs it.
 *
 * `deno run -A test/peers/gguf_logits.ts MODEL.gguf "[1, 2, 3]" LOGITS.json`
 *
 * @module
 */
import { readFileSync } from "node:fs";
import process from "node:process";
import { openModel } from "../../mod.ts";
import { openNamedFolder } from "../../src/cli/folder.ts";
import { openDevice } from "../../src/runtime/mod.ts";
import { distance } from "../kernel_contract.ts";
import { Runner } from "../../src/engine/runner.ts";
import { lane } from "../lanes.ts";

const [path, promptText, peer] = process.argv.slice(2);
const prompt: number[] = JSON.parse(promptText);
const wanted: { last_logits: number[]; greedy: number[] } = JSON.parse(readFileSync(peer, "utf8"));
const device = await openDevice({ kind: "cpu" });
const { model, engine } = await openModel(device, { folder: await openNamedFolder(path), maxModelLen: 128 });
const runner = new Runner(device, model, {
  banks: [],
  maxRows: 64,
  maxOutputs: 1,
  cacheRows: 128,
  blockSize: 1,
});
const rows = prompt.map((token, position) => ({ token, position, blocks: lane(0) }));
await runner.step(rows, [{ row: rows.length - 1, temperature: 0, topP: 1, topK: 0, uniform: 0 }]);
const found = await runner.logits(0);
const ids: number[] = [];
const sampling = { temperature: 0, topP: 1, topK: 0 };
for await (
  const event of engine.generate({ promptTokenIds: prompt, maxTokens: wanted.greedy.length, sampling })
) {
  if (event.kind === "token") ids.push(event.tokenId);
}
const largest = wanted.last_logits.reduce((most, logit, i) => Math.max(most, Math.abs(logit - found[i])), 0);
console.log(`logits: ${distance(found, wanted.last_logits)} of their norm, ${largest} at most`);
console.log(
  ids.join() === wanted.greedy.join() ? "greedy ids: equal" : `greedy ids: ${ids}, not ${wanted.greedy}`,
);
device.destroy();
