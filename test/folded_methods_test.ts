/**
 * Methods that are served as factors: what their files may not hold, by name and rule.
 *
 * PEFT's own adapters of each method are in methods_golden_test.ts, the contract of methods in methods_test.ts.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { loadAdapter, type LoadedAdapter, type LoadOptions } from "../src/adapters/peft.ts";
import { parseSafetensors, type TensorView, writeSafetensors } from "../src/safetensors/mod.ts";
import { memoryFolder } from "../src/testing/mod.ts";

const q = "base_model.model.model.layers.0.self_attn.q_proj";

/** A file of a fixture, changed: other fields, and other tensors by name; undefined takes one away. */
interface Change {
  readonly config?: Readonly<Record<string, unknown>>;
  readonly tensors?: Readonly<Record<string, Partial<TensorView> | undefined>>;
}

async function load(
  name: string,
  { config = {}, tensors = {} }: Change = {},
  options?: LoadOptions,
): Promise<LoadedAdapter> {
  const read = (file: string): Uint8Array =>
    new Uint8Array(readFileSync(fileURLToPath(new URL(`fixtures/methods/${name}/${file}`, import.meta.url))));
  const fields = { ...JSON.parse(new TextDecoder().decode(read("adapter_config.json"))), ...config };
  const file = parseSafetensors(read("adapter_model.safetensors"));
  const views = new Map([...file.tensors.keys()].map((one) => [one, file.read(one)]));
  for (const [one, change] of Object.entries(tensors)) {
    if (change) {
      views.set(one, {
        name: one,
        dtype: "F32",
        shape: [],
        bytes: new Uint8Array(),
        ...views.get(one),
        ...change,
      });
    } else assert.ok(views.delete(one), one);
  }
  const folder = memoryFolder(
    new Map([
      ["adapter_config.json", new TextEncoder().encode(JSON.stringify(fields))],
      ["adapter_model.safetensors", writeSafetensors([...views.values()])],
    ]),
  );
  return await loadAdapter(folder, options);
}

const floats = (shape: readonly number[], fill = 0.5): Partial<TensorView> => {
  const values = new Float32Array(shape.reduce((size, one) => size * one, 1)).fill(fill);
  return { dtype: "F32", shape, bytes: new Uint8Array(values.buffer) };
};

/** Indices of a fixture's shape (4, 8, 2), 0 and 1 for each vector but the last. */
function indices(values: Uint8Array | Int16Array | Int32Array, last: readonly number[]): Partial<TensorView> {
  for (let i = 1; i < values.length; i += 2) values[i] = 1;
  values.set(last, 62);
  const dtype = ({ 1: "U8", 2: "I16", 4: "I32" } as const)[values.BYTES_PER_ELEMENT as 1 | 2 | 4];
  return { dtype, bytes: new Uint8Array(values.buffer) };
}

function wideIndices(last: readonly bigint[]): Partial<TensorView> {
  const values = BigInt64Array.from({ length: 64 }, (_, i) => BigInt(i % 2));
  values.set(last, 62);
  return { dtype: "I64", bytes: new Uint8Array(values.buffer) };
}

const topk = `${q}.vblora_logits_A_topk`;

