import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type Case, casesOf } from "../kernels/cases/mod.ts";
import { add } from "../kernels/add.ts";
import { attention } from "../kernels/attention.ts";
import { embedding } from "../kernels/embedding.ts";
import { bfloat16ToFloat32, float16ToFloat32 } from "../kernels/half.ts";
import { type Kernel, type Launch, normals, portableLimits, type TypedArray } from "../kernels/kernel.ts";
import { linear } from "../kernels/linear.ts";
import { linearBias } from "../kernels/linear_bias.ts";
import { loraLinear } from "../kernels/lora_linear.ts";
import { bitsOf, noSlot } from "../kernels/record.ts";
import { rmsNorm } from "../kernels/rms_norm.ts";
import { rope } from "../kernels/rope.ts";
import { ropeCache } from "../kernels/rope_cache.ts";
import { sample } from "../kernels/sample.ts";
import { siluGate } from "../kernels/silu_gate.ts";
import { siluGateUp } from "../kernels/silu_gate_up.ts";

type Arrays = Record<string, TypedArray>;

/** A linear congruential source of uniform numbers in [0, 1). */
function source(seed: number): () => number {
  let state = seed >>> 0;
  return () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
}

/** Runs both forms of a kernel on copies and gives each one's arrays. */
function both<B extends string, U extends string>(
  kernel: Kernel<B, U>,
  arrays: Record<B, TypedArray>,
  uniforms: Record<U, number>,
): Record<B, TypedArray>[] {
  return [kernel.reference, kernel.cpu ?? kernel.reference].map((run) => {
    const copies = Object.fromEntries(
      Object.entries<TypedArray>(arrays).map(([name, array]) => [name, array.slice()]),
    ) as Record<B, TypedArray>;
    run(copies, uniforms);
    return copies;
  });
}

function distance(a: TypedArray, b: TypedArray): number {
  let difference = 0, size = 0;
  for (let i = 0; i < b.length; i++) {
    difference += (a[i] - b[i]) ** 2;
    size += b[i] ** 2;
  }
  return Math.sqrt(difference / (size || 1));
}

function close(a: TypedArray, b: readonly number[] | TypedArray, tolerance = 1e-6): void {
  assert.equal(a.length, b.length);
  a.forEach((value: number, i: number) => {
    assert.ok(
      Math.abs(value - b[i]) <= tolerance * (1 + Math.abs(b[i])),
      `element ${i}: ${value}, expected ${b[i]}`,
    );
  });
}

const all = [
  add,
  attention,
  embedding,
  linear,
  linearBias,
  loraLinear,
  rmsNorm,
  rope,
  ropeCache,
  sample,
  siluGate,
  siluGateUp,
] as unknown as Kernel[];

/** A case's arrays as a CPU has them, with 16-bit floats widened. */
function widened(kernel: Kernel, { make, dtypes }: Case, random: () => number): Arrays {
  return Object.fromEntries(
    Object.entries(make(random)).map(([name, array]) => {
      const dtype = dtypes?.[name] ?? kernel.buffers[name].dtypes[0];
      if (dtype === "float16") return [name, float16ToFloat32(array as Uint16Array)];
      return [name, dtype === "bfloat16" ? bfloat16ToFloat32(array as Uint16Array) : array];
    }),
  );
}

test("Kernel.cpu gives what Kernel.reference gives, for every case", () => {
  for (const kernel of all) {
    for (const one of casesOf(kernel).cases) {
      const arrays = widened(kernel, one, source(11));
      const [expected, got] = both(kernel, arrays, one.uniforms);
      for (const [name, { access }] of Object.entries(kernel.buffers)) {
        if (access === "read") assert.deepEqual(got[name], arrays[name], `${kernel.name} wrote to ${name}`);
        else {
          const off = distance(got[name], expected[name]);
          assert.ok(off <= kernel.tolerance, `${kernel.name}, ${one.name}: ${name} is off by ${off}`);
        }
      }
    }
  }
});

