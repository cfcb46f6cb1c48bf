/**
 * What an adapter adds to a linear layer, and what dW costs to build, on this machine's GPU.
 *
 *     deno task bench:fourier [--json FILE]
 *
 * @module
 */
import { fourierDelta } from "../kernels/fourier_delta.ts";
import { fourierLinear } from "../kernels/fourier_linear.ts";
import { fourierTable, inOrder } from "../kernels/fourier_table.ts";
import { bitsOf, normals, recordWords } from "../kernels/mod.ts";
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

/** y += x dW^T at d x d: `adapters` sets of coefficients, rows spread over them. */
async function timeForward(
  device: WebGpuDevice,
  size: { out: number; in: number; rows: number; adapters: number },
): Promise<Row> {
  const { out, rows, adapters } = size;
  const random = uniforms(1);
  const { u, v } = randomFrequencies(n, size, random);
  const { table, order } = fourierTable({ destination: u, source: v }, { destination: out, source: size.in });
  const values = new Float32Array(adapters * n);
  const records = new Uint32Array(adapters * recordWords);
  for (let a = 0; a < adapters; a++) {
    values.set(inOrder(normals(n, random), order), a * n);
    records.set([0, a * n, n, bitsOf(150 / (out * size.in))], a * recordWords);
  }
  const shared = {
    slots: device.upload(tensor(Uint32Array.from({ length: rows }, (_, i) => i % adapters))),
    records: device.upload(tensor(records)),
    tables: device.upload(tensor(table)),
    values: device.upload(tensor(values)),
  };
  const sets = Array.from({ length: 4 }, () => ({
    x: device.upload(tensor(manyNormals(rows * size.in, random), [rows, size.in])),
    y: device.alloc([rows, out], "float32"),
  }));
  const words = { rows, in: size.in, out, layer: 0, capacity: adapters };
  const programs = await Promise.all(
    sets.map((set) => device.prepare([step(fourierLinear, { ...shared, ...set }, words)])),
  );
  const timing = await timeOnGpu(device, programs);
  for (const t of [...Object.values(shared), ...sets.flatMap(({ x, y }) => [x, y])]) device.release(t);
  return {
    what: `forward ${out} x ${size.in}, T = ${rows}, ${adapters} adapter${adapters > 1 ? "s" : ""}`,
    ...timing,
    bytes: 4 * rows * (size.in + 2 * out),
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
  const timing = await timeOnGpu(device, [await device.prepare([step(fourierDelta, buffers, words)])], 20);
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
const forwards = quick
  ? [[768, 768, 1, 1], [768, 768, 16, 16]]
  : [1, 64, 512, 4096].flatMap((t) => [[4096, 4096, t, 1], [4096, 4096, t, 1024]]).concat([
    [8192, 8192, 1, 1],
    [8192, 8192, 512, 1],
    [8192, 8192, 4096, 1],
    [11008, 4096, 512, 1],
    [14336, 4096, 512, 1],
    [4096, 14336, 512, 1],
  ]);
for (const [out, inFeatures, t, adapters] of forwards) {
  rows.push(await timeForward(device, { out, in: inFeatures, rows: t, adapters }));
  report(rows.at(-1)!);
}
for (const d of quick ? [768] : [4096, 8192]) {
  rows.push(await timeDelta(device, { out: d, in: d }));
  report(rows.at(-1)!);
}

function report({ what, medianUs, minUs, inPassUs, slowestUs, wallUs, bytes }: Row): void {
  const us = (value: number): string => value.toFixed(1).padStart(8);
  const rate = (bytes / inPassUs / 1e3).toFixed(0).padStart(5);
  console.log(
    `${what.padEnd(48)} in a pass ${us(inPassUs)} us (slowest attempt ${us(slowestUs)}) ${rate} GB/s; alone ${
      us(medianUs)
    }, min ${us(minUs)}, wall ${us(wallUs)}`,
  );
}

const at = process.argv.indexOf("--json");
if (at > 0) {
  writeFileSync(process.argv[at + 1], JSON.stringify({ device: device.description, rows }, null, 1));
}
device.destroy();
process.exit(0);
