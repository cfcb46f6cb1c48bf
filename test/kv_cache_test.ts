/**
 * Formats of the key-value cache: what they hold, and that a model says the same with them within their error.
 *
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { attention } from "../kernels/attention.ts";
import { type CacheFormat, packed, unpacked } from "../kernels/caches/format.ts";
import { cacheFormats } from "../kernels/caches/mod.ts";
import { ropeCache } from "../kernels/rope_cache.ts";
import { type KvCacheDtype, openModel, type TokenLogprobs } from "../mod.ts";
import { openServed } from "../src/cli/serve_open.ts";
import { cpuDevice } from "../src/device/cpu.ts";
import type { Device } from "../src/device/device.ts";
import { step } from "../src/plan.ts";
import { openFolder } from "../src/runtime/mod.ts";
import { tensor } from "../src/tensor.ts";
import { goldenCases } from "./demo_model.ts";
import { everyDevice } from "./devices.ts";

const packedFormats = [cacheFormats.float16, cacheFormats.int8];

/** Numbers of every size that float32 has, and those at which formats change their ways. */
const numbers = fc.oneof(
  // Beyond, 127 times a rounded 127th may have no float32.
  fc.float({ min: -(2 ** 126), max: 2 ** 126, noNaN: true }),
  fc.float({ min: -8, max: 8, noNaN: true }),
  fc.constantFrom(0, -0, 65504, -65504, 65519.996, 65520, 2 ** -14, 2 ** -24, 2 ** -25, 1e-30, 1e-38, 8e37),
);

const cases = fc.record({
  cacheRows: fc.integer({ min: 1, max: 3 }),
  kvHeads: fc.integer({ min: 1, max: 3 }),
  headDim: fc.integer({ min: 1, max: 21 }),
}).chain((sizes) => {
  const { cacheRows, kvHeads, headDim } = sizes, length = cacheRows * kvHeads * headDim;
  return fc.record({
    sizes: fc.constant(sizes),
    values: fc.array(numbers, { minLength: length, maxLength: length }),
  });
});

/** The most that a number may be off by; float16's largest number stands for all beyond. */
function boundOf({ name, error }: CacheFormat, value: number, head: Float32Array): number {
  const most = head.reduce((largest, one) => Math.max(largest, Math.abs(one)), 0);
  const beyond = name === "float16" ? Math.max(0, Math.abs(value) - 65504) : 0;
  return error.relative * (error.to === "head" ? most : Math.abs(value)) + error.smallest + beyond;
}

for (const format of packedFormats) {
  test(`${format.name} caches give numbers back within the format's stated error`, () => {
    fc.assert(fc.property(cases, ({ sizes, values }) => {
      const written = Float32Array.from(values), { headDim } = sizes;
      const read = unpacked(format, packed(format, written, sizes), sizes);
      written.forEach((value, i) => {
        const begin = i - i % headDim;
        const bound = boundOf(format, value, written.subarray(begin, begin + headDim));
        assert.ok(
          Math.abs(read[i] - value) <= bound,
          `${value} became ${read[i]}, which ${bound} allows not`,
        );
      });
    }));
  });

  test(`${format.name} caches keep other heads when a head is written`, () => {
    fc.assert(fc.property(cases, fc.nat(), ({ sizes, values }, at) => {
      const { cacheRows, kvHeads, headDim } = sizes, cache = packed(format, Float32Array.from(values), sizes);
      const before = unpacked(format, cache, sizes), head = at % (cacheRows * kvHeads);
      const place = { row: Math.floor(head / kvHeads), head: head % kvHeads };
      format.write(cache, place, new Float32Array(headDim).fill(1), sizes);
      const after = unpacked(format, cache, sizes);
      after.forEach((number, i) => {
        if (Math.floor(i / headDim) !== head) assert.equal(number, before[i]);
        else assert.ok(Math.abs(number - 1) < 1e-6);
      });
    }));
  });
}

test("float16 caches round to the nearest, of two to the even one, as IEEE 754 does", () => {
  const sizes = { cacheRows: 1, kvHeads: 1, headDim: 5 };
  const values = Float32Array.of(1 + 2 ** -11, 1 + 3 * 2 ** -11, 1 + 2 ** -11 + 2 ** -20, 65519, 1e9);
  const read = unpacked(cacheFormats.float16, packed(cacheFormats.float16, values, sizes), sizes);
  assert.deepEqual([...read], [1, 1 + 2 ** -9, 1 + 2 ** -10, 65504, 65504]);
});

const lost = [NaN, Infinity, -Infinity];
const sizes = { rows: 1 + 2 * lost.length, heads: 2, kvHeads: 2, headDim: 8, cacheRows: 8 };

/**
 * What rows attend to that have a key each: (rows, heads, headDim). Head 0 of each row but the first has a number in its value,
 * or its key, that is not finite.
 */