test("Kernel.launch stays within portable limits and binds each buffer once, for every case and bench", () => {
  for (const kernel of all) {
    const { cases, benches } = casesOf(kernel);
    for (const { name, uniforms, dtypes } of [...cases, ...benches]) {
      const usual = Object.entries(kernel.buffers).map(([buffer, { dtypes }]) => [buffer, dtypes[0]]);
      const launch = kernel.launch(
        { uniforms, dtypes: { ...Object.fromEntries(usual), ...dtypes } },
        portableLimits,
      );
      const bound = launch.dispatches.flatMap(({ bindings }) => bindings.map((binding) => binding.name));
      const known = [...Object.keys(kernel.buffers), ...Object.keys(launch.scratch ?? {})];
      assert.deepEqual(new Set(bound), new Set(known), `${kernel.name}, ${name}`);
      for (const { bindings, grid } of launch.dispatches) {
        assert.equal(new Set(bindings.map((b) => b.name)).size, bindings.length, `${kernel.name}, ${name}`);
        assert.ok(bindings.length <= 8);
        assert.ok(grid.every((size) => size >= 1 && size <= 65535), `${kernel.name}, ${name}: ${grid}`);
      }
    }
  }
});

/** Threads of a launch's last dispatch. */
function threadsOf({ dispatches }: Launch): number {
  return Number(/@workgroup_size\((\d+)\)/.exec(dispatches.at(-1)!.wgsl)![1]);
}

test("sample.launch and rmsNorm.launch take more threads where limits have room for them", () => {
  const threads = (invocations: number, workgroupStorageBytes: number): [sampling: number, norm: number] => {
    const limits = { ...portableLimits, invocations, workgroupStorageBytes };
    const sampling = { logits: "float32", params: "float32", tokens: "uint32" } as const;
    const norm = { x: "float32", weight: "float16", y: "float32" } as const;
    return [
      threadsOf(sample.launch({ uniforms: { rows: 1, vocab: 128256 }, dtypes: sampling }, limits)),
      threadsOf(rmsNorm.launch({ uniforms: { rows: 1, dim: 2048, eps: 0 }, dtypes: norm }, limits)),
    ];
  };
  assert.deepEqual(threads(256, 16384), [256, 256]);
  assert.deepEqual(threads(1024, 16384), [256, 512]);
  assert.deepEqual(threads(1024, 32768), [512, 512]);
  assert.deepEqual(threads(1024, 49152), [1024, 512]);
});

test("embedding copies rows, and gives zeros for an id past the end", () => {
  const y = new Float32Array(6).fill(NaN);
  embedding.reference(
    { ids: new Uint32Array([2, 3, 0]), weight: new Float32Array([1, 2, 3, 4, 5, 6]), y },
    { rows: 3, dim: 2, vocab: 3 },
  );
  assert.deepEqual([...y], [5, 6, 0, 0, 1, 2]);
});

test("rmsNorm of (3, 4) by weight (1, 2) is as computed by hand", () => {
  const y = new Float32Array(2).fill(NaN);
  rmsNorm.reference(
    { x: new Float32Array([3, 4]), weight: new Float32Array([1, 2]), y },
    { rows: 1, dim: 2, eps: 0 },
  );
  close(y, [3 / Math.sqrt(12.5), 8 / Math.sqrt(12.5)]);
});

test("rmsNorm of a row whose squares overflow is NaN, not zeros", () => {
  const x = new Float32Array([1e20, -3, 0, 1, 1e15, 2]), weight = new Float32Array([1, 1]);
  const y = new Float32Array(6);
  rmsNorm.reference({ x, weight, y }, { rows: 3, dim: 2, eps: 0 });
  assert.deepEqual([...y.subarray(0, 2)], [NaN, NaN]);
  assert.ok(y.subarray(2).every(Number.isFinite));
});

