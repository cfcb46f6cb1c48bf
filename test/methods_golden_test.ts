/**
 * PEFT's adapters of every method, by float64's numbers: logits, greedy tokens, single modules, gradients and training.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { baseOptions } from "../src/adapters/base_options.ts";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { applyModule } from "../src/adapters/apply.ts";
import { loadAdapter } from "../src/adapters/peft.ts";
import type { Lease } from "../src/adapters/registry.ts";
import { cpuDevice } from "../src/device/cpu.ts";
import type { Device } from "../src/device/device.ts";
import { modelBase } from "../src/engine/base.ts";
import { adaptedProjection, ProjectionScratch } from "../src/engine/projection.ts";
import { Runner } from "../src/engine/runner.ts";
import type { Output, Row } from "../src/engine/step_inputs.ts";
import type { ReadableFolder, WritableFolder } from "../src/folder.ts";
import { folderOptions, mergeFolder } from "../src/merge.ts";
import { openWeights, readConfig } from "../src/models/families.ts";
import { layersLinears, loadModel } from "../src/models/model.ts";
import { formatOf } from "../src/models/quantization.ts";
import { denseWeight } from "../src/models/weights.ts";
import { type OpenModel, openModel } from "../src/open.ts";
import { openFolder } from "../src/runtime/file.ts";
import { parseSafetensors, toFloat32 } from "../src/safetensors/mod.ts";
import { bytesSource } from "../src/safetensors/mod.ts";
import { tensor } from "../src/tensor.ts";
import { noTarget, type TrainingBatch } from "../src/training/batch.ts";
import { Trainer } from "../src/training/trainer.ts";
import { uniforms } from "../src/engine/random.ts";
import { adapterPlan, createAdapter } from "../src/adapters/create.ts";
import type { Method } from "../src/adapters/method.ts";
import { dora } from "../src/adapters/methods/dora.ts";
import { ia3 } from "../src/adapters/methods/ia3.ts";
import { ether } from "../src/adapters/methods/ether.ts";
import { vblora } from "../src/adapters/methods/vblora.ts";
import { vera } from "../src/adapters/methods/vera.ts";
import type { OptionValue } from "../src/adapters/training.ts";
import { waveft } from "../src/adapters/methods/waveft.ts";
import { dequantized } from "./dequantized.ts";
import { devicesForLongTests } from "./devices.ts";
import { distance } from "./kernel_contract.ts";
import { lane } from "./lanes.ts";
import { methodFixture, methodStore } from "./method_fixtures.ts";

const path = (name: string): string => fileURLToPath(new URL(`fixtures/methods/${name}`, import.meta.url));

interface Golden {
  readonly cases: readonly {
    readonly prompt: readonly number[];
    readonly greedy: readonly number[];
    readonly last_logits: string;
  }[];
  readonly modules: readonly { readonly path: string; readonly x: string; readonly y: string }[];
}

/** Of methods that LoRA's kernels serve: on a GPU, the first stands for them. */
const folded = [
  "vblora-topk",
  "vblora",
  "lora-xs",
  "lora-xs-all",
  "vera",
  "vera-seed",
  "adalora",
  "adalora-pruned",
  "delora",
  "delora-pattern",
  "tinylora",
  "tinylora-tied-seed",
  "miss",
  "miss-mini",
  "loha",
  "loha-pattern",
];
const names = [
  ...["dora", "dora-pattern", "fourierft", "lora"],
  ...["c3a", "c3a-pattern"],
  ...["waveft", "waveft-coif1", "waveft-direct", "waveft-proportional", "waveft-sym2"],
  ...["ia3", "ia3-all"],
  ...["road-1", "road-2", "road-4"],
  ...["hra", "hra-gs"],
  ...["oft", "oft-coft", "oft-exact", "oft-r", "oft-share"],
  "boft",
  ...["ether", "ether-flip", "ether-nb"],
  ...["etherplus", "etherplus-nb", "etherplus-hh"],
  ...["lokr", "lokr-factored"],
  ...["randlora", "randlora-seed", "randlora-sparse"],
  "shira",
  ...["hira", "hira-pattern", "miss-bat"],
  ...["svft-plain", "svft-plain-slim", "svft-banded", "svft-random", "svft-topk", "svft-rank"],
  ...folded,
];
/** Variants of methods whose kernels another adapter of the list has already: a GPU runs their single modules. */
const variants = [
  ...["lokr-factored", "randlora-seed", "randlora-sparse", "hira-pattern"],
  ...["svft-plain", "svft-random", "svft-topk"],
];
const read = <T>(name: string): T => JSON.parse(readFileSync(path(name), "utf8")) as T;
const goldens = new Map(names.map((name) => [name, read<Golden>(`golden/${name}.json`)]));

