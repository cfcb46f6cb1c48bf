/**
 * Adapters with biases, norms, embeddings and heads of their own, by float64's numbers: rows of all of them in one step, on
 * every device, and merged.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { loadAdapter } from "../src/adapters/peft.ts";
import type { Lease } from "../src/adapters/registry.ts";
import { cpuDevice } from "../src/device/cpu.ts";
import type { Device } from "../src/device/device.ts";
import { Runner } from "../src/engine/runner.ts";
import type { Output, Row } from "../src/engine/step_inputs.ts";
import type { ReadableFolder, WritableFolder } from "../src/folder.ts";
import { folderOptions, mergeFolder } from "../src/merge.ts";
import { formatOf } from "../src/models/quantization.ts";
import { type OpenModel, openModel } from "../src/open.ts";
import { openAdapterStore } from "../src/runtime/adapter_store.ts";
import { openFolder } from "../src/runtime/file.ts";
import { bytesSource, parseSafetensors, toFloat32 } from "../src/safetensors/mod.ts";
import { dequantized } from "./dequantized.ts";
import { devicesForLongTests } from "./devices.ts";
import { distance } from "./kernel_contract.ts";
import { lane } from "./lanes.ts";

const path = (name: string): string => fileURLToPath(new URL(`fixtures/${name}`, import.meta.url));

interface Golden {
  readonly cases: readonly {
    readonly prompt: readonly number[];
    readonly greedy: readonly number[];
    readonly last_logits: string;
  }[];
}

/** Adapters of a base model, with a golden each. */
interface Family {
  readonly base: string;
  readonly adapters: string;
  readonly golden: string;
  readonly names: readonly string[];
}

const families: Record<string, Family> = {
  llama: {
    base: "methods/base",
    adapters: "methods",
    golden: "methods/golden",
    names: [
      ...["fourierft-bias", "fourierft-bias-all", "fourierft-head", "boft-blocks"],
      ...["lora-bias-all", "lora-bias-only", "lora-lora-bias"],
      ...["lora-modules-to-save", "lora-heads", "lora-tokens", "trainable-tokens", "ln-tuning"],
      // Beside adapters that have none of their own.
      ...["lora", "ia3", "dora"],
    ],
  },
};

const otherBases = {
  gpt2: "families/gpt2/base",
  llama: "families/variants/llama-gelu/base",
  tied: "tiny/llama-bias-tied",
  gemma2: "families/gemma2/base",
};
for (const [base, folder] of Object.entries(otherBases)) {
  const adapters = `parameters/${base}`;
  families[`other ${base}`] = {
    base: folder,
    adapters,
    golden: `${adapters}/golden`,
    names: readdirSync(path(adapters)).filter((name) => name !== "golden").sort(),
  };
}

const goldenOf = ({ golden }: Family, name: string): Golden =>
  JSON.parse(readFileSync(path(`${golden}/${name}.json`), "utf8")) as Golden;

function truthOf({ golden }: Family, name: string, tensor: string): Float32Array {
  const file = parseSafetensors(new Uint8Array(readFileSync(path(`${golden}/${name}.safetensors`))));
  return toFloat32(file.read(tensor));
}

async function open(
  device: Device,
  { base, adapters, names }: Family,
  { folder, quantize }: { readonly folder?: ReadableFolder; readonly quantize?: "int8" | "int4" } = {},
): Promise<OpenModel> {
  return await openModel(device, {
    folder: folder ?? await openFolder(path(base)),
    adapters: await openAdapterStore(path(adapters)),
    quantize,
    engine: { maxSequences: 3 * names.length },
  });
}

interface Asked {
  readonly prompt: readonly number[];
  readonly lease?: Lease;
}

/** The logits after prompts, all in one step, each with its own adapter. */
async function logitsAfter(
  device: Device,
  { model, registry }: OpenModel,
  asked: readonly Asked[],
): Promise<Float32Array[]> {
  const length = 48;
  const runner = new Runner(device, model, {
    banks: registry.banks,
    own: registry.own,
    maxRows: length * asked.length,
    maxOutputs: asked.length,
    cacheRows: length * asked.length,
    blockSize: 1,
  });
  const rows: Row[] = [], outputs: Output[] = [];
  asked.forEach(({ prompt, lease }, i) => {
    const held = { adapters: lease?.placed, own: lease?.own };
    prompt.forEach((token, position) => rows.push({ token, position, blocks: lane(length * i), ...held }));
    outputs.push({ row: rows.length - 1, temperature: 0, topP: 1, topK: 0, uniform: 0 });
  });
  await runner.step(rows, outputs);
  return await Promise.all(asked.map((_, i) => runner.logits(i)));
}

const off = (found: ArrayLike<number>, expected: ArrayLike<number>): number =>
  Math.max(...Array.from(expected, (value, i) => Math.abs(value - found[i])));