/** Fixtures, what is changed in them, and the error's words. */
const refused: readonly (readonly [name: string, what: string, change: Change, words: RegExp])[] = [
  ["vblora", "a field that nobody reads", { config: { vblora_new: 1 } }, /field "vblora_new" = 1/],
  ["vblora", "biases", { config: { bias: "vblora_only" } }, /field "bias" = "vblora_only"/],
  ["vblora", "top 0", { config: { topk: 0 } }, /field "topk" = 0: the rule is 1 or more/],
  ["vblora", "more than the bank has", { config: { topk: 25 } }, /"topk" = 25: .* a bank of 24 vectors/],
  [
    "vblora",
    "a tensor of another name",
    { tensors: { [`${q}.vblora_x`]: floats([1]) } },
    /"base_model.*vblora_x" as VB-LoRA/,
  ],
  [
    "vblora",
    "no bank",
    { tensors: { "base_model.vblora_vector_bank": undefined } },
    /find .*"base_model\.vblora_vector_bank"/,
  ],
  [
    "vblora",
    "one factor alone",
    { tensors: { [`${q}.vblora_logits_B`]: undefined } },
    /find .*q_proj\.vblora_logits_B": ".*q_proj/,
  ],
  [
    "vblora",
    "logits of another bank",
    { tensors: { [`${q}.vblora_logits_A`]: floats([4, 8, 23]) } },
    /q_proj\.vblora_logits_A" of shape \(4,8,23\): it must be \(r, tiles_in, vectors\) with vectors = 24/,
  ],
  [
    "vblora",
    "factors of two ranks",
    { tensors: { [`${q}.vblora_logits_B`]: floats([8, 5, 24]) } },
    /q_proj\.vblora_logits_B" of shape \(8,5,24\): it must be \(tiles_out, r, vectors\) with r = 4/,
  ],
  [
    "vblora",
    "logits of two dimensions",
    { tensors: { [`${q}.vblora_logits_B`]: floats([8, 4]) } },
    /of shape \(8,4\)/,
  ],
  [
    "vblora-topk",
    "other indices than it says",
    { config: { topk: 3 } },
    /"topk" = 3: .* has 2 indices for each vector/,
  ],
  [
    "vblora-topk",
    "logits where it has none",
    { config: { save_only_topk_weights: false } },
    /find .*vblora_logits_A"/,
  ],
  [
    "vblora-topk",
    "indices past the bank",
    { tensors: { [`${topk}_indices`]: indices(new Uint8Array(64), [1, 24]) } },
    /q_proj": element 63 is 24, the bank has 24 vectors/,
  ],
  [
    "vblora-topk",
    "negative indices",
    { tensors: { [`${topk}_indices`]: indices(new Int16Array(64), [-1, 0]) } },
    /element 62 is -1, the bank/,
  ],
  [
    "vblora-topk",
    "an index twice",
    { tensors: { [`${topk}_indices`]: indices(new Int32Array(64), [5, 5]) } },
    /element 63, 5, comes twice/,
  ],
  [
    "vblora-topk",
    "indices past 32 bits",
    { tensors: { [`${topk}_indices`]: wideIndices([2n ** 32n, 0n]) } },
    /indices" as int32: element 62 is 4294967296/,
  ],
  [
    "vblora-topk",
    "floats for indices",
    { tensors: { [`${topk}_indices`]: floats([4, 8, 2]) } },
    /dtype is F32, the rule is U8/,
  ],

  [
    "vblora-topk",
    "weights past 1",
    { tensors: { [`${topk}_weights`]: floats([4, 8, 1], 1.5) } },
    /weight of element 0 is 1\.5/,
  ],
];

for (const [name, what, change, words] of refused) {
  test(`loadAdapter refuses ${name} with ${what}, by name`, async () => {
    await assert.rejects(load(name, change), (error: Error) => {
      assert.equal(error.name, "ConfigError");
      assert.match(error.message, words);
      return true;
    });
  });
}

test("loadAdapter reads VB-LoRA's indices of every dtype that PEFT writes", async () => {
  const path = "model.layers.0.self_attn.q_proj", shape = { out: 64, in: 64 };
  const packed = [];
  for (
    const one of [
      indices(new Uint8Array(64), []),
      indices(new Int16Array(64), []),
      indices(new Int32Array(64), []),
      wideIndices([]),
    ]
  ) {
    const { modules } = await load("vblora-topk", { tensors: { [`${topk}_indices`]: one } });
    packed.push(modules.get(path)!.pack(shape).values);
  }
  for (const one of packed) assert.deepEqual(one, packed[0]);
});
