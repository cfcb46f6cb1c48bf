/**
 * What training an adapter adds to one frozen linear layer, forward and backward: GPU time and GPU memory.
 *
 *     deno task bench:training [--d 4096,8192] [--rows 512,4096] [--n-frequency 1000] [--r 16] [--small]
 *
 * The steps are those that training runs: y += x dW^T, then dx += dy dW and the gradients of the adapter's numbers. The
 * base is y = x W^T and dx = dy W.
 *
 * @module
 */
import process from "node:process";
import { parseArgs } from "node:util";
import { linear } from "../kernels/linear.ts";
import { linearTransposed } from "../kernels/linear_transposed.ts";
import { normals } from "../kernels/mod.ts";
import type { AdapterModule } from "../src/adapters/method.ts";
import { fourierft } from "../src/adapters/methods/fourierft.ts";
import { lora } from "../src/adapters/methods/lora.ts";
import { type WebGpuDevice, webgpuDevice } from "../src/device/webgpu.ts";
import { uniforms } from "../src/engine/random.ts";
import { type Plan, type Step, step } from "../src/plan.ts";
import { openGpu } from "../src/runtime/gpu.ts";
import { elements, type Tensor, tensor } from "../src/tensor.ts";
import { type BufferUse, meterBuffers } from "./buffer_meter.ts";
import { timeOnGpu } from "./gpu_timer.ts";
import { timePasses } from "./pass_timer.ts";

const { values: options } = parseArgs({
  options: {
    d: { type: "string" },
    rows: { type: "string" },
    "n-frequency": { type: "string", default: "1000" },
    r: { type: "string", default: "16" },
    small: { type: "boolean", default: false },
  },
});
const counts = (text: string): number[] => text.split(",").map(Number);
const widths = counts(options.d ?? (options.small ? "256" : "4096,8192"));
const rowCounts = counts(options.rows ?? (options.small ? "32" : "512,4096"));
const rank = Number(options.r);
const config = { nFrequency: Number(options["n-frequency"]), r: rank, loraAlpha: rank, random: uniforms(2) };

/** The layer's own tensors, which base and adapters work on. */
interface Layer {
  readonly d: number;
  readonly rows: number;
  readonly weight: Tensor;
  readonly x: Tensor;
  readonly y: Tensor;
  readonly dy: Tensor;
  readonly dx: Tensor;
}

/** Above this, one run in a pass of its own is timed: its pass costs nothing beside it, and 900 runs would take long. */
const longUs = options.small ? 0 : 5000;

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1];

/** Microseconds of GPU time of a run of the plan. */
async function timePlan(device: WebGpuDevice, plan: Plan): Promise<number> {
  const program = await device.prepare(plan);
  try {
    const [, firstUs] = await timePasses(device, [program, program]);
    if (firstUs <= longUs) return (await timeOnGpu(device, [program])).inPassUs;
    if (options.small) return firstUs;
    // Half a second of runs brings the clock up, as timeOnGpu does.
    const runs = Math.max(10, Math.ceil(5e5 / firstUs));
    await timePasses(device, Array(runs).fill(program));
    return median(await timePasses(device, Array(15).fill(program)));
  } finally {
    program.release();
  }
}

/** A tensor of normal numbers, a block of them repeated. */
const block = normals(2 ** 18, uniforms(1));
function filled(device: WebGpuDevice, shape: readonly number[]): Tensor {
  const t = device.alloc(shape, "float32");
  const count = elements(shape);
  for (let at = 0; at < count; at += block.length) {
    device.write(t, block.subarray(0, Math.min(block.length, count - at)), at);
  }
  return t;
}

async function timeBase(gpu: GPUDevice, { d, rows, ...io }: Layer): Promise<{ us: number }> {
  const device = webgpuDevice(gpu);
  const words = { rows, in: d, out: d, accumulate: 0 };
  const { weight, x, y, dy, dx } = io;
  const us = await timePlan(device, [
    step(linear, { x, weight, y }, words),
    step(linearTransposed, { dy, weight, dx }, words),
  ]);
  device.destroy();
  return { us };
}

interface Steps {
  readonly forward: Step;
  readonly backward: readonly Step[];
  /** Tensors of the adapter's own. */
  readonly made: readonly Tensor[];
}

