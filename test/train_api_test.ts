import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import {
  type CheckpointStore,
  cpuDevice,
  type Device,
  loadAdapter,
  type Method,
  type NewAdapter,
  type ReadableFolder,
  type Tensor,
  train,
  type TrainEvent,
  type TrainOptions,
  type TrainOutcome,
} from "../mod.ts";
import { lora as loraMethod } from "../src/adapters/methods/lora.ts";
import { loraXs } from "../src/adapters/methods/lora_xs.ts";
import { fromTensor, parseSafetensors, toTensor, writeSafetensors } from "../src/safetensors/mod.ts";
import { openFolder } from "../src/runtime/mod.ts";
import { tensor } from "../src/tensor.ts";
import { memoryFolder } from "../src/testing/mod.ts";
import { devicesForLongTests } from "./devices.ts";
import { ended, start, withTinyModel, wordsOf } from "./train_process.ts";

const fourier: NewAdapter = { peftType: "FOURIERFT", nFrequency: 20, scaling: 30 };
const lora: NewAdapter = { peftType: "LORA", r: 2, targetModules: ["v_proj", "o_proj"] };
const settings = { steps: 6, batchSize: 2, contextLength: 8, lr: 0.02 } as const;

/** Checkpoints in memory; all are kept. */
function memoryStore(): CheckpointStore & { readonly steps: number[] } {
  const steps: number[] = [];
  let newest: ReadonlyMap<string, Uint8Array> | undefined;
  return {
    steps,
    save: (step, files) => {
      steps.push(step);
      newest = files;
      return Promise.resolve();
    },
    latest: () => Promise.resolve(newest),
  };
}

type Overrides = Partial<TrainOptions>;

/** A short run with the tiny model; resolves to how it ended and what it reported. */
async function run(
  device: Device,
  overrides: Overrides = {},
): Promise<TrainOutcome & { readonly events: readonly TrainEvent[] }> {
  const events: TrainEvent[] = [];
  let outcome: TrainOutcome | undefined;
  await withTinyModel(async (path) => {
    outcome = await train(device, {
      folder: await openFolder(join(path, "base")),
      data: { content: wordsOf(200) },
      adapter: fourier,
      ...settings,
      ...overrides,
      onEvent(event) {
        events.push(event);
        overrides.onEvent?.(event);
      },
    });
  });
  return { ...outcome!, events };
}

const ofKind = <K extends TrainEvent["kind"]>(events: readonly TrainEvent[], kind: K) =>
  events.filter((event): event is TrainEvent & { kind: K } => event.kind === kind);

for (const device of await devicesForLongTests()) {
  test(`train on ${device.kind} learns a text, and its files are an adapter that loadAdapter reads`, async () => {
    const content = "w5 w9 w2 w31 w7 w3 w20 w11 ".repeat(40);
    const { files, events, ...ended } = await run(device, {
      adapter: { ...fourier, targetModules: ["v_proj", "o_proj"] },
      data: { content },
      evaluation: { content },
      lr: 0.1,
      schedule: "constant",
    });
    assert.deepEqual([...files.keys()], ["adapter_config.json", "adapter_model.safetensors"]);
    const loaded = await loadAdapter(memoryFolder(files));
    assert.equal(loaded.method.peftType, "FOURIERFT");
    assert.equal(loaded.modules.size, 6);
    const losses = ofKind(events, "step").map(({ loss }) => loss);
    assert.equal(losses.length, 6);
    assert.ok(losses[5] < losses[0] - 0.1, `losses ${losses}`);
    assert.deepEqual([ended.step, ended.finished, ended.evaluation?.step], [6, true, 6]);
    assert.ok(Math.abs(ended.evaluation!.loss - losses[5]) < 0.5, `evaluation ${ended.evaluation?.loss}`);
    assert.equal(ended.evaluation!.perplexity, Math.exp(ended.evaluation!.loss));
  });

  test(`train on ${device.kind} ended by its signal saves, and resumed comes to the same bytes`, async () => {
    const whole = await run(device, { adapter: lora });
    const checkpoints = memoryStore();
    const stop = new AbortController();
    const first = await run(device, {
      adapter: lora,
      checkpoints,
      signal: stop.signal,
      onEvent: (event) => event.kind === "step" && event.step === 2 && stop.abort(),
    });
    assert.equal(first.finished, false);
    assert.ok(first.step >= 2 && first.step < 6, `stopped at ${first.step}`);
    assert.deepEqual(checkpoints.steps, [first.step]);
    assert.notDeepEqual(first.files, whole.files);
    const second = await run(device, { adapter: lora, checkpoints, resume: true });
    assert.equal(ofKind(second.events, "start")[0].step, first.step);
    assert.equal(ofKind(second.events, "step")[0].step, first.step + 1);
    assert.equal(second.finished, true);
    assert.deepEqual(second.files, whole.files);
  });
}

