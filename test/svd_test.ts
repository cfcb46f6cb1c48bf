/**
 * The singular value decomposition by its properties: vectors of length 1 at right angles, values in order, and the product.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { normals } from "../kernels/kernel.ts";
import { breathe } from "../src/breathe.ts";
import { svd } from "../src/adapters/svd.ts";
import { inSlices } from "../src/breathe.ts";
import { uniforms } from "../src/engine/random.ts";

interface Shape {
  readonly out: number;
  readonly in: number;
}

/** The largest part of Q Q^T that is not the identity's, of the rows of Q. */
function skew(rows: Float64Array, count: number): number {
  const width = rows.length / count;
  let most = 0;
  for (let i = 0; i < count; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = i === j ? -1 : 0;
      for (let k = 0; k < width; k++) sum += rows[i * width + k] * rows[j * width + k];
      most = Math.max(most, Math.abs(sum));
    }
  }
  return most;
}

/** Decomposes a matrix and checks all that a decomposition has to be. */
async function checked(a: ArrayLike<number>, shape: Shape) {
  const { out, in: inSize } = shape, made = await svd(a, shape), { u, s, v } = made, n = s.length;
  assert.equal(n, Math.min(out, inSize));
  assert.ok(s.every((value, k) => value >= 0 && (k === 0 || value <= s[k - 1])), `${s}`);
  assert.ok(Math.max(skew(u, n), skew(v, n)) < 1e-13, `${shape.out} x ${shape.in}: not at right angles`);
  const largest = s[0] || 1;
  for (let o = 0; o < out; o++) {
    for (let i = 0; i < inSize; i++) {
      let sum = 0;
      for (let k = 0; k < n; k++) sum += u[k * out + o] * (s[k] / largest) * v[k * inSize + i];
      const off = Math.abs(sum - a[o * inSize + i] / largest);
      assert.ok(off < 1e-13, `${shape.out} x ${shape.in}: element (${o}, ${i}) is off by ${off}`);
    }
  }
  return made;
}

test("svd gives the product and vectors at right angles, of any shape", async () => {
  const size = fc.integer({ min: 1, max: 24 });
  await fc.assert(
    fc.asyncProperty(size, size, fc.integer(), async (out, inSize, seed) => {
      await checked(normals(out * inSize, uniforms(seed)), { out, in: inSize });
    }),
    { numRuns: 100 },
  );
});

test("svd takes a matrix larger than the turns that are kept", async () => {
  const shape = { out: 300, in: 240 };
  await checked(normals(shape.out * shape.in, uniforms(2)), shape);
});

const square = (n: number, at: (row: number, column: number) => number): Float64Array =>
  Float64Array.from({ length: n * n }, (_, i) => at(Math.floor(i / n), i % n));

const special: readonly (readonly [name: string, a: Float64Array, shape: Shape])[] = [
  ["zeros", new Float64Array(20), { out: 4, in: 5 }],
  ["ones", square(9, () => 1), { out: 9, in: 9 }],
  ["the identity", square(7, (r, c) => Number(r === c)), { out: 7, in: 7 }],
  ["a shift, whose last row is zero", square(8, (r, c) => Number(c === r + 1)), { out: 8, in: 8 }],
  ["a bidiagonal with a zero inside", square(6, (r, c) => r === c ? Number(r !== 2) : Number(c === r + 1)), {
    out: 6,
    in: 6,
  }],
  ["one column", Float64Array.of(3, 0, -4), { out: 3, in: 1 }],
  ["rows from 1 to 1e-30", square(8, (r, c) => Math.sin(1 + r * 8 + c) * 10 ** (-30 * r / 7)), {
    out: 8,
    in: 8,
  }],
  ["numbers of 1e-200", square(6, (r, c) => 1e-200 * Math.sin(1 + r * 6 + c)), { out: 6, in: 6 }],
  ["numbers of 1e200", square(6, (r, c) => 1e200 * Math.sin(1 + r * 6 + c)), { out: 6, in: 6 }],
];

for (const [name, a, shape] of special) {
  test(`svd decomposes ${name}`, async () => void await checked(a, shape));
}

test("svd knows the values of a matrix that is made of them", async () => {
  // Rows and columns of a permutation: the values are those of the diagonal, with signs.
  const values = [5, 3, 3, 0.25, 0];
  const a = new Float64Array(25);
  values.forEach((value, k) => a[k * 5 + (k * 2 + 1) % 5] = k % 2 ? -value : value);
  const { s } = await checked(a, { out: 5, in: 5 });
  assert.deepEqual([...s].map((value) => Math.round(value * 1e12) / 1e12), values);
});

test("svd gives equal numbers equal bits, and the transposed matrix the same values", async () => {
  const shape = { out: 13, in: 8 }, a = normals(104, uniforms(3));
  const [first, second] = [await svd(a, shape), await svd(a.slice(), shape)];
  assert.deepEqual(first, second);
  const turned = Float64Array.from({ length: 104 }, (_, i) => a[(i % 13) * 8 + Math.floor(i / 13)]);
  const { s } = await svd(turned, { out: 8, in: 13 });
  assert.deepEqual(s, first.s);
});

test("svd refuses a number that is none, by its place", async () => {
  await assert.rejects(svd([1, NaN, 3, 4], { out: 2, in: 2 }), /^RangeError: .* element 1 is NaN/);
  await assert.rejects(svd([1, 2, 3, -Infinity], { out: 2, in: 2 }), /element 3 is -Infinity/);
});

test("inSlices gives others their turn between long pieces, and does the pieces in order", async () => {
  const events: string[] = [];
  function* pieces(): Iterable<void> {
    for (let i = 0; i < 3; i++) {
      events.push(`piece ${i}`);
      void breathe().then(() => events.push(`other ${i}`));
      // Longer than a slice.
      for (const began = performance.now(); performance.now() - began < 40;);
      yield;
    }
  }
  await inSlices(pieces());
  assert.deepEqual(events.filter((one) => one.startsWith("piece")), ["piece 0", "piece 1", "piece 2"]);
  assert.ok(events.indexOf("other 0") < events.indexOf("piece 2"), `${events}`);
});
