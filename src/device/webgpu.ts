/**
 * The WebGPU device: runs plans on a caller's own `GPUDevice`, one submit a run.
 *
 * @module
 */
import { maxBufferBytes, roomOf, storageBuffer } from "../../kernels/webgpu/buffers.ts";
import { gpuLimits } from "../../kernels/webgpu/programs.ts";
import type { Plan } from "../plan.ts";
import {
  bytesPerElement,
  elements,
  type HostTensor,
  newArray,
  type Tensor,
  type TypedArray,
} from "../tensor.ts";
import { type Device, DeviceError, type Program, type Range, type Trace } from "./device.ts";
import { type GpuStep, joinNeighbours } from "./join.ts";
import { Launches } from "./launches.ts";
import { Readback } from "./readback.ts";
import { timePasses, timePassesOnHost } from "./timestamps.ts";
import { Tuner, type TuningOptions } from "./tuner.ts";
import { wayTimer } from "./way_timer.ts";
import { deviceBuffer, wordBytes } from "./webgpu_buffers.ts";
import { encodeAll, type GpuProgram, Launcher, type Ways } from "./webgpu_launcher.ts";

/** The device, and the `GPUDevice` under it for callers that record their own passes. */
export interface WebGpuDevice extends Device {
  readonly kind: "webgpu";
  readonly gpu: GPUDevice;
  /** Records a program's dispatches into a compute pass of the caller. */
  encode(pass: GPUComputePassEncoder, program: Program): void;
}

/** How a device is made of a `GPUDevice`. */
export interface WebGpuDeviceOptions {
  readonly description?: string;
  readonly destroy?: () => void;
  /**
   * Whether products may run on the matrix units that the `GPUDevice` was opened with; `openGpu` opens and says so.
   * They have subgroups of 32, and 16 x 16 x 16 numbers of float16 with sums of float32. False by default.
   */
  readonly matrixUnits?: boolean;
  /**
   * With it, and with timestamps (`timestamp-query`), `prepare` times kernels that have several ways to run a call,
   * and takes the fastest. Else `prepare` takes the usual way. On a software adapter timing does not pay.
   */
  readonly tuning?: TuningOptions;
}

/** The first thing that goes wrong on a GPU. A GPU keeps its watchers: they hold nothing of the device that asks. */
function watch(gpu: GPUDevice): { first?: string; stop(): void } {
  const onError = (event: Event): void => {
    failures.first ??= `the GPU reported an error: ${(event as GPUUncapturedErrorEvent).error.message}`;
  };
  const failures: { first?: string; stop(): void } = {
    stop: () => gpu.removeEventListener("uncapturederror", onError),
  };
  gpu.lost.then(({ reason, message }) =>
    failures.first ??= `the GPU device was lost (${reason || "unknown"}): ${message}`
  );
  gpu.addEventListener("uncapturederror", onError);
  return failures;
}

/**
 * A device over the caller's `GPUDevice`. The device stays the caller's to destroy unless `destroy` is given.
 *
 * @param gpu Opened with the limits the caller wants used; tensors may be its own buffers (usage STORAGE).
 */
