import assert from "node:assert/strict";
import { test } from "node:test";
import { cpuDevice, openModel, quantizeFolder, type ReadableFolder } from "../mod.ts";
import { float32ToFloat16, widen } from "../kernels/half.ts";
import { Runner } from "../src/engine/runner.ts";
import { floatsOf } from "../src/models/weights.ts";
import { type HostTensor, tensor } from "../src/tensor.ts";
import {
  fixtureBytes,
  memoryFolder,
  tinyFolder,
  tinyWeights,
  type Weights,
  weightsFile,
} from "./model_folders.ts";
import { lane } from "./lanes.ts";

const headName = "lm_head.weight", embeddingName = "model.embed_tokens.weight";
const tied = "llama-bias-tied";
const golden = JSON.parse(new TextDecoder().decode(fixtureBytes(`tiny/${tied}/golden.json`))) as {
  readonly prompt: readonly number[];
  readonly logits: readonly (readonly number[])[];
};

/** Logits after the golden prompt, and what was logged while the folder was opened. */
async function opened(
  folder: ReadableFolder,
  quantize?: "int8",
): Promise<{ logits: Float32Array; lines: string[]; isTied: boolean }> {
  const lines: string[] = [];
  const { model } = await openModel(cpuDevice(), {
    folder,
    quantize,
    registry: { log: (line) => lines.push(line) },
  });
  const { prompt } = golden;
  const runner = new Runner(cpuDevice(), model, {
    banks: [],
    maxRows: 16,
    maxOutputs: 1,
    cacheRows: 32,
    blockSize: 1,
  });
  await runner.step(prompt.map((token, position) => ({ token, position, blocks: lane(0) })), [
    { row: prompt.length - 1, temperature: 0, topP: 1, topK: 0, uniform: 0 },
  ]);
  return { logits: await runner.logits(0), lines, isTied: floatsOf(model.head.weight) === model.weights[0] };
}

const expected = golden.logits.at(-1)!;

function near(actual: ArrayLike<number>, wanted: ArrayLike<number>): void {
  assert.equal(actual.length, wanted.length);
  for (let i = 0; i < wanted.length; i++) {
    assert.ok(Math.abs(actual[i] - wanted[i]) <= 1e-4, `${i}: ${actual[i]}, not ${wanted[i]}`);
  }
}

const changed = (change: (weights: Weights) => Weights): ReadableFolder =>
  tinyFolder(tied, { weights: change(tinyWeights(tied)) });
const refuses = (folder: ReadableFolder, message: RegExp): Promise<void> =>
  assert.rejects(opened(folder), { name: "ConfigError", message });

/** Numbers times -2, which are exact in every float type. */
const turned = ({ data, dtype, shape }: HostTensor): HostTensor =>
  tensor(widen(data, dtype).map((value) => -2 * value), shape);

test("openModel ties the head to the embedding where the file's own head is the same, whatever its dtype", async () => {
  const half = (t: HostTensor): HostTensor =>
    tensor(float32ToFloat16(widen(t.data, t.dtype)), t.shape, { dtype: "float16" });
  const wide = (t: HostTensor): HostTensor => tensor(widen(t.data, t.dtype).slice(), t.shape);
  const same = await opened(changed((weights) => ({ ...weights, [headName]: weights[embeddingName] })));
  assert.equal(same.isTied, true);
  near(same.logits, expected);
  const other = await opened(changed((weights) => {
    const embedding = half(weights[embeddingName]);
    return { ...weights, [embeddingName]: embedding, [headName]: wide(embedding) };
  }));
  assert.equal(other.isTied, true);
});

test("openModel uses a tied model's own head where it differs, as float and quantised", async () => {
  const folder = changed((weights) => ({ ...weights, [headName]: turned(weights[embeddingName]) }));
  const { logits, isTied } = await opened(folder);
  assert.equal(isTied, false);
  near(logits, expected.map((value) => -2 * value));
  const [own, none] = [await opened(folder, "int8"), await opened(tinyFolder(tied), "int8")];
  own.logits.forEach((value, i) => assert.ok(Math.abs(value + 2 * none.logits[i]) < 1e-3));
});

test("quantizeFolder quantises a tied model's own head", async () => {
  const folder = changed((weights) => ({ ...weights, [headName]: turned(weights[embeddingName]) }));
  const files: Record<string, Uint8Array> = {};
  await quantizeFolder({
    model: folder,
    to: "int8",
    out: {
      write: async (name, parts) => {
        const pieces = await Array.fromAsync(parts);
        files[name] = new Uint8Array(await new Blob(pieces as Uint8Array<ArrayBuffer>[]).arrayBuffer());
      },
    },
  });
  const [stored, atLoad] = [await opened(memoryFolder(files)), await opened(folder, "int8")];
  assert.deepEqual(stored.logits, atLoad.logits);
});