const device = cpuDevice();

test("train makes a DoRA adapter whose first loss is the base's, and goes on with one", async () => {
  const content = "w5 w9 w2 w31 w7 w3 w20 w11 ".repeat(40);
  const options = { data: { content }, lr: 0.02, schedule: "constant" } as const;
  const adapter = {
    peftType: "LORA",
    useDora: true,
    r: 2,
    loraAlpha: 4,
    targetModules: ["q_proj", "o_proj"],
  } as const;
  const first = await run(device, { ...options, adapter });
  const config = JSON.parse(new TextDecoder().decode(first.files.get("adapter_config.json")!));
  assert.deepEqual([config.peft_type, config.use_dora, config.r, config.lora_alpha], ["LORA", true, 2, 4]);
  const losses = ofKind(first.events, "step").map(({ loss }) => loss);
  const plain = await run(device, { ...options, adapter: { ...lora, targetModules: ["q_proj"] } });
  assert.ok(Math.abs(losses[0] - ofKind(plain.events, "step")[0].loss) < 1e-5, "it starts as the base");
  assert.ok(losses[5] < losses[0], `losses ${losses}`);
  const loaded = await loadAdapter(memoryFolder(first.files));
  assert.equal(loaded.method.name, "DoRA");
  const second = await run(device, { ...options, adapter: { init: loaded }, steps: 1 });
  assert.ok(ofKind(second.events, "step")[0].loss < losses[5], "it goes on where it was");
});

test("train goes on with a LoRA-XS by the frozen factors of its checkpoint, whatever it would make now", async () => {
  const adapter = { method: loraXs, options: { r: 3, loraAlpha: 3 }, targetModules: ["v_proj"] };
  const whole = await run(device, { adapter });
  const checkpoints = memoryStore(), stop = new AbortController();
  const first = await run(device, {
    adapter,
    checkpoints,
    signal: stop.signal,
    onEvent: (event) => event.kind === "step" && event.step === 2 && stop.abort(),
  });
  const files = (await checkpoints.latest())!, name = "adapter_model.safetensors";
  const file = parseSafetensors(files.get(name)!);
  // Both factors with other signs: the same update.
  const turned = [...file.tensors.keys()].map((one) => {
    const { shape, data } = toTensor(file.read(one));
    const values = (data as Float32Array).map((value) => /lora_[AB]/.test(one) ? -value : value);
    return fromTensor(one, tensor(values, shape));
  });
  await checkpoints.save(first.step, new Map([...files, [name, writeSafetensors(turned)]]));
  const second = await run(device, { adapter, checkpoints, resume: true });
  const [found, expected] = [second, whole].map((one) => parseSafetensors(one.files.get(name)!));
  for (const one of expected.tensors.keys()) {
    const known = toTensor(expected.read(one)).data as Float32Array;
    const sign = /lora_[AB]/.test(one) ? -1 : 1;
    assert.deepEqual(toTensor(found.read(one)).data, known.map((value) => sign * value), one);
  }
});

test("train makes an adapter of a method that is given as a value, by the method's own options", async () => {
  const steep: Method = {
    ...loraMethod,
    name: "Steep",
    training: { ...loraMethod.training!, learningRate: 0.5 },
  };
  const adapter = { method: steep, options: { r: 3 }, targetModules: ["v_proj"] };
  const { events, files } = await run(device, { adapter, lr: undefined, schedule: "constant", steps: 1 });
  assert.equal(ofKind(events, "step")[0].lr, 0.5);
  assert.match(new TextDecoder().decode(files.get("adapter_config.json")!), /"r": 3,\s+"lora_alpha": 16/);
});

test("train takes a learning rate from the adapter's options where the method has a rule, a new adapter's or another's", async () => {
  const short = { lr: undefined, schedule: "constant", steps: 1 } as const;
  const adapter = { peftType: "FOURIERFT", nFrequency: 250, targetModules: ["v_proj"] } as const;
  const first = await run(device, { adapter, ...short });
  assert.equal(ofKind(first.events, "step")[0].lr, 0.1);
  const { events } = await run(device, { adapter: { init: memoryFolder(first.files) }, ...short });
  assert.equal(ofKind(events, "step")[0].lr, 0.1);
});

