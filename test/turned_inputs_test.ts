/**
 * Projections whose linears take x as adapters turn it for each: made in one step, and by one product of one row.
 *
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { normals } from "../kernels/kernel.ts";
import { linear } from "../kernels/mod.ts";
import { noSlot } from "../kernels/record.ts";
import { Bank } from "../src/adapters/bank.ts";
import type { Method, ReadyIo } from "../src/adapters/method.ts";
import { boft } from "../src/adapters/methods/boft.ts";
import { oft } from "../src/adapters/methods/oft.ts";
import type { Device } from "../src/device/device.ts";
import { adaptedProjection, ProjectionScratch } from "../src/engine/projection.ts";
import { uniforms } from "../src/engine/random.ts";
import { denseWeight } from "../src/models/weights.ts";
import { type Plan, step } from "../src/plan.ts";
import { elements, type HostTensor, type Tensor, tensor } from "../src/tensor.ts";
import { testDevices } from "./devices.ts";
import { distance } from "./kernel_contract.ts";

const devices = await testDevices();
const inSize = 64;
const outs = [64, 128, 6];
const out = 198;
const linears = outs.map((out, i) => ({ path: `l${i}`, shape: { out, in: inSize } }));

/** An adapter of some of the linears, its numbers drawn, made ready. */
async function adapter(method: Method, adapted: readonly number[], seed: number) {
  const random = uniforms(seed), isOft = method === oft, size = isOft ? 8 : 4, blocks = inSize / size;
  const numbers = (shape: readonly number[]) => tensor(normals(elements(shape), random, 0.3), shape);
  const tensors = adapted.flatMap((i): [string, HostTensor][] => {
    const at = `base_model.model.l${i}`;
    return isOft ? [[`${at}.oft_R.weight`, numbers([blocks, size * (size - 1) / 2])]] : [
      [`${at}.boft_R`, numbers([1, blocks, size, size])],
      [`${at}.boft_s`, numbers([outs[i], 1])],
    ];
  });
  const config = isOft ? { use_cayley_neumann: false } : { boft_n_butterfly_factor: 1 };
  const read = method.read({ config, tensors: new Map(tensors), options: {} });
  const ready = [...read].map(async ([path, module]) => [path, await module.ready!({} as ReadyIo)] as const);
  return new Map(await Promise.all(ready));
}

/** Host numbers of a case. */
function drawn(rows: number) {
  const random = uniforms(7);
  return { x: normals(rows * inSize, random), weight: normals(out * inSize, random) };
}

interface Case {
  readonly bank: Bank;
  readonly slots: Tensor;
  readonly rows: number;
}

async function run(device: Device, plan: Plan, y: Tensor) {
  const program = await device.prepare(plan), { launches } = program;
  device.run(program);
  const numbers = await device.read(y);
  program.release();
  return { numbers, launches };
}

/** y (rows, out) of all linears as one projection. */
async function projected(device: Device, { bank, slots, rows }: Case) {
  const host = drawn(rows), scratch = new ProjectionScratch(device);
  const weight = denseWeight(device.upload(tensor(host.weight, [out, inSize])));
  const projection = {
    ...{ kind: "qkv", linears: { first: 0, count: 3 }, outs, shape: { out, in: inSize } },
    weight,
  };
  const y = device.alloc([rows, out], "float32"), x = device.upload(tensor(host.x, [rows, inSize]));
  const io = { x, y, rows, accumulate: 0 };
  const plan = adaptedProjection(projection, io, { banks: [bank], slotsOf: () => slots, scratch });
  const found = await run(device, plan, y);
  scratch.release();
  return found;
}

/** y (rows, outs[i]) of one linear by the steps of its own. */
async function alone(device: Device, { bank, slots, rows }: Case, i: number) {
  const host = drawn(rows), part = outs[i];
  const begin = outs.slice(0, i).reduce((sum, one) => sum + one, 0);
  const x = device.upload(tensor(host.x, [rows, inSize])), y = device.alloc([rows, part], "float32");
  const weight = device.upload(
    tensor(host.weight.slice(begin * inSize, (begin + part) * inSize), [part, inSize]),
  );
  const plan = [
    bank.before(i, { x, rows, slots }),
    step(linear, { x, weight, y }, { rows, in: inSize, out: part, accumulate: 0 }),
    ...(bank.method.after ? [bank.after({ first: i, count: 1 }, { y, rows, slots })] : []),
  ];
  const { numbers } = await run(device, plan, y);
  return { numbers, begin, part };
}

for (const device of devices) {
  for (const method of [oft, boft]) {
    test(`adaptedProjection on ${device.kind}: linears with ${method.name} together are each linear's own`, async () => {
      const bank = new Bank(device, method, { linears, capacity: 2 });
      const all = bank.load(await adapter(method, [0, 1, 2], 5))!;
      const last = bank.load(await adapter(method, [2], 6))!;
      for (const own of [[all], [last], [all, noSlot, last]]) {
        const rows = own.length, slots = device.upload(tensor(Uint32Array.from(own)));
        const { numbers, launches } = await projected(device, { bank, slots, rows });
        // One that turns x, the products, and one that scales their outputs.
        if (device.kind === "webgpu" && rows === 1) assert.equal(launches, method === oft ? 2 : 3);
        const expected = new Float32Array(rows * out);
        for (const i of outs.keys()) {
          const { numbers, begin, part } = await alone(device, { bank, slots, rows }, i);
          for (let r = 0; r < rows; r++) {
            expected.set(numbers.subarray(r * part, (r + 1) * part), r * out + begin);
          }
        }
        assert.ok(distance(numbers, expected) <= 1e-6, `${own}: ${distance(numbers, expected)}`);
      }
      bank.release();
    });
  }
}
