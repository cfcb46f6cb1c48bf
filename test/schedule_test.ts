/**
 * Learning-rate schedules against transformers' and by their properties.
 *
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { learningRateFactor, type ScheduleName, scheduleNames } from "../src/training/schedule.ts";

interface Run {
  readonly name: ScheduleName;
  readonly warmupSteps: number;
  readonly steps: number;
  /** By transformers 5.17, steps 0 to `steps`. */
  readonly factors: readonly number[];
}

const third = 1 / 3, seventh = 1 / 7;
const cosine = [
  1,
  0.9504844339512095,
  0.8117449009293668,
  0.6112604669781572,
  0.38873953302184283,
  0.18825509907063326,
  0.04951556604879048,
  0,
];

const runs: readonly Run[] = [
  { name: "constant", warmupSteps: 0, steps: 3, factors: [1, 1, 1, 1] },
  { name: "constant", warmupSteps: 3, steps: 5, factors: [0, third, 2 * third, 1, 1, 1] },
  { name: "linear", warmupSteps: 0, steps: 7, factors: [7, 6, 5, 4, 3, 2, 1, 0].map((n) => n * seventh) },
  {
    name: "linear",
    warmupSteps: 3,
    steps: 10,
    factors: [0, third, 2 * third, ...[7, 6, 5, 4, 3, 2, 1, 0].map((n) => n * seventh)],
  },
  { name: "linear", warmupSteps: 4, steps: 4, factors: [0, 0.25, 0.5, 0.75, 0] },
  { name: "linear", warmupSteps: 6, steps: 4, factors: [0, 1 / 6, third, 0.5, 2 * third] },
  { name: "cosine", warmupSteps: 0, steps: 7, factors: cosine },
  { name: "cosine", warmupSteps: 3, steps: 10, factors: [0, third, 2 * third, ...cosine] },
  { name: "cosine", warmupSteps: 4, steps: 4, factors: [0, 0.25, 0.5, 0.75, 1] },
  { name: "cosine", warmupSteps: 6, steps: 4, factors: [0, 1 / 6, third, 0.5, 2 * third] },
];

for (const { name, warmupSteps, steps, factors } of runs) {
  test(`learningRateFactor() ${name}, ${warmupSteps} of ${steps} steps warm-up, is transformers'`, () => {
    factors.forEach((expected, step) => {
      const factor = learningRateFactor(name, { step, steps, warmupSteps });
      assert.ok(Math.abs(factor - expected) < 1e-15, `step ${step}: ${factor}, not ${expected}`);
    });
  });
}

test("learningRateFactor() rises to 1, never again after, and ends at 0 but for constant", () => {
  fc.assert(fc.property(
    fc.constantFrom(...scheduleNames),
    fc.nat(50),
    fc.integer({ min: 1, max: 200 }),
    (name, warmupSteps, rest) => {
      const steps = warmupSteps + rest;
      const at = (step: number): number => learningRateFactor(name, { step, steps, warmupSteps });
      for (let step = 0; step < steps + 20; step++) {
        if (step < warmupSteps) assert.ok(at(step) < at(step + 1), `step ${step}`);
        else assert.ok(at(step) >= at(step + 1), `step ${step}`);
        assert.ok(at(step) >= 0 && at(step) <= 1, `step ${step}`);
      }
      assert.equal(at(warmupSteps), 1);
      assert.equal(at(steps), name === "constant" ? 1 : 0);
    },
  ));
});

test("learningRateFactor() refuses steps that are no whole numbers", () => {
  assert.throws(() => learningRateFactor("linear", { step: -1, steps: 4 }), /Cannot use step -1/);
  assert.throws(() => learningRateFactor("linear", { step: 0, steps: 1.5 }), /Cannot use steps 1.5/);
  assert.throws(
    () => learningRateFactor("cosine", { step: 0, steps: 4, warmupSteps: NaN }),
    /Cannot use warmupSteps NaN/,
  );
});