test("train makes the bytes that the command line writes with the same options", async () => {
  await withTinyModel(async (path) => {
    const [data, out] = [join(path, "data.jsonl"), join(path, "out")];
    const lines = Array.from({ length: 12 }, (_, i) => JSON.stringify({ text: wordsOf(40, i + 1) })).join(
      "\n",
    );
    await writeFile(data, lines);
    const folder = await openFolder(join(path, "base"));
    const common = [
      "train",
      "--model",
      join(path, "base"),
      "--data",
      data,
      "--device",
      "cpu",
      "--steps",
      "3",
      "--overwrite",
    ];
    const cases: readonly { args: readonly string[]; options: Overrides }[] = [
      { args: [], options: { adapter: { peftType: "FOURIERFT" } } }, // every default
      {
        args: [
          ...[
            "--method",
            "lora",
            "--r",
            "3",
            "--lora-alpha",
            "5",
            "--target-modules",
            "q_proj,mlp.down_proj",
          ],
          ...["--batch-size", "2", "--context-length", "9", "--gradient-accumulation", "2", "--lr", "0.03"],
          ...["--schedule", "linear", "--warmup-steps", "1", "--weight-decay", "0.1", "--max-norm", "0.5"],
          ...["--packing", "documents", "--seed", "4", "--held-out", "0.25"],
        ],
        options: {
          adapter: { peftType: "LORA", r: 3, loraAlpha: 5, targetModules: ["q_proj", "mlp.down_proj"] },
          batchSize: 2,
          contextLength: 9,
          gradientAccumulation: 2,
          lr: 0.03,
          schedule: "linear",
          warmupSteps: 1,
          weightDecay: 0.1,
          maxNorm: 0.5,
          packing: "documents",
          seed: 4,
          evaluation: 0.25,
        },
      },
    ];
    for (const { args, options } of cases) {
      const { code, stderr } = await ended(start([...common, "--out", out, ...args]));
      assert.equal(code, 0, stderr);
      const { files } = await train(device, {
        folder,
        data: { content: lines, format: "jsonl" },
        steps: 3,
        ...options,
      } as TrainOptions);
      for (const [name, bytes] of files) {
        assert.deepEqual(bytes, new Uint8Array(await readFile(join(out, name))), name);
      }
    }
  });
});

test("train goes on with an adapter from its folder as with one that is loaded", async () => {
  const { files } = await run(device, { adapter: lora });
  const loaded = await loadAdapter(memoryFolder(files));
  const untouched = await run(device, { adapter: { init: loaded }, steps: 0 });
  assert.deepEqual(untouched.files.get("adapter_model.safetensors"), files.get("adapter_model.safetensors"));
  const [a, b] = [
    await run(device, { adapter: { init: loaded } }),
    await run(device, { adapter: { init: memoryFolder(files) } }),
  ];
  assert.deepEqual(a.files, b.files);
  assert.notDeepEqual(a.files, files);
});

test("train reads a text, bytes, a stream and what comes piece by piece alike", async () => {
  const text = wordsOf(200);
  const bytes = new TextEncoder().encode(text);
  async function* pieces() {
    for (let at = 0; at < bytes.length; at += 7) yield await Promise.resolve(bytes.slice(at, at + 7));
  }
  const { files } = await run(device, { data: { content: text } });
  for (const content of [bytes, new Blob([bytes]).stream(), pieces()]) {
    assert.deepEqual((await run(device, { data: { content } })).files, files);
  }
});

test("train evaluates with a part of the documents or with a text, as often as told, and else not at all", async () => {
  const documents = Array.from({ length: 8 }, (_, i) => wordsOf(30, i + 1)).join("\f");
  const none = await run(device, { data: { content: documents }, evaluateEvery: 2 });
  assert.deepEqual(ofKind(none.events, "evaluation"), []);
  assert.equal(none.evaluation, undefined);
  for (const evaluation of [0.25, { content: wordsOf(60, 9) }]) {
    const some = await run(device, { data: { content: documents }, evaluation, evaluateEvery: 2 });
    const evaluations = ofKind(some.events, "evaluation");
    assert.deepEqual(evaluations.map(({ step }) => step), [2, 4, 6]);
    assert.equal(some.evaluation!.loss, evaluations[2].loss);
    const { training, heldOut } = ofKind(some.events, "start")[0];
    const parts = typeof evaluation === "number" ? [6, 2] : [8, 1];
    assert.deepEqual([training.documents, heldOut.documents], parts);
  }
});

test("train refuses held-out data that is empty, and to hold out of one document", async () => {
  await assert.rejects(
    run(device, { evaluation: { content: "" } }),
    /^SyntaxError: Cannot find a document: the data is empty/,
  );
  await assert.rejects(
    run(device, { evaluation: 0.5 }),
    /^RangeError: Cannot hold out documents: the data is one document/,
  );
  await assert.rejects(
    run(device, { evaluation: 1 }),
    /^RangeError: Cannot hold out 1 of the documents: it must be 0 or more and below 1/,
  );
});

