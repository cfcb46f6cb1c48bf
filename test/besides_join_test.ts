/**
 * Products of one row, and what is made beside them in the same launch, on a GPU.
 *
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { CaseOf } from "../kernels/cases/case.ts";
import { casesOf } from "../kernels/cases/mod.ts";
import { narrow } from "../kernels/half.ts";
import { anyKernel, type DType, type Kernel, nans, normals, type TypedArray } from "../kernels/kernel.ts";
import {
  circulantLinear,
  kronLinear,
  linear,
  rmsNorm,
  rotatePairs,
  siluGateUp,
  sparseLinear,
  waveletLinear,
} from "../kernels/mod.ts";
import { noSlot } from "../kernels/record.ts";
import { cpuDevice } from "../src/device/cpu.ts";
import type { Device } from "../src/device/device.ts";
import { type Step, step } from "../src/plan.ts";
import { slice, type Tensor, tensor } from "../src/tensor.ts";
import { everyGpuCase, testDevices } from "./devices.ts";
import { distance, randomSource } from "./kernel_contract.ts";

const cpu = cpuDevice(), gpu = (await testDevices()).find(({ kind }) => kind === "webgpu")!;

type Case = CaseOf<typeof kronLinear>;

const joined: readonly Kernel[] = [
  ...[kronLinear, sparseLinear, circulantLinear, waveletLinear].map((kernel) => anyKernel(kernel)),
  anyKernel(rotatePairs),
];

/** A case whose rows are each taken alone: that of the most linears, of inputs in whole quads. */
function caseOf(kernel: Kernel): Case {
  const linears = ({ uniforms: { out0, out1, out2 } }: Case): number =>
    [out0, out1, out2].filter((out) => out > 0).length;
  const cases = casesOf(kernel).cases as unknown as readonly Case[];
  const fitting = cases.filter(({ uniforms }) => uniforms.in % 4 === 0);
  return fitting.toSorted((a, b) => linears(b) - linears(a))[0];
}

interface Row {
  readonly slot: number;
  readonly weight: DType;
  readonly accumulate: number;
  readonly normed: boolean;
}

/** A product of one row, the kernel's update of it, and a reader. */
function planOf(device: Device, kernel: Kernel, { slot, weight: dtype, accumulate, normed }: Row): Step[] {
  const { uniforms, make } = caseOf(kernel), random = randomSource(5);
  const upload = (data: TypedArray, dtype?: DType) => device.upload(tensor(data, [data.length], { dtype }));
  const arrays: Readonly<Record<string, TypedArray>> = make(random);
  const words = { ...uniforms, rows: 1 }, { in: inSize } = words;
  const out = words.out0 + words.out1 + words.out2;
  const given = { ...arrays, slots: Uint32Array.of(slot), y: normals(out, random) };
  const { x = upload(normals(inSize, random)), ...bank } = Object.fromEntries(
    Object.entries(given).map(([name, data]) => [name, upload(data)]),
  );
  const weight = upload(narrow(normals(out * inSize, random, 1 / Math.sqrt(inSize)), dtype), dtype);
  const own = kernel.buffers.x ? { x, ...bank } : bank;
  const plan = [
    step(linear, { x, weight, y: bank.y }, { rows: 1, in: inSize, out, accumulate }),
    step(kernel, own, words),
  ];
  if (!normed) return plan;
  const ones = upload(new Float32Array(out).fill(1)), y = upload(nans(out));
  return [...plan, step(rmsNorm, { x: bank.y, weight: ones, y }, { rows: 1, dim: out, eps: 1e-5 })];
}

/** What a plan leaves in the buffers that its steps write. */
async function results(device: Device, plan: readonly Step[], launches: number): Promise<TypedArray[]> {
  const program = await device.prepare(plan);
  if (device.kind === "webgpu") assert.equal(program.launches, launches);
  device.run(program);
  const found: TypedArray[] = [];
  for (const { kernel, buffers } of plan) {
    const written = Object.keys(kernel.buffers).filter((name) => kernel.buffers[name].access !== "read");
    for (const name of written) found.push(await device.read(buffers[name]));
  }
  program.release();
  return found;
}

async function areEqual(planOn: (device: Device) => readonly Step[], launches: number): Promise<void> {
  const expected = await results(cpu, planOn(cpu), launches);
  const found = await results(gpu, planOn(gpu), launches);
  expected.forEach((numbers, i) => {
    const off = distance(found[i], numbers);
    assert.ok(off <= 1e-5, `result ${i}: ${off}`);
  });
}

for (const kernel of everyGpuCase ? joined : joined.slice(-1)) {
  // Turned pairs are read from the product alone: y's own numbers are never among them.
  const accumulate = Number(kernel !== anyKernel(rotatePairs));
  test(`a product of one row with ${kernel.name} beside it is one launch, and its reader the other`, async () => {
    const { uniforms: { capacity } } = caseOf(kernel);
    for (const slot of [...Array(capacity).keys(), noSlot]) {
      const row = { slot, weight: "float16", accumulate: 0, normed: true } as const;
      await areEqual((device) => planOf(device, kernel, row), 2);
    }
    const stored = { slot: 0, weight: "float16", accumulate, normed: false } as const;
    await areEqual((device) => planOf(device, kernel, stored), 2);
  });
}

/** Products of two rows of x, by parts of a weight, side by side in y: and steps that read y. */
function partsPlan(device: Device, outs: readonly number[], dtype: DType, inSize = 64): Step[] {
  const random = randomSource(8), out = outs.reduce((sum, one) => sum + one, 0);
  const x = device.upload(tensor(normals(outs.length * inSize, random)));
  const data = narrow(normals(out * inSize, random, 1 / Math.sqrt(inSize)), dtype);
  const weight = device.upload(tensor(data, [out, inSize], { dtype }));
  const y = device.upload(tensor(nans(out), [1, out]));
  return outs.map((part, i) => {
    const column = outs.slice(0, i).reduce((sum, one) => sum + one, 0);
    const buffers: Record<"x" | "weight" | "y", Tensor> = {
      x: slice(x, i * inSize, [1, inSize]),
      weight: slice(weight, column * inSize, [part, inSize]),
      y: slice(y, column, [1, part]),
    };
    return step(linear, buffers, { rows: 1, in: inSize, out: part, accumulate: 0 });
  });
}

test("products of one row whose tensors follow each other are one launch", async () => {
  await areEqual((device) => partsPlan(device, [128, 64, 70], "float16"), 1);
  await areEqual((device) => partsPlan(device, [64, 192], "float32"), 1);
});

test("products stay apart where a tensor does not follow, or a row has no whole quads", async () => {
  const [first, second] = partsPlan(gpu, [64, 64], "float32"), other = partsPlan(gpu, [64, 64], "float32")[1];
  for (const name of ["x", "weight", "y"]) {
    const apart = { ...second, buffers: { ...second.buffers, [name]: other.buffers[name] } };
    const program = await gpu.prepare([first, apart]);
    assert.equal(program.launches, 2, name);
    program.release();
  }
  const gated = step(siluGateUp, { gateUp: first.buffers.y, y: gpu.alloc([32], "float32") }, {
    rows: 1,
    dim: 32,
  });
  for (const plan of [[first, gated, second], [second, first], [first, first]]) {
    const program = await gpu.prepare(plan);
    assert.equal(program.launches, plan.length);
    program.release();
  }
});
