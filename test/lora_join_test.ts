import assert from "node:assert/strict";
import { test } from "node:test";
import { narrow } from "../kernels/half.ts";
import { type DType, normals, type TypedArray } from "../kernels/kernel.ts";
import { add, linear, loraLinear, rmsNorm, ropeCache, scaleOutputs, siluGateUp } from "../kernels/mod.ts";
import { bitsOf, recordWords } from "../kernels/record.ts";
import { cpuDevice } from "../src/device/cpu.ts";
import type { Device } from "../src/device/device.ts";
import { type Step, step } from "../src/plan.ts";
import { type Tensor, tensor } from "../src/tensor.ts";
import { everyGpuCase, testDevices } from "./devices.ts";
import { distance, randomSource } from "./kernel_contract.ts";

const cpu = cpuDevice(), gpu = (await testDevices()).find(({ kind }) => kind === "webgpu")!;

interface Joined {
  readonly in: number;
  readonly outs: readonly number[];
  /** Of each linear; 0 for one that is not adapted. */
  readonly ranks: readonly number[];
  readonly weight?: DType;
  readonly accumulate?: number;
  /** Whether the row has an adapter; by default it has. */
  readonly adapted?: boolean;
  /** Whether y is scaled by numbers after the factors, as in DoRA, or by those of a bank of its own, and added to another. */
  readonly scaled?: "after" | "apart";
  readonly added?: boolean;
  /** What reads the result. */
  readonly reader?: "rms_norm" | "silu_gate_up" | "rope_cache";
}

const cases: readonly Joined[] = [
  { in: 4, outs: [1], ranks: [1] },
  { in: 64, outs: [70], ranks: [300], accumulate: 1 },
  { in: 64, outs: [70], ranks: [5], adapted: false },
  { in: 2048, outs: [260], ranks: [16], weight: "float16", accumulate: 1 },
  { in: 1028, outs: [257, 64, 65], ranks: [8, 0, 33], weight: "bfloat16" },
  { in: 64, outs: [256], ranks: [19], accumulate: 1, reader: "rms_norm" },
  { in: 64, outs: [256], ranks: [8], adapted: false, reader: "rms_norm" },
  { in: 64, outs: [37], ranks: [9], reader: "rms_norm" },
  { in: 64, outs: [39, 46, 43], ranks: [9, 0, 8], reader: "rms_norm" },
  { in: 64, outs: [96, 96], ranks: [8, 13], reader: "silu_gate_up" },
  { in: 64, outs: [32, 16, 16], ranks: [5, 16, 0], reader: "rope_cache" },
  { in: 64, outs: [64], ranks: [5], scaled: "after", added: true, reader: "rms_norm" },
  { in: 64, outs: [39, 46, 43], ranks: [9, 0, 8], scaled: "after", reader: "rms_norm" },
  { in: 64, outs: [96, 96], ranks: [8, 13], scaled: "apart", reader: "silu_gate_up" },
  { in: 64, outs: [32, 16, 16], ranks: [5, 16, 0], scaled: "after", reader: "rope_cache" },
  { in: 64, outs: [70], ranks: [5], scaled: "apart", added: true },
];

/** The steps that scale y (1, sum of outs), and add the result to another tensor. */
function changes(
  { outs, ranks, scaled, added, in: inSize }: Joined,
  { device, y, bank }: { readonly device: Device; readonly y: Tensor; readonly bank: Record<string, Tensor> },
): { readonly steps: readonly Step[]; readonly result: Tensor } {
  const out = outs.reduce((sum, one) => sum + one, 0), [out0, out1 = 0, out2 = 0] = outs;
  const random = randomSource(7), other = device.upload(tensor(normals(out, random)));
  const records = Uint32Array.from(
    ranks.flatMap((rank, i) => [0, 0, 0, 0, 0, out * i, Number(rank > 0), bitsOf(1)]),
  );
  const apart = {
    records: device.upload(tensor(records)),
    values: device.upload(tensor(normals(3 * out, random))),
    slots: bank.slots,
  };
  const { slots, values } = scaled === "apart" ? apart : bank;
  const words = { rows: 1, in: inSize, out0, out1, out2, linear: 0, capacity: 2 };
  const scale = step(
    scaleOutputs,
    { slots, records: scaled === "apart" ? apart.records : bank.records, values, y },
    { ...words, factors: Number(scaled === "after") },
  );
  const sum = step(add, { x: y, y: other }, { count: out });
  return { steps: [...(scaled ? [scale] : []), ...(added ? [sum] : [])], result: added ? other : y };
}

