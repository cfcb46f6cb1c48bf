/**
 * Compares a family's tiny model with what transformers and PEFT computed in float64, see fixtures/families/README.md.
 *
 * @module
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import {
  applyModule,
  type BatchEngine,
  type Device,
  type GenerateRequest,
  type HostTensor,
  loadAdapter,
  type LoadedAdapter,
  openModel,
  tensor,
} from "../mod.ts";
import { openAdapterStore, openFolder } from "../src/runtime/mod.ts";
import { Bank } from "../src/adapters/bank.ts";
import { Runner } from "../src/engine/runner.ts";
import { adapterPaths, openWeights, readConfig } from "../src/models/families.ts";
import { fixedRopeLength } from "../src/models/rope.ts";
import { linearWeights, loadModel, type Model } from "../src/models/model.ts";
import { linearStep } from "../src/models/weights.ts";
import { parseSafetensors, toFloat32 } from "../src/safetensors/mod.ts";
import { noTarget, type TrainingBatch } from "../src/training/batch.ts";
import { Trainer } from "../src/training/trainer.ts";
import { distance } from "./kernel_contract.ts";
import { lane } from "./lanes.ts";

interface DecoderGolden {
  readonly cases: readonly {
    readonly prompt: readonly number[];
    readonly greedy: readonly number[];
    /** With a cache, where that differs: keys keep the rotary frequencies of their time. */
    readonly greedy_with_cache?: readonly number[];
    readonly last_logits: string;
    readonly logprobs: readonly number[];
  }[];
  readonly modules?: readonly {
    readonly path: string;
    readonly x: string;
    readonly y: string;
    readonly shape: readonly [number, number];
  }[];
  readonly tokenizer?: readonly { readonly text: string; readonly ids: number[]; readonly decoded: string }[];
}

interface TrainingGolden {
  readonly input_ids: readonly (readonly number[])[];
  /** Before each of the steps, and after the last. */
  readonly losses: readonly number[];
}

/** The files of a family's goldens. */
class Files {
  constructor(private readonly family: string) {}

  path(name: string): string {
    return fileURLToPath(new URL(`fixtures/families/${this.family}/${name}`, import.meta.url));
  }

  json<T>(name: string): T {
    return JSON.parse(readFileSync(this.path(name), "utf8"));
  }

  tensors(name: string): ReadonlyMap<string, HostTensor> {
    const file = parseSafetensors(new Uint8Array(readFileSync(this.path(name))));
    return new Map([...file.tensors.keys()].map((key) => {
      const view = file.read(key);
      return [key, tensor(toFloat32(view), view.shape)];
    }));
  }

  /** An adapter; undefined for the base. */
  async adapter(name: string): Promise<LoadedAdapter | undefined> {
    if (name === "base") return undefined;
    const config = await readConfig(await openFolder(this.path("base")));
    return await loadAdapter(await openFolder(this.path(`adapters/${name}`)), adapterPaths(config));
  }
}

async function openBase(device: Device, files: Files): Promise<Model> {
  const folder = await openFolder(files.path("base"));
  const config = await readConfig(folder);
  const source = await openWeights(folder, config);
  return await loadModel(device, { config, source }).finally(() => source.close());
}

/** Greedy ids, and the log-probability of each. */
async function greedy(engine: BatchEngine, request: Pick<GenerateRequest, "promptTokenIds" | "adapter">) {
  const ids: number[] = [], logprobs: number[] = [];
  const sampling = { temperature: 0, topP: 1, topK: 0 };
  for await (const event of engine.generate({ ...request, maxTokens: 12, sampling, logprobs: 1 })) {
    if (event.kind !== "token") continue;
    ids.push(event.tokenId);
    logprobs.push(event.logprobs!.logprob);
  }
  return { ids, logprobs };
}

