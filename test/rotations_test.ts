import assert from "node:assert/strict";
import { test } from "node:test";
import { normals } from "../kernels/kernel.ts";
import { cayley, cayleyNeumann, type Square } from "../src/adapters/methods/rotations.ts";
import { uniforms } from "../src/engine/random.ts";
import { distance } from "./kernel_contract.ts";

/** A random skew-symmetric matrix; `factor` is the size of its numbers. */
function skew(size: number, factor: number): Square {
  const drawn = normals(size * size, uniforms(size), factor);
  const data = new Float64Array(size * size);
  for (let i = 0; i < size; i++) {
    for (let j = 0; j < size; j++) data[i * size + j] = (drawn[i * size + j] - drawn[j * size + i]) / 2;
  }
  return { size, data };
}

function product(a: Float64Array, b: Float64Array, size: number): Float64Array {
  return Float64Array.from({ length: size * size }, (_, at) => {
    let sum = 0;
    for (let k = 0; k < size; k++) sum += a[at - at % size + k] * b[k * size + at % size];
    return sum;
  });
}

const identity = (size: number) =>
  Float64Array.from({ length: size * size }, (_, i) => Number(i % (size + 1) === 0));
const sum = (a: Float64Array, b: Float64Array, factor = 1) => a.map((value, i) => value + factor * b[i]);

test("cayley solves R (I + S) = I - S, and R is a rotation, of small and of large numbers", () => {
  for (const size of [1, 2, 3, 16, 61]) {
    for (const factor of [1e-3, 1, 1e4]) {
      const s = skew(size, factor), r = cayley(s), one = identity(size);
      const transposed = r.map((_, at) => r[(at % size) * size + Math.floor(at / size)]);
      const what = `${size}, ${factor}`;
      assert.ok(distance(product(r, transposed, size), one) < 1e-9, what);
      const off = distance(product(r, sum(one, s.data), size), sum(one, s.data, -1));
      assert.ok(off < 1e-9, `${what}: ${off}`);
    }
  }
});

test("cayleyNeumann is the series that PEFT cuts, of any number of terms", () => {
  const s = skew(5, 0.7), one = identity(5);
  const powers: Float64Array[] = [one];
  for (let i = 1; i < 9; i++) powers.push(product(powers[i - 1], s.data, 5));
  assert.deepEqual(cayleyNeumann(s, 1), one);
  assert.deepEqual(cayleyNeumann(s, 2), sum(one, s.data, 2));
  assert.deepEqual(cayleyNeumann(s, 3), cayleyNeumann(s, 4), "of three terms PEFT makes four");
  for (let terms = 4; terms <= 9; terms++) {
    let expected: Float64Array = one;
    for (let i = 1; i < terms; i++) expected = sum(expected, powers[i], i === terms - 1 ? 1 : 2);
    assert.ok(distance(cayleyNeumann(s, terms), expected) < 1e-14, `${terms}`);
  }
});

test("cayleyNeumann comes as close to cayley as its terms allow, for -S", () => {
  // (I + S) (I - S)^-1 is the series' limit, and Cayley's rotation of -S.
  const { size, data } = skew(8, 0.02);
  const limit = cayley({ size, data: data.map((value) => -value) });
  assert.ok(distance(cayleyNeumann({ size, data }, 12), limit) < 1e-10);
  assert.ok(distance(cayleyNeumann({ size, data }, 3), limit) > 1e-8);
});
