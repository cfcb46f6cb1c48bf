/**
 * Training of encoders by the library: what is learnt, what is refused, and what goes on.
 *
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import {
  cpuDevice,
  type Example,
  type Files,
  openEncoder,
  type ReadableFolder,
  train,
  trainEncoder,
  type TrainEncoderEvent,
  type TrainEncoderOptions,
} from "../mod.ts";
import { memoryAdapterStore, memoryCheckpoints, memoryFolder } from "../src/testing/mod.ts";
import { openFolder } from "../src/runtime/mod.ts";
import { examplesOfJsonLines } from "../src/training/examples.ts";
import { labelSet } from "../src/training/labels.ts";
import { classMetrics, confusionOf, pearson, regressionMetrics } from "../src/training/metrics.ts";

const baseOf = (family: string): Promise<ReadableFolder> =>
  openFolder(fileURLToPath(new URL(`fixtures/families/${family}/base`, import.meta.url)));

const words = ["the mill turns", "a wheel stands", "the water runs", "a stone lies"];
const texts: readonly Example[] = Array.from({ length: 8 }, (_, i) => ({
  text: `${words[i % 4]} ${i}`,
  label: i % 2 === 0 ? "even" : "odd",
}));
const images: readonly Example[] = Array.from({ length: 6 }, (_, i) => ({
  ...{ rgb: new Uint8Array(3 * 5 * 7).fill(40 * i), width: 5, height: 7, label: i % 2 },
}));

const run = async (family: string, options: Partial<TrainEncoderOptions> = {}) => {
  const events: TrainEncoderEvent[] = [], device = cpuDevice();
  const outcome = await trainEncoder(device, {
    ...{ task: "classify", folder: await baseOf(family), examples: family === "vit" ? images : texts },
    adapter: { peftType: "FOURIERFT", nFrequency: 50 },
    ...{ steps: 4, batchSize: 4, lr: 0.05, headLr: 0.02 },
    onEvent: (event) => events.push(event),
    ...options,
  });
  return { ...outcome, events };
};

const rejects = (family: string, options: Partial<TrainEncoderOptions>, rule: RegExp): Promise<void> =>
  assert.rejects(() => run(family, options), rule);

test("trainEncoder learns classes by name, and its files give the encoder the evaluation's predictions", async () => {
  const { files, labels, events, evaluation, finished } = await run("roberta", {
    ...{ steps: 40, evaluation: texts },
  });
  assert.deepEqual(labels, ["even", "odd"]);
  assert.ok(finished);
  assert.equal(evaluation!.step, 40);
  const start = events.find((event) => event.kind === "start")!;
  assert.ok(start.kind === "start" && start.heldOut === 8 && start.modules > 0 && start.headParameters > 0);
  const { metrics } = evaluation!;
  assert.ok(metrics.task === "classify" && metrics.accuracy === 1, JSON.stringify(metrics));
  assert.deepEqual([...files.keys()], ["adapter_config.json", "labels.json", "adapter_model.safetensors"]);
  const { encoder, tokenizer } = await openEncoder(cpuDevice(), {
    folder: await baseOf("roberta"),
    adapters: memoryAdapterStore(new Map([["a", files]])),
  });
  for (const { text, label } of texts as readonly { text: string; label: string }[]) {
    const input = await tokenizer!.encodeTexts([text]);
    const [{ data }] = await encoder.encode([{ input, adapter: "a", output: "logits" }]);
    assert.equal(labels[data[0] > data[1] ? 0 : 1], label);
  }
  await encoder.release();
});

test("trainEncoder learns numbers, pairs of texts, and images of any size", async () => {
  const numbers = await run("roberta-regression", {
    task: "regress",
    examples: texts.map((example, i) => ({ ...example, label: i / 4 })),
    ...{ evaluation: texts.map((example, i) => ({ ...example, label: i / 4 })), steps: 60 },
  });
  const { metrics } = numbers.evaluation!;
  assert.ok(metrics.task === "regress" && metrics.pearson > 0.9, JSON.stringify(metrics));
  assert.deepEqual(numbers.labels, [""]);
  const pairs = await run("bert", {
    examples: texts.map(({ label }, i) => ({ text: words[i % 4], textPair: words[(i + 1) % 4], label })),
    adapter: { peftType: "LORA", r: 2 },
  });
  assert.ok(pairs.files.has("adapter_model.safetensors"));
  const { evaluation, files } = await run("vit", { evaluation: images, steps: 30, batchSize: 6 });
  assert.ok(evaluation!.loss < Math.log(2), `loss ${evaluation!.loss}`);
  assert.ok(!files.has("labels.json"), "classes by number have no names");
});

test("trainEncoder resumed from a checkpoint ends at the bytes of a run without a stop", async () => {
  const whole = await run("roberta", { steps: 6, evaluation: 0.25 });
  const checkpoints = memoryCheckpoints(), stop = new AbortController();
  const options = { steps: 6, evaluation: 0.25, checkpoints };
  const stopped = await run("roberta", {
    ...options,
    signal: stop.signal,
    onEvent: (event) => event.kind === "step" && event.step === 2 && stop.abort(),
  });
  assert.ok(!stopped.finished && stopped.step < 6);
  const resumed = await run("roberta", { ...options, resume: true });
  const bytes = ({ files }: { readonly files: Files }) => files.get("adapter_model.safetensors");
  assert.deepEqual(bytes(resumed), bytes(whole));
  await rejects("roberta", { ...options, resume: true, headLr: 0.01 }, /"headLr" = 0.02, this one has 0.01/);
});

test("trainEncoder goes on from an adapter with its head, and from the head of a folder", async () => {
  for (const family of ["roberta", "vit"]) {
    const heldOut = family === "vit" ? images : texts;
    const first = await run(family, { evaluation: heldOut, steps: 5 });
    const init = memoryFolder(first.files);
    const next = await run(family, { adapter: { init }, evaluation: heldOut, steps: 0 });
    assert.ok(Math.abs(next.evaluation!.loss - first.evaluation!.loss) < 1e-6, family);
    assert.deepEqual(
      next.files.get("adapter_model.safetensors"),
      first.files.get("adapter_model.safetensors"),
    );
    await rejects(family, { adapter: { init }, labels: ["a", "b", "c"], examples: [] }, /the data is empty/);
  }
  const labels = ["0", "1", "2", "3", "4"];
  const examples = images.map((image, i) => ({ ...image, label: labels[i % 5] }));
  const head = await run("vit", { head: "base", steps: 0, adapter: "head", examples, labels });
  assert.ok(head.events.some((event) => event.kind === "start" && event.modules === 0));
  await rejects(
    "vit",
    { head: "base" },
    /head's "classifier.weight" of shape \[5,48\]: the labels make it \[2,48\]/,
  );
  await rejects("roberta-embedding", { head: "base" }, /the model's folder has none/);
});

test("trainEncoder refuses examples and options that break a rule, by their place", async () => {
  const [first, ...rest] = texts, place = "line 7";
  const changed = (label: string | number) => ({ examples: [...rest, { ...first, label, place }] });
  await rejects("roberta", changed(3), /label 3 of line 7: .*all must be numbers, or all names/);
  await rejects(
    "roberta",
    { ...changed("none"), labels: ["even", "odd"] },
    /"none" of line 7: the labels are/,
  );
  await rejects("roberta", { ...changed(2), labels: ["even", "odd"] }, /label 2 of line 7: .*0..1/);
  await rejects("roberta", { ...changed("even"), task: "regress" }, /regression needs a number/);
  await rejects(
    "roberta",
    { examples: texts.map((one) => ({ ...one, label: "same" })) },
    /one label, "same"/,
  );
  await rejects("roberta", { labels: ["even"] }, /Cannot use labels \["even"\]: classes are two or more/);
  await rejects("roberta", { labels: ["even", "odd", "both"] }, /class 2 \("both"\): no training example/);
  await rejects("roberta", { examples: [] }, /data is empty/);
  await rejects("roberta", { evaluation: [{ ...first, label: "new" }] }, /"new" of example 1/);
  await rejects("roberta", { evaluation: 1 }, /Cannot hold out 1/);
  await rejects("roberta", { examples: images }, /type "roberta" on example 1: it takes texts/);
  await rejects("vit", { examples: texts }, /type "vit" on example 1: it takes images/);
  await rejects("vit", { examples: [{ ...images[0], width: 4, place }, ...images] }, /line 7: .*4 x 7/);
  await rejects("gpt2", {}, /type "gpt2": it predicts next tokens, and has no head/);
  await rejects("roberta", { task: "rank" as "classify" }, /task "rank": it must be classify or regress/);
  await rejects("roberta", { headLr: -1 }, /headLr -1/);
  await rejects("roberta", { resume: true }, /without checkpoints/);
  await assert.rejects(
    async () =>
      await train(cpuDevice(), {
        folder: await baseOf("roberta"),
        data: { content: "a" },
        adapter: { peftType: "FOURIERFT" },
      }),
    /it is an encoder/,
  );
});

test("labelSet counts classes by number, and refuses gaps and numbers that are no class", () => {
  const placed = (labels: readonly (string | number)[]) =>
    labels.map((label, i) => ({ label, place: `line ${i}` }));
  const set = labelSet("classify", placed([0, 2, 1]));
  assert.deepEqual(set.names, ["LABEL_0", "LABEL_1", "LABEL_2"]);
  assert.throws(() => set.targetOf({ label: 3, place: "line 9" }), /label 3 of line 9: .*0..2/);
  assert.throws(() => labelSet("classify", placed([0, 2, 0])), /class 1/);
  assert.throws(() => labelSet("classify", placed([0, 1e9])), /label 1000000000 of line 1/);
  for (const wrong of [-1, 0.5]) assert.throws(() => labelSet("classify", placed([0, 1, wrong])), /line 2/);
  assert.throws(() => labelSet("classify", placed(["a", "b"]), ["a", "a"]), /comes twice/);
  assert.throws(() => labelSet("regress", placed([1]), ["a"]), /names of classes/);
});

test("examplesOfJsonLines reads texts, pairs and labels, and refuses lines without them", async () => {
  async function* bytes(text: string) {
    yield await Promise.resolve(new TextEncoder().encode(text));
  }
  const read = (text: string) => examplesOfJsonLines(bytes(text));
  assert.deepEqual(
    await read('{"text": "a", "label": 1, "id": 3}\n\n{"text": "b", "text_pair": "c", "label": "x"}'),
    [
      { text: "a", label: 1, place: "line 1" },
      { text: "b", textPair: "c", label: "x", place: "line 3" },
    ],
  );
  await assert.rejects(read('{"text": "a", "label": 1}\n{"text": "a"}'), /"label" of line 2: .*absent/);
  await assert.rejects(read('{"text": "a", "label": null}'), /"label" of line 1: .*null/);
  await assert.rejects(read('{"text": "", "label": 1}'), /"text" of line 1: .*empty/);
  await assert.rejects(read('{"sentence": "a", "label": 1}'), /"sentence" of line 1: call it "text"/);
  await assert.rejects(read('{"text": "a"'), /line 1 as JSON/);
  await assert.rejects(read("[]"), /line 1: it must be an object/);
});

test("metrics are scikit-learn's", () => {
  // accuracy_score, f1_score (macro) and matthews_corrcoef of scikit-learn 1.7.
  const labels = [0, 1, 2, 2, 1, 0, 0, 2], predictions = [0, 2, 2, 2, 1, 1, 0, 0];
  const three = classMetrics(confusionOf(labels, predictions, 3));
  assert.deepEqual(three.confusion, [[2, 1, 0], [0, 1, 1], [1, 0, 2]]);
  assert.equal(three.accuracy, 0.625);
  assert.ok(Math.abs(three.f1 - (2 / 3 + 1 / 2 + 2 / 3) / 3) < 1e-12);
  assert.ok(Math.abs(three.matthews - 18 / 42) < 1e-12, `${three.matthews}`);
  const two = classMetrics(confusionOf([1, 1, 0, 0, 1], [1, 0, 0, 1, 1], 2));
  assert.ok(Math.abs(two.f1 - 2 / 3) < 1e-12 && Math.abs(two.matthews - 1 / 6) < 1e-12);
  assert.equal(classMetrics(confusionOf([0, 1], [0, 0], 2)).matthews, 0);
  const numbers = regressionMetrics([1, 2, 3, 4], [1, 4, 9, 16]);
  assert.equal(numbers.mae, 5);
  assert.equal(numbers.mse, 46);
  assert.equal(numbers.spearman, 1);
  assert.ok(Math.abs(numbers.pearson - 0.984374038697697) < 1e-12);
});

test("pearson of a line is 1, of its mirror -1, and of a shift the same", () => {
  const values = fc.array(fc.integer({ min: -99, max: 99 }), { minLength: 2, maxLength: 9 });
  fc.assert(fc.property(values, fc.integer({ min: 1, max: 9 }), (list, factor) => {
    fc.pre(new Set(list).size > 1);
    const line = list.map((value) => factor * value + 3);
    assert.ok(Math.abs(pearson(list, line) - 1) < 1e-9);
    assert.ok(Math.abs(pearson(list, line.map((value) => -value)) + 1) < 1e-9);
  }));
});