/** The adapter's steps, as training makes them for a module that starts its parameters. */
function adapterSteps(
  device: WebGpuDevice,
  { module, layer }: { module: AdapterModule; layer: Layer },
): Steps {
  const { d, rows, x, y, dy, dx } = layer;
  const shape = { out: d, in: d };
  const count = module.pack(shape).values.length;
  const made: Tensor[] = [];
  const kept = (t: Tensor): Tensor => {
    made.push(t);
    return t;
  };
  const io = {
    x,
    y,
    rows,
    slots: kept(device.upload(tensor(new Uint32Array(rows)))),
    params: kept(filled(device, [count])),
    gradients: kept(device.alloc([count], "float32")),
    at: 0,
  };
  const trainable = module.trainable!(shape, (t) => kept(device.upload(t)));
  return { forward: trainable.forward(io), backward: trainable.backward({ ...io, dy, dx }), made };
}

interface Row {
  readonly name: string;
  readonly layer: Layer;
  readonly baseUs: number;
  readonly forwardUs: number;
  readonly backwardUs: number;
  readonly parts: readonly string[];
  readonly use: BufferUse;
}

/** A device of its own for each adapter, so that no scratch of another one is shared. */
async function timeAdapter(
  gpu: GPUDevice,
  { name, module, layer, baseUs }: { name: string; module: AdapterModule; layer: Layer; baseUs: number },
): Promise<Row> {
  const device = webgpuDevice(gpu);
  const { result: { forward, backward, made }, use } = await meterBuffers(gpu, async () => {
    const steps = adapterSteps(device, { module, layer });
    device.run(await device.prepare([steps.forward, ...steps.backward]));
    await gpu.queue.onSubmittedWorkDone();
    return steps;
  });
  const forwardUs = await timePlan(device, [forward]);
  const backwardUs = await timePlan(device, backward);
  const parts: string[] = [];
  for (const one of [forward, ...backward]) {
    const program = await device.prepare([one]);
    const us = median(await timePasses(device, Array(options.small ? 1 : 15).fill(program)));
    parts.push(`${one.kernel.name} ${us.toFixed(1)}`);
    program.release();
  }
  for (const t of made) device.release(t);
  device.destroy();
  return { name, layer, baseUs, forwardUs, backwardUs, parts, use };
}

const mib = (bytes: number): string => (bytes / 2 ** 20).toFixed(3);

function report({ name, layer: { d, rows }, baseUs, forwardUs, backwardUs, use }: Row): void {
  const sumUs = forwardUs + backwardUs;
  const cells = [
    d,
    rows,
    name,
    baseUs.toFixed(0),
    forwardUs.toFixed(1),
    backwardUs.toFixed(1),
    sumUs.toFixed(1),
    `${(100 * sumUs / baseUs).toFixed(1)} %`,
    mib(use.peakBytes),
    mib(use.largestBytes),
    mib(4 * d * d),
  ];
  console.log(`| ${cells.join(" | ")} |`);
}

async function layerOf(device: WebGpuDevice, { d, rows }: { d: number; rows: number }): Promise<Layer> {
  const tokens = [rows, d];
  const layer = {
    d,
    rows,
    weight: filled(device, [d, d]),
    x: filled(device, tokens),
    y: filled(device, tokens),
    dy: filled(device, tokens),
    dx: filled(device, tokens),
  };
  await device.gpu.queue.onSubmittedWorkDone();
  return layer;
}

const gpu = await openGpu({ toggles: { disable: ["timestamp_quantization"] } });
const device = webgpuDevice(gpu.device, { description: gpu.description, destroy: gpu.destroy });
console.log(
  `${device.description}; (d, d) linear, T rows; microseconds of GPU time, MiB of GPU buffers that the adapter makes\n`,
);
console.log(
  "| d | T | adapter | base | forward adds | backward adds | sum | of base | peak MiB | largest buffer | dW would be |\n" +
    "| --: | --: | --- | --: | --: | --: | --: | --: | --: | --: | --: |",
);
const rows: Row[] = [];
for (const d of widths) {
  const shape = { out: d, in: d };
  const modules = {
    [`FourierFT n = ${config.nFrequency}`]: fourierft.create!(shape, config),
    [`LoRA r = ${rank}`]: lora.create!(shape, config),
  };
  for (const count of rowCounts) {
    const layer = await layerOf(device, { d, rows: count });
    const { us: baseUs } = await timeBase(gpu.device, layer);
    for (const [name, module] of Object.entries(modules)) {
      rows.push(await timeAdapter(gpu.device, { name, module, layer, baseUs }));
      report(rows.at(-1)!);
    }
    for (const t of [layer.weight, layer.x, layer.y, layer.dy, layer.dx]) device.release(t);
  }
}
console.log("\nEach kernel call in a pass of its own, microseconds:\n");
for (const { name, layer, parts } of rows) {
  console.log(`- d = ${layer.d}, T = ${layer.rows}, ${name}: ${parts.join(", ")}`);
}
device.destroy();
process.exit(0);