test("openModel finds a tied model's embedding under the head's name, and refuses a head of another shape", async () => {
  const { logits } = await opened(changed(({ [embeddingName]: embedding, ...weights }) => ({
    ...weights,
    [headName]: embedding,
  })));
  near(logits, expected);
  await refuses(
    changed((weights) => ({ ...weights, [headName]: tensor(new Float32Array(4), [2, 2]) })),
    /"lm_head\.weight" of shape \[2,2\]/,
  );
});

test("openModel opens a file without the prefix of a model with a head", async () => {
  const { logits } = await opened(
    changed((weights) =>
      Object.fromEntries(Object.entries(weights).map(([name, t]) => [name.replace(/^model\./, ""), t]))
    ),
  );
  near(logits, expected);
});

test("openModel takes tensors without elements for nothing, and refuses any other it does not know, by name", async () => {
  const empty = tensor(new Float32Array(), [0, 4]);
  near((await opened(changed((weights) => ({ ...weights, "zz.empty": empty })))).logits, expected);
  for (const name of ["_orig_mod.x", "model.layers.0.self_attn.bias", "scalar"]) {
    const one = tensor(Float32Array.of(0), []);
    await refuses(
      changed((weights) => ({ ...weights, [name]: one })),
      new RegExp(`Cannot use weight "${name}": a model of this config has none`),
    );
  }
  await refuses(
    changed((weights) => ({ ...weights, "model.norm.weight": tensor(new Int32Array(16), [16]) })),
    /"model\.norm\.weight" of int32: config\.json makes it floats/,
  );
});

test("openModel compares rotary frequencies that a file has with its config's, and tells of a difference", async () => {
  const name = "model.layers.1.self_attn.rotary_emb.inv_freq";
  const frequencies = Float32Array.from({ length: 3 }, (_, i) => 10000 ** (-i / 3));
  const withBuffer = (data: Float32Array) =>
    opened(changed((weights) => ({ ...weights, [name]: tensor(data, [data.length]) })));
  const same = await withBuffer(frequencies);
  assert.deepEqual(same.lines, []);
  near(same.logits, expected);
  for (const other of [frequencies.map((f) => 1.1 * f), frequencies.slice(1)]) {
    const { logits, lines } = await withBuffer(other);
    near(logits, expected);
    assert.equal(lines.length, 1);
    assert.match(lines[0], /weight "model\.layers\.1\..*inv_freq" is not read: its frequencies differ/);
  }
});

/** What a download may leave in a file's place, and what the message must say of it. */
const foreign: readonly (readonly [string, string | Uint8Array, RegExp])[] = [
  [
    "a git-lfs pointer",
    "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
    /git-lfs pointer.*git lfs pull/,
  ],
  ["a web page", "\n <!DOCTYPE html><html></html>", /web page/],
  ["an error of a store", '<?xml version="1.0"?><Error/>', /web page/],
];
const binaries: readonly (readonly [string, Uint8Array, RegExp])[] = [
  ["a gzip file", Uint8Array.of(0x1f, 0x8b, 8, 0, 1, 2, 3, 4, 5, 6), /gzip file/],
  ["a zip file", Uint8Array.of(0x50, 0x4b, 3, 4, 20, 0, 0, 8, 0, 0), /zip file/],
  ["a pickle file", Uint8Array.of(0x80, 2, 0x63, 0x63, 0x6f, 0x6c, 0x6c, 0x65, 0x63, 0x74), /pickle file/],
  ["a GGUF file", new TextEncoder().encode("GGUF\u0003\0\0\0\0\0"), /GGUF/],
];

for (const [what, content, message] of [...foreign, ...binaries]) {
  test(`openModel says that its weights are ${what}`, () =>
    assert.rejects(opened(tinyFolder(tied, { files: { "model.safetensors": content } })), {
      name: "SafetensorsError",
      message,
    }));
}

for (const [what, content, message] of foreign) {
  test(`openModel says that its config.json or its index is ${what}`, async () => {
    await refuses(tinyFolder(tied, { files: { "config.json": content } }), message);
    const files = { "config.json": "{}", "model.safetensors.index.json": content };
    const folder = memoryFolder({ ...files, "tokenizer.json": fixtureBytes(`tiny/${tied}/tokenizer.json`) });
    await refuses(
      {
        ...folder,
        readText: (name) => name === "config.json" ? tinyFolder(tied).readText(name) : folder.readText(name),
      },
      message,
    );
  });
}

test("openModel reads a gzip header's bytes as a size where a safetensors header follows", async () => {
  const file = weightsFile(tinyWeights(tied));
  const size = new DataView(file.buffer, file.byteOffset).getUint32(0, true);
  // 0x00088b1f bytes of header: JSON, then blanks.
  const header = new Uint8Array(0x88b1f).fill(0x20);
  header.set(file.subarray(8, 8 + size));
  const padded = new Uint8Array(8 + header.length + file.length - 8 - size);
  new DataView(padded.buffer).setUint32(0, header.length, true);
  padded.set(header, 8);
  padded.set(file.subarray(8 + size), 8 + header.length);
  const { logits } = await opened(tinyFolder(tied, { files: { "model.safetensors": padded } }));
  near(logits, expected);
});
