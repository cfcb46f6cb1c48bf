/**
 * What an adapter adds to a linear layer, and what dW costs to build, on this machine's GPU.
 *
 *     deno task bench:fourier [--json FILE] [--invocations MOST]
 *
 * MOST caps the invocations of a workgroup, to compare plans: 256 in place of 512.
 *
 * @module
 */
import { fourierDelta } from "../kernels/fourier_delta.ts";
import { fourierLinear } from "../kernels/fourier_linear.ts";
import { fourierLinears } from "../kernels/fourier_linears.ts";
import { fourierTable, inOrder } from "../kernels/fourier_table.ts";
import { bitsOf, type Kernel, normals, recordWords } from "../kernels/mod.ts";
import { randomFrequencies } from "../kernels/fourier_table.ts";
import { type WebGpuDevice, webgpuDevice } from "../src/device/webgpu.ts";
import { step } from "../src/plan.ts";
import { openGpu } from "../src/runtime/gpu.ts";
import { tensor } from "../src/tensor.ts";
import { uniforms } from "../src/engine/random.ts";
import { timeOnGpu, type Timing } from "./gpu_timer.ts";
import { writeFileSync } from "node:fs";
import process from "node:process";

const n = 1000;

function argument(name: string): string | undefined {
  const at = process.argv.indexOf(name);
  return at > 0 ? process.argv[at + 1] : undefined;
}

const mostInvocations = Number(argument("--invocations") ?? Infinity);

/** The kernel as it launches with no more invocations than asked for. */
function capped<B extends string, U extends string>(kernel: Kernel<B, U>): Kernel<B, U> {
  return {
    ...kernel,
    launch: (call, limits) =>
      kernel.launch(call, { ...limits, invocations: Math.min(limits.invocations, mostInvocations) }),
  };
}

interface Row extends Timing {
  readonly what: string;
  /** Reading x and y and writing y, or writing dW, once. */
  readonly bytes: number;
}

/** Normal numbers, a block of them repeated: making them all would leave the GPU idle for seconds. */
function manyNormals(count: number, random: () => number): Float32Array {
  const block = normals(Math.min(count, 2 ** 18), random);
  const out = new Float32Array(count);
  for (let at = 0; at < count; at += block.length) {
    out.set(block.subarray(0, Math.min(block.length, count - at)), at);
  }
  return out;
}

/** y += x dW^T of one linear, or of some that share x: `adapters` sets of coefficients, rows spread over them. */
async function timeForward(
  device: WebGpuDevice,
  size: { outs: readonly number[]; in: number; rows: number; adapters: number },
): Promise<Row> {
  const { outs, rows, adapters } = size;
  const random = uniforms(1);
  const columns = outs.reduce((sum, out) => sum + out, 0);
  const made = outs.map((out) => {
    const { u, v } = randomFrequencies(n, { out, in: size.in }, random);
    return fourierTable({ destination: u, source: v }, { destination: out, source: size.in });
  });
  const tables = new Uint32Array(made.reduce((sum, { table }) => sum + table.length, 0));
  const values = new Float32Array(outs.length * adapters * n);
  const records = new Uint32Array(outs.length * adapters * recordWords);
  let tableAt = 0;
  made.forEach(({ table, order }, i) => {
    tables.set(table, tableAt);
    for (let a = i * adapters; a < (i + 1) * adapters; a++) {
      values.set(inOrder(normals(n, random), order), a * n);
      records.set([tableAt, a * n, n, bitsOf(150 / (outs[i] * size.in))], a * recordWords);
    }
    tableAt += table.length;
  });
  const shared = {
    slots: device.upload(tensor(Uint32Array.from({ length: rows }, (_, i) => i % adapters))),
    records: device.upload(tensor(records)),
    tables: device.upload(tensor(tables)),
    values: device.upload(tensor(values)),
  };
  const sets = Array.from({ length: 4 }, () => ({
    x: device.upload(tensor(manyNormals(rows * size.in, random), [rows, size.in])),
    y: device.alloc([rows, columns], "float32"),
  }));
  const words = { rows, in: size.in, layer: 0, capacity: adapters };
  const [out0, out1 = 0, out2 = 0] = outs;
  const programs = await Promise.all(
    sets.map((set) =>
      device.prepare([
        outs.length === 1
          ? step(capped(fourierLinear), { ...shared, ...set }, { ...words, out: out0 })
          : step(capped(fourierLinears), { ...shared, ...set }, { ...words, out0, out1, out2 }),
      ])
    ),
  );
  const timing = await timeOnGpu(device, programs);
  for (const t of [...Object.values(shared), ...sets.flatMap(({ x, y }) => [x, y])]) device.release(t);
  return {
    what: `forward ${outs.join(", ")} x ${size.in}, T = ${rows}, ${adapters} adapter${
      adapters > 1 ? "s" : ""
    }`,
    ...timing,
    bytes: 4 * rows * (size.in + 2 * columns),
  };
}

