/**
 * Fourier kernels within limits of smaller devices than this one, so that short rows go the ways of long ones.
 *
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { planLong } from "../kernels/fft/long_plan.ts";
import { mixedArrays, mixedBank } from "../kernels/cases/fourier_adapters.ts";
import { fourierTable, inOrder } from "../kernels/fourier_table.ts";
import { randomFrequencies } from "../kernels/cases/random_frequencies.ts";
import type { Case } from "../kernels/cases/mod.ts";
import { anyKernel, type Kernel, nans, normals, portableLimits } from "../kernels/kernel.ts";
import { fourierDelta, fourierGradient, fourierLinears } from "../kernels/mod.ts";
import { inEveryGpuCase, testGpu } from "./devices.ts";
import { checkCase } from "./kernel_contract.ts";

const device = await testGpu();

interface Shape {
  readonly what: string;
  readonly bytes: number;
  readonly invocations: number;
  readonly in: number;
  readonly outs: readonly [number, number?];
  /** Of `fourier_linears`; 3 if not said. */
  readonly rows?: number;
}

const shapes: readonly Shape[] = [
  { what: "points by parts", bytes: 2048, invocations: 64, in: 1024, outs: [768, 640] },
  { what: "x by parts for the outs' sake", bytes: 2048, invocations: 256, in: 96, outs: [43 * 16, 43 * 16] },
  { what: "x once, by parts", bytes: 1024, invocations: 64, in: 384, outs: [192, 320], rows: 256 },
  { what: "an odd length by parts", bytes: 1024, invocations: 32, in: 225, outs: [135, 64] },
  { what: "looped radices, few invocations", bytes: 4096, invocations: 32, in: 37 * 16, outs: [19 * 32] },
  { what: "residues by parts", bytes: 1024, invocations: 64, in: 1536, outs: [43 * 32, 30] },
  { what: "an odd length's residues", bytes: 1024, invocations: 128, in: 675, outs: [7 * 99] },
];

/** The kernel as a device of a shape's limits would launch it. */
function within(kernel: Kernel, { bytes, invocations }: Shape): Kernel {
  return {
    ...kernel,
    launch: (call, limits) => kernel.launch(call, { ...limits, workgroupStorageBytes: bytes, invocations }),
  };
}

const n = 30;

function linears({ what, in: inFeatures, outs, rows = 3 }: Shape): Case {
  const [out0, out1 = 0] = outs;
  const size = { rows, in: inFeatures, outs: out1 ? [out0, out1] : [out0], adapters: [n, 9] };
  return {
    name: what,
    uniforms: { rows: size.rows, in: inFeatures, out0, out1, out2: 0, ...mixedBank(size) },
    make: (random) => mixedArrays(size, random),
  };
}

function delta(
  { what, in: inFeatures }: Shape,
  { accumulate = 0, entries = n }: { accumulate?: number; entries?: number } = {},
): Case {
  const shape = { out: 7 - accumulate, in: inFeatures };
  return {
    name: `${what}, ${entries} entries${accumulate ? ", added" : ""}`,
    uniforms: { ...shape, scale: 1 / Math.sqrt(Math.max(1, entries)), accumulate, first: 0, rows: shape.out },
    make: (random) => {
      const { u, v } = randomFrequencies(entries, shape, random);
      const axes = { destination: shape.in, source: shape.out };
      const { table, order } = fourierTable({ destination: v, source: u }, axes);
      const size = shape.out * shape.in;
      return {
        table,
        values: inOrder(normals(entries, random), order),
        weight: accumulate ? normals(size, random) : nans(size),
      };
    },
  };
}

function gradient({ what, in: inFeatures, outs: [out] }: Shape): Case {
  const rows = 3;
  const scale = 1 / Math.sqrt(rows * out * inFeatures);
  return {
    name: what,
    uniforms: { rows, in: inFeatures, out, count: n, scale, accumulate: 0 },
    make: (random) => {
      const { u, v } = randomFrequencies(n, { out, in: inFeatures }, random);
      return {
        x: normals(rows * inFeatures, random),
        dy: normals(rows * out, random),
        frequencies: Uint32Array.from({ length: 2 * n }, (_, i) => (i % 2 ? v : u)[i >> 1]),
        gradient: nans(n),
      };
    },
  };
}

for (const shape of shapes) {
  test(
    `fourier kernels within ${shape.bytes} bytes and ${shape.invocations} invocations: ${shape.what}`,
    inEveryGpuCase,
    async () => {
      const check = (kernel: Kernel, testCase: Case) =>
        checkCase(device, { kernel: within(kernel, shape), testCase, seed: 1 });
      await check(anyKernel(fourierLinears), linears(shape));
      await check(anyKernel(fourierDelta), delta(shape));
      await check(anyKernel(fourierDelta), delta(shape, { accumulate: 1 }));
      await check(anyKernel(fourierGradient), gradient(shape));
    },
  );
}

test(
  "fourier_delta of long rows sums as many entries as memory has room for by their terms, and one more without",
  inEveryGpuCase,
  async () => {
    const shape: Shape = { what: "long rows", bytes: 1024, invocations: 64, in: 1536, outs: [4] };
    const { mostEntries } = planLong(shape.in, {
      ...portableLimits,
      workgroupStorageBytes: shape.bytes,
      invocations: shape.invocations,
    })!;
    const kernel = within(anyKernel(fourierDelta), shape);
    for (const entries of [0, mostEntries, mostEntries + 1]) {
      for (const accumulate of [0, 1]) {
        await checkCase(device, { kernel, testCase: delta(shape, { accumulate, entries }), seed: 2 });
      }
    }
  },
);

test("fourier_linears makes a launch once for a device's limits, and another for other rows, lengths or limits", () => {
  const words = { rows: 3, in: 24, out0: 16, out1: 8, out2: 0, linear: 0, capacity: 5 };
  const dtypes = {
    x: "float32",
    slots: "uint32",
    records: "uint32",
    tables: "uint32",
    values: "float32",
  } as const;
  const launched = (changed: Partial<typeof words>, limits = portableLimits) =>
    fourierLinears.launch(
      { uniforms: { ...words, ...changed }, dtypes: { ...dtypes, y: "float32" } },
      limits,
    );
  const first = launched({});
  assert.equal(launched({ linear: 7, capacity: 9 }), first);
  for (const changed of [{ rows: 4 }, { in: 32 }, { out1: 16 }, { out2: 8 }]) {
    assert.notDeepEqual(launched(changed), first);
  }
  assert.notEqual(launched({}, { ...portableLimits }), first);
});
