/**
 * Buffers of a GPU that kernels read and write.
 *
 * @module
 */
import { bytesPerElement, type DeviceBuffer, elements, isHost, type Tensor } from "../tensor.ts";

// WebGPU's flag values, by number: npm's Dawn brings no globals, and a caller's GPUDevice may come from there.
const storageUsage = 0x80 | 0x8 | 0x4; // STORAGE | COPY_DST | COPY_SRC

export const roundUp = (n: number, step: number): number => Math.ceil(n / step) * step;

/** Bytes that one buffer may have, and be bound whole. */
export function maxBufferBytes({ limits }: GPUDevice): number {
  return Math.min(limits.maxBufferSize, limits.maxStorageBufferBindingSize);
}

/**
 * A zeroed buffer.
 *
 * @throws RangeError for more than {@linkcode maxBufferBytes}.
 */
export function storageBuffer(gpu: GPUDevice, sizeBytes: number): GPUBuffer {
  const size = Math.max(16, roundUp(sizeBytes, 4)), most = maxBufferBytes(gpu);
  if (size > most) {
    throw new RangeError(`Cannot allocate ${size} bytes on the GPU: one buffer holds at most ${most}`);
  }
  return gpu.createBuffer({ size, usage: storageUsage });
}

/** Where a tensor lies. */
export function deviceBuffer(t: Tensor): DeviceBuffer {
  if (isHost(t)) throw new TypeError("Cannot use a host tensor on a WebGPU device: upload it first");
  return t.data as DeviceBuffer;
}

/** Bytes of a tensor as copies and bindings count them: a multiple of 4. */
export function wordBytes({ shape, dtype }: Tensor): number {
  return roundUp(elements(shape) * bytesPerElement[dtype], 4);
}

/** Scratch by name and size. Launches that are given one share its buffers: dispatches of one queue run in order. */
export class Scratch {
  readonly #buffers = new Map<string, GPUBuffer>();

  constructor(private readonly gpu: GPUDevice) {}

  buffer(name: string, sizeBytes: number): GPUBuffer {
    const size = sizeBytes < 2 ** 20
      ? 2 ** Math.ceil(Math.log2(Math.max(sizeBytes, 256)))
      : roundUp(sizeBytes, 2 ** 20);
    const key = `${name}:${size}`;
    let buffer = this.#buffers.get(key);
    if (!buffer) this.#buffers.set(key, buffer = storageBuffer(this.gpu, size));
    return buffer;
  }

  destroy(): void {
    for (const buffer of this.#buffers.values()) buffer.destroy();
  }
}
