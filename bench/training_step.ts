/**
 * One optimizer step of `fourierft train` on the demo model: its wall time, and where the GPU's time goes.
 *
 * @module
 */
import type { Method } from "../src/adapters/method.ts";
import { fourierft } from "../src/adapters/methods/fourierft.ts";
import { lora } from "../src/adapters/methods/lora.ts";
import { newModule } from "../test/new_module.ts";
import type { Program } from "../src/device/device.ts";
import type { WebGpuDevice } from "../src/device/webgpu.ts";
import { uniforms } from "../src/engine/random.ts";
import { openCheckpoint } from "../src/models/checkpoint.ts";
import { loadModel, type Model, releaseModel } from "../src/models/model.ts";
import { readConfig } from "../src/models/families.ts";
import type { Plan } from "../src/plan.ts";
import { openFolder } from "../src/runtime/file.ts";
import type { TrainingBatch } from "../src/training/batch.ts";
import { runTraining } from "../src/training/run.ts";
import { Trainer } from "../src/training/trainer.ts";
import { meterBuffers } from "./buffer_meter.ts";
import { type Bench, type Measurement, median } from "./measurement.ts";
import { clockOf } from "./timer.ts";
import { timePasses } from "./pass_timer.ts";

const table = "training-step";
/** Small, so that the losses of random tokens stay finite whatever the number of steps. */
const lr = 1e-3;

/** How much is trained, and how often it is timed. */
interface Sizes {
  readonly batch: number;
  readonly context: number;
  readonly steps: number;
  readonly warmUp: number;
  readonly rounds: number;
}
const fullSizes: Sizes = { batch: 32, context: 512, steps: 20, warmUp: 3, rounds: 5 };
const quickSizes: Sizes = { batch: 1, context: 16, steps: 2, warmUp: 1, rounds: 1 };

/** A kind of run: a row of the table. */
interface Variant {
  readonly row: string;
  readonly method: Method;
  readonly layersPerSegment?: number;
}

async function openBase(device: WebGpuDevice, maxModelLen: number): Promise<Model> {
  const folder = await openFolder("examples/demo/base");
  const config = await readConfig(folder);
  const source = await openCheckpoint(folder);
  return await loadModel(device, { config, source, maxModelLen }).finally(() => source.close());
}

/** Random tokens, every row with a target: full sequences, the most work a batch can be. */
function randomBatch(vocabSize: number, { batch, context }: Sizes): TrainingBatch {
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

/** The trainer, and the plan of its forward and backward as it made it ready on the device. */
async function openTrainer(
  device: WebGpuDevice,
  model: Model,
  { variant: { method, layersPerSegment }, sizes }: { variant: Variant; sizes: Sizes },
): Promise<{ trainer: Trainer; trainPlan: Plan }> {
  const plans: Plan[] = [];
  const recording: WebGpuDevice = {
    ...device,
    prepare(plan) {
      plans.push(plan);
      return device.prepare(plan);
    },
  };
  const random = uniforms(2);
  const modules = new Map(
    model.linears.slice(0, -1).map(({ path, shape }) => [path, newModule(method, shape, {}, random)]),
  );
  const rows = sizes.batch * sizes.context;
  const trainer = await Trainer.open(recording, model, { method, modules, rows, layersPerSegment });
  return { trainer, trainPlan: plans[0] };
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

/** GPU milliseconds by kernel: the median of each call over the rounds, calls of a kernel added up. */
async function timeKernels(device: WebGpuDevice, plan: Plan, rounds: number): Promise<Map<string, number>> {
  const programs: Program[] = [];
  for (const step of plan) programs.push(await device.prepare([step]));
  const passes = programs.map((program) => [program]);
  await timePasses(device, passes);
  const timed: number[][] = [];
  for (let round = 0; round < rounds; round++) timed.push(await timePasses(device, passes));
  const sums = new Map<string, number>();
  plan.forEach(({ kernel: { name } }, i) => {
    sums.set(name, (sums.get(name) ?? 0) + median(timed.map((times) => times[i])) / 1000);
  });
  programs.forEach((program) => program.release());
  return sums;
}

/** Where the GPU's time goes, most first, as a part of the sum of calls each in a pass of its own. */
async function* kernelCells(
  device: WebGpuDevice,
  plan: Plan,
  { row, rounds }: { row: string; rounds: number },
): AsyncGenerator<Measurement> {
  const times = [...await timeKernels(device, plan, rounds)].sort(([, a], [, b]) => b - a);
  const sum = times.reduce((total, [, ms]) => total + ms, 0);
  for (const [name, ms] of times) {
    const cell = { table: "training-step-kernels", row: name };
    yield { ...cell, column: row, unit: "ms", median: ms };
    yield { ...cell, column: `${row}: of all`, unit: "%", median: 100 * ms / sum };
  }
}

async function* timeVariant(
  device: WebGpuDevice,
  model: Model,
  { variant, sizes }: { variant: Variant; sizes: Sizes },
): AsyncGenerator<Measurement> {
  const { row } = variant;
  const batch = randomBatch(model.config.vocabSize, sizes);
  const { result: { trainer, trainPlan }, use } = await meterBuffers(
    device.gpu,
    () => openTrainer(device, model, { variant, sizes }),
  );
  const cell = (column: string, times: readonly number[]): Measurement => {
    const range = { minimum: Math.min(...times), slowest: Math.max(...times), runs: times.length };
    return { table, row, column, unit: "ms", median: median(times), ...range };
  };
  await synchronised(trainer, batch, sizes.warmUp);
  yield cell("one step at a time", await synchronised(trainer, batch, sizes.steps));
  const ahead = cell("one ahead, as train does", await pipelined(trainer, batch, sizes.steps));
  yield ahead;
  const tokens = sizes.batch * sizes.context;
  yield { table, row, column: "rate", unit: "tokens/s", median: 1000 * tokens / ahead.median };
  yield { table, row, column: "beyond the weights", unit: "MiB", median: use.peakBytes / 2 ** 20 };
  if (clockOf(device) === "timestamp queries") {
    yield* kernelCells(device, trainPlan, { row, rounds: sizes.rounds });
  }
  trainer.release();
}

/** See the module's documentation. */
export const trainingStepBench: Bench = {
  name: "training-step",
  doc: "an optimizer step of the demo model, and each kernel in it",
  gpuOnly: true,
  async *measure({ device: opened, quick }) {
    const device = opened as WebGpuDevice;
    const sizes = quick ? quickSizes : fullSizes;
    const model = await openBase(device, sizes.context);
    const layersPerSegment = model.config.layers;
    const variants: Variant[] = [
      { row: "FourierFT, activations in segments, the default", method: fourierft },
      { row: "FourierFT, all activations kept", method: fourierft, layersPerSegment },
      { row: "LoRA r = 8, all activations kept", method: lora, layersPerSegment },
    ];
    for (const variant of variants) yield* timeVariant(device, model, { variant, sizes });
    releaseModel(device, model);
  },
};
