/**
 * The WebGPU device: runs plans on a caller's own `GPUDevice`, one submit a run.
 *
 * @module
 */
import type { Binding, Dispatch, Kernel, Launch, Limits, Table, UniformType } from "../../kernels/kernel.ts";
import { callOf, type Plan, type Step } from "../plan.ts";
import {
  bytesPerElement,
  type DeviceBuffer,
  elements,
  type HostTensor,
  isHost,
  newArray,
  type Tensor,
  type TypedArray,
} from "../tensor.ts";
import { type Device, DeviceError, type Program, type Range, type Trace } from "./device.ts";
import { joinNeighbours } from "./join.ts";
import { matrixUnitsFeature } from "./matrix_units.ts";
import { Readback } from "./readback.ts";
import { type PassTime, timePasses } from "./timestamps.ts";
import { Tuner, type TuningOptions } from "./tuner.ts";
import { wayTimer } from "./way_timer.ts";

/** The device, and the `GPUDevice` under it for callers that record their own passes. */
export interface WebGpuDevice extends Device {
  readonly kind: "webgpu";
  readonly gpu: GPUDevice;
  /** Records a program's dispatches into a compute pass of the caller. */
  encode(pass: GPUComputePassEncoder, program: Program): void;
}

interface Launched {
  readonly pipeline: GPUComputePipeline;
  readonly bindGroup: GPUBindGroup;
  readonly grid: readonly [number, number, number];
  /** For traces. */
  readonly label: string;
}

class GpuProgram implements Program {
  constructor(readonly dispatches: readonly Launched[], private readonly uniforms: GPUBuffer) {}

  get launches(): number {
    return this.dispatches.length;
  }

  release(): void {
    this.uniforms.destroy();
  }
}

// WebGPU's flag values, by number: npm's Dawn brings no globals, and a caller's GPUDevice may come from there.
const storageUsage = 0x80 | 0x8 | 0x4; // STORAGE | COPY_DST | COPY_SRC
const uniformUsage = 0x40 | 0x8; // UNIFORM | COPY_DST
const computeStage = 0x4;

const roundUp = (n: number, step: number): number => Math.ceil(n / step) * step;

function deviceBuffer(t: Tensor): DeviceBuffer {
  if (isHost(t)) throw new TypeError("Cannot use a host tensor on a WebGPU device: upload it first");
  return t.data as DeviceBuffer;
}

function limitsOf(gpu: GPUDevice, matrixUnits: boolean): Limits {
  const features = new Set<string>(gpu.features);
  // Unless asked for, it is as if there were none: a product on them rounds, and not all are of our kernels' shape.
  if (!matrixUnits) features.delete(matrixUnitsFeature);
  return {
    workgroupStorageBytes: gpu.limits.maxComputeWorkgroupStorageSize,
    invocations: Math.min(gpu.limits.maxComputeInvocationsPerWorkgroup, gpu.limits.maxComputeWorkgroupSizeX),
    workgroupsPerDimension: gpu.limits.maxComputeWorkgroupsPerDimension,
    features,
  };
}

function uniformWords(kernel: Kernel, uniforms: Readonly<Record<string, number>>): Uint32Array {
  const types = Object.entries<UniformType>(kernel.uniforms);
  const words = new DataView(new ArrayBuffer(Math.max(16, 4 * types.length)));
  types.forEach(([name, type], i) => {
    if (type === "u32") words.setUint32(4 * i, uniforms[name], true);
    else words.setFloat32(4 * i, uniforms[name], true);
  });
  return new Uint32Array(words.buffer);
}

/** How a device is made of a `GPUDevice`. */
export interface WebGpuDeviceOptions {
  readonly description?: string;
  readonly destroy?: () => void;
  /**
   * Whether products may run on the matrix units that the `GPUDevice` was opened with, as `openGpu` does and says:
   * subgroups of 32, and 16 x 16 x 16 numbers of float16 with sums of float32. False by default.
   */
  readonly matrixUnits?: boolean;
  /**
   * Where given, and where the GPU has timestamps (`timestamp-query`), `prepare` times kernels that have several ways to run
   * a call, and takes the fastest; else it takes the usual one. Not worth it on a software adapter.
   */
  readonly tuning?: TuningOptions;
}

/**
 * A device over the caller's `GPUDevice`. The device stays the caller's to destroy unless `destroy` is given.
 *
 * @param gpu Opened with the limits the caller wants used; tensors may be its own buffers (usage STORAGE).
 */
