/**
 * Elements of GPU buffers on their way to the host: staging buffers are kept and used again.
 *
 * @module
 */
import {
  bytesPerElement,
  type DeviceBuffer,
  elements,
  newArray,
  type Tensor,
  type TypedArray,
} from "../tensor.ts";
import type { Range } from "./device.ts";

/** A recorded copy: waits for the copy once it is submitted, and gives the elements. */
export type Recorded = () => Promise<TypedArray>;

const readbackUsage = 0x1 | 0x8; // MAP_READ | COPY_DST
const mapModeRead = 0x1;

/** Larger ones are read too seldom to be kept. */
const largestKept = 2 ** 20;

/** Of one size; more are only needed while as many reads wait. */
const mostKept = 8;

/** See the module's documentation. */
export class Readback {
  readonly #kept = new Map<number, GPUBuffer[]>();

  constructor(private readonly gpu: GPUDevice) {}

  /** Records the copy of a tensor's elements, all of them without a range, behind what the encoder holds. */
  record(encoder: GPUCommandEncoder, source: Tensor, range?: Range): Recorded {
    const { buffer, offsetBytes } = source.data as DeviceBuffer;
    const bytes = bytesPerElement[source.dtype];
    const count = range?.count ?? elements(source.shape);
    const begin = offsetBytes + (range?.at ?? 0) * bytes;
    // Copies start and end at multiples of 4 bytes.
    const before = begin % 4;
    const size = 4 * Math.ceil((before + count * bytes) / 4);
    const staging = this.#take(size);
    encoder.copyBufferToBuffer(buffer, begin - before, staging, 0, size);
    return async () => {
      await staging.mapAsync(mapModeRead);
      const out = newArray(source.dtype, count);
      const mapped = new Uint8Array(staging.getMappedRange(), before, count * bytes);
      new Uint8Array(out.buffer).set(mapped);
      staging.unmap();
      this.#keep(staging);
      return out;
    };
  }

  destroy(): void {
    for (const buffer of [...this.#kept.values()].flat()) buffer.destroy();
    this.#kept.clear();
  }

  #take(sizeBytes: number): GPUBuffer {
    const size = sizeBytes > largestKept ? sizeBytes : 2 ** Math.ceil(Math.log2(Math.max(sizeBytes, 256)));
    return this.#kept.get(size)?.pop() ?? this.gpu.createBuffer({ size, usage: readbackUsage });
  }

  #keep(staging: GPUBuffer): void {
    const { size } = staging;
    let kept = this.#kept.get(size);
    if (!kept) this.#kept.set(size, kept = []);
    if (size > largestKept || kept.length === mostKept) staging.destroy();
    else kept.push(staging);
  }
}
