/**
 * The example of the paper's tables: its data, its order of examples, and what a few steps learn.
 *
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { headData, inOrder } from "../examples/paper/data.ts";
import { pythonShuffle } from "../examples/paper/python_random.ts";
import { adapterOf, peft, ratesOf, tasks } from "../examples/paper/settings.ts";
import { cpuDevice, trainEncoder } from "../mod.ts";
import { openFolder } from "../src/runtime/mod.ts";

const pathOf = (name: string): string => fileURLToPath(new URL(`../examples/paper/${name}`, import.meta.url));

test("pythonShuffle gives the orders of Python's random.Random(seed).shuffle, one after the other", () => {
  const shuffle = pythonShuffle(3001), digits = Array.from({ length: 10 }, (_, i) => i);
  assert.deepEqual(shuffle(digits), [0, 5, 3, 9, 6, 1, 8, 2, 7, 4]);
  assert.deepEqual(shuffle(digits), [3, 5, 0, 1, 2, 8, 9, 6, 4, 7]);
  const many = pythonShuffle(3000)(Array.from({ length: 5400 }, (_, i) => i));
  assert.deepEqual([...many.slice(0, 5), ...many.slice(-2)], [1177, 2505, 500, 865, 1192, 1039, 5233]);
});

test("the digits' model learns digits it never saw, far above chance in 20 steps", async () => {
  const { training, test, labels } = headData(pathOf("data"), "digits");
  assert.deepEqual([training.length, test.length], [1350, 500]);
  const { setting } = peft.digits.methods["fourierft-200"];
  const { evaluation } = await trainEncoder(cpuDevice(), {
    folder: await openFolder(pathOf("models/vit-tiny")),
    ...{ task: "classify", labels, shuffle: false, steps: 20, warmupSteps: 1, batchSize: 25 },
    examples: inOrder(training, { seed: 0, batch: 25, epochs: 1 }),
    evaluation: test.slice(0, 100),
    adapter: adapterOf("fourierft-200", setting, tasks.digits),
    ...ratesOf(setting),
  });
  const { metrics } = evaluation!;
  assert.ok(metrics.task === "classify" && metrics.accuracy > 0.5, JSON.stringify(metrics));
});
