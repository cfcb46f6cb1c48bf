/**
 * GPU time and memory that training an adapter adds to one frozen linear layer, forward and backward.
 *
 * The steps are those that training runs: y += x dW^T, then dx += dy dW and the gradients of the adapter's numbers. The
 * base is y = x W^T and dx = dy W.
 *
 * @module
 */
import { linear } from "../kernels/linear.ts";
import { linearTransposed } from "../kernels/linear_transposed.ts";
import type { AdapterModule } from "../src/adapters/method.ts";
import { fourierft } from "../src/adapters/methods/fourierft.ts";
import { lora } from "../src/adapters/methods/lora.ts";
import { newModule } from "../test/new_module.ts";
import { type WebGpuDevice, webgpuDevice } from "../src/device/webgpu.ts";
import { uniforms } from "../src/engine/random.ts";
import { type Plan, type Step, step } from "../src/plan.ts";
import { type Tensor, tensor } from "../src/tensor.ts";
import { meterBuffers } from "./buffer_meter.ts";
import { normalTensor } from "./data.ts";
import type { Bench, BenchContext, Measurement } from "./measurement.ts";
import { timePrograms, type Timing } from "./timer.ts";

const table = "training";
const [nFrequency, rank] = [1000, 16];
const random = uniforms(2);

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

function layerOf(device: WebGpuDevice, { d, rows }: { d: number; rows: number }): Layer {
  const tokens = (): Tensor => normalTensor(device, [rows, d]);
  const weight = normalTensor(device, [d, d]);
  return { d, rows, weight, x: tokens(), y: tokens(), dy: tokens(), dx: tokens() };
}

async function timePlan(device: WebGpuDevice, plan: Plan, context: BenchContext): Promise<Timing> {
  const program = await device.prepare(plan);
  const timing = await timePrograms(device, [program], context);
  program.release();
  return timing;
}

function basePlan({ d, rows, weight, x, y, dy, dx }: Layer): Plan {
  const words = { rows, in: d, out: d, accumulate: 0 };
  return [step(linear, { x, weight, y }, words), step(linearTransposed, { dy, weight, dx }, words)];
}

interface AdapterSteps {
  readonly forward: readonly Step[];
  readonly backward: readonly Step[];
  /** Tensors of the adapter's own. */
  readonly made: readonly Tensor[];
}

/** These methods do without the linear's own weight. */
function unused(): never {
  throw new TypeError("Cannot time a method that acts on the linear's weight");
}

/** The adapter's steps, as training makes them for a module that starts its parameters. */
function adapterSteps(
  device: WebGpuDevice,
  { module, layer }: { module: AdapterModule; layer: Layer },
): AdapterSteps {
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
    params: kept(normalTensor(device, [count])),
    gradients: kept(device.alloc([count], "float32")),
    at: 0,
    sharedAt: 0,
    scratch: (_: string, dims: readonly number[]) => kept(device.alloc(dims, "float32")),
    product: unused,
    productBackward: unused,
  };
  const trainable = module.trainable!(shape, (t) => kept(device.upload(t)));
  const { forward, backward } = trainable.beside!;
  return { forward: forward(io), backward: backward({ ...io, dy, dx }), made };
}

/** A device of its own for each adapter, so that no scratch of another one is shared. */
async function* timeAdapter(
  context: BenchContext,
  { name, module, layer }: { name: string; module: AdapterModule; layer: Layer },
): AsyncGenerator<Measurement> {
  const { gpu } = context.device as WebGpuDevice;
  const device = webgpuDevice(gpu);
  const { result: { forward, backward, made }, use } = await meterBuffers(gpu, async () => {
    const steps = adapterSteps(device, { module, layer });
    device.run(await device.prepare([...steps.forward, ...steps.backward]));
    await gpu.queue.onSubmittedWorkDone();
    return steps;
  });
  const row = `d = ${layer.d}, T = ${layer.rows}`;
  const cell = (column: string, { medianUs, minimumUs, slowestUs, runs }: Timing): Measurement => {
    const us = { median: medianUs, minimum: minimumUs, slowest: slowestUs, runs };
    return { table, row, column: `${name}: ${column}`, unit: "us", ...us };
  };
  const forwardTiming = await timePlan(device, forward, context);
  const backwardTiming = await timePlan(device, backward, context);
  yield cell("forward adds", forwardTiming);
  yield cell("backward adds", backwardTiming);
  yield {
    table,
    row,
    column: `${name}: both`,
    unit: "us",
    median: forwardTiming.medianUs + backwardTiming.medianUs,
  };
  const mib = (bytes: number): number => bytes / 2 ** 20;
  yield { table, row, column: `${name}: peak`, unit: "MiB", median: mib(use.peakBytes) };
  yield { table, row, column: `${name}: largest buffer`, unit: "MiB", median: mib(use.largestBytes) };
  for (const [i, one] of [...forward, ...backward].entries()) {
    const call = `${i === 0 ? "forward" : `backward ${i}`}, ${one.kernel.name}`;
    const part = { table: "training-kernels", row: `${row}, ${name}, ${call}`, unit: "us" };
    const { medianUs, runs } = await timePlan(device, [one], context);
    yield { ...part, column: "in a pass", median: medianUs, runs };
  }
  for (const t of made) device.release(t);
  device.destroy();
}

/** See the module's documentation. */
export const trainingBench: Bench = {
  name: "training",
  doc: "what training an adapter adds to one linear layer: time and memory",
  gpuOnly: true,
  peers: ["peft_training_layer.py"],
  async *measure(context) {
    const device = context.device as WebGpuDevice;
    for (const d of context.quick ? [64] : [4096, 8192]) {
      const shape = { out: d, in: d };
      const modules = {
        [`FourierFT n = ${nFrequency}`]: newModule(fourierft, shape, { n_frequency: nFrequency }, random),
        [`LoRA r = ${rank}`]: newModule(lora, shape, { r: rank }, random),
      };
      for (const rows of context.quick ? [8] : [512, 4096]) {
        const layer = layerOf(device, { d, rows });
        const { medianUs, runs } = await timePlan(device, basePlan(layer), context);
        const row = `d = ${d}, T = ${rows}`;
        yield { table, row, column: "frozen base", unit: "us", median: medianUs, runs };
        for (const [name, module] of Object.entries(modules)) {
          yield* timeAdapter(context, { name, module, layer });
        }
        for (const t of [layer.weight, layer.x, layer.y, layer.dy, layer.dx]) device.release(t);
      }
    }
  },
};
