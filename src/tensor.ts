/**
 * Tensors without a framework: a shape, an element type, and where the elements are.
 *
 * @module
 */
import type { DType, TypedArray } from "../kernels/kernel.ts";

export type { DType, TypedArray } from "../kernels/kernel.ts";

/** Elements in a WebGPU buffer, from a byte offset on. A buffer bound by a kernel starts at a multiple of 256 bytes. */
export interface DeviceBuffer {
  readonly buffer: GPUBuffer;
  readonly offsetBytes: number;
}

/** A row-major array: on the host (`data` is a typed array) or on a GPU (`data` is a buffer and an offset). */
export interface Tensor {
  readonly shape: readonly number[];
  readonly dtype: DType;
  readonly data: TypedArray | DeviceBuffer;
}

/**
 * A tensor whose elements are on the host. Ask a tensor of the CPU device for its `data` anew after every call of the
 * device: its memory may have grown, which leaves arrays from before empty. Where the device has a thread of its own,
 * that thread may still be writing: `read` waits for it.
 */
export interface HostTensor extends Tensor {
  readonly data: TypedArray;
}

/** Bytes of one element. */
export const bytesPerElement: Readonly<Record<DType, number>> = {
  float32: 4,
  float16: 2,
  bfloat16: 2,
  uint32: 4,
  int32: 4,
};

/** The number of elements of a shape; 1 for a scalar's `[]`. */
export function elements(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

const arrayTypes = {
  float32: Float32Array,
  float16: Uint16Array,
  bfloat16: Uint16Array,
  uint32: Uint32Array,
  int32: Int32Array,
} as const;

/** A new typed array of zeros for `count` elements of `dtype`. */
export function newArray(dtype: DType, count: number): TypedArray {
  return new arrayTypes[dtype](count);
}

/** `count` elements of `dtype` in a buffer, from byte `at` on. */
export function viewOf(dtype: DType, buffer: ArrayBufferLike, at: number, count: number): TypedArray {
  return new arrayTypes[dtype](buffer as ArrayBuffer, at, count);
}

function dtypeOf(data: TypedArray): DType {
  if (data instanceof Float32Array) return "float32";
  if (data instanceof Uint32Array) return "uint32";
  if (data instanceof Int32Array) return "int32";
  throw new TypeError("Cannot tell float16 from bfloat16 by a Uint16Array: name the dtype");
}

/**
 * A host tensor over `data` (not copied).
 *
 * @param data The elements, row-major.
 * @param shape Sizes; defaults to one dimension of `data.length`.
 * @param options `dtype` is needed for `Uint16Array` only.
 * @throws RangeError when the shape's element count is not `data.length`.
 */
export function tensor(
  data: TypedArray,
  shape: readonly number[] = [data.length],
  options: { dtype?: DType } = {},
): HostTensor {
  if (elements(shape) !== data.length) {
    throw new RangeError(
      `Cannot make a tensor of shape [${shape}]: it needs ${elements(shape)} elements, got ${data.length}`,
    );
  }
  return { shape, dtype: options.dtype ?? dtypeOf(data), data };
}

// WebGPU's flag value, by number: npm's Dawn brings no globals.
const storageUsage = 0x80;

/** Where a tensor lies in a buffer, and what it holds. */
export interface BufferView {
  /** `float32` unless told. */
  readonly dtype?: DType;
  /** Bytes, a multiple of 256; 0 unless told. */
  readonly offsetBytes?: number;
}

/**
 * A tensor over a `GPUBuffer` of the caller's (not copied): what another library keeps on the same `GPUDevice`.
 *
 * @param buffer Of usage STORAGE; it may be longer than the tensor.
 * @param shape Sizes, row-major.
 * @throws RangeError for sizes that are no counts, an offset that is no multiple of 256, a tensor that ends past the buffer,
 * and a buffer without usage STORAGE.
 */
export function tensorOf(buffer: GPUBuffer, shape: readonly number[], view: BufferView = {}): Tensor {
  const { dtype = "float32", offsetBytes = 0 } = view;
  const refused = (rule: string): RangeError =>
    new RangeError(`Cannot make a tensor of shape [${shape}] over a GPU buffer: ${rule}`);
  if (!shape.every((size) => Number.isSafeInteger(size) && size >= 0)) {
    throw refused("sizes are integers from 0 on");
  }
  if (!Number.isSafeInteger(offsetBytes) || offsetBytes < 0 || offsetBytes % 256 !== 0) {
    throw refused(`offsetBytes is ${offsetBytes}, and must be a multiple of 256`);
  }
  if (!(dtype in bytesPerElement)) throw refused(`there is no dtype "${dtype}"`);
  // A GPU binds words of four bytes.
  const end = offsetBytes + Math.ceil(elements(shape) * bytesPerElement[dtype] / 4) * 4;
  if (end > buffer.size) {
    throw refused(`it ends at byte ${end} as ${dtype}, and the buffer has ${buffer.size}`);
  }
  if ((buffer.usage & storageUsage) === 0) throw refused("the buffer must have usage STORAGE");
  return { shape, dtype, data: { buffer, offsetBytes } };
}

/** A host tensor whose data are asked for each time they are used: a device's memory may move when it grows. */
function hostView(shape: readonly number[], dtype: DType, view: () => TypedArray): HostTensor {
  return {
    shape,
    dtype,
    get data() {
      return view();
    },
  };
}

/** Whether a tensor can be sliced at an element. */
export function canSlice(t: Tensor, at: number): boolean {
  return isHost(t) || ((t.data as DeviceBuffer).offsetBytes + at * bytesPerElement[t.dtype]) % 256 === 0;
}

/**
 * Elements of a tensor from element `at` on, not copied: a shape of them, or a count. On a GPU they must start at a multiple
 * of 256 bytes of the buffer, as bound buffers do.
 */
export function slice(t: Tensor, at: number, size: number | readonly number[]): Tensor {
  const shape = typeof size === "number" ? [size] : size;
  if (isHost(t)) return hostView(shape, t.dtype, () => t.data.subarray(at, at + elements(shape)));
  const { buffer, offsetBytes } = t.data as DeviceBuffer;
  const begin = offsetBytes + at * bytesPerElement[t.dtype];
  if (begin % 256 !== 0) {
    throw new RangeError(
      `Cannot slice a GPU tensor at element ${at}: it is byte ${begin} of its buffer, not a multiple of 256`,
    );
  }
  return { shape, dtype: t.dtype, data: { buffer, offsetBytes: begin } };
}

/** A tensor's 4-byte elements as float32: the same bits, not copied. */
export function asFloat32(t: Tensor): Tensor {
  const { shape } = t;
  if (!isHost(t)) return { shape, dtype: "float32", data: t.data };
  return hostView(shape, "float32", () => {
    const { buffer, byteOffset, length } = t.data;
    return new Float32Array(buffer, byteOffset, length);
  });
}

/** Whether a tensor's elements are on the host. */
export function isHost(t: Tensor): t is HostTensor {
  return ArrayBuffer.isView(t.data);
}