/** The logits after prompts that one step takes together. */
async function lastLogits(
  device: Device,
  model: Model,
  { prompts, adapter }: {
    readonly prompts: readonly (readonly number[])[];
    readonly adapter?: LoadedAdapter;
  },
): Promise<Float32Array[]> {
  const banks = adapter ? [new Bank(device, adapter.method, { linears: model.linears, capacity: 1 })] : [];
  const slot = adapter && banks[0].load(adapter.modules)!;
  const maxRows = prompts.flat().length, length = 64;
  const runner = new Runner(device, model, {
    ...{ banks, maxRows, maxOutputs: prompts.length, cacheRows: prompts.length * length, blockSize: 1 },
  });
  const rows = prompts.flatMap((prompt, i) =>
    prompt.map((token, position) => ({
      ...{ token, position, blocks: lane(i * length), length: prompt.length, state: i },
      adapters: slot === undefined ? undefined : [{ bank: banks[0], slot }],
    }))
  );
  const ends = prompts.map((_, i) => prompts.slice(0, i + 1).flat().length - 1);
  await runner.step(rows, ends.map((row) => ({ row, temperature: 0, topP: 1, topK: 0, uniform: 0 })));
  return await Promise.all(prompts.map((_, i) => runner.logits(i)));
}

/** Tests logits, of the base model and of each adapter. */
export function logitsGoldens(device: Device, family: string, adapters: readonly string[]): void {
  const files = new Files(family);
  for (const name of ["base", ...adapters]) {
    test(`${family} ${name} on ${device.kind}: logits after three prompts are transformers'`, async () => {
      const { cases } = files.json<DecoderGolden>(`golden/${name}.json`);
      const tensors = files.tensors(`golden/${name}.safetensors`);
      const prompts = cases.map(({ prompt }) => prompt);
      const found = await lastLogits(device, await openBase(device, files), {
        prompts,
        adapter: await files.adapter(name),
      });
      for (const [i, { last_logits: key }] of cases.entries()) {
        const off = Math.max(...tensors.get(key)!.data.map((logit, id) => Math.abs(logit - found[i][id])));
        assert.ok(off <= 1e-4, `case ${i}: a logit is off by ${off}`);
      }
    });
  }
}

/** Tests logits, greedy ids and adapted modules, of the base model and of each adapter. */
export function decoderGoldens(device: Device, family: string, adapters: readonly string[]): void {
  logitsGoldens(device, family, adapters);
  const files = new Files(family);
  for (const name of ["base", ...adapters]) {
    const golden = files.json<DecoderGolden>(`golden/${name}.json`);
    const tensors = files.tensors(`golden/${name}.safetensors`);

    test(`${family} ${name} on ${device.kind}: greedy ids and log-probabilities are transformers', prompts cut or not`, async () => {
      for (const maxStepTokens of [256, 7]) {
        const { engine } = await openModel(device, {
          folder: await openFolder(files.path("base")),
          adapters: await openAdapterStore(files.path("adapters")),
          engine: { maxSequences: 3, maxStepTokens },
        });
        const adapter = name === "base" ? undefined : name;
        const answers = await Promise.all(
          golden.cases.map(({ prompt }) => greedy(engine, { promptTokenIds: prompt, adapter })),
        );
        const config = await readConfig(await openFolder(files.path("base")));
        for (const [i, { prompt, greedy, greedy_with_cache: cached, logprobs }] of golden.cases.entries()) {
          const { ids, logprobs: found } = answers[i];
          // Goldens with a cache are not those of models that run a sequence anew: transformers 5.17 feeds them the
          // last token alone then, and the rest is forgotten.
          const keepsKeys = config.rerunBeyond === undefined;
          assert.deepEqual(ids, keepsKeys ? cached ?? greedy : greedy, `case ${i}`);
          // Up to this length a pass without a cache has the same keys.
          const same = keepsKeys ? fixedRopeLength(config) : Infinity;
          found.forEach((value, at) => {
            if (at > 0 && prompt.length + at > same) return;
            assert.ok(Math.abs(value - logprobs[at]) <= 1e-4, `case ${i}, token ${at}: ${value}`);
          });
        }
      }
    });

    for (const { path, x, y, shape: [out, inSize] } of golden.modules ?? []) {
      test(`${family} ${name} on ${device.kind}: ${path} gives what PEFT's gives, bias included`, async () => {
        const model = await openBase(device, files);
        const { method, modules } = (await files.adapter(name))!;
        const input = tensors.get(x)!, rows = input.shape[0];
        const io = { x: device.upload(input), y: device.alloc([rows, out], "float32") };
        const index = model.linears.findIndex((linear) => linear.path === path);
        const shape = { out, in: inSize };
        const program = await device.prepare([
          linearStep(linearWeights(model, index), io, { rows, ...shape, accumulate: 0 }),
        ]);
        device.run(program);
        const base = tensor((await device.read(io.y) as Float32Array).slice(), [rows, out]);
        const found = await applyModule(device, { method, module: modules.get(path)!, shape }, {
          ...{ x: input, y: base },
        });
        const off = distance(found.data, tensors.get(y)!.data);
        assert.ok(off <= 2e-6, `relative distance ${off}`);
        program.release();
      });
    }
  }
}