function tensorsOf(name: string): Map<string, Float32Array> {
  const file = parseSafetensors(new Uint8Array(readFileSync(path(name))));
  return new Map([...file.tensors.keys()].map((one) => [one, toFloat32(file.read(one))]));
}

async function open(device: Device, folder?: ReadableFolder, quantize?: "int8" | "int4"): Promise<OpenModel> {
  return await openModel(device, {
    folder: folder ?? await methodFixture("base"),
    adapters: await methodStore(),
    quantize,
    engine: { maxSequences: 3 * names.length },
  });
}

/** The logits after prompts, all in one step, each with its own adapter. */
async function logitsAfter(
  device: Device,
  { model, registry }: OpenModel,
  prompts: readonly { readonly prompt: readonly number[]; readonly lease?: Lease }[],
): Promise<Float32Array[]> {
  const length = 32;
  const runner = new Runner(device, model, {
    banks: registry.banks,
    maxRows: length * prompts.length,
    maxOutputs: prompts.length,
    cacheRows: length * prompts.length,
    blockSize: 1,
  });
  const rows: Row[] = [], outputs: Output[] = [];
  prompts.forEach(({ prompt, lease }, i) => {
    prompt.forEach((token, position) =>
      rows.push({ token, position, blocks: lane(length * i), adapters: lease?.placed })
    );
    outputs.push({ row: rows.length - 1, temperature: 0, topP: 1, topK: 0, uniform: 0 });
  });
  await runner.step(rows, outputs);
  return await Promise.all(prompts.map((_, i) => runner.logits(i)));
}

/**
 * What single modules may be off float64's, relative. Where a file has SVFT's vectors, the authors' layer has their product in
 * the place of W, and vectors that were rounded to float32 are 9e-7 off W: test/svft_test.ts takes that out.
 */
const limitOf = (name: string): number => /^svft-(plain|banded|random|topk)$/.test(name) ? 1.2e-6 : 1e-6;

const off = (found: ArrayLike<number>, expected: ArrayLike<number>): number =>
  Math.max(...Array.from(expected, (value, i) => Math.abs(value - found[i])));

/** A software GPU takes long for many rows: it is asked for the shortest prompt of each adapter. */
const askedOf = ({ kind }: Device) => kind === "cpu" ? prompts : prompts.filter((_, i) => i % 3 === 0);
const prompts = names.flatMap((name) => goldens.get(name)!.cases.map((one) => ({ name, ...one })));

for (const device of await devicesForLongTests()) {
  test(`engine on ${device.kind}: one step of every method's adapters has float64's logits`, async () => {
    const opened = await open(device);
    const leases = new Map<string, Lease>();
    const left = device.kind === "cpu" ? [] : [...folded.slice(1), ...variants];
    const tested = askedOf(device).filter(({ name }) => !left.includes(name));
    for (const name of new Set(tested.map(({ name }) => name))) {
      leases.set(name, await opened.registry.acquire(name));
    }
    const found = await logitsAfter(
      device,
      opened,
      tested.map(({ prompt, name }) => ({ prompt, lease: leases.get(name) })),
    );
    for (const [i, { name, last_logits }] of tested.entries()) {
      const error = off(found[i], tensorsOf(`golden/${name}.safetensors`).get(last_logits)!);
      assert.ok(error < 1e-4, `${name}, ${last_logits}: ${error}`);
    }
  });
}

