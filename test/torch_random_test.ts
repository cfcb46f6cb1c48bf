import { test } from "node:test";
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import fc from "fast-check";
import { Mt19937, randperm } from "../kernels/torch_random.ts";

interface Case {
  readonly N: number;
  readonly seed: number;
  readonly n: number;
  readonly first8: readonly number[];
  readonly last4: readonly number[];
  readonly sum: number;
  readonly sha256: string;
}

interface Fixture {
  readonly cases: readonly Case[];
  readonly seeds: Readonly<Record<string, { readonly first8: readonly number[] }>>;
}

async function fixture(version: string): Promise<Fixture> {
  return JSON.parse(
    await readFile(new URL(`fixtures/randperm_torch${version}.json`, import.meta.url), "utf8"),
  );
}

for (const [version, torch] of [["1.13", "<=2.5"], ["2.6", ">=2.6"]] as const) {
  test(`randperm gives every list that torch ${version} made`, { timeout: 60_000 }, async () => {
    const { cases } = await fixture(version);
    assert.ok(cases.length >= 50);
    for (const { N, seed, n, first8, last4, sum, sha256 } of cases) {
      const list = randperm(N, { seed, count: n, torch });
      const label = `N ${N}, seed ${seed}, n ${n}`;
      assert.deepEqual([...list.subarray(0, 8)], first8, label);
      assert.deepEqual([...list.subarray(-4)], last4, label);
      assert.equal(list.reduce((total, index) => total + index, 0), sum, label);
      assert.equal(createHash("sha256").update(list.join(",")).digest("hex"), sha256, label);
    }
  });

  test(`randperm takes the seeds that torch ${version} takes, by their low 32 bits`, async () => {
    const { seeds } = await fixture(version);
    assert.equal(Object.keys(seeds).length, 4);
    for (const [seed, { first8 }] of Object.entries(seeds)) {
      assert.deepEqual([...randperm(589824, { seed: BigInt(seed), count: 8, torch })], first8, seed);
      if (!Number.isSafeInteger(Number(seed))) continue;
      assert.deepEqual([...randperm(589824, { seed: Number(seed), count: 8, torch })], first8, seed);
    }
  });
}

test("randperm follows torch 2.6 unless told otherwise", { timeout: 60_000 }, async () => {
  const { cases } = await fixture("2.6");
  const { N, seed, first8 } = cases.find((each) => each.N === 214748364)!;
  assert.deepEqual([...randperm(N, { seed, count: 8 })], first8);
  assert.notDeepEqual([...randperm(N, { seed, count: 8, torch: "<=2.5" })], first8);
});

test("Mt19937's 10,000th word from seed 5489 is the one the C++ standard states", () => {
  const random = new Mt19937(5489);
  for (let i = 1; i < 10_000; i++) random.next();
  assert.equal(random.next(), 4123659995);
});

test("randperm gives distinct entries below the length, and the same ones whatever the count", () => {
  const sizes = fc.integer({ min: 1, max: 2000 }).chain((length) =>
    fc.tuple(fc.constant(length), fc.nat(length))
  );
  fc.assert(fc.property(sizes, fc.maxSafeInteger(), ([length, count], seed) => {
    const all = randperm(length, { seed, count: length });
    assert.deepEqual([...all].sort((a, b) => a - b), Array.from({ length }, (_, i) => i));
    assert.deepEqual(randperm(length, { seed, count }), all.slice(0, count));
    assert.deepEqual(randperm(length, { seed: BigInt(seed) & 0xffffffffn, count }), all.slice(0, count));
  }));
});

test("randperm refuses seeds that are no integer, were rounded, or are none of torch's", () => {
  for (const seed of [NaN, Infinity, 0.5, 2 ** 53, -(2 ** 53), 1e300, 2n ** 64n, -(2n ** 63n) - 1n]) {
    assert.throws(
      () => randperm(8, { seed, count: 8 }),
      { name: "RangeError", message: /its seed is/ },
      `${seed}`,
    );
  }
  assert.deepEqual(randperm(8, { seed: -(2n ** 63n), count: 8 }), randperm(8, { seed: 0, count: 8 }));
});

test("randperm refuses lengths and counts out of range, and takes an empty count", () => {
  for (const length of [-1, 1.5, NaN, 2 ** 32 + 1]) {
    assert.throws(() => randperm(length, { seed: 0, count: 0 }), {
      name: "RangeError",
      message: /its length is/,
    });
  }
  for (const count of [-1, 9, 0.5, NaN]) {
    assert.throws(() => randperm(8, { seed: 0, count }), { name: "RangeError", message: /its count is/ });
  }
  assert.equal(randperm(8, { seed: 0, count: 0 }).length, 0);
});