export function webgpuDevice(gpu: GPUDevice, options: WebGpuDeviceOptions = {}): WebGpuDevice {
  const limits = gpuLimits(gpu, options.matrixUnits);
  const launcher = new Launcher(gpu, limits);
  const readback = new Readback(gpu);
  const failures = watch(gpu);

  function checkAlive(): void {
    if (failures.first) {
      throw new DeviceError(
        `Cannot run on the WebGPU device: ${failures.first}. Open a new device, or use the CPU device.`,
      );
    }
  }

  async function prepare(given: Plan): Promise<Program> {
    checkAlive();
    const launches = new Launches(limits), ways = await waysOf(given);
    checkAlive();
    const plan = joinNeighbours(given, limits, { ways, launches });
    return await prepareBy(plan, { ways: plan.map((step) => ways.get(step)), launches });
  }

  /** The way of each step that a tuner knows a way of; steps that are joined whatever the ways have none. */
  async function waysOf(plan: Plan): Promise<ReadonlyMap<GpuStep, string | undefined>> {
    if (!tuner) return new Map();
    const steps = joinNeighbours(plan, limits), ways = await tuner.ways(steps);
    return new Map(steps.map((step, i) => [step, ways[i]]));
  }

  /** A plan made ready in ways that were chosen. */
  async function prepareBy(plan: readonly GpuStep[], ways: Ways): Promise<Program> {
    const program = await launcher.prepare(plan, ways);
    checkAlive();
    return program;
  }

  function encode(pass: GPUComputePassEncoder, program: Program): void {
    encodeAll(pass, (program as GpuProgram).dispatches);
  }

  /** A program in a pass of its own. */
  function record(program: Program): GPUCommandEncoder {
    const encoder = gpu.createCommandEncoder();
    const pass = encoder.beginComputePass();
    encode(pass, program);
    pass.end();
    return encoder;
  }

  async function trace(program: Program): Promise<Trace> {
    checkAlive();
    const { dispatches } = program as GpuProgram;
    const clock = gpu.features.has("timestamp-query") ? "gpu" : "host";
    // Each launch alone, then all of them in one pass.
    const passes = [...dispatches.map((one) => [one]), dispatches];
    const timed = clock === "gpu" ? timePasses : timePassesOnHost;
    const times = await timed(gpu, passes.map((some) => (pass) => encodeAll(pass, some)));
    checkAlive();
    const whole = times[dispatches.length];
    return {
      clock,
      launches: dispatches.map(({ step, grid }, i) => ({ kernel: step.kernel.name, grid, ...times[i] })),
      wholeUs: whole.endUs - whole.beginUs,
    };
  }

  function run(program: Program): void {
    checkAlive();
    gpu.queue.submit([record(program).finish()]);
  }

  /** Submits what an encoder holds and a copy behind it; gives the copied elements. */
  async function finish(encoder: GPUCommandEncoder, source: Tensor, range?: Range): Promise<TypedArray> {
    deviceBuffer(source);
    const copied = readback.record(encoder, source, range);
    gpu.queue.submit([encoder.finish()]);
    const data = await copied().catch((error) => {
      checkAlive();
      throw new DeviceError(`Cannot read from the WebGPU device: ${(error as Error).message}`);
    });
    checkAlive();
    return data;
  }

  async function runAndRead(program: Program, source: Tensor, range?: Range): Promise<TypedArray> {
    checkAlive();
    return await finish(record(program), source, range);
  }

  async function read(source: Tensor, range?: Range): Promise<TypedArray> {
    checkAlive();
    return await finish(gpu.createCommandEncoder(), source, range);
  }

  function write(target: Tensor, data: TypedArray, at = 0): void {
    checkAlive();
    if (data.length === 0) return;
    const { buffer, offsetBytes } = deviceBuffer(target);
    let source = data;
    // writeBuffer takes multiples of 4 bytes; only the last 16-bit element of a tensor may stand alone.
    if (data.byteLength % 4 !== 0) {
      source = newArray(target.dtype, data.length + 1);
      source.set(data);
    }
    gpu.queue.writeBuffer(
      buffer,
      offsetBytes + at * data.BYTES_PER_ELEMENT,
      source as TypedArray & { buffer: ArrayBuffer },
    );
  }

  function copy(source: Tensor, target: Tensor): void {
    checkAlive();
    const from = deviceBuffer(source);
    const to = deviceBuffer(target);
    const encoder = gpu.createCommandEncoder();
    encoder.copyBufferToBuffer(from.buffer, from.offsetBytes, to.buffer, to.offsetBytes, wordBytes(source));
    gpu.queue.submit([encoder.finish()]);
  }

  function alloc(shape: readonly number[], dtype: Tensor["dtype"]): Tensor {
    checkAlive();
    const buffer = storageBuffer(gpu, elements(shape) * bytesPerElement[dtype]);
    return { shape, dtype, data: { buffer, offsetBytes: 0 } };
  }

  function release(t: Tensor): void {
    deviceBuffer(t).buffer.destroy();
  }

  function upload(source: HostTensor): Tensor {
    const target = alloc(source.shape, source.dtype);
    write(target, source.data);
    return target;
  }

  const timer = wayTimer({
    gpu,
    limits,
    compile: (step, way) => launcher.compile(step, way),
    prepare: (step, { way, scratch }) => prepareBy([step], { ways: [way], scratch }),
    encode,
    alloc,
    release,
  });
  const tuner = options.tuning && gpu.features.has("timestamp-query")
    ? new Tuner(timer, limits, options.tuning)
    : undefined;

  return {
    kind: "webgpu",
    description: options.description ?? "WebGPU",
    limits,
    maxTensorBytes: maxBufferBytes(gpu),
    async roomFor(bytes) {
      checkAlive();
      return await roomOf(gpu, bytes);
    },
    prefersFewSizes: true,
    tunes: tuner !== undefined,
    runsAhead: true,
    gpu,
    upload,
    alloc,
    write,
    copy,
    prepare,
    run,
    runAndRead,
    encode,
    read,
    trace,
    release,
    destroy() {
      failures.first ??= "it was destroyed";
      failures.stop();
      readback.destroy();
      launcher.destroy();
      options.destroy?.();
    },
  };
}