async function attendedOf(device: Device, format: CacheFormat): Promise<Float32Array> {
  const { rows, heads, kvHeads, headDim, cacheRows } = sizes, width = (heads + 2 * kvHeads) * headDim;
  const numbers = Float32Array.from({ length: rows * width }, (_, i) => 1 + i % 7);
  for (let row = 1; row < rows; row++) {
    const head = heads + (row % 2 === 0 ? 0 : kvHeads);
    numbers[row * width + head * headDim + 3] = lost[(row - 1) >> 1];
  }
  const up = (data: Float32Array | Uint32Array) => device.upload(tensor(data));
  const each = Uint32Array.from({ length: rows }, (_, row) => row), none = up(new Uint32Array(rows));
  const [dtype] = format.buffer.dtypes, cache = [cacheRows, format.rowElements(sizes)];
  const qkv = up(numbers), keys = device.alloc(cache, dtype), values = device.alloc(cache, dtype);
  const table = up(Float32Array.of(1, 0, 1, 0, 1, 0, 1, 0)),
    y = device.alloc([rows, heads, headDim], "float32");
  const program = await device.prepare([
    step(ropeCache.of(format), { qkv, table, positions: none, index: up(each), keys, values }, {
      ...sizes,
      rotaryDim: headDim,
    }),
    step(
      attention.of(format),
      { q: qkv, keys, values, y, blockTable: up(each), first: up(each), lastKey: none },
      { ...sizes, qStride: width, blockSize: 1, tableSize: rows, window: 0, scale: 1, softcap: 0 },
    ),
  ]);
  return await device.runAndRead(program, y) as Float32Array;
}

for (const [name, device] of await everyDevice()) {
  test(`caches of every format hide no number that is not finite, on ${name}`, async () => {
    for (const format of Object.values(cacheFormats)) {
      const y = await attendedOf(device, format), { rows, heads, headDim } = sizes;
      for (let head = 0; head < rows * heads; head++) {
        const isFinite = y.subarray(head * headDim, (head + 1) * headDim).every(Number.isFinite);
        assert.equal(isFinite, head < heads || head % heads !== 0, `${format.name}: head ${head}`);
      }
    }
  });
}

/** How far the log-probabilities of a golden continuation may be from those of a float32 cache: about five times what they are. */
const tolerances = { float32: 0, float16: 0.01, int8: 0.15 } as const satisfies Record<KvCacheDtype, number>;

/** The log-probabilities of a prompt's tokens by the demo model, and its likeliest tokens. */
async function logprobsOf(kvCacheDtype: KvCacheDtype, promptTokenIds: readonly number[]) {
  const device = cpuDevice();
  const folder = await openFolder(fileURLToPath(new URL("../examples/demo/base", import.meta.url)));
  const engineOptions = { kvCacheDtype, maxSequences: 1, maxStepTokens: 32 };
  const { engine } = await openModel(device, { folder, engine: engineOptions });
  assert.equal(engine.kvCacheDtype, kvCacheDtype);
  const request = { promptTokenIds, maxTokens: 1, promptLogprobs: true, logprobs: 2 };
  const sampling = { temperature: 0, topP: 1, topK: 0 };
  let found: readonly (TokenLogprobs | null)[] = [];
  for await (const event of engine.generate({ ...request, sampling })) {
    if (event.kind === "prompt") found = event.logprobs;
  }
  device.destroy();
  return { logprobs: found.slice(1).map((one) => one!), bytes: engine.cacheBytes };
}

test("the demo model says transformers' text over every cache, as far as its margins allow", async () => {
  const { prompt_token_ids: prompt, token_ids: golden } = goldenCases()[0];
  const tokens = [...prompt, ...golden];
  const exact = await logprobsOf("float32", tokens);
  assert.deepEqual(exact.logprobs.slice(prompt.length - 1).map(({ top: [{ tokenId }] }) => tokenId), golden);
  for (const dtype of ["float16", "int8"] as const) {
    const { logprobs, bytes } = await logprobsOf(dtype, tokens), tolerance = tolerances[dtype];
    let worst = 0, decided = 0;
    logprobs.forEach(({ logprob, top: [first] }, i) => {
      const { logprob: expected, top: [likeliest, next] } = exact.logprobs[i];
      worst = Math.max(worst, Math.abs(logprob - expected));
      if (likeliest.logprob - next.logprob <= 2 * tolerance) return;
      decided++;
      assert.equal(first.tokenId, likeliest.tokenId, `${dtype}: token ${i}`);
    });
    assert.ok(worst > 0 && worst <= tolerance, `${dtype}: log-probabilities are off by ${worst}`);
    // Most tokens have a margin, so that the comparison says something.
    assert.ok(decided > logprobs.length / 2, `${dtype}: ${decided} of ${logprobs.length}`);
    assert.equal(bytes / exact.bytes, dtype === "float16" ? 1 / 2 : 9 / 32);
  }
});

test("an encoder is not served with a format of a cache, for it has none", async () => {
  const base = fileURLToPath(new URL("fixtures/families/bert/base", import.meta.url));
  await assert.rejects(
    openServed(cpuDevice(), {
      ...{ id: "bert", folder: await openFolder(base), pins: new Set() },
      kvCacheDtype: "int8",
    }),
    {
      name: "ConfigError",
      message: "Cannot serve model bert with a key-value cache of int8: an encoder has none",
    },
  );
});
