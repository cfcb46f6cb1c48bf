/**
 * Where tensors and scratch lie on a GPU.
 *
 * @module
 */
import { roundUp, storageBuffer } from "../../kernels/webgpu/buffers.ts";
import { bytesPerElement, type DeviceBuffer, elements, isHost, type Tensor } from "../tensor.ts";

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
