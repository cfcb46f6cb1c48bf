import assert from "node:assert/strict";
import { test } from "node:test";
import { lookPatiently } from "../src/runtime/dawn_looks.ts";

/** A native function without a name, as Dawn's are: what settles a promise. */
function look(): { call: () => void; called: Promise<unknown> } {
  const { promise, resolve } = Promise.withResolvers<unknown>();
  return { call: resolve as () => void, called: promise };
}

test("lookPatiently calls each of Dawn's looks once, at times after a timer, and leaves others' calls alone", async () => {
  const scope = globalThis as { setImmediate: (callback: unknown, ...args: unknown[]) => unknown };
  const original = scope.setImmediate;
  const immediate: unknown[] = [];
  // What runs before lookPatiently stands for the runtime's own.
  scope.setImmediate = (callback, ...args) => {
    immediate.push(callback);
    return original(callback, ...args);
  };
  try {
    lookPatiently();
    const looks = Array.from({ length: 64 }, look);
    assert.equal(looks[0].call.name, "");
    for (const { call } of looks) scope.setImmediate(call);
    await Promise.all(looks.map(({ called }) => called));
    assert.equal(immediate.length, 60, "four of 64 looks wait for a timer");
    const given = await new Promise((resolve) =>
      scope.setImmediate((...args: unknown[]) => resolve(args), 1, "two")
    );
    assert.deepEqual(given, [1, "two"]);
    assert.equal(immediate.length, 61);
    const patient = scope.setImmediate;
    lookPatiently();
    assert.equal(scope.setImmediate, patient, "a second call changes nothing");
  } finally {
    scope.setImmediate = original;
  }
});
