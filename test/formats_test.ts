import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { weightCases } from "../kernels/cases/mod.ts";
import { checkSizes, type WeightFormat } from "../kernels/formats/format.ts";
import { dense, formats, q4_32, q8_32 } from "../kernels/formats/mod.ts";
import { bfloat16ToFloat32 } from "../kernels/half.ts";
import { anyKernel, type Kernel, portableLimits } from "../kernels/kernel.ts";
import { kernels } from "../kernels/mod.ts";
import { everyDevice, everyGpuCase } from "./devices.ts";
import { step } from "../src/plan.ts";
import { tensor } from "../src/tensor.ts";
import { checkHost, checkRefusals, kernelsOf } from "./format_contract.ts";
import { checkCase, lastCases, randomSource } from "./kernel_contract.ts";

const devices = await everyDevice();

/**
 * A format that the library does not have: 8 bits, a scale for each row, and nothing but what a format must say. That
 * it passes shows what a new one costs: this, and a line in the list.
 */
const q8Row: WeightFormat<"bytes" | "scales"> = {
  name: "q8_row",
  doc: "whole numbers of 8 bits, a scale a row",
  block: 4,
  buffers: {
    bytes: { access: "read", dtypes: ["uint32"], doc: "(out, ceil(in / 4)), row-major" },
    scales: { access: "read", dtypes: ["float32"], doc: "(out)" },
  },
  stepBytes: 4,
  rowElements: (inSize) => ({ bytes: Math.ceil(inSize / 4), scales: 1 }),
  check: checkSizes,
  quads: ({ role, length }) => ({
    types: ["u32", "f32"],
    functions: `fn ${role}_begin(line: u32) -> u32 { return line * ((${length.text} + 3) / 4); }
fn ${role}_quad(begin: u32, quad: u32) -> vec4f {
  let words = (${length.text} + 3) / 4;
  if (quad >= words) { return vec4f(); }
  let bytes = vec4i(vec4u(bytes[begin + quad]) << vec4u(24, 16, 8, 0)) >> vec4u(24);
  return scales[begin / words] * vec4f(bytes);
}`,
  }),
  pack(values, { out, in: inSize }) {
    const line = 4 * Math.ceil(inSize / 4), bytes = new Int8Array(out * line), scales = new Float32Array(out);
    for (let row = 0; row < out; row++) {
      const from = values.subarray(row * inSize, (row + 1) * inSize);
      scales[row] = from.reduce((most, value) => Math.max(most, Math.abs(value)), 0) / 127;
      bytes.set(from.map((value) => Math.round(value / (scales[row] || 1))), row * line);
    }
    return { bytes: new Uint32Array(bytes.buffer), scales };
  },
  rows({ bytes, scales }, { out, in: inSize }, { begin = 0, end = out, into } = {}) {
    const line = 4 * Math.ceil(inSize / 4), made = into ?? new Float32Array((end - begin) * inSize);
    const numbers = new Int8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let row = begin; row < end; row++) {
      for (let i = 0; i < inSize; i++) {
        made[(row - begin) * inSize + i] = numbers[row * line + i] * scales[row];
      }
    }
    return made;
  },
};

const everyFormat = [...formats, q8Row];

test("formats are listed once, and kernels has each kernel that reads a weight in every one", () => {
  const names = formats.map(({ name }) => name);
  assert.deepEqual(names, [...new Set(names)]);
  for (const kernel of formats.flatMap(kernelsOf)) assert.ok(kernels.includes(kernel), kernel.name);
  assert.deepEqual(kernelsOf(dense).map(({ name }) => name), [
    "linear",
    "linear_bias",
    "linear_transposed",
    "cross_entropy_head",
    "cross_entropy_loss",
    "row_squares",
    "embedding",
    "embedding_part",
  ]);
  assert.deepEqual(
    kernelsOf(q4_32).map(({ name }) => name.replace(/_q4_32$/, "")),
    kernelsOf(dense).map(({ name }) => name),
  );
});

for (const format of everyFormat) {
  test(`${format.name}: rows come back, alone, in parts and together, whatever the shape`, () => {
    checkHost(format);
  });

  test(`${format.name}: weights that there cannot be are refused, by every kernel`, () => {
    checkRefusals(format);
  });
}

// The kernels of the listed formats are tested with all others; these have to be run here.
for (const [name, device] of devices) {
  test(`kernels by a format that is not listed give the reference's numbers on ${name}`, async () => {
    for (const { kernel, cases } of weightCases(q8Row)) {
      const few = device.kind === "webgpu" && !everyGpuCase;
      for (const testCase of few ? lastCases({ cases }) : cases) {
        await checkCase(device, { kernel, testCase, seed: 1 });
      }
    }
  });
}