async function timeDelta(device: WebGpuDevice, shape: { out: number; in: number }): Promise<Row> {
  const random = uniforms(2);
  const { u, v } = randomFrequencies(n, shape, random);
  const { table, order } = fourierTable({ destination: v, source: u }, {
    destination: shape.in,
    source: shape.out,
  });
  const buffers = {
    table: device.upload(tensor(table)),
    values: device.upload(tensor(inOrder(normals(n, random), order))),
    weight: device.alloc([shape.out, shape.in], "float32"),
  };
  const words = { out: shape.out, in: shape.in, scale: 150 / (shape.out * shape.in), accumulate: 0 };
  const timing = await timeOnGpu(
    device,
    [await device.prepare([step(capped(fourierDelta), buffers, words)])],
    20,
  );
  for (const t of Object.values(buffers)) device.release(t);
  return { what: `dW ${shape.out} x ${shape.in}`, ...timing, bytes: 4 * shape.out * shape.in };
}

const gpu = await openGpu({ toggles: { disable: ["timestamp_quantization"] } });
const device = webgpuDevice(gpu.device, { description: gpu.description, destroy: gpu.destroy });
console.log(
  `${device.description}; n = ${n}; best of 5 attempts; in a pass: median of 7 passes of 20; alone: median of 40 passes of one, four sets of x and y in turn`,
);
const rows: Row[] = [];
const quick = gpu.software || process.argv.includes("--quick");
/** [outs, in, rows, adapters]. */
type Forward = readonly [readonly number[], number, number, number];
const quickForwards: readonly Forward[] = [
  [[768], 768, 1, 1],
  [[768], 768, 16, 16],
  [[768, 256, 256], 768, 16, 16],
];
const allForwards: readonly Forward[] = [
  ...[1, 64, 512, 4096].flatMap((t): Forward[] => [[[4096], 4096, t, 1], [[4096], 4096, t, 1024]]),
  ...[1, 64, 512, 4096].map((t): Forward => [[4096, 1024, 1024], 4096, t, 64]),
  ...[1, 64, 4096].map((t): Forward => [[8192, 8192], 2048, t, 64]),
  ...[1, 512, 4096].map((t): Forward => [[8192], 8192, t, 1]),
  // Odd and long lengths, out and in, beside the next power of two.
  ...[8192, 11008, 14336, 16384, 18944, 28672, 32768, 53248, 65536].flatMap((d): Forward[] => [
    [[d], 4096, 512, 1],
    [[4096], d, 512, 1],
  ]),
];
for (const [outs, inFeatures, t, adapters] of quick ? quickForwards : allForwards) {
  rows.push(await timeForward(device, { outs, in: inFeatures, rows: t, adapters }));
  report(rows.at(-1)!);
}
const deltas = quick ? [[768, 768]] : [[4096, 4096], [8192, 8192], [8192, 28672]];
for (const [out, inFeatures] of deltas) {
  rows.push(await timeDelta(device, { out, in: inFeatures }));
  report(rows.at(-1)!);
}

function report({ what, medianUs, minUs, inPassUs, slowestUs, wallUs, bytes }: Row): void {
  const us = (value: number): string => value.toFixed(1).padStart(8);
  const rate = (bytes / inPassUs / 1e3).toFixed(0).padStart(5);
  console.log(
    `${what.padEnd(56)} in a pass ${us(inPassUs)} us (slowest attempt ${us(slowestUs)}) ${rate} GB/s; alone ${
      us(medianUs)
    }, min ${us(minUs)}, wall ${us(wallUs)}`,
  );
}

const file = argument("--json");
if (file) writeFileSync(file, JSON.stringify({ device: device.description, rows }, null, 1));
device.destroy();
process.exit(0);
