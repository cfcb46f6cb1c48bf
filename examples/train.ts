/**
 * Trains a FourierFT adapter of the demo model on a nursery rhyme, writes it as a PEFT folder, and generates with it.
 *
 *     deno run -A examples/train.ts [FOLDER]
 *     bun examples/train.ts [FOLDER]
 *
 * @module
 */
import { readFile } from "node:fs/promises";
import { basename, dirname } from "node:path";
import process from "node:process";
import { generateText, openModel, train } from "fourierft";
import { openAdapterStore, openCheckpoints, openDevice, openFolder } from "fourierft/node";

const out = process.argv[2] ?? "dist/trained/jack";
const device = await openDevice({ log: console.log });
const folder = await openFolder("examples/demo/base");
const checkpoints = await openCheckpoints(out);

const { files } = await train(device, {
  folder,
  data: { content: await readFile("examples/jack.txt") },
  adapter: { peftType: "FOURIERFT", nFrequency: 500 },
  steps: 20,
  batchSize: 2,
  contextLength: 128,
  lr: 0.1,
  checkpoints, // a run that was broken off goes on with `resume: true`
  onEvent(event) {
    if (event.kind === "step") console.log(`step ${event.step}: loss ${event.loss.toFixed(3)}`);
  },
});
await checkpoints.publish(files); // adapter_config.json and adapter_model.safetensors

const { engine, tokenizer } = await openModel(device, {
  folder,
  adapters: await openAdapterStore(dirname(out)),
});
const prompt = "This is the dog";
for (const adapter of [undefined, basename(out)]) {
  const request = {
    promptTokenIds: tokenizer.encode(prompt),
    adapter,
    maxTokens: 24,
    sampling: { temperature: 0, topP: 1, topK: 0 },
  };
  let text = prompt;
  for await (const event of generateText(engine, request, { tokenizer })) text += event.text;
  console.log(`${adapter ?? "base"}: ${JSON.stringify(text)}`);
}
device.destroy();
