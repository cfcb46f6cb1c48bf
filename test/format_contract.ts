/**
 * What every weight format must do, beside its kernels' numbers, which `kernel_contract.ts` compares.
 *
 * @module
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import type { WeightArrays, WeightFormat, WeightTypes } from "../kernels/formats/format.ts";
import { weightCases } from "../kernels/cases/mod.ts";
import { variantOf } from "../kernels/cases/weights.ts";
import { widen } from "../kernels/half.ts";
import { type DType, type Kernel, normals, portableLimits, type TypedArray } from "../kernels/kernel.ts";
import { distance, randomSource } from "./kernel_contract.ts";

/** The kernels that read a weight, by one of a format. */
export function kernelsOf(format: WeightFormat): Kernel[] {
  return weightCases(format).map(({ kernel }) => kernel);
}

const arrayOf: Readonly<Record<DType, new (length: number) => TypedArray>> = {
  float32: Float32Array,
  float16: Uint16Array,
  bfloat16: Uint16Array,
  uint32: Uint32Array,
  int32: Int32Array,
};

/** A weight as the CPU device has it. */
function held(weight: WeightArrays, types: WeightTypes): WeightArrays {
  return Object.fromEntries(
    Object.entries(weight).map((
      [name, data],
    ) => [name, types[name] === "float16" || types[name] === "bfloat16" ? widen(data, types[name]) : data]),
  );
}

/** Some lines of each buffer. */
function linesOf(
  format: WeightFormat,
  weight: WeightArrays,
  [begin, end]: readonly [number, number],
  inSize: number,
) {
  const elements = format.rowElements(inSize);
  return Object.fromEntries(
    Object.entries(weight).map((
      [name, data],
    ) => [name, data.subarray(begin * elements[name], end * elements[name])]),
  );
}

/** Packing, reading, cutting and joining of weights of random shapes, in each of the format's element types. */
export function checkHost(format: WeightFormat): void {
  const arbitrary = fc.record({
    out: fc.integer({ min: 1, max: 7 }),
    in: fc.integer({ min: 1, max: 3 * format.block + 5 }),
    cut: fc.integer({ min: 0, max: 7 }),
    variant: fc.nat(5),
    seed: fc.nat(),
  });
  fc.assert(fc.property(arbitrary, ({ out, in: inSize, cut, variant, seed }) => {
    const shape = { out, in: inSize }, types = variantOf(format, variant);
    const values = normals(out * inSize, randomSource(seed)), packed = format.pack(values, shape, types);
    assert.deepEqual(Object.keys(packed), Object.keys(format.buffers));
    for (const [name, count] of Object.entries(format.rowElements(inSize))) {
      assert.equal(packed[name].length, out * count, name);
      assert.ok(packed[name] instanceof arrayOf[types[name]], name);
    }
    const weight = held(packed, types), rows = format.rows(weight, shape);
    assert.equal(rows.length, out * inSize);
    assert.ok(distance(rows, values) <= 0.15, `${distance(rows, values)} from what was packed`);
    const at = Math.min(cut, out), ranges = [[0, at], [at, out]] as const;
    const parts = ranges.flatMap(([begin, end]) => [...format.rows(weight, shape, { begin, end })]);
    assert.deepEqual(parts, [...rows], "rows read in two parts");
    const into = new Float32Array(out * inSize + 1).fill(7);
    format.rows(weight, shape, { begin: at, into });
    assert.deepEqual(
      [...into.subarray(0, (out - at) * inSize)],
      [...rows.subarray(at * inSize)],
      "rows into",
    );
    assert.equal(into.at(-1), 7, "an element past the rows");
    for (const [begin, end] of ranges) {
      const part = { out: end - begin, in: inSize };
      const alone = format.pack(values.subarray(begin * inSize, end * inSize), part, types);
      const cut = linesOf(format, packed, [begin, end], inSize);
      for (const name in alone) assert.deepEqual([...alone[name]], [...cut[name]], `lines of ${name}`);
    }
  }));
}

/** Shapes and counts of numbers that no weight has. */
export function checkRefusals(format: WeightFormat): void {
  for (const { kernel, cases } of weightCases(format)) {
    const { uniforms, dtypes: given } = cases[0];
    const dtypes = Object.fromEntries(
      Object.entries(kernel.buffers).map(([name, { dtypes }]) => [name, given?.[name] ?? dtypes[0]]),
    );
    for (const size of Object.keys(uniforms).filter((name) => /^(in|out|dim|vocab)$/.test(name))) {
      const call = { uniforms: { ...uniforms, [size]: 0 }, dtypes };
      assert.throws(
        () => kernel.launch(call, portableLimits),
        /^RangeError: Cannot multiply by a weight of \(\d+, \d+\): both sizes must be positive$/,
        `${kernel.name}, ${size}`,
      );
    }
  }
}
