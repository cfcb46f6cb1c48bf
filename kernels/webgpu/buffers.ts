/**
 * Buffers of a GPU that kernels read and write.
 *
 * @module
 */

// WebGPU's flag values, by number: npm's Dawn brings no globals, and a caller's GPUDevice may come from there.
const storageUsage = 0x80 | 0x8 | 0x4; // STORAGE | COPY_DST | COPY_SRC

/** A part of a buffer. */
export interface BufferPart {
  readonly buffer: GPUBuffer;
  /** Bytes, a multiple of the GPU's `minStorageBufferOffsetAlignment` (256 at most); 0 where left out. */
  readonly offset?: number;
  /** Bytes, a multiple of 4; to the buffer's end where left out. */
  readonly size?: number;
}

export const roundUp = (n: number, step: number): number => Math.ceil(n / step) * step;

/** Bytes that one buffer may have, and be bound whole. */
export function maxBufferBytes(gpu: GPUDevice): number {
  return Math.min(gpu.limits.maxBufferSize, gpu.limits.maxStorageBufferBindingSize);
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

/** Frees what was destroyed: Dawn keeps the memory until work that is submitted later has been done. */
async function freeDestroyed(gpu: GPUDevice): Promise<void> {
  const buffer = storageBuffer(gpu, 16), encoder = gpu.createCommandEncoder();
  encoder.clearBuffer(buffer);
  gpu.queue.submit([encoder.finish()]);
  await gpu.queue.onSubmittedWorkDone();
  buffer.destroy();
}

/** The smallest part that is tried where the memory ends. */
const leastPart = 2 ** 26;

/** Bytes of so many that a GPU's memory has room for: they are allocated in parts, and freed again. */
export async function roomOf(gpu: GPUDevice, bytes: number): Promise<number> {
  const held: GPUBuffer[] = [];
  let room = 0, part = roundUp(Math.min(maxBufferBytes(gpu), 2 ** 30) - 3, 4);
  try {
    while (room < bytes) {
      const size = roundUp(Math.min(part, bytes - room), 4);
      gpu.pushErrorScope("out-of-memory");
      held.push(gpu.createBuffer({ size, usage: storageUsage }));
      if (!await gpu.popErrorScope()) room += size;
      else if (part <= leastPart) break;
      else part = roundUp(part / 2, 4);
    }
  } finally {
    for (const buffer of held) buffer.destroy();
    await freeDestroyed(gpu);
  }
  return Math.min(room, bytes);
}
