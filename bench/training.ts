/**
 * One optimizer step of `fourierft train` on the demo model: its wall time, and where the GPU's time goes.
 *
 *     deno task bench:training-step [--batch 32] [--context 512] [--steps 20] [--method fourierft|lora] [--layers N] [--shapes]
 *
 * @module
 */
import process from "node:process";
import { parseArgs } from "node:util";
import type { Method } from "../src/adapters/method.ts";
import { methods } from "../src/adapters/methods/mod.ts";
import type { Program } from "../src/device/device.ts";
import { type WebGpuDevice, webgpuDevice } from "../src/device/webgpu.ts";
import { uniforms } from "../src/engine/random.ts";
import { openCheckpoint } from "../src/models/checkpoint.ts";
import { type LlamaModel, loadLlama } from "../src/models/llama.ts";
import { readConfig } from "../src/open.ts";
import type { Plan, Step } from "../src/plan.ts";
import { openFolder } from "../src/runtime/file.ts";
import { openGpu } from "../src/runtime/gpu.ts";
import type { TrainingBatch } from "../src/training/batch.ts";
import { runTraining } from "../src/training/train.ts";
import { Trainer } from "../src/training/trainer.ts";
import { meterBuffers } from "./buffer_meter.ts";
import { timePasses } from "./pass_timer.ts";

const { values: options } = parseArgs({
  options: {
    model: { type: "string", default: "examples/demo/base" },
    method: { type: "string", default: "fourierft" },
    "n-frequency": { type: "string", default: "1000" },
    r: { type: "string", default: "16" },
    batch: { type: "string", default: "32" },
    context: { type: "string", default: "512" },
    steps: { type: "string", default: "20" },
    "warm-up": { type: "string", default: "3" },
    rounds: { type: "string", default: "5" },
    layers: { type: "string" },
    shapes: { type: "boolean", default: false },
  },
});
const sizes = { batch: Number(options.batch), context: Number(options.context) };
const steps = Number(options.steps);
const rounds = Number(options.rounds);
/** Small, so that the losses of random tokens stay finite whatever the number of steps. */
const lr = 1e-3;

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1];

async function openBase(device: WebGpuDevice): Promise<LlamaModel> {
  const folder = await openFolder(options.model);
  const config = await readConfig(folder);
  const source = await openCheckpoint(folder);
  return await loadLlama(device, { config, source, maxModelLen: sizes.context }).finally(() =>
    source.close()
  );
}

/** Random tokens, every row with a target: full sequences, the most work a batch can be. */
function randomBatch(vocabSize: number): TrainingBatch {
  const { batch, context } = sizes;
  const random = uniforms(1);
  const rows = (value: (row: number) => number): Uint32Array =>
    Uint32Array.from({ length: batch * context }, (_, row) => value(row));
  const token = (): number => Math.floor(random() * vocabSize);
  return {
    tokens: rows(token),
    targets: rows(token),
    positions: rows((row) => row % context),
    first: rows((row) => row - row % context),
    last: rows((row) => row - row % context + context),
    targetCount: batch * context,
  };
}

/** The trainer, and the plans it made ready on the device. */
async function openTrainer(
  device: WebGpuDevice,
  model: LlamaModel,
): Promise<{ trainer: Trainer; trainPlan: Plan; optimizePlan: Plan }> {
  const plans: Plan[] = [];
  const recording: WebGpuDevice = {
    ...device,
    prepare(plan) {
      plans.push(plan);
      return device.prepare(plan);
    },
  };
  const method = methods.find(({ peftType }) => peftType === options.method.toUpperCase()) as Method;
  const config = { nFrequency: Number(options["n-frequency"]), r: Number(options.r), random: uniforms(2) };
  const modules = new Map(
    model.linears.slice(0, -1).map(({ path, shape }) => [path, method.create!(shape, config)]),
  );
  const trainer = await Trainer.open(recording, model, {
    method,
    modules,
    rows: sizes.batch * sizes.context,
    layersPerSegment: options.layers === undefined ? undefined : Number(options.layers),
  });
  const [trainPlan, , optimizePlan] = plans; // the second is that of evaluation
  console.log(
    `${options.method}, ${trainer.parameters} numbers in ${modules.size} modules; ${sizes.batch} x ${sizes.context} tokens; ` +
      `${trainPlan.length} + ${optimizePlan.length} kernel calls a step`,
  );
  return { trainer, trainPlan, optimizePlan };
}

/** Milliseconds of each step, waiting for its loss before the next is submitted. */
async function synchronised(trainer: Trainer, batch: TrainingBatch, count: number): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i < count; i++) {
    const begin = performance.now();
    await trainer.submit([batch], lr);
    times.push(performance.now() - begin);
  }
  return times;
}

