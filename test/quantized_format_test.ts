import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { bfloat16ToFloat32 } from "../kernels/half.ts";
import { type Bits, blocksOf, dequantize, quantize } from "../kernels/quantized/format.ts";
import { quantizedLinear } from "../kernels/quantized_linear.ts";
import { portableLimits } from "../kernels/kernel.ts";
import { randomSource } from "./kernel_contract.ts";

const shapes = fc.record({
  out: fc.integer({ min: 1, max: 5 }),
  in: fc.integer({ min: 1, max: 100 }),
  bits: fc.constantFrom<Bits[]>(8, 4),
  /** Of the weight: down to float32's smallest normal numbers, where float16 scales would be zero. */
  exponent: fc.integer({ min: -110, max: 100 }),
  seed: fc.nat(),
});

/** Numbers of about 2^exponent, some of them zeros. */
function weightOf(
  { out, in: inSize, exponent, seed }: { out: number; in: number; exponent: number; seed: number },
): Float32Array {
  const random = randomSource(seed);
  return Float32Array.from(
    { length: out * inSize },
    () => random() < 0.1 ? 0 : (2 * random() - 1) * 2 ** exponent,
  );
}

test("quantize gives back every element within half a scale, or one beyond the last value opposite the largest", () => {
  fc.assert(fc.property(shapes, (shape) => {
    const weight = weightOf(shape), { out, in: inSize, bits } = shape;
    const quantized = quantize(weight, shape);
    const back = dequantize(quantized, shape), scales = bfloat16ToFloat32(quantized.scales);
    for (let row = 0; row < out; row++) {
      for (let block = 0; block < blocksOf(inSize); block++) {
        const begin = row * inSize + 32 * block, end = Math.min(begin + 32, (row + 1) * inSize);
        const largest = weight.subarray(begin, end).reduce((a, b) => Math.abs(b) > Math.abs(a) ? b : a, 0);
        const scale = scales[row * blocksOf(inSize) + block];
        const wanted = -largest / 2 ** (bits - 1);
        assert.ok(Math.abs(scale) >= Math.abs(wanted), `scale ${scale} cuts ${largest} off`);
        assert.ok(Math.abs(scale) <= Math.abs(wanted) * (1 + 2 ** -7), `scale ${scale}, wanted ${wanted}`);
        for (let i = begin; i < end; i++) {
          const beyond = weight[i] / scale > 2 ** (bits - 1) - 0.5;
          const bound = Math.abs(scale) * (beyond ? 1 : 0.5) * (1 + 1e-6);
          assert.ok(
            Math.abs(back[i] - weight[i]) <= bound,
            `element ${i}: ${weight[i]} came back as ${back[i]}, scale ${scale}`,
          );
        }
      }
    }
  }));
});

test("quantize of rows one after the other is that of each, so that weights can be joined before or after", () => {
  fc.assert(fc.property(shapes, (shape) => {
    const weight = weightOf(shape), whole = quantize(weight, shape);
    const parts = Array.from(
      { length: shape.out },
      (_, row) => quantize(weight.subarray(row * shape.in, (row + 1) * shape.in), { ...shape, out: 1 }),
    );
    assert.deepEqual([...whole.words], parts.flatMap(({ words }) => [...words]));
    assert.deepEqual([...whole.scales], parts.flatMap(({ scales }) => [...scales]));
    const row = shape.out - 1, all = dequantize(whole, shape);
    assert.deepEqual(dequantize(whole, shape, { begin: row }), all.slice(row * shape.in));
  }));
});

test("quantize puts numbers where the format says, 8 bits and 4, the last block filled up with zeros", () => {
  // A scale of 1, since -128 and -8 are the largest.
  const bytes = Float32Array.of(-128, 127, 1, -1, 5);
  const eight = quantize(bytes, { out: 1, in: 5, bits: 8 });
  assert.deepEqual([...eight.words], [0xff017f80, 5, 0, 0, 0, 0, 0, 0]);
  assert.deepEqual([...eight.scales], [0x3f80]);
  const halves = Float32Array.of(-8, 7, 1, -1, 2, 3, 4, 5, 6);
  const four = quantize(halves, { out: 1, in: 9, bits: 4 });
  assert.deepEqual([...four.words], [0x5f413728, 6, 0, 0]);
  assert.deepEqual(dequantize(four, { out: 1, in: 9, bits: 4 }), halves);
  const zeros = quantize(new Float32Array(33), { out: 1, in: 33, bits: 8 });
  assert.deepEqual([...zeros.scales].map((scale) => scale & 0x7fff), [0, 0]);
  assert.ok(zeros.words.every((word) => word === 0));
});

test("quantize refuses elements that are not finite, and sizes that are not the shape's", () => {
  const shape = { out: 2, in: 2, bits: 8 } as const;
  for (const value of [NaN, Infinity, -Infinity]) {
    assert.throws(() => quantize(Float32Array.of(1, 2, 3, value), shape), {
      name: "RangeError",
      message: `Cannot quantize a weight with element 3 = ${value}: it must be finite`,
    });
  }
  assert.throws(() => quantize(new Float32Array(3), shape), /3 elements as a weight of \(2, 2\): it has 4/);
});

test("quantized_linear refuses bits that the format does not have", () => {
  const uniforms = { rows: 1, in: 32, out: 1, accumulate: 0, bits: 5 };
  const dtypes = { x: "float32", words: "uint32", scales: "bfloat16", y: "float32" } as const;
  assert.throws(() => quantizedLinear.launch({ uniforms, dtypes }, portableLimits), {
    name: "RangeError",
    message: "Cannot multiply by a weight of 5 bits: it must have 8 or 4",
  });
});