/** Tests what the tokenizer makes of the goldens' texts. */
export function tokenizerGoldens(device: Device, family: string): void {
  const files = new Files(family);
  test(`${family}: texts become the ids of Python's tokenizer, and these become texts`, async () => {
    const { tokenizer } = await openModel(device, { folder: await openFolder(files.path("base")) });
    for (const { text, ids, decoded } of files.json<DecoderGolden>("golden/base.json").tokenizer!) {
      assert.deepEqual(tokenizer.encode(text), ids);
      assert.equal(tokenizer.decode(ids), decoded);
    }
  });
}

function batchOf({ input_ids: ids }: TrainingGolden): TrainingBatch {
  const length = ids[0].length, rows = ids.length * length;
  const start = (row: number): number => row - row % length;
  const tokens = Uint32Array.from(ids.flat());
  return {
    tokens,
    targets: tokens.map((_, row) => row % length === length - 1 ? noTarget : tokens[row + 1]),
    positions: Uint32Array.from({ length: rows }, (_, row) => row % length),
    first: Uint32Array.from({ length: rows }, (_, row) => start(row)),
    last: Uint32Array.from({ length: rows }, (_, row) => start(row) + length),
    targetCount: ids.length * (length - 1),
  };
}

/** Tests the loss, every gradient and five steps of AdamW, of each adapter. */
export function trainingGoldens(device: Device, family: string, adapters: readonly string[]): void {
  const files = new Files(family);
  for (const name of adapters) {
    test(`${family} ${name} on ${device.kind}: loss, gradients and five steps of AdamW are PEFT's`, async () => {
      const golden = files.json<TrainingGolden>(`training/${name}.json`);
      const model = await openBase(device, files);
      const adapter = await loadAdapter(await openFolder(files.path(`adapters/${name}`)));
      const batch = batchOf(golden);
      const trainer = await Trainer.open(device, model, {
        ...adapter,
        rows: batch.tokens.length,
        layersPerSegment: 1,
        maxNorm: 0,
      });
      const { loss, tensors } = await trainer.gradients(batch);
      assert.ok(Math.abs(loss - golden.losses[0]) <= 1e-5, `loss ${loss}`);
      const truth = files.tensors(`training/${name}.safetensors`);
      assert.equal(tensors.size, truth.size);
      for (const [key, { data }] of truth) {
        const off = distance(tensors.get(key.replace(/^grad\./, ""))!.data, data);
        assert.ok(off <= 1e-4, `${key}: relative distance ${off}`);
      }
      for (const [i, expected] of golden.losses.slice(0, -1).entries()) {
        const report = await trainer.submit([batch], 0.01);
        assert.ok(Math.abs(report.loss - expected) <= 1e-5 * expected, `step ${i}: loss ${report.loss}`);
      }
      const last = await trainer.evaluate([batch]), expected = golden.losses.at(-1)!;
      assert.ok(Math.abs(last.loss - expected) <= 1e-5 * expected, `after all: loss ${last.loss}`);
      trainer.release();
    });
  }
}