export function webgpuDevice(gpu: GPUDevice, options: WebGpuDeviceOptions = {}): WebGpuDevice {
  const limits = limitsOf(gpu, options.matrixUnits ?? false);
  const maxTensorBytes = Math.min(gpu.limits.maxBufferSize, gpu.limits.maxStorageBufferBindingSize);
  const layouts = new Map<string, GPUBindGroupLayout>();
  const pipelines = new Map<string, Promise<GPUComputePipeline>>();
  const tables = new Map<string, GPUBuffer>();
  const scratches = new Map<string, GPUBuffer>();
  const readback = new Readback(gpu);
  let failure: string | undefined;

  gpu.lost.then(({ reason, message }) =>
    failure ??= `the GPU device was lost (${reason || "unknown"}): ${message}`
  );
  gpu.addEventListener("uncapturederror", (event) => {
    failure ??= `the GPU reported an error: ${(event as GPUUncapturedErrorEvent).error.message}`;
  });

  function checkAlive(): void {
    if (failure) {
      throw new DeviceError(
        `Cannot run on the WebGPU device: ${failure}. Open a new device, or use the CPU device.`,
      );
    }
  }

  function createBuffer(sizeBytes: number, usage: GPUBufferUsageFlags): GPUBuffer {
    const size = Math.max(16, roundUp(sizeBytes, 4));
    if (size > maxTensorBytes) {
      throw new RangeError(
        `Cannot allocate ${size} bytes on the GPU: one buffer holds at most ${maxTensorBytes}`,
      );
    }
    return gpu.createBuffer({ size, usage });
  }

  function bindGroupLayout(bindings: readonly Binding[]): GPUBindGroupLayout {
    const key = bindings.map((b) => b.access).join();
    const known = layouts.get(key);
    if (known) return known;
    const layout = gpu.createBindGroupLayout({
      entries: [
        { binding: 0, visibility: computeStage, buffer: { type: "uniform" } },
        ...bindings.map(({ access }, i) => ({
          binding: i + 1,
          visibility: computeStage,
          buffer: { type: access === "read" ? "read-only-storage" as const : "storage" as const },
        })),
      ],
    });
    layouts.set(key, layout);
    return layout;
  }

  async function compile(dispatch: Dispatch, label: string): Promise<GPUComputePipeline> {
    gpu.pushErrorScope("validation");
    const module = gpu.createShaderModule({ label, code: dispatch.wgsl });
    const layout = gpu.createPipelineLayout({ bindGroupLayouts: [bindGroupLayout(dispatch.bindings)] });
    const invalid = gpu.popErrorScope();
    const made = gpu.createComputePipelineAsync({
      label,
      layout,
      compute: { module, entryPoint: "main", constants: dispatch.constants },
    });
    made.catch(() => {}); // reported below, after the module's own message
    const error = await invalid;
    if (error) throw new DeviceError(`Cannot compile kernel "${label}" for this GPU: ${error.message}`);
    return made.catch((error) => {
      throw new DeviceError(`Cannot compile kernel "${label}" for this GPU: ${error.message}`);
    });
  }

  function pipeline(dispatch: Dispatch, label: string): Promise<GPUComputePipeline> {
    const key = dispatch.wgsl + JSON.stringify(dispatch.constants ?? {});
    const known = pipelines.get(key);
    if (known) return known;
    const made = compile(dispatch, label);
    pipelines.set(key, made);
    return made;
  }

  function tableBuffer({ key, make }: Table): GPUBuffer {
    let buffer = tables.get(key);
    if (!buffer) {
      const data = make();
      buffer = createBuffer(data.byteLength, storageUsage);
      gpu.queue.writeBuffer(buffer, 0, data as Float32Array<ArrayBuffer>);
      tables.set(key, buffer);
    }
    return buffer;
  }

  /** Scratch is shared by all launches: dispatches of one queue run in order. */
  function scratchBuffer(name: string, sizeBytes: number): GPUBuffer {
    const size = sizeBytes < 2 ** 20
      ? 2 ** Math.ceil(Math.log2(Math.max(sizeBytes, 256)))
      : roundUp(sizeBytes, 2 ** 20);
    const key = `${name}:${size}`;
    let buffer = scratches.get(key);
    if (!buffer) scratches.set(key, buffer = createBuffer(size, storageUsage));
    return buffer;
  }

  async function launch(step: Step, launched: Launch, uniforms: GPUBufferBinding): Promise<Launched[]> {
    const bound = new Map<string, GPUBufferBinding>();
    for (const [name, t] of Object.entries(step.buffers)) {
      const { buffer, offsetBytes } = deviceBuffer(t);
      const size = Math.max(4, roundUp(elements(t.shape) * bytesPerElement[t.dtype], 4));
      bound.set(name, { buffer, offset: offsetBytes, size });
    }
    for (const [name, table] of Object.entries(launched.tables ?? {})) {
      bound.set(name, { buffer: tableBuffer(table) });
    }
    for (const [name, size] of Object.entries(launched.scratch ?? {})) {
      bound.set(name, { buffer: scratchBuffer(name, size), size: roundUp(size, 4) });
    }
    return await Promise.all(launched.dispatches.map(async (dispatch) => ({
      pipeline: await pipeline(dispatch, step.kernel.name),
      bindGroup: gpu.createBindGroup({
        layout: bindGroupLayout(dispatch.bindings),
        entries: [
          { binding: 0, resource: uniforms },
          ...dispatch.bindings.map(({ name }, i) => ({ binding: i + 1, resource: bound.get(name)! })),
        ],
      }),
      grid: dispatch.grid,
      label: step.kernel.name,
    })));
  }

  async function prepare(given: Plan): Promise<Program> {
    checkAlive();
    const plan = joinNeighbours(given, limits);
    const ways = await tuner?.ways(plan) ?? [];
    checkAlive();
    return await prepareBy(ways, plan);
  }

  /** A plan made ready, each step in a way of its kernel; the usual one where none is named. */
  async function prepareBy(ways: readonly (string | undefined)[], plan: Plan): Promise<Program> {
    const stride = gpu.limits.minUniformBufferOffsetAlignment;
    const words = plan.map(({ kernel, uniforms }) => uniformWords(kernel, uniforms));
    const offsets = words.map(() => 0);
    let size = 0;
    words.forEach((w, i) => {
      offsets[i] = size;
      size += roundUp(w.byteLength, stride);
    });
    const buffer = gpu.createBuffer({
      size: Math.max(size, 16),
      usage: uniformUsage,
      mappedAtCreation: true,
    });
    const mapped = new Uint32Array(buffer.getMappedRange());
    words.forEach((w, i) => mapped.set(w, offsets[i] / 4));
    buffer.unmap();
    try {
      const dispatches = await Promise.all(plan.map((step, i) => {
        const launched = step.kernel.launch(callOf(step), limits, ways[i]);
        return launch(step, launched, { buffer, offset: offsets[i], size: words[i].byteLength });
      }));
      checkAlive();
      return new GpuProgram(dispatches.flat(), buffer);
    } catch (error) {
      buffer.destroy();
      throw error;
    }
  }

  function dispatch(pass: GPUComputePassEncoder, { pipeline, bindGroup, grid: [x, y, z] }: Launched): void {
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, bindGroup);
    pass.dispatchWorkgroups(x, y, z);
  }

  function encode(pass: GPUComputePassEncoder, program: Program): void {
    for (const launched of (program as GpuProgram).dispatches) dispatch(pass, launched);
  }

  function record(launched: readonly Launched[]): GPUCommandEncoder {
    const encoder = gpu.createCommandEncoder();
    const pass = encoder.beginComputePass();
    for (const one of launched) dispatch(pass, one);
    pass.end();
    return encoder;
  }

  async function timeOnHost(passes: readonly (readonly Launched[])[]): Promise<PassTime[]> {
    const start = performance.now();
    const times: PassTime[] = [];
    for (const launched of passes) {
      const beginUs = 1000 * (performance.now() - start);
      gpu.queue.submit([record(launched).finish()]);
      await gpu.queue.onSubmittedWorkDone();
      times.push({ beginUs, endUs: 1000 * (performance.now() - start) });
    }
    return times;
  }

  async function trace(program: Program): Promise<Trace> {
    checkAlive();
    const { dispatches } = program as GpuProgram;
    const clock = gpu.features.has("timestamp-query") ? "gpu" : "host";
    // Each launch alone, then all of them in one pass.
    const passes = [...dispatches.map((one) => [one]), dispatches];
    const records = passes.map((all) => (pass: GPUComputePassEncoder) =>
      all.forEach((one) => dispatch(pass, one))
    );
    const times = clock === "gpu" ? await timePasses(gpu, records) : await timeOnHost(passes);
    checkAlive();
    const whole = times[dispatches.length];
    return {
      clock,
      launches: dispatches.map(({ label, grid }, i) => ({ kernel: label, grid, ...times[i] })),
      wholeUs: whole.endUs - whole.beginUs,
    };
  }

  function run(program: Program): void {
    checkAlive();
    gpu.queue.submit([record((program as GpuProgram).dispatches).finish()]);
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
    return await finish(record((program as GpuProgram).dispatches), source, range);
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
    const size = roundUp(elements(source.shape) * bytesPerElement[source.dtype], 4);
    const encoder = gpu.createCommandEncoder();
    encoder.copyBufferToBuffer(from.buffer, from.offsetBytes, to.buffer, to.offsetBytes, size);
    gpu.queue.submit([encoder.finish()]);
  }

  function alloc(shape: readonly number[], dtype: Tensor["dtype"]): Tensor {
    checkAlive();
    const buffer = createBuffer(elements(shape) * bytesPerElement[dtype], storageUsage);
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
    prepare: (step, way) => prepareBy([way], [step]),
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
    maxTensorBytes,
    prefersFewSizes: true,
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
      failure ??= "it was destroyed";
      readback.destroy();
      for (const buffer of [...tables.values(), ...scratches.values()]) buffer.destroy();
      options.destroy?.();
    },
  };
}