test("train refuses an option that breaks its rule before it reads a file", async () => {
  const untouchable: ReadableFolder = {
    open: (name) => Promise.reject(new Error(`opened ${name}`)),
    readText: (name) => Promise.reject(new Error(`read ${name}`)),
    exists: (name) => Promise.reject(new Error(`looked for ${name}`)),
  };
  const cases: readonly (readonly [object, RegExp])[] = [
    [{ steps: 1.5 }, /Cannot use steps 1\.5: it must be a whole number of 0 or more/],
    [{ batchSize: 0 }, /Cannot use batchSize 0: it must be a whole number of 1 or more/],
    [{ gradientAccumulation: 0 }, /Cannot use gradientAccumulation 0/],
    [{ contextLength: 0 }, /Cannot use contextLength 0/],
    [{ lr: -1 }, /Cannot use lr -1: it must be a number of 0 or more/],
    [{ maxNorm: NaN }, /Cannot use maxNorm NaN/],
    [{ schedule: "sine" }, /Cannot use schedule "sine": it must be constant or linear or cosine/],
    [{ packing: "tight" }, /Cannot use packing "tight"/],
    [{ lossOn: "none" }, /Cannot use lossOn "none"/],
    [{ seed: -1 }, /Cannot use seed -1/],
    [{ data: { content: "w1", format: "csv" } }, /Cannot use format "csv": it must be text, jsonl or json/],
    [{ evaluation: { content: "w1", format: "csv" } }, /Cannot use format "csv"/],
    [{ adapter: { peftType: "FOURIERFT", nFrequency: 0 } }, /Cannot use nFrequency 0/],
    [{ adapter: { peftType: "LORA", loraAlpha: Infinity } }, /Cannot use loraAlpha Infinity/],
    [{ adapter: { peftType: "OFT" } }, /Cannot train .* "OFT": it must be FOURIERFT or LORA or /],
    [{ resume: true }, /Cannot resume without checkpoints/],
  ];
  for (const [overrides, rule] of cases) {
    const options = { folder: untouchable, data: { content: "w1" }, adapter: fourier, ...overrides };
    await assert.rejects(
      train(device, options as TrainOptions),
      (error) => error instanceof RangeError && rule.test(error.message),
      `${rule}`,
    );
  }
});

test("train names what a model or a store does not have: positions, modules, a checkpoint, the same run", async () => {
  await assert.rejects(
    run(device, { contextLength: 33 }),
    /Cannot train on sequences of 33 tokens: the model has positions for 32/,
  );
  const checkpoints = memoryStore();
  await assert.rejects(
    run(device, { adapter: { peftType: "LORA", targetModules: ["q_proj", "k_prj"] } }),
    /Cannot train target module "k_prj": no linear/,
  );
  await assert.rejects(run(device, { checkpoints, resume: true }), /Cannot resume: there is no checkpoint/);
  await run(device, { checkpoints, steps: 2 });
  await assert.rejects(
    run(device, { checkpoints, resume: true }),
    /Cannot resume: the checkpoint's run had "steps" = 2, this one has 6/,
  );
});

test("train goes on from an older checkpoint, which says less of its run", async () => {
  const checkpoints = memoryStore();
  const stop = new AbortController();
  const onEvent = (event: TrainEvent) => event.kind === "step" && event.step === 2 && stop.abort();
  await run(device, { checkpoints, signal: stop.signal, onEvent });
  const files = new Map(await checkpoints.latest());
  const state = JSON.parse(new TextDecoder().decode(files.get("trainer_state.json")));
  const { config, steps, schedule, warmupSteps, gradientAccumulation, lr, seed, rows, training } = state.run;
  const less = { config, steps, schedule, warmupSteps, gradientAccumulation, lr, seed, rows, training };
  const older = new TextEncoder().encode(JSON.stringify({ step: state.step, run: less }));
  await checkpoints.save(state.step, files.set("trainer_state.json", older));
  const resumed = await run(device, { checkpoints, resume: true });
  assert.deepEqual(resumed.files, (await run(device)).files);
});

/** The CPU device, with the tensors that were made and not released. */
function counted(): { readonly device: Device; readonly held: ReadonlySet<Tensor> } {
  const held = new Set<Tensor>();
  const keep = (t: Tensor): Tensor => (held.add(t), t);
  return {
    held,
    device: {
      ...device,
      upload: (source) => keep(device.upload(source)),
      alloc: (shape, dtype) => keep(device.alloc(shape, dtype)),
      release(t) {
        assert.ok(held.delete(t), "released twice, or never made");
        device.release(t);
      },
    },
  };
}

test("train leaves nothing on the device, whether it ends or fails", async () => {
  for (const adapter of [fourier, lora]) {
    const { device, held } = counted();
    await run(device, { adapter });
    assert.equal(held.size, 0);
  }
  const { device, held } = counted();
  await assert.rejects(run(device, { adapter: { peftType: "LORA", targetModules: ["nothing"] } }));
  assert.equal(held.size, 0);
});
