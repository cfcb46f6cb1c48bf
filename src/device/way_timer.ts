/**
 * Times the ways of a kernel on a GPU.
 *
 * All steps of a plan that share a key are taken in turn, as a model's layers are. Their weights then come from memory
 * as in use, and not from a cache that holds one layer. Outputs go to buffers of the timer's own. These and the
 * scratch of all ways are freed at the end: most ways lose. The ways are timed in turn, too, so that a rising clock
 * hits all alike.
 *
 * @module
 */
import type { Limits } from "../../kernels/kernel.ts";
import { callOf } from "../plan.ts";
import type { GpuStep } from "./join.ts";
import type { Tensor } from "../tensor.ts";
import type { Program } from "./device.ts";
import { spans, timePasses } from "./timestamps.ts";
import type { WayTimer } from "./tuner.ts";
import { Scratch } from "./webgpu_buffers.ts";

/** The parts of a device that a timer uses. */
export interface TimedDevice {
  readonly gpu: GPUDevice;
  readonly limits: Limits;
  compile(step: GpuStep, way: string): Promise<void>;
  /** A step by one way, made ready to work in this scratch. */
  prepare(step: GpuStep, by: { readonly way: string; readonly scratch: Scratch }): Promise<Program>;
  encode(pass: GPUComputePassEncoder, program: Program): void;
  alloc(shape: readonly number[], dtype: Tensor["dtype"]): Tensor;
  release(t: Tensor): void;
}

/** More of them would find no cache that holds them all. */
const mostSteps = 64;
/** Of a pass: long beside a clock that ticks every 0.1 ms, as browsers' do. */
const passUs = 3000;
const mostLaunches = 256;
const rounds = 5;
/** Of all rounds together. */
const budgetUs = 60_000;

/** One way of the steps: a program for each. */
interface Entrant {
  readonly programs: readonly Program[];
  turn: number;
}

const between = (least: number, value: number, most: number): number =>
  Math.max(least, Math.min(most, Math.round(value)));

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

/** The timer of a device that has timestamps. */
export function wayTimer(device: TimedDevice): WayTimer {
  const { gpu } = device;

  /** Runs what the GPU may refuse; `act` must have called it all when it returns. */
  async function unlessRefused<T>(kind: GPUErrorFilter, act: () => T): Promise<Awaited<T>> {
    gpu.pushErrorScope(kind);
    let result: T;
    let refusal: Promise<GPUError | null>;
    try {
      result = act();
    } finally {
      refusal = gpu.popErrorScope();
      refusal.catch(() => {}); // awaited below, unless `act` throws
    }
    const [done, error] = await Promise.all([result, refusal]);
    if (error) throw new Error(error.message);
    return done;
  }

  /** Microseconds a launch of passes, each of some launches of an entrant. */
  async function run(passes: readonly { entrant: Entrant; count: number }[]): Promise<number[]> {
    const times = await unlessRefused("validation", () =>
      timePasses(
        gpu,
        passes.map(({ entrant, count }) => (pass) => {
          for (let i = 0; i < count; i++) {
            device.encode(pass, entrant.programs[entrant.turn++ % entrant.programs.length]);
          }
        }),
      ));
    return spans(times).map((us, i) => us / passes[i].count);
  }

  /** Once alone, to see what it takes and whether it runs; infinite if it does not. */
  async function tryOut(entrant: Entrant | undefined): Promise<number> {
    if (!entrant) return Infinity;
    return (await run([{ entrant, count: 1 }]).catch(() => [Infinity]))[0];
  }

  async function compare(entrants: readonly (Entrant | undefined)[]): Promise<number[]> {
    const tried: number[] = [];
    for (const entrant of entrants) tried.push(await tryOut(entrant));
    const field = entrants.flatMap((entrant, i) => entrant && tried[i] < Infinity ? [{ entrant, i }] : []);
    if (field.length < 2) return tried;
    const passes = (us: readonly number[]) =>
      field.map(({ entrant }, k) => ({ entrant, count: between(1, passUs / us[k], mostLaunches) }));
    // The first passes wake the GPU up: idle, it runs at a fraction of its clock.
    const woken = await run(passes(field.map(({ i }) => tried[i])));
    const round = passes(woken);
    const roundUs = round.reduce((sum, { count }, k) => sum + count * woken[k], 0);
    const repeats = between(1, budgetUs / roundUs, rounds);
    const times = await run(Array.from({ length: repeats }, () => round).flat());
    const us = entrants.map(() => Infinity);
    field.forEach(({ i }, k) => us[i] = median(times.filter((_, at) => at % field.length === k)));
    return us;
  }

  /** The same steps with outputs of their own, which all share. */
  async function withOutputs(steps: readonly GpuStep[], outputs: Map<string, Tensor>): Promise<GpuStep[]> {
    return await unlessRefused("out-of-memory", () =>
      steps.map((step) => {
        const buffers = { ...step.buffers };
        for (const [name, { access }] of Object.entries(step.kernel.buffers)) {
          if (access === "read") continue;
          const { shape, dtype } = step.buffers[name];
          const key = `${name}:${dtype}:${shape}`;
          if (!outputs.has(key)) outputs.set(key, device.alloc(shape, dtype));
          buffers[name] = outputs.get(key)!;
        }
        return { ...step, buffers };
      }));
  }

  /** Whether there is room for what a way works in: to bind a buffer that was refused would be the end of the device. */
  async function checkRoom(step: GpuStep, way: string): Promise<void> {
    const { scratch = {} } = step.kernel.launch(callOf(step), device.limits, way);
    const tried: Tensor[] = [];
    try {
      await unlessRefused("out-of-memory", () => {
        for (const size of Object.values(scratch)) tried.push(device.alloc([Math.ceil(size / 4)], "uint32"));
      });
    } finally {
      tried.forEach(device.release);
    }
  }

  async function entrantOf(
    steps: readonly GpuStep[],
    by: { readonly way: string; readonly scratch: Scratch },
  ): Promise<Entrant | undefined> {
    const prepared = await Promise.allSettled(steps.map((step) => device.prepare(step, by)));
    const programs = prepared.flatMap((one) => one.status === "fulfilled" ? [one.value] : []);
    if (programs.length === steps.length) return { programs, turn: 0 };
    programs.forEach((program) => program.release());
    return undefined; // the way is out
  }

  return {
    async compile(step, way) {
      await checkRoom(step, way);
      await device.compile(step, way);
    },
    async time(steps, ways) {
      const outputs = new Map<string, Tensor>();
      const scratch = new Scratch(gpu);
      const entrants: (Entrant | undefined)[] = [];
      try {
        const timed = await withOutputs(steps.slice(0, mostSteps), outputs);
        for (const way of ways) entrants.push(await entrantOf(timed, { way, scratch }));
        return await compare(entrants);
      } finally {
        for (const entrant of entrants) entrant?.programs.forEach((program) => program.release());
        for (const t of outputs.values()) device.release(t);
        scratch.destroy();
      }
    },
  };
}