/** Milliseconds between steps of a run as `fourierft train` makes it, one step ahead of the losses. */
async function pipelined(trainer: Trainer, batch: TrainingBatch, count: number): Promise<number[]> {
  const ends: number[] = [];
  await runTraining(trainer, {
    data: { batch: () => batch },
    steps: trainer.stepsTaken + count + 1,
    schedule: () => lr,
    onEvent: ({ kind }) => kind === "step" && ends.push(performance.now()),
  });
  return ends.slice(1).map((end, i) => end - ends[i]);
}

function reportSteps(what: string, times: readonly number[]): void {
  const ms = median(times);
  const tokensPerSecond = 1000 * sizes.batch * sizes.context / ms;
  console.log(
    `${what.padEnd(28)} ${ms.toFixed(2)} ms a step (median of ${times.length}; ${
      Math.min(...times).toFixed(2)
    } to ${Math.max(...times).toFixed(2)}), ${tokensPerSecond.toFixed(0)} tokens/s`,
  );
}

/** Words that say where numbers lie; they differ between calls of one size. */
const places = new Set(["offset", "layer", "capacity"]);

/** What a row of the table is called: the kernel, and with --shapes its sizes. */
function nameOf({ kernel, uniforms }: Step): string {
  if (!options.shapes) return kernel.name;
  const shape = Object.entries(uniforms).filter(([name]) =>
    kernel.uniforms[name] === "u32" && !places.has(name)
  );
  return `${kernel.name} ${shape.map(([name, value]) => `${name} ${value}`).join(", ")}`;
}

interface Row {
  readonly name: string;
  calls: number;
  launches: number;
  us: number;
}

/** GPU time by kernel: the median of each call over the rounds, calls of a name added up. */
async function timeKernels(device: WebGpuDevice, plan: Plan): Promise<Row[]> {
  const programs: Program[] = [];
  for (const step of plan) programs.push(await device.prepare([step]));
  const timed: number[][] = [];
  await timePasses(device, programs);
  for (let round = 0; round < rounds; round++) timed.push(await timePasses(device, programs));
  const rows = new Map<string, Row>();
  plan.forEach((step, i) => {
    const name = nameOf(step);
    const row = rows.get(name) ?? { name, calls: 0, launches: 0, us: 0 };
    row.calls++;
    row.launches += programs[i].launches;
    row.us += median(timed.map((times) => times[i]));
    rows.set(name, row);
  });
  for (const program of programs) program.release();
  return [...rows.values()].sort((a, b) => b.us - a.us);
}

/** Median GPU microseconds of a plan in one pass, as a step runs it. */
async function timeWhole(device: WebGpuDevice, plan: Plan): Promise<number> {
  const program = await device.prepare(plan);
  const times: number[] = [];
  await timePasses(device, [program]);
  for (let round = 0; round < rounds; round++) times.push(...await timePasses(device, [program]));
  program.release();
  return median(times);
}

async function reportKernels(what: string, { device, plan }: { device: WebGpuDevice; plan: Plan }) {
  const wholeUs = await timeWhole(device, plan);
  const rows = await timeKernels(device, plan);
  const sumUs = rows.reduce((sum, { us }) => sum + us, 0);
  const ms = (us: number): string => (us / 1000).toFixed(3);
  console.log(
    `\n${what}: ${ms(wholeUs)} ms of GPU time in one pass; ${
      ms(sumUs)
    } ms with each kernel call in a pass of its own:\n`,
  );
  console.log(
    "| kernel | calls | launches | ms | us a call | share |\n| --- | --: | --: | --: | --: | --: |",
  );
  for (const { name, calls, launches, us } of rows) {
    console.log(
      `| ${name} | ${calls} | ${launches} | ${ms(us)} | ${(us / calls).toFixed(1)} | ${
        (100 * us / sumUs).toFixed(1)
      } % |`,
    );
  }
}

const gpu = await openGpu({ toggles: { disable: ["timestamp_quantization"] } });
const device = webgpuDevice(gpu.device, { description: gpu.description, destroy: gpu.destroy });
console.log(device.description);
const model = await openBase(device);
const batch = randomBatch(model.config.vocabSize);
const { result: { trainer, trainPlan, optimizePlan }, use } = await meterBuffers(
  device.gpu,
  () => openTrainer(device, model),
);
const mib = (bytes: number): string => (bytes / 2 ** 20).toFixed(1);
console.log(
  `GPU buffers beyond the model's weights: ${mib(use.peakBytes)} MiB, the largest ${
    mib(use.largestBytes)
  } MiB`,
);
await synchronised(trainer, batch, Number(options["warm-up"]));
reportSteps("one step at a time:", await synchronised(trainer, batch, steps));
reportSteps("one ahead, as the trainer:", await pipelined(trainer, batch, steps));
await reportKernels("forward and backward", { device, plan: trainPlan });
await reportKernels("optimizer", { device, plan: optimizePlan });
trainer.release();
device.destroy();
process.exit(0);
