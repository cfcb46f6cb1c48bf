import assert from "node:assert/strict";
import { test } from "node:test";
import { narrow } from "../kernels/half.ts";
import { type DType, normals, type TypedArray } from "../kernels/kernel.ts";
import { linear, loraLinear } from "../kernels/mod.ts";
import { bitsOf, recordWords } from "../kernels/record.ts";
import type { Device } from "../src/device/device.ts";
import { type Step, step } from "../src/plan.ts";
import { tensor } from "../src/tensor.ts";
import { everyGpuCase, testDevices } from "./devices.ts";
import { distance, randomSource } from "./kernel_contract.ts";

const [cpu, gpu] = await testDevices();

interface Joined {
  readonly in: number;
  readonly outs: readonly number[];
  /** Of each linear; 0 for one that is not adapted. */
  readonly ranks: readonly number[];
  readonly weight?: DType;
  readonly accumulate?: number;
  /** Whether the row has an adapter; by default it has. */
  readonly adapted?: boolean;
}

const cases: readonly Joined[] = [
  { in: 4, outs: [1], ranks: [1] },
  { in: 64, outs: [70], ranks: [300], accumulate: 1 },
  { in: 64, outs: [70], ranks: [5], adapted: false },
  { in: 2048, outs: [260], ranks: [16], weight: "float16", accumulate: 1 },
  { in: 1028, outs: [257, 64, 65], ranks: [8, 0, 33], weight: "bfloat16" },
];

function planOf(device: Device, size: Joined): Step[] {
  const { in: inSize, outs, ranks, weight: dtype = "float32", accumulate = 0, adapted = true } = size;
  const random = randomSource(5), capacity = 2;
  const out = outs.reduce((sum, one) => sum + one, 0), [out0, out1 = 0, out2 = 0] = outs;
  const upload = (data: TypedArray, dtype?: DType) => device.upload(tensor(data, [data.length], { dtype }));
  const records = new Uint32Array(outs.length * capacity * recordWords);
  let offset = 3;
  outs.forEach((one, i) => {
    records.set([0, offset, ranks[i], bitsOf(0.5 + i)], recordWords * (capacity * i + 1));
    offset += ranks[i] * (inSize + one);
  });
  const x = upload(normals(inSize, random)), y = upload(normals(out, random));
  const weight = upload(narrow(normals(out * inSize, random, 1 / Math.sqrt(inSize)), dtype), dtype);
  const values = upload(normals(offset, random, 1 / Math.sqrt(inSize)));
  const slots = upload(Uint32Array.of(adapted ? 1 : 0xffffffff));
  return [
    step(linear, { x, weight, y }, { rows: 1, in: inSize, out, accumulate }),
    step(loraLinear, { x, slots, records: upload(records), values, y }, {
      ...{ rows: 1, in: inSize, out0, out1, out2 },
      ...{ linear: 0, capacity },
    }),
  ];
}

async function result(device: Device, plan: readonly Step[]): Promise<TypedArray> {
  const program = await device.prepare(plan);
  assert.equal(program.launches, 2, "the product and A x are one launch on a GPU, B times it the other");
  device.run(program);
  const found = await device.read(plan[0].buffers.y);
  program.release();
  return found;
}

for (const testCase of everyGpuCase ? cases : cases.slice(-1)) {
  test(`a product of one row with a low-rank adapter gives its kernels' numbers: ${JSON.stringify(testCase)}`, async () => {
    const expected = await result(cpu, planOf(cpu, testCase)),
      found = await result(gpu, planOf(gpu, testCase));
    assert.ok(distance(found, expected) <= 1e-5, `${distance(found, expected)}`);
  });
}
