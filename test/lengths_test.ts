import { test } from "node:test";
import assert from "node:assert/strict";
import { planLong } from "../kernels/fft/long_plan.ts";
import { planTransform } from "../kernels/fft/plan.ts";
import { workBytes } from "../kernels/fft/wgsl.ts";
import type { Case } from "../kernels/cases/mod.ts";
import { type Kernel, nans, normals, portableLimits } from "../kernels/kernel.ts";
import {
  bitsOf,
  fourierDelta,
  fourierLinear,
  type FourierTable,
  fourierTable,
  inOrder,
  type TableAxes,
} from "../kernels/mod.ts";
import { everyGpuCase, everything, testDevices } from "./devices.ts";
import { checkCase } from "./kernel_contract.ts";

/** Sizes of hidden, key-value and feed-forward layers of models in use. */
const lengths = [
  ...[64, 128, 256, 512, 576, 640, 768, 896, 960, 1024, 1152, 1280, 1536, 1600, 2048, 2304, 2560, 3072, 3584],
  ...[3840, 4096, 4608, 4864, 4800, 5120, 5376, 6144, 6400, 6656, 6912, 7680, 8192, 8960, 9216, 9728, 10240],
  ...[
    11008,
    12288,
    13824,
    14336,
    15360,
    16384,
    17408,
    17920,
    18944,
    21504,
    22016,
    25600,
    27648,
    28672,
    29568,
  ],
  ...[32768, 35840, 36864, 53248],
];

/** Sizes of vocabularies: GPT-2's is 29 * 1733. */
const vocabularies = [50257, 128256, 151936];

/** A software GPU compiles a program of every length for seconds: it is given all of them only when asked to. */
const slow = "set FOURIERFT_TEST_ALL=1 for all lengths";
const devices = await testDevices();

interface Shape {
  readonly out: number;
  readonly in: number;
}

/** The zero and the highest frequencies, neighbours and their mirrors, and some at random, by destination. */
function tableOf(axes: TableAxes, random: () => number): FourierTable {
  const { destination, source } = axes;
  const bins = [
    [0, 0],
    [1, source - 1],
    [destination - 1, 1],
    [Math.floor(destination / 2), Math.floor(source / 2)],
    [Math.floor(destination / 2) + 1, 0],
  ];
  for (let i = 0; i < 4; i++) bins.push([random() * destination, random() * source]);
  const axis = (which: 0 | 1, length: number) =>
    Uint32Array.from(bins, (bin) => Math.floor(bin[which]) % length);
  return fourierTable({ destination: axis(0, destination), source: axis(1, source) }, axes);
}

/** One row through an adapter of nine frequencies. */
function linearCase(shape: Shape): Case {
  return {
    name: `${shape.out} x ${shape.in}`,
    uniforms: { rows: 1, in: shape.in, out: shape.out, linear: 0, capacity: 1 },
    make(random) {
      const { table, order } = tableOf({ destination: shape.out, source: shape.in }, random);
      const scale = 1 / Math.sqrt(shape.in * order.length);
      return {
        x: normals(shape.in, random),
        slots: Uint32Array.of(0),
        records: Uint32Array.of(0, 0, order.length, bitsOf(scale)),
        tables: table,
        values: inOrder(normals(order.length, random), order),
        y: normals(shape.out, random),
      };
    },
  };
}

function deltaCase(shape: Shape): Case {
  return {
    name: `${shape.out} x ${shape.in}`,
    uniforms: { out: shape.out, in: shape.in, scale: 1, accumulate: 0, first: 0, rows: shape.out },
    make(random) {
      const { table, order } = tableOf({ destination: shape.in, source: shape.out }, random);
      return {
        table,
        values: inOrder(normals(order.length, random), order),
        weight: nans(shape.out * shape.in),
      };
    },
  };
}