test("engine: adapters of every method side by side give float64's greedy tokens", async () => {
  const { engine } = await open(cpuDevice());
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

test("applyModule: a module beside its base's product and bias is float64's module", async () => {
  const device = cpuDevice();
  const { model } = await open(device);
  const base = modelBase(device, model);
  const weights = tensorsOf("base/model.safetensors");
  const options = baseOptions(model.linears);
  for (const name of names) {
    const { method, modules } = await loadAdapter(await methodFixture(name), options);
    // What a method does to the bias is no part of dW.
    if (method.changesBias) continue;
    const truth = tensorsOf(`golden/${name}.safetensors`);
    for (const golden of goldens.get(name)!.modules) {
      const { shape } = model.linears.find((one) => one.path === golden.path)!;
      const x = tensor(truth.get(golden.x)!, [2, shape.in]);
      const weight = weights.get(`${golden.path}.weight`)!, bias = weights.get(`${golden.path}.bias`);
      const y = Float32Array.from({ length: 2 * shape.out }, (_, i) => {
        const row = Math.floor(i / shape.out), o = i % shape.out;
        let sum = bias?.[o] ?? 0;
        for (let k = 0; k < shape.in; k++) sum += x.data[row * shape.in + k] * weight[o * shape.in + k];
        return sum;
      });
      const found = await applyModule(device, {
        method,
        module: modules.get(golden.path)!,
        shape,
        base: base(golden.path),
      }, { x, y: tensor(y, [2, shape.out]) });
      const error = distance(found.data, truth.get(golden.y)!);
      assert.ok(error < limitOf(name), `${name}, ${golden.path}: ${error}`);
    }
  }
});

test("ETHER: `flip_modules` reflects outputs of the modules that it names", async () => {
  const folder = await methodFixture("ether-flip");
  const named = {
    ...folder,
    open: (name: string) => folder.open(name),
    exists: (name: string) => folder.exists(name),
    readText: async (name: string) => {
      const config = JSON.parse(await folder.readText(name));
      assert.equal(config.flip_side, true);
      return JSON.stringify({ ...config, flip_side: false, flip_modules: ["down_proj"] });
    },
  };
  const [expected, found] = [await loadAdapter(folder), await loadAdapter(named)];
  assert.deepEqual(
    [...found.modules.values()].map(({ phases }) => phases),
    [...expected.modules.values()].map(({ phases }) => phases),
  );
  assert.ok([...found.modules.values()].some(({ phases }) => phases?.includes("after")));
});

for (const device of await devicesForLongTests()) {
  test(`adaptedProjection on ${device.kind}: single modules with their bias are float64's`, async () => {
    const { model, registry } = await open(device);
    const weights = tensorsOf("base/model.safetensors");
    for (const name of names) {
      const lease = await registry.acquire(name), truth = tensorsOf(`golden/${name}.safetensors`);
      for (const golden of goldens.get(name)!.modules) {
        const first = model.linears.findIndex((one) => one.path === golden.path);
        const { shape } = model.linears[first], y = device.alloc([2, shape.out], "float32");
        const upload = (data: Float32Array, dims: readonly number[]) =>
          device.upload(tensor(data, [...dims]));
        const bias = weights.get(`${golden.path}.bias`);
        const plan = adaptedProjection(
          {
            kind: "one",
            linears: { first, count: 1 },
            outs: [shape.out],
            shape,
            weight: denseWeight(upload(weights.get(`${golden.path}.weight`)!, [shape.out, shape.in])),
            bias: bias && upload(bias, [shape.out]),
          },
          { x: upload(truth.get(golden.x)!, [2, shape.in]), y, rows: 2, accumulate: 0 },
          {
            banks: [lease.bank],
            slotsOf: () => device.upload(tensor(new Uint32Array(2).fill(lease.slot))),
            scratch: new ProjectionScratch(device),
          },
        );
        const program = await device.prepare(plan);
        device.run(program);
        const error = distance(await device.read(y) as Float32Array, truth.get(golden.y)!);
        assert.ok(error < limitOf(name), `${name}, ${golden.path}: ${error}`);
        program.release();
      }
    }
  });
}

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

test("mergeFolder: a model with an adapter merged in, bias and all, has float64's logits", async () => {
  const device = cpuDevice();
  const base = await methodFixture("base"), options = await folderOptions(base);
  for (const name of names) {
    const out = memoryFolder();
    await mergeFolder(device, {
      model: base,
      adapter: await loadAdapter(await methodFixture(name), options),
      out,
    });
    const { cases } = goldens.get(name)!;
    const found = await logitsAfter(device, await open(device, out), cases);
    for (const [i, { last_logits }] of cases.entries()) {
      const error = off(found[i], tensorsOf(`golden/${name}.safetensors`).get(last_logits)!);
      assert.ok(error < 1e-4, `${name}, ${last_logits}: ${error}`);
    }
  }
});

for (const quantize of ["int8", "int4"] as const) {
  test(`engine: adapters of every method on ${quantize} weights are those on the numbers that they stand for`, async () => {
    // Without WASM, whose quantised products round x.
    const device = cpuDevice({ wasm: false });
    const folder = await dequantized(path("base"), formatOf[quantize]);
    const logits = await Promise.all(
      [await open(device, undefined, quantize), await open(device, folder)].map(async (opened) => {
        // What svft-rank drops of W is told apart from what it keeps in float weights alone.
        const able = names.filter((name) => name !== "svft-rank");
        const leases = await Promise.all(able.map((name) => opened.registry.acquire(name)));
        return await logitsAfter(
          device,
          opened,
          leases.map((lease, i) => ({ prompt: prompts[i].prompt, lease })),
        );
      }),
    );
    for (const [i, found] of logits[0].entries()) {
      const error = distance(found, logits[1][i]);
      assert.ok(error < 1e-5, `${names[i]}: ${error}`);
    }
  });
}

/** Adapters whose training float64 computed too. */
const trainedNames = [
  "dora",
  "ia3",
  "vera",
  "c3a",
  "waveft",
  "vblora",
  "lora-xs",
  "ether-flip",
  "ether-nb",
  "etherplus-hh",
];
const trainings = new Map(trainedNames.map((name) => [
  name,
  read<{ readonly input_ids: readonly (readonly number[])[]; readonly losses: readonly number[] }>(
    `training/${name}.json`,
  ),
]));

function trainingBatch(name: string): TrainingBatch {
  const { input_ids } = trainings.get(name)!, [{ length }] = input_ids, rows = 2 * length;
  const tokens = Uint32Array.from(input_ids.flat());
  const last = (row: number): boolean => row % length === length - 1;
  const start = (row: number): number => row - row % length;
  return {
    tokens,
    targets: tokens.map((_, row) => last(row) ? noTarget : tokens[row + 1]),
    positions: Uint32Array.from({ length: rows }, (_, row) => row % length),
    first: Uint32Array.from({ length: rows }, (_, row) => start(row)),
    last: Uint32Array.from({ length: rows }, (_, row) => start(row) + length),
    targetCount: 2 * (length - 1),
  };
}

for (const name of trainedNames) {
  for (const layersPerSegment of [undefined, 1]) {
    const how = layersPerSegment ? ", a layer at a time" : "";
    // A GPU cannot bind parts of so small a model.
    test(`Trainer on cpu: ${name}'s gradients and ten steps' losses are float64's${how}`, async () => {
      const device = cpuDevice(), folder = await methodFixture("base");
      const config = await readConfig(folder), source = await openWeights(folder, config);
      const model = await loadModel(device, { config, source });
      await source.close();
      const adapter = await loadAdapter(await methodFixture(name));
      const batch = trainingBatch(name), rows = batch.tokens.length, { losses } = trainings.get(name)!;
      const trainer = await Trainer.open(device, model, { ...adapter, rows, layersPerSegment, maxNorm: 0 });
      const { loss, tensors } = await trainer.gradients(batch);
      assert.ok(Math.abs(loss - losses[0]) < 1e-5, `loss ${loss}`);
      const truth = [...tensorsOf(`training/${name}.safetensors`)].filter(([one]) => one.startsWith("grad."));
      assert.ok(truth.length > 0);
      for (const [one, gradient] of truth) {
        const error = distance(tensors.get(one.slice("grad.".length))!.data, gradient);
        assert.ok(error < 1e-4, `${one}: ${error}`);
      }
      for (const expected of losses.slice(0, 10)) {
        const { loss } = await trainer.submit([batch], 0.01);
        assert.ok(Math.abs(loss - expected) < 1e-4, `${loss}, not ${expected}`);
      }
      assert.ok(Math.abs((await trainer.evaluate([batch])).loss - losses[10]) < 1e-4);
      trainer.release();
    });
  }
}

/** What a few steps of a new adapter come to on a device. */
async function learnt(on: Device, { method, options, batch }: {
  readonly method: Method;
  readonly options: Readonly<Record<string, OptionValue>>;
  readonly batch: TrainingBatch;
}) {
  const folder = await openFolder(fileURLToPath(new URL("fixtures/training/base", import.meta.url)));
  const config = await readConfig(folder), source = await openWeights(folder, config);
  const model = await loadModel(on, { config, source }).finally(() => source.close());
  const adapter = createAdapter(
    layersLinears(model),
    adapterPlan({ method, options }),
    uniforms(7),
  );
  const trainer = await Trainer.open(on, model, { ...adapter, rows: batch.tokens.length });
  const losses: number[] = [];
  for (let i = 0; i < 4; i++) losses.push((await trainer.submit([batch], 0.02)).loss);
  return { losses, tensors: await trainer.tensors() };
}

for (const device of await devicesForLongTests()) {
  if (device.kind === "cpu") continue;
  const subjects = [
    [dora, { r: 2 }],
    [ia3, {}],
    [vera, { r: 2 }],
    [vblora, { r: 2, numVectors: 9, vectorLength: 8 }],
    [waveft, { nFrequency: 40 }],
    [ether, { Htype: "etherplusHH", nb: 2 }],
  ] as const;
  for (const [method, options] of subjects) {
    test(`Trainer on webgpu: ${method.name} learns what it learns on a CPU`, async () => {
      const batch = trainingBatch("dora");
      const tokens = batch.tokens.map((id) => id % 32),
        targets = batch.targets.map((id) => id === noTarget ? id : id % 32);
      const [found, expected] = await Promise.all(
        [device, cpuDevice()].map((on) =>
          learnt(on, { method, options, batch: { ...batch, tokens, targets } })
        ),
      );
      assert.ok(off(found.losses, expected.losses) < 1e-4, `${found.losses}, ${expected.losses}`);
      assert.ok(found.losses[3] < found.losses[0] - 0.02, `${found.losses}`);
      for (const [name, { data }] of found.tensors) {
        const error = distance(data, expected.tensors.get(name)!.data);
        assert.ok(error < 2e-3, `${name}: ${error}`);
      }
    });
  }
}