/** The step that reads y (1, out). */
function readerStep(
  reader: NonNullable<Joined["reader"]>,
  { device, y, out }: { readonly device: Device; readonly y: Tensor; readonly out: number },
): Step {
  const random = randomSource(9);
  const floats = (count: number) => device.upload(tensor(normals(count, random)));
  if (reader === "rms_norm") {
    return step(rmsNorm, { x: y, weight: floats(out), y: floats(out) }, { rows: 1, dim: out, eps: 1e-5 });
  }
  if (reader === "silu_gate_up") {
    return step(siluGateUp, { gateUp: y, y: floats(out / 2) }, { rows: 1, dim: out / 2 });
  }
  const place = (at: number) => device.upload(tensor(Uint32Array.of(at), [1]));
  return step(
    ropeCache,
    { qkv: y, table: floats(72), positions: place(7), index: place(4), keys: floats(80), values: floats(80) },
    { rows: 1, heads: 4, kvHeads: 2, headDim: 8, rotaryDim: 8, cacheRows: 5 },
  );
}

function planOf(device: Device, size: Joined): Step[] {
  const { in: inSize, outs, ranks, weight: dtype = "float32", accumulate = 0, adapted = true } = size;
  const random = randomSource(5), capacity = 2;
  const out = outs.reduce((sum, one) => sum + one, 0), [out0, out1 = 0, out2 = 0] = outs;
  const upload = (data: TypedArray, dtype?: DType) => device.upload(tensor(data, [data.length], { dtype }));
  const records = new Uint32Array(outs.length * capacity * recordWords);
  let offset = 3;
  outs.forEach((one, i) => {
    records.set([0, offset, ranks[i], bitsOf(0.5 + i)], recordWords * (capacity * i + 1));
    offset += ranks[i] * (inSize + one) + one;
  });
  const x = upload(normals(inSize, random)), y = upload(normals(out, random));
  const weight = upload(narrow(normals(out * inSize, random, 1 / Math.sqrt(inSize)), dtype), dtype);
  const values = upload(normals(offset, random, 1 / Math.sqrt(inSize)));
  const bank = { slots: upload(Uint32Array.of(adapted ? 1 : 0xffffffff)), records: upload(records), values };
  const plan = [
    step(linear, { x, weight, y }, { rows: 1, in: inSize, out, accumulate }),
    step(loraLinear, { x, ...bank, y }, { rows: 1, in: inSize, out0, out1, out2, linear: 0, capacity }),
  ];
  const { steps, result } = changes(size, { device, y, bank });
  const reader = size.reader ? [readerStep(size.reader, { device, y: result, out })] : [];
  return [...plan, ...steps, ...reader];
}

/** What a plan leaves in the buffers that its steps write. */
async function results(device: Device, plan: readonly Step[]): Promise<TypedArray[]> {
  const program = await device.prepare(plan);
  const launches = device.kind === "cpu" ? plan.length : 2;
  assert.equal(
    program.launches,
    launches,
    "the product and A x are one launch on a GPU, B times it the other",
  );
  device.run(program);
  const found: TypedArray[] = [];
  for (const { kernel, buffers } of plan) {
    const written = Object.keys(kernel.buffers).filter((name) => kernel.buffers[name].access !== "read");
    for (const name of written) found.push(await device.read(buffers[name]));
  }
  program.release();
  return found;
}

for (const testCase of everyGpuCase ? cases : cases.slice(-2)) {
  test(`a product of one row with a low-rank adapter gives its kernels' numbers: ${JSON.stringify(testCase)}`, async () => {
    const expected = await results(cpu, planOf(cpu, testCase));
    const found = await results(gpu, planOf(gpu, testCase));
    expected.forEach((numbers, i) => {
      const off = distance(found[i], numbers);
      assert.ok(off <= 1e-5, `${off}`);
    });
  });
}
