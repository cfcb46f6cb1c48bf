/**
 * Kernels on a `GPUDevice` of the caller, without the rest of the library.
 *
 * @module
 */
import type { Call, DType, Kernel, TypedArray } from "../kernel.ts";
import { type BufferPart, roundUp, storageBuffer } from "./buffers.ts";
import { gpuLimits, Programs, uniformWords } from "./programs.ts";

// WebGPU's flag values, by number: not every runtime has the globals that name them.
const uniformUsage = 0x40 | 0x8; // UNIFORM | COPY_DST
const readbackUsage = 0x1 | 0x8; // MAP_READ | COPY_DST
const mapModeRead = 0x1;

/** One call of a kernel. */
export interface RunCall<B extends string = string, U extends string = string> {
  /** By the kernel's own names, of usage STORAGE; every output is written in place. */
  readonly buffers: Readonly<Record<B, GPUBuffer | BufferPart>>;
  readonly uniforms: Readonly<Record<U, number>>;
  /** Element types where they differ from each buffer's usual one, the first of its `dtypes`. */
  readonly dtypes?: Partial<Record<B, DType>>;
}

/** Runs kernels on one GPU; texts are compiled once. */
export interface KernelRunner {
  /**
   * Runs a kernel. The promise resolves when the commands are submitted; the queue runs them in order.
   *
   * @throws RangeError for sizes that break the kernel's rule, and for a missing buffer or uniform word.
   * @throws TypeError for an element type that the kernel does not take.
   * @throws Error when the GPU's compiler refuses the text.
   */
  run<B extends string, U extends string>(kernel: Kernel<B, U>, call: RunCall<B, U>): Promise<void>;
  /** A storage buffer that holds an array. The caller destroys it. */
  upload(data: TypedArray): GPUBuffer;
  /** A buffer's bytes (usage COPY_SRC), after all that was submitted before. */
  read(buffer: GPUBuffer): Promise<ArrayBuffer>;
  /** Destroys the runner's own constant tables; the GPU and the caller's buffers stay. */
  release(): void;
}

function checkedCall(kernel: Kernel, { buffers, uniforms, dtypes = {} }: RunCall): Call {
  for (const name in kernel.uniforms) {
    if (typeof uniforms[name] !== "number") {
      throw new RangeError(`Cannot run ${kernel.name}: its uniform word "${name}" is missing`);
    }
  }
  const types = Object.entries(kernel.buffers).map(([name, { dtypes: accepted }]) => {
    if (!buffers[name]) throw new RangeError(`Cannot run ${kernel.name}: its buffer "${name}" is missing`);
    const dtype = dtypes[name] ?? accepted[0];
    if (!accepted.includes(dtype)) {
      throw new TypeError(
        `Cannot bind "${name}" of ${kernel.name} as ${dtype}: it takes ${accepted.join(" or ")}`,
      );
    }
    return [name, dtype] as const;
  });
  return { uniforms, dtypes: Object.fromEntries(types) };
}

const partOf = (given: GPUBuffer | BufferPart): BufferPart => "buffer" in given ? given : { buffer: given };

/**
 * A runner of kernels on the caller's own GPU, within its limits.
 *
 * ```ts
 * import { kernelRunner, scale } from "fourierft/kernels";
 *
 * export async function halved(gpu: GPUDevice, numbers: Float32Array): Promise<Float32Array> {
 *   const runner = kernelRunner(gpu);
 *   const buffers = { y: runner.upload(numbers), factor: runner.upload(Float32Array.of(0.5)) };
 *   await runner.run(scale, { buffers, uniforms: { count: numbers.length } });
 *   return new Float32Array(await runner.read(buffers.y));
 * }
 * ```
 */
export function kernelRunner(gpu: GPUDevice): KernelRunner {
  const programs = new Programs(gpu);
  const limits = gpuLimits(gpu);

  function uniformBuffer(words: Uint32Array): GPUBuffer {
    const buffer = gpu.createBuffer({ size: roundUp(words.byteLength, 16), usage: uniformUsage });
    gpu.queue.writeBuffer(buffer, 0, words as Uint32Array<ArrayBuffer>);
    return buffer;
  }

  async function run(kernel: Kernel, given: RunCall): Promise<void> {
    const call = checkedCall(kernel, given);
    const { dispatches, scratch = {}, tables = {} } = kernel.launch(call, limits);
    const pipelines = await Promise.all(
      dispatches.map((dispatch) => programs.pipeline(dispatch, kernel.name)),
    );
    const bound = new Map(Object.entries(given.buffers).map(([name, buffer]) => [name, partOf(buffer)]));
    for (const [name, table] of Object.entries(tables)) bound.set(name, { buffer: programs.table(table) });
    const own: GPUBuffer[] = [];
    for (const [name, sizeBytes] of Object.entries(scratch)) {
      const buffer = storageBuffer(gpu, sizeBytes);
      own.push(buffer);
      bound.set(name, { buffer });
    }
    const uniforms = uniformBuffer(uniformWords(kernel, given.uniforms));
    own.push(uniforms);
    const encoder = gpu.createCommandEncoder();
    const pass = encoder.beginComputePass();
    dispatches.forEach((dispatch, i) => {
      pass.setPipeline(pipelines[i]);
      pass.setBindGroup(0, programs.bindGroup(dispatch, { buffer: uniforms }, bound));
      pass.dispatchWorkgroups(...dispatch.grid);
    });
    pass.end();
    gpu.queue.submit([encoder.finish()]);
    // The GPU keeps the buffers of submitted work alive.
    for (const buffer of own) buffer.destroy();
  }

  return {
    run: (kernel, call) => run(kernel as unknown as Kernel, call as unknown as RunCall),
    upload(data) {
      const buffer = storageBuffer(gpu, data.byteLength);
      const bytes = new Uint8Array(roundUp(data.byteLength, 4));
      bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
      gpu.queue.writeBuffer(buffer, 0, bytes);
      return buffer;
    },
    async read(buffer) {
      const staging = gpu.createBuffer({ size: buffer.size, usage: readbackUsage });
      const encoder = gpu.createCommandEncoder();
      encoder.copyBufferToBuffer(buffer, 0, staging, 0, buffer.size);
      gpu.queue.submit([encoder.finish()]);
      await staging.mapAsync(mapModeRead);
      const bytes = staging.getMappedRange().slice(0);
      staging.destroy();
      return bytes;
    },
    release: () => programs.destroy(),
  };
}