test("rope turns (1, 0) to cosine and sine, keeps lengths, and products depend on distance alone", () => {
  const angles = [1, 0.1];
  const table = Float32Array.from(
    { length: 32 * 4 },
    (_, i) => [Math.cos, Math.sin][i % 2](Math.floor(i / 4) * angles[(i >> 1) & 1]),
  );
  const turned = (x: Float32Array, position: number): Float32Array => {
    const copy = x.slice();
    rope.reference(
      { x: copy, table, positions: new Uint32Array([position]) },
      { rows: 1, heads: 1, headDim: 4, rotaryDim: 4 },
    );
    return copy;
  };
  const dot = (a: Float32Array, b: Float32Array): number => a.reduce((sum, v, i) => sum + v * b[i], 0);
  close(turned(new Float32Array([1, 0, 0, 0]), 3), [Math.cos(3), 0, Math.sin(3), 0]);
  close(turned(new Float32Array([0, 0, 0, 1]), 3), [0, -Math.sin(0.3), 0, Math.cos(0.3)]);
  fc.assert(fc.property(fc.nat(9), fc.nat(9), fc.nat(9), fc.integer(), (p, q, shift, seed) => {
    const random = source(seed);
    const a = normals(4, random), b = normals(4, random);
    assert.ok(Math.abs(dot(turned(a, p), turned(a, p)) - dot(a, a)) < 1e-5 * (1 + dot(a, a)));
    const here = dot(turned(a, p), turned(b, q));
    assert.ok(Math.abs(here - dot(turned(a, p + shift), turned(b, q + shift))) < 1e-4);
  }));
});

test("ropeCache is rope of q and k, with k and v written where the index says, and no further", () => {
  const sizes = { heads: 3, kvHeads: 2, headDim: 4 };
  const [width, kvWidth] = [12, 8];
  const random = source(3);
  const qkv = normals(3 * (width + 2 * kvWidth), random);
  const table = normals(6 * 4, random);
  const positions = new Uint32Array([5, 0, 2]);
  const keys = normals(2 * kvWidth, random), values = normals(2 * kvWidth, random);
  const got = { qkv: qkv.slice(), keys: keys.slice(), values: values.slice() };
  // The second row is past the cache's end, and the cache's first row nobody's.
  const index = new Uint32Array([1, 2, 7]);
  ropeCache.reference({ ...got, table, positions, index }, { rows: 3, ...sizes, rotaryDim: 4, cacheRows: 2 });
  for (let r = 0; r < 3; r++) {
    const row = qkv.subarray(r * 28, (r + 1) * 28);
    const turned = row.slice(0, width + kvWidth);
    rope.reference(
      { x: turned, table, positions: positions.subarray(r, r + 1) },
      { rows: 1, heads: 5, headDim: 4, rotaryDim: 4 },
    );
    assert.deepEqual(got.qkv.subarray(r * 28, r * 28 + width), turned.subarray(0, width));
    assert.deepEqual(got.qkv.subarray(r * 28 + width, (r + 1) * 28), row.subarray(width));
    if (r > 0) continue;
    assert.deepEqual(got.keys.subarray(kvWidth), turned.subarray(width));
    assert.deepEqual(got.values.subarray(kvWidth), row.subarray(width + kvWidth));
  }
  assert.deepEqual(got.keys.subarray(0, kvWidth), keys.subarray(0, kvWidth));
  assert.deepEqual(got.values.subarray(0, kvWidth), values.subarray(0, kvWidth));
});

test("siluGate of gates 0, 2 and -1000 is as computed by hand", () => {
  const y = new Float32Array(3).fill(NaN);
  siluGate.reference(
    { gate: new Float32Array([0, 2, -1000]), up: new Float32Array([5, 3, 1]), y },
    { count: 3 },
  );
  close(y, [0, 6 / (1 + Math.exp(-2)), 0]);
});