test("planTransform has a plan within WebGPU's guaranteed limits for every length of real models", () => {
  assert.equal(new Set(lengths).size, 55);
  for (const length of [...lengths, ...vocabularies]) {
    const { residues, size, radices, mode, parts } = planTransform(length, portableLimits);
    assert.equal(radices.reduce((product, radix) => product * radix, 1), size);
    assert.equal(residues * size * (mode === "half" ? 2 : 1), length);
    assert.ok((parts ? 4 : 8) * size <= portableLimits.workgroupStorageBytes, `${length}: ${size} points`);
  }
});

test("planTransform keeps lengths up to 24576 in one workgroup of 48 KiB", () => {
  const limits = { ...portableLimits, workgroupStorageBytes: 49152, invocations: 1024 };
  for (const length of lengths.filter((length) => length <= 24576)) {
    const { mode, residues, threads } = planTransform(length, limits);
    assert.deepEqual([mode, residues], ["half", 1], `${length}`);
    assert.ok(threads <= 512);
  }
  assert.ok(planTransform(53248, limits).residues <= 8);
});

test("planLong takes the longest real models' lengths within limits, and leaves what one workgroup holds", () => {
  const large = { ...portableLimits, workgroupStorageBytes: 49152, invocations: 1024 };
  for (const limits of [portableLimits, large]) {
    for (const length of [...lengths, ...vocabularies]) {
      const plan = planLong(length, limits);
      if (planTransform(length, limits).residues === 1) assert.equal(plan, undefined, `${length}`);
      if (!plan) continue;
      const { residues, size, width, turns, mostEntries, transform } = plan;
      assert.equal(2 * residues * size, length);
      assert.equal(width * turns, residues);
      assert.equal(transform.radices.reduce((product, radix) => product * radix, 1), width * size);
      const bytes = Math.max(workBytes([transform]), 16 * mostEntries);
      assert.ok(bytes <= limits.workgroupStorageBytes, `${length}: ${bytes} bytes`);
      assert.ok(transform.threads <= limits.invocations);
      assert.ok(2 * mostEntries < 2 ** 16, "two numbers of terms are packed in a word");
    }
    for (const length of [25600, 27648, 28672, 29568, 32768, 35840, 36864, 53248]) {
      assert.ok(planLong(length, limits)!.mostEntries >= 1000, `${length}`);
    }
  }
  assert.deepEqual(planLong(53248, large)?.transform.radices, [4, 13, 8, 4, 4]);
  for (const length of [1, 50257, 128256, 2 ** 20]) assert.equal(planLong(length, large), undefined);
});

/** Each length once as `out`, and once as the `in` of another length's. */
const pairs = lengths.map((out, i) => ({ out, in: lengths[(i + 7) % lengths.length] }));
const vocabularyPairs = vocabularies.flatMap((length) => [{ out: length, in: 64 }, { out: 64, in: length }]);

for (const device of devices) {
  const run = (kernel: unknown, testCase: Case) =>
    checkCase(device, { kernel: kernel as Kernel, testCase, seed: 1 });

  for (const [i, shape] of pairs.entries()) {
    const fast = device.kind === "cpu" || (i % 27 === 3 && everyGpuCase);
    test(`fourier_linear (${shape.out}, ${shape.in}) is the reference's on ${device.kind}`, {
      skip: everything || fast ? false : slow,
    }, async () => {
      await run(fourierLinear, linearCase(shape));
    });
  }

  for (const [i, shape] of vocabularyPairs.entries()) {
    const fast = device.kind === "cpu" || (i < 2 && everyGpuCase);
    test(`fourier_linear (${shape.out}, ${shape.in}) of a vocabulary on ${device.kind}`, {
      skip: everything || fast ? false : slow,
    }, async () => {
      await run(fourierLinear, linearCase(shape));
    });
  }

  for (const [i, length] of lengths.entries()) {
    const fast = device.kind === "cpu" || (i % 28 === 1 && everyGpuCase);
    test(`fourier_delta (1, ${length}) is the reference's on ${device.kind}`, {
      skip: everything || fast ? false : slow,
    }, async () => {
      await run(fourierDelta, deltaCase({ out: 1, in: length }));
    });
  }
}
