/**
 * Encoders beside what transformers and PEFT computed in float64, see fixtures/families/README.md.
 *
 * @module
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { type Device, type EncodeRequest, type HostTensor, openEncoder, tensor } from "../mod.ts";
import { openAdapterStore, openFolder } from "../src/runtime/mod.ts";
import { parseSafetensors, toFloat32 } from "../src/safetensors/mod.ts";
import { openTokenizer } from "../src/models/tokenizer.ts";
import { devicesForLongTests } from "./devices.ts";

interface Golden {
  readonly inputs: {
    readonly input_ids: readonly (readonly number[])[];
    readonly attention_mask: readonly (readonly number[])[];
    readonly token_type_ids?: readonly (readonly number[])[];
  };
  readonly tokenizer?: readonly { readonly text: string; readonly ids: number[]; readonly decoded: string }[];
}

const pathOf = (name: string): string => fileURLToPath(new URL(`fixtures/families/${name}`, import.meta.url));

const jsonOf = <T>(name: string): T => JSON.parse(readFileSync(pathOf(name), "utf8"));

function tensorsOf(name: string): ReadonlyMap<string, HostTensor> {
  const file = parseSafetensors(new Uint8Array(readFileSync(pathOf(name))));
  return new Map([...file.tensors.keys()].map((key) => {
    const view = file.read(key);
    return [key, tensor(toFloat32(view), view.shape)];
  }));
}

/** The golden's inputs, without what fills them up to one length. */
function inputsOf(family: string): EncodeRequest["input"][] {
  if (family === "vit") {
    const { data, shape: [count] } = tensorsOf("vit/inputs.safetensors").get("pixel_values")!;
    const size = data.length / count;
    return Array.from({ length: count }, (_, i) => ({
      pixels: data.slice(i * size, (i + 1) * size) as Float32Array,
    }));
  }
  const { input_ids: ids, attention_mask: mask, token_type_ids: types } = jsonOf<Golden>(
    `${family}/golden/base.json`,
  ).inputs;
  return ids.map((row, i) => {
    const seen = (values: readonly number[]): number[] => values.filter((_, at) => mask[i][at] === 1);
    return { tokenIds: seen(row), ...types ? { typeIds: seen(types[i]) } : {} };
  });
}

const open = async (device: Device, family: string, more: object = {}) =>
  await openEncoder(device, {
    folder: await openFolder(pathOf(`${family}/base`)),
    adapters: await openAdapterStore(pathOf(`${family}/adapters`)),
    ...more,
  });

/** The golden of an adapter, whatever names it has for its modules. */
const goldenOf = (family: string, name: string): readonly Float32Array[] => {
  const tensors = tensorsOf(`${family}/golden/${name.replace("-old-names", "")}.safetensors`);
  const { data, shape: [rows, width] } = (tensors.get("logits") ?? tensors.get("embeddings"))!;
  return Array.from({ length: rows }, (_, i) => data.slice(i * width, (i + 1) * width) as Float32Array);
};

const adaptersOf: Readonly<Record<string, readonly string[]>> = {
  roberta: ["fourierft", "fourierft-dense", "lora"],
  "roberta-regression": ["fourierft", "lora"],
  "roberta-embedding": ["fourierft", "lora"],
  bert: ["fourierft", "lora"],
  vit: [
    "fourierft",
    "fourierft-dense",
    "lora",
    "fourierft-old-names",
    "fourierft-dense-old-names",
    "lora-old-names",
  ],
};

const largestGap = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  assert.equal(a.length, b.length);
  return Math.max(...Array.from(a, (value, i) => Math.abs(value - b[i])));
};

for (const family of ["roberta", "bert"]) {
  test(`${family}: texts become the ids of Python's tokenizer, and these become texts`, async () => {
    const tokenizer = await openTokenizer(await openFolder(pathOf(`${family}/base`)));
    const { tokenizer: texts = [] } = jsonOf<Golden>(`${family}/golden/base.json`);
    assert.ok(texts.length > 2);
    for (const { text, ids, decoded } of texts) {
      assert.deepEqual(tokenizer.encode(text), ids);
      assert.deepEqual((await tokenizer.encodeTexts([text])).tokenIds, ids);
      assert.equal(tokenizer.decode(ids), decoded);
    }
  });
}

for (const device of await devicesForLongTests()) {
  for (const [family, adapters] of Object.entries(adaptersOf)) {
    test(`${family} on ${device.kind}: a batch of every adapter and the base gives transformers' and PEFT's numbers`, async () => {
      const { encoder } = await open(device, family);
      const output = family === "roberta-embedding" ? "embedding" : "logits", inputs = inputsOf(family);
      const asked = inputs.flatMap((input, row) =>
        ["base", ...adapters].map((name) => ({ input, row, name, output }) as const)
      );
      const found = await encoder.encode(asked.map(({ input, name, output }) => ({
        ...{ input, output },
        adapter: name === "base" ? undefined : name,
      })));
      for (const [i, { row, name }] of asked.entries()) {
        const gap = largestGap(found[i].data, goldenOf(family, name)[row]);
        assert.ok(gap <= 1e-4, `${name}, row ${row}: off by ${gap}`);
      }
      await encoder.release();
    });
  }
}