test("siluGateUp gates each row's second half by its first, as siluGate does", () => {
  const gate = normals(6, source(1), 3), up = normals(6, source(2));
  const y = new Float32Array(6).fill(NaN), expected = y.slice();
  const rows = [0, 1].flatMap((r) => [...gate.subarray(3 * r, 3 * r + 3), ...up.subarray(3 * r, 3 * r + 3)]);
  siluGateUp.reference({ gateUp: Float32Array.from(rows), y }, { rows: 2, dim: 3 });
  siluGate.reference({ gate, up, y: expected }, { count: 6 });
  assert.deepEqual(y, expected);
});

test("attention to one key gives its value, whatever the query", () => {
  const values = normals(4 * 2 * 3, source(5));
  const arrays = {
    q: normals(4 * 3, source(1)),
    keys: normals(4 * 2 * 3, source(2)),
    values,
    blockTable: new Uint32Array([0, 1, 2, 3]),
    first: new Uint32Array([3]),
    lastKey: new Uint32Array([0]),
    y: new Float32Array(12).fill(NaN),
  };
  const uniforms = {
    rows: 1,
    heads: 4,
    kvHeads: 2,
    headDim: 3,
    qStride: 12,
    cacheRows: 4,
    ...{ blockSize: 1, tableSize: 4 },
    window: 0,
    scale: 1,
    softcap: 0,
  };
  const [a, b] = [values.subarray(18, 21), values.subarray(21, 24)];
  for (const { y } of both(attention, arrays, uniforms)) close(y, [...a, ...a, ...b, ...b]);
});

test("attention with equal keys gives the mean of the values from first to first + position", () => {
  fc.assert(fc.property(fc.integer({ min: 1, max: 9 }), fc.nat(8), fc.integer(), (cacheRows, at, seed) => {
    const random = source(seed);
    const position = at % cacheRows, first = Math.floor(random() * (cacheRows - position));
    const values = normals(cacheRows * 2, random);
    const arrays = {
      q: normals(2, random),
      keys: new Float32Array(cacheRows * 2).fill(0.5),
      values,
      blockTable: Uint32Array.from({ length: cacheRows }, (_, i) => i),
      first: new Uint32Array([first]),
      lastKey: new Uint32Array([position]),
      y: new Float32Array(2).fill(NaN),
    };
    const uniforms = {
      rows: 1,
      heads: 1,
      kvHeads: 1,
      headDim: 2,
      qStride: 2,
      cacheRows,
      ...{ blockSize: 1, tableSize: cacheRows },
      window: 0,
      scale: 1,
      softcap: 0,
    };
    const mean = [0, 1].map((i) => {
      let sum = 0;
      for (let j = first; j <= first + position; j++) sum += values[2 * j + i];
      return sum / (position + 1);
    });
    for (const { y } of both(attention, arrays, uniforms)) close(y, mean, 1e-5);
  }));
});

test("attention weighs two keys by the softmax of scaled products, and huge scores do not overflow", () => {
  const arrays = {
    q: new Float32Array([2, 1e4]),
    keys: new Float32Array([1, 3]),
    values: new Float32Array([10, 20]),
    blockTable: new Uint32Array([0, 1]),
    first: new Uint32Array([0, 0]),
    lastKey: new Uint32Array([1, 1]),
    y: new Float32Array(2).fill(NaN),
  };
  const uniforms = {
    rows: 2,
    heads: 1,
    kvHeads: 1,
    headDim: 1,
    qStride: 1,
    cacheRows: 2,
    ...{ blockSize: 1, tableSize: 2 },
    window: 0,
    scale: 0.5,
    softcap: 0,
  };
  const e = Math.exp(-2);
  for (const { y } of both(attention, arrays, uniforms)) close(y, [(10 * e + 20) / (1 + e), 20]);
});

