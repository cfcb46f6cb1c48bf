/**
 * Writes a folder of a model of a given shape with random weights in float16, for servers that are to be measured.
 *
 *     deno run -A bench/model_folder.ts llama1b|smol135m DIR
 *
 * `DIR/base` has the demo model's tokenizer, with a word for every further id; `DIR/adapters` has FourierFT adapters.
 *
 * @module
 */
import { mkdir, open, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import type { LlamaConfig } from "../src/models/llama/config.ts";
import { elements, type TypedArray } from "../src/tensor.ts";
import { adapterName, llama1b, randomAdapters, randomWeights, smol135m } from "./random_model.ts";

const shapes: Readonly<Record<string, LlamaConfig>> = { llama1b, smol135m };
const adapters = 8;

/** The demo model's files beside its weights: its config says what does not depend on the shape. */
const demo = new URL("../examples/demo/base/", import.meta.url);
const demoJson = async (name: string) => JSON.parse(await readFile(new URL(name, demo), "utf8"));

const dtypeNames = { float16: "F16", float32: "F32" } as const;
const bytesOf = (data: TypedArray | BigUint64Array) =>
  new Uint8Array(data.buffer, data.byteOffset, data.byteLength);

/** A tensor at a time: a file of some gigabytes is never in memory. */
async function writeWeights(path: string, config: LlamaConfig): Promise<void> {
  const source = randomWeights(config, "float16");
  const header: Record<string, unknown> = {};
  let end = 0;
  for (const name of source.names) {
    const { shape } = source.info(name);
    const dtype = shape.length === 1 ? "float32" : "float16";
    const begin = end;
    end += elements(shape) * (dtype === "float32" ? 4 : 2);
    header[name] = { dtype: dtypeNames[dtype], shape, data_offsets: [begin, end] };
  }
  const text = new TextEncoder().encode(JSON.stringify(header));
  const file = await open(path, "w");
  await file.write(bytesOf(new BigUint64Array([BigInt(text.length)])));
  await file.write(text);
  for (const name of source.names) await file.write(bytesOf((await source.read(name)).data));
  await file.close();
}

async function writeBase(folder: string, config: LlamaConfig): Promise<void> {
  await mkdir(folder, { recursive: true });
  const tokenizer = await demoJson("tokenizer.json");
  const vocab = tokenizer.model.vocab as Record<string, number>;
  for (let id = Object.keys(vocab).length; id < config.vocabSize; id++) vocab[`Ġw${id}`] = id;
  await writeFile(join(folder, "tokenizer.json"), JSON.stringify(tokenizer));
  await writeFile(
    join(folder, "tokenizer_config.json"),
    JSON.stringify(await demoJson("tokenizer_config.json")),
  );
  const own = {
    vocab_size: config.vocabSize,
    hidden_size: config.hiddenSize,
    intermediate_size: config.intermediateSize,
    num_hidden_layers: config.layers,
    num_attention_heads: config.heads,
    num_key_value_heads: config.kvHeads,
    head_dim: config.headDim,
    max_position_embeddings: Math.min(8192, config.maxPositions),
  };
  await writeFile(
    join(folder, "config.json"),
    JSON.stringify({ ...await demoJson("config.json"), ...own }, null, 2),
  );
  await writeWeights(join(folder, "model.safetensors"), config);
}

async function writeAdapters(folder: string, config: LlamaConfig): Promise<void> {
  const store = randomAdapters(config);
  for (let i = 0; i < adapters; i++) {
    const opened = (await store.open(adapterName(i)))!;
    const own = join(folder, adapterName(i));
    await mkdir(own, { recursive: true });
    await writeFile(
      join(own, "adapter_config.json"),
      await opened.folder.readText("adapter_config.json"),
    );
    const weights = await opened.folder.open("adapter_model.safetensors");
    await writeFile(join(own, "adapter_model.safetensors"), await weights.read(0, weights.sizeBytes));
  }
}

const [name, folder] = process.argv.slice(2), config = shapes[name];
if (!config || !folder) {
  console.error(`Usage: model_folder.ts ${Object.keys(shapes).join("|")} DIR`);
  process.exit(2);
}
await writeBase(join(folder, "base"), config);
await writeAdapters(join(folder, "adapters"), config);