/** Biases of `lora_bias` where the base has none, and a head that is tied: there is no place for them in the base's files. */
const unmergeable: Readonly<Record<string, readonly string[]>> = {
  "llama": ["lora-lora-bias"],
  "other llama": ["lora-tokens-head"],
  "other gpt2": ["lora-lm-head"],
  "other gemma2": [],
  "other tied": ["lora-embedding-tied", "lora-head-tied"],
};

/** What is written to it, as a folder to read. */
function memoryFolder(): ReadableFolder & WritableFolder {
  const files = new Map<string, Uint8Array>();
  return {
    async write(name, parts) {
      const pieces: Uint8Array[] = [];
      for await (const piece of parts) pieces.push(piece.slice());
      files.set(name, new Uint8Array(await new Blob(pieces as BlobPart[]).arrayBuffer()));
    },
    open: (name) => Promise.resolve(bytesSource(files.get(name)!)),
    readText: (name) => Promise.resolve(new TextDecoder().decode(files.get(name)!)),
    exists: (name) => Promise.resolve(files.has(name)),
  };
}

for (const [base, family] of Object.entries(families)) {
  const { names } = family;
  const prompts = names.flatMap((name) =>
    goldenOf(family, name).cases.map((one) => ({
      name,
      ...one,
      truth: truthOf(family, name, one.last_logits),
    }))
  );
  for (const device of await devicesForLongTests()) {
    test(`engine on ${device.kind}: ${base} adapters with parameters of their own have float64's logits`, async () => {
      const opened = await open(device, family);
      const leases = new Map<string, Lease>();
      for (const name of names) leases.set(name, await opened.registry.acquire(name));
      // A software GPU takes long for many rows.
      const tested = device.kind === "cpu" ? prompts : prompts.filter((_, i) => i % 3 === 0);
      const found = await logitsAfter(
        device,
        opened,
        tested.map(({ prompt, name }) => ({ prompt, lease: leases.get(name) })),
      );
      for (const [i, { name, last_logits, truth }] of tested.entries()) {
        const error = off(found[i], truth);
        assert.ok(error < 1e-4, `${name}, ${last_logits}: ${error}`);
      }
    });
  }

  test(`engine: ${base} adapters with parameters of their own give float64's greedy tokens`, async () => {
    const { engine } = await open(cpuDevice(), family);
    const answers = await Promise.all(prompts.map(async ({ name, prompt, greedy }) => {
      const ids: number[] = [];
      for await (
        const event of engine.generate({
          promptTokenIds: [...prompt],
          adapter: name,
          maxTokens: greedy.length,
          sampling: { temperature: 0, topP: 1, topK: 0 },
          ignoreEos: true,
        })
      ) {
        if (event.kind === "token") ids.push(event.tokenId);
      }
      return ids;
    }));
    assert.deepEqual(answers, prompts.map(({ greedy }) => greedy));
  });

  test(`mergeFolder: ${base} models with parameters of adapters' own have float64's logits`, async () => {
    const device = cpuDevice(), model = await openFolder(path(family.base));
    const options = await folderOptions(model);
    for (const name of names.filter((name) => !unmergeable[base].includes(name))) {
      const out = memoryFolder();
      const adapter = await loadAdapter(await openFolder(path(`${family.adapters}/${name}`)), options);
      await mergeFolder(device, { model, adapter, out });
      const asked = prompts.filter((one) => one.name === name);
      const found = await logitsAfter(device, await open(device, family, { folder: out }), asked);
      for (const [i, { last_logits, truth }] of asked.entries()) {
        const error = off(found[i], truth);
        assert.ok(error < 1e-4, `${name}, ${last_logits}: ${error}`);
      }
    }
  });
}

for (const quantize of ["int8", "int4"] as const) {
  test(`engine: parameters of adapters' own on ${quantize} weights are those on the numbers that they stand for`, async () => {
    // Without WASM, whose quantised products round x.
    const device = cpuDevice({ wasm: false }), family = families.llama;
    const folder = await dequantized(path(family.base), formatOf[quantize]);
    // Those with a copy of the head are refused by a model whose head has other numbers.
    const tested = family.names.filter((name) => !["fourierft-head", "lora-heads"].includes(name));
    const logits = await Promise.all(
      [await open(device, family, { quantize }), await open(device, family, { folder })].map(
        async (opened) => {
          const leases = await Promise.all(tested.map((name) => opened.registry.acquire(name)));
          return await logitsAfter(
            device,
            opened,
            leases.map((lease) => ({ prompt: [3, 77, 200, 3], lease })),
          );
        },
      ),
    );
    for (const [i, found] of logits[0].entries()) {
      const error = distance(found, logits[1][i]);
      assert.ok(error < 1e-5, `${tested[i]}: ${error}`);
    }
  });
}
