/**
 * Between the bytes of a file and arrays of numbers.
 *
 * @module
 */
import { bfloat16ToFloat32, float16ToFloat32 } from "../../kernels/half.ts";
import { type DType, type HostTensor, tensor, type TypedArray } from "../tensor.ts";
import type { SafetensorsDtype } from "./dtypes.ts";
import { quoted } from "./errors.ts";
import type { TensorView } from "./reader.ts";

type Elements = new (buffer: ArrayBufferLike, byteOffset: number, length: number) => TypedArray;

/** The format codes that a {@linkcode HostTensor} carries as they are. */
const carried: Readonly<Partial<Record<SafetensorsDtype, readonly [DType, Elements]>>> = {
  F32: ["float32", Float32Array],
  F16: ["float16", Uint16Array],
  BF16: ["bfloat16", Uint16Array],
  I32: ["int32", Int32Array],
  U32: ["uint32", Uint32Array],
};

/** The format's codes of element types. */
export const codes: Readonly<Record<DType, SafetensorsDtype>> = {
  float32: "F32",
  float16: "F16",
  bfloat16: "BF16",
  int32: "I32",
  uint32: "U32",
};

/** A typed array over a view's bytes. */
function over<A>(
  make: new (buffer: ArrayBufferLike, byteOffset: number, length: number) => A,
  { bytes }: TensorView,
  elementBytes: number,
): A {
  return new make(bytes.buffer, bytes.byteOffset, bytes.length / elementBytes);
}

/**
 * A tensor over a view's bytes (not copied): F32, F16, BF16, I32 and U32 keep their type.
 *
 * @throws TypeError for another dtype.
 */
export function toTensor(view: TensorView): HostTensor {
  const entry = carried[view.dtype];
  if (!entry) {
    throw new TypeError(
      `Cannot use tensor ${quoted(view.name)}: its dtype is ${view.dtype}, supported are ${
        Object.keys(carried).join(", ")
      }`,
    );
  }
  const [dtype, make] = entry;
  return tensor(over(make, view, view.dtype === "F16" || view.dtype === "BF16" ? 2 : 4), view.shape, {
    dtype,
  });
}

/**
 * A view's elements as float32: F16 and BF16 exactly, F64 rounded to nearest, F32 not copied.
 *
 * @throws TypeError for a dtype that is no such float.
 */
export function toFloat32(view: TensorView): Float32Array {
  switch (view.dtype) {
    case "F32":
      return over(Float32Array, view, 4);
    case "F16":
      return float16ToFloat32(over(Uint16Array, view, 2));
    case "BF16":
      return bfloat16ToFloat32(over(Uint16Array, view, 2));
    case "F64":
      return Float32Array.from(over(Float64Array, view, 8));
    default:
      throw new TypeError(
        `Cannot read tensor ${
          quoted(view.name)
        } as float32: its dtype is ${view.dtype}, supported are F32, F16, BF16, F64`,
      );
  }
}

/**
 * A view's integers as int32, exactly.
 *
 * @throws TypeError for a dtype that is no integer; RangeError for an integer past int32.
 */
export function toInt32(view: TensorView): Int32Array {
  switch (view.dtype) {
    case "U8":
      return Int32Array.from(view.bytes);
    case "I8":
      return Int32Array.from(over(Int8Array, view, 1));
    case "I16":
      return Int32Array.from(over(Int16Array, view, 2));
    case "U16":
      return Int32Array.from(over(Uint16Array, view, 2));
    case "I32":
      return over(Int32Array, view, 4);
    case "U32":
      return narrowed(view, over(Uint32Array, view, 4));
    case "I64":
      return narrowed(view, over(BigInt64Array, view, 8));
    default:
      throw new TypeError(
        `Cannot read tensor ${
          quoted(view.name)
        } as int32: its dtype is ${view.dtype}, supported are U8, I8, U16, I16, U32, I32, I64`,
      );
  }
}

function narrowed({ name }: TensorView, values: Uint32Array | BigInt64Array): Int32Array {
  const result = new Int32Array(values.length);
  for (let i = 0; i < values.length; i++) {
    result[i] = Number(values[i]);
    if (result[i] == values[i]) continue;
    throw new RangeError(`Cannot read tensor ${quoted(name)} as int32: element ${i} is ${values[i]}`);
  }
  return result;
}

/** A host tensor as a view to write, its bytes not copied. */
export function fromTensor(name: string, { dtype, shape, data }: HostTensor): TensorView {
  return {
    name,
    dtype: codes[dtype],
    shape,
    bytes: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
  };
}