test("attention.launch refuses head sizes and groups it has no room for", () => {
  const dtypes = {
    q: "float32",
    keys: "float32",
    values: "float32",
    blockTable: "uint32",
    first: "uint32",
    lastKey: "uint32",
    y: "float32",
  } as const;
  const launch = (headDim: number, kvHeads: number) => () =>
    attention.launch({
      uniforms: {
        rows: 1,
        heads: 4,
        kvHeads,
        headDim,
        qStride: 4 * headDim,
        cacheRows: 8,
        ...{ blockSize: 1, tableSize: 8 },
        window: 0,
        scale: 1,
        softcap: 0,
      },
      dtypes,
    }, portableLimits);
  assert.throws(launch(257, 4), RangeError);
  assert.throws(launch(64, 3), RangeError);
  launch(256, 4)();
});

test("linear and linearBias agree with a product in another order of loops", () => {
  const size = fc.integer({ min: 1, max: 21 });
  fc.assert(fc.property(size, size, size, fc.boolean(), fc.integer(), (rows, n, out, accumulate, seed) => {
    const random = source(seed);
    const x = normals(rows * n, random), weight = normals(out * n, random), bias = normals(out, random);
    const y = accumulate ? normals(rows * out, random) : new Float32Array(rows * out).fill(NaN);
    const plain = Float64Array.from(y, (v) => accumulate ? v : 0);
    for (let k = 0; k < n; k++) {
      for (let i = 0; i < rows * out; i++) {
        plain[i] += x[Math.floor(i / out) * n + k] * weight[(i % out) * n + k];
      }
    }
    const uniforms = { rows, in: n, out, accumulate: Number(accumulate) };
    for (const result of both(linear, { x, weight, y }, uniforms)) close(result.y, [...plain], 1e-5);
    const biased = [...plain].map((v, i) => v + bias[i % out]);
    for (const result of both(linearBias, { x, weight, bias, y }, uniforms)) close(result.y, biased, 1e-5);
  }));
});

const noBias = { x: "float32", weight: "float16", y: "float32" } as const;

test("linear.launch keeps one dispatch with workgroups for all outputs, from one row to thousands", () => {
  for (const rows of [1, 2, 3, 8, 9, 32, 33, 200, 4096]) {
    const uniforms = { rows, in: 64, out: 4096, accumulate: 0 };
    const { dispatches } = linear.launch({ uniforms, dtypes: noBias }, portableLimits);
    assert.equal(dispatches.length, 1);
    const [x, y, z] = dispatches[0].grid;
    assert.ok(x * y * z * 128 * 128 >= rows * 4096);
  }
  assert.throws(
    () =>
      linear.launch({ uniforms: { rows: 1, in: 0, out: 4, accumulate: 0 }, dtypes: noBias }, portableLimits),
    RangeError,
  );
});

test("sample takes the largest logit at temperature 0 and with top_k 1 or top_p 0, the first among equals", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 40 }),
      fc.double({ min: 0, max: 0.999 }),
      fc.integer(),
      (n, u, seed) => {
        const logits = normals(n, source(seed));
        const best = logits.indexOf(Math.max(...logits));
        const params = new Float32Array([0, 1, 0, u, -1, 1, 1, 1, u, -1, 1, 0, 0, u, -1]);
        const tokens = new Uint32Array(3);
        const rows = new Float32Array([...logits, ...logits, ...logits]);
        sample.reference({ logits: rows, params, tokens }, { rows: 3, vocab: n });
        assert.deepEqual([...tokens], [best, best, best]);
      },
    ),
  );
  const tokens = new Uint32Array(1);
  const tied = { logits: new Float32Array([1, 7, 7]), params: new Float32Array([0, 1, 0, 0.9, -1]), tokens };
  sample.reference(tied, { rows: 1, vocab: 3 });
  assert.equal(tokens[0], 1);
});