const shapes = fc.record({
  out: fc.integer({ min: 1, max: 5 }),
  in: fc.integer({ min: 1, max: 100 }),
  bits: fc.constantFrom(8, 4),
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

test("q8_32 and q4_32 give back every element within half a scale, or one beyond the last value opposite the largest", () => {
  fc.assert(fc.property(shapes, (shape) => {
    const weight = weightOf(shape), { out, in: inSize, bits } = shape, format = bits === 8 ? q8_32 : q4_32;
    const packed = format.pack(weight, shape), scales = bfloat16ToFloat32(packed.scales as Uint16Array);
    const back = format.rows({ ...packed, scales }, shape), blocks = Math.ceil(inSize / 32);
    for (let row = 0; row < out; row++) {
      for (let block = 0; block < blocks; block++) {
        const begin = row * inSize + 32 * block, end = Math.min(begin + 32, (row + 1) * inSize);
        const largest = weight.subarray(begin, end).reduce((a, b) => Math.abs(b) > Math.abs(a) ? b : a, 0);
        const scale = scales[row * blocks + block];
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

test("q8_32 and q4_32 put numbers where the format says, the last block filled up with zeros", () => {
  // A scale of 1, since -128 and -8 are the largest.
  const eight = q8_32.pack(Float32Array.of(-128, 127, 1, -1, 5), { out: 1, in: 5 });
  assert.deepEqual([...eight.words], [0xff017f80, 5, 0, 0, 0, 0, 0, 0]);
  assert.deepEqual([...eight.scales], [0x3f80]);
  const halves = Float32Array.of(-8, 7, 1, -1, 2, 3, 4, 5, 6), shape = { out: 1, in: 9 };
  const four = q4_32.pack(halves, shape);
  assert.deepEqual([...four.words], [0x5f413728, 6, 0, 0]);
  assert.deepEqual(q4_32.rows(four, shape), halves);
  const zeros = q8_32.pack(new Float32Array(33), { out: 1, in: 33 });
  assert.deepEqual([...zeros.scales].map((scale: number) => scale & 0x7fff), [0, 0]);
  assert.deepEqual(zeros.words, new Uint32Array(16));
});

test("q8_32 and q4_32 refuse elements that are not finite", () => {
  for (const { pack } of [q8_32, q4_32]) {
    for (const value of [NaN, Infinity, -Infinity]) {
      assert.throws(() => pack(Float32Array.of(1, 2, 3, value), { out: 2, in: 2 }), {
        name: "RangeError",
        message: `Cannot quantize a weight with element 3 = ${value}: it must be finite`,
      });
    }
  }
});

test("dense refuses the bits of 16-bit floats where it would take them for numbers", () => {
  const types = { weight: "bfloat16" } as const, shape = { out: 1, in: 2 };
  const packed = dense.pack(Float32Array.of(1, 2), shape, types);
  assert.throws(() => dense.rows(packed, shape), /16-bit patterns on a host: widen it to float32 first/);
});

test("step refuses a weight's tensors that are not those of the kernel's format", () => {
  const x = tensor(new Float32Array(4), [1, 4]), y = tensor(new Float32Array(2), [1, 2]);
  const weight = tensor(new Float32Array(8), [2, 4]), sizes = { rows: 1, in: 4, out: 2, accumulate: 0 };
  const kernel: Kernel = anyKernel(kernelsOf(q8_32)[0]);
  assert.throws(() => step(kernel, { x, weight, y }, sizes), {
    name: "TypeError",
    message: 'Cannot run linear_q8_32 without its buffer "words"',
  });
});

test("products of few rows of short loads are offered more loads at once than those of long ones", () => {
  const [long, short] = [dense, q8_32].map((format) => {
    const kernel: Kernel = anyKernel(kernelsOf(format)[0]);
    const dtypes = Object.fromEntries(
      Object.entries(kernel.buffers).map(([name, { dtypes }]) => [name, dtypes[0]]),
    );
    return kernel.ways!({ uniforms: { rows: 1, in: 64, out: 64, accumulate: 0 }, dtypes }, portableLimits);
  });
  assert.equal(long.key, "up to 1 rows, 64 by 64, float32");
  assert.equal(short.key, "up to 1 rows, 64 by 64, uint32 and bfloat16");
  assert.ok(short.ways.includes("4 columns, four steps") && !long.ways.includes("4 columns, four steps"));
});
