/**
 * How much GPU memory is in use: the sizes of the buffers made and not destroyed.
 *
 * @module
 */

/** Bytes of the buffers made while a meter runs. */
export interface BufferUse {
  readonly peakBytes: number;
  /** Of those that were not destroyed. */
  readonly leftBytes: number;
  /** The largest buffer of all. */
  readonly largestBytes: number;
}

/** Counts the buffers that `work` makes on a device: what is made before is not counted. */
export async function meterBuffers<T>(
  gpu: GPUDevice,
  work: () => Promise<T>,
): Promise<{ readonly result: T; readonly use: BufferUse }> {
  const createBuffer = gpu.createBuffer;
  let liveBytes = 0, peakBytes = 0, largestBytes = 0;
  gpu.createBuffer = (descriptor) => {
    const buffer = createBuffer.call(gpu, descriptor);
    const { size } = descriptor;
    liveBytes += size;
    peakBytes = Math.max(peakBytes, liveBytes);
    largestBytes = Math.max(largestBytes, size);
    const destroy = buffer.destroy;
    let alive = true;
    buffer.destroy = () => {
      if (alive) liveBytes -= size;
      alive = false;
      return destroy.call(buffer);
    };
    return buffer;
  };
  try {
    const result = await work();
    return { result, use: { peakBytes, leftBytes: liveBytes, largestBytes } };
  } finally {
    gpu.createBuffer = createBuffer;
  }
}