/** How often each token comes, over a grid of u. */
function shares(logits: number[], [temperature, topP, topK, depth = -1]: readonly number[]): number[] {
  const rows = 1000;
  const tokens = new Uint32Array(rows);
  const params = Array.from({ length: rows }, (_, i) => [temperature, topP, topK, (i + 0.5) / rows, depth])
    .flat();
  sample.reference(
    {
      logits: new Float32Array(Array(rows).fill(logits).flat()),
      params: new Float32Array(params),
      tokens,
    },
    { rows, vocab: logits.length },
  );
  return logits.map((_, token) => tokens.filter((t) => t === token).length / rows);
}

test("sample draws each token in proportion to its probability, after temperature, top_k, top_p and depth", () => {
  const log = [0.5, 0.2, 0.3].map(Math.log);
  close(new Float32Array(shares(log, [1, 1, 0])), [0.5, 0.2, 0.3], 2e-3);
  close(new Float32Array(shares(log, [0.5, 1, 0])), [25 / 38, 4 / 38, 9 / 38], 2e-3);
  close(new Float32Array(shares(log, [1, 1, 2])), [5 / 8, 0, 3 / 8], 2e-3);
  close(new Float32Array(shares(log, [1, 0.75, 0])), [5 / 8, 0, 3 / 8], 2e-3);
  close(new Float32Array(shares(log, [1, 0.4, 0])), [1, 0, 0]);
  close(new Float32Array(shares(log, [1, 1, 0, Math.log(0.5 / 0.25)])), [5 / 8, 0, 3 / 8], 2e-3);
  close(new Float32Array(shares(log, [1, 1, 0, 0])), [1, 0, 0]);
  close(new Float32Array(shares(log, [1, 0.6, 0, Math.log(0.5 / 0.25)])), [1, 0, 0]);
  // Of the two that top_k keeps, the first has 5/8 and so reaches 0.6 alone.
  close(new Float32Array(shares(log, [1, 0.6, 2])), [1, 0, 0]);
});

test("sample has no token for a row with a logit that is NaN or infinite, whatever is asked for", () => {
  for (const bad of [NaN, Infinity, -Infinity]) {
    for (const choice of [[0, 1, 0], [1, 1, 0], [1, 0.5, 0], [1, 1, 1]]) {
      const logits = new Float32Array([1, 2, bad, 1, 2, 3]), tokens = new Uint32Array(2);
      const params = new Float32Array([...choice, 0.5, -1, ...choice, 0, -1]);
      sample.reference({ logits, params, tokens }, { rows: 2, vocab: 3 });
      assert.equal(tokens[0], 0xffffffff);
      assert.ok(tokens[1] < 3);
    }
  }
});

test("loraLinear adds scale B A x of the row's slot and linear, and nothing where there is no adapter", () => {
  // Layer 1, slot 0: A = (1, 2), B = (3; 4), scale 0.5; slot 1 has rank 0.
  const records = new Uint32Array(16);
  records.set([0, 1, 1, bitsOf(0.5)], 8);
  const arrays = {
    x: new Float32Array([1, 1, 1, 1, 1, 1, 10, 0]),
    slots: new Uint32Array([0, 1, noSlot, 0]),
    records,
    values: new Float32Array([NaN, 1, 2, 3, 4]),
    y: new Float32Array([1, 1, 1, 1, 1, 1, 1, 1]),
  };
  const uniforms = { rows: 4, in: 2, out0: 2, out1: 0, out2: 0, linear: 1, capacity: 2 };
  for (const { y } of both(loraLinear, arrays, uniforms)) {
    assert.deepEqual([...y], [1 + 4.5, 1 + 6, 1, 1, 1, 1, 1 + 15, 1 + 20]);
  }
});

test("add adds in place", () => {
  const y = new Float32Array([1, 2]);
  add.reference({ x: new Float32Array([10, 20]), y }, { count: 2 });
  assert.deepEqual([...y], [11, 22]);
});
