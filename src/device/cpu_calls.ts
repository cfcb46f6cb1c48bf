/**
 * Steps of a plan as a CPU runs them: a function of the WASM module, or a kernel in TypeScript.
 *
 * @module
 */
import { bfloat16ToFloat32, float16ToFloat32 } from "../../kernels/half.ts";
import type { ByteProducts, WasmCall } from "../../kernels/kernel.ts";
import type { Step } from "../plan.ts";
import { type DType, type HostTensor, isHost, type Tensor, tensor, type TypedArray } from "../tensor.ts";
import type { TimedCall } from "./cpu_commands.ts";
import type { TensorUse } from "./device.ts";
import type { ReadyCall, Wasm, WasmReadyCall } from "./wasm.ts";

type CpuBuffers = Readonly<Record<string, HostTensor>>;

/** A call made ready, with its kernel's name for traces and failures. */
export type CpuCall = { readonly kernel: string } & (ReadyCall | WasmReadyCall);

/** A tensor of a CPU device. */
export function onHost(t: Tensor): HostTensor {
  if (!isHost(t)) {
    throw new TypeError("Cannot use a GPU tensor on the CPU device: read it from its own device first");
  }
  return t;
}

/** Whether a type is of 16-bit floats. */
const isHalf = (dtype: DType): boolean => dtype === "float16" || dtype === "bfloat16";

/** Elements as kernels in TypeScript compute with them: 16-bit floats widened, which JavaScript has no numbers of. */
export function widened({ data, dtype }: Pick<HostTensor, "data" | "dtype">): TypedArray {
  if (dtype === "float16") return float16ToFloat32(data as Uint16Array);
  if (dtype === "bfloat16") return bfloat16ToFloat32(data as Uint16Array);
  return data;
}

/** What a tensor is kept for, and in which memory. */
interface Keeping {
  readonly use?: TensorUse;
  readonly wasm?: Wasm;
}

/** Whether WASM's products read a weight of bfloat16 as fast as the memory gives it. */
const readsBfloat16 = ({ use, wasm }: Keeping): boolean => use === "weight" && wasm?.computes === true;

/** The element type that the device keeps; that of the most bytes where it depends on the numbers. */
export const heldType = (dtype: DType, keeping: Keeping): DType =>
  !isHalf(dtype) || (dtype === "bfloat16" && readsBfloat16(keeping)) ? dtype : "float32";

/** Numbers as bfloat16, where it holds each as it is. */
function bfloat16Of({ buffer, byteOffset, length }: Float32Array): Uint16Array | undefined {
  const words = new Uint32Array(buffer, byteOffset, length), bits = new Uint16Array(length);
  for (let i = 0; i < length; i++) {
    if (words[i] & 0xffff) return undefined;
    bits[i] = words[i] >>> 16;
  }
  return bits;
}

/**
 * A tensor as the device keeps it. A processor stops at each subnormal float16 that it widens: a weight of float16 is kept as
 * bfloat16 where its numbers are such, as those of a model that was trained in bfloat16 are, else as float32.
 */
function held(source: HostTensor, keeping: Keeping): HostTensor {
  const { dtype, shape } = source;
  if (dtype === heldType(dtype, keeping)) return source;
  const wide = widened(source) as Float32Array, bits = readsBfloat16(keeping) && bfloat16Of(wide);
  return bits ? tensor(bits, shape, { dtype: "bfloat16" }) : tensor(wide, shape);
}

/** A host tensor's copy among a device's tensors. */
export function uploaded(
  source: HostTensor,
  { alloc, ...keeping }: Keeping & {
    readonly alloc: (shape: readonly number[], dtype: DType) => HostTensor;
  },
): HostTensor {
  const kept = held(source, keeping), made = alloc(kept.shape, kept.dtype);
  // Beside a full memory kernels run in TypeScript, which would widen the weight at each run.
  if (isHalf(kept.dtype) && keeping.wasm!.offset(made) === undefined) {
    return uploaded(tensor(widened(kept), kept.shape), { alloc });
  }
  made.data.set(kept.data);
  return made;
}

/**
 * A step by its kernel's `cpu` function or reference. Arrays are asked for at each run: a WASM memory may have grown, and 16-bit
 * floats are widened.
 */
function scriptCall({ kernel, uniforms }: Step, buffers: CpuBuffers): ReadyCall {
  const names = Object.keys(buffers);
  const run = kernel.cpu ?? kernel.reference;
  return {
    run: () => run(Object.fromEntries(names.map((name) => [name, widened(buffers[name])])), uniforms),
  };
}

/** A step's call of the WASM module; undefined where the module has none that takes its tensors. */
function wasmCall(
  { kernel, uniforms }: Step,
  buffers: CpuBuffers,
  bytes: ByteProducts | undefined,
): WasmCall | undefined {
  const dtypes = Object.fromEntries(Object.entries(buffers).map(([name, { dtype }]) => [name, dtype]));
  const call = kernel.wasm?.(uniforms, dtypes, bytes);
  const takes = (name: string): boolean => !isHalf(dtypes[name]) || call!.halves?.includes(name) === true;
  return call && Object.keys(dtypes).every(takes) ? call : undefined;
}

/** A step's tensors. */
export function hostBuffers({ buffers }: Step): CpuBuffers {
  return Object.fromEntries(Object.entries(buffers).map(([name, t]) => [name, onHost(t)]));
}

/** A step made ready: by WASM where its kernel has a function and its tensors lie in the memory. */
export function readyCall(step: Step, wasm: Wasm | undefined, bytes?: ByteProducts): CpuCall {
  const buffers = hostBuffers(step);
  const call = wasm && wasmCall(step, buffers, bytes);
  return { kernel: step.kernel.name, ...(call && wasm.prepare(call, buffers)) ?? scriptCall(step, buffers) };
}

/** Runs calls and says what each took. */
export function timedCalls(
  calls: readonly { readonly kernel: string; readonly run: () => unknown }[],
): TimedCall[] {
  const start = performance.now();
  const sinceUs = (): number => 1000 * (performance.now() - start);
  return calls.map(({ kernel, run }) => {
    const beginUs = sinceUs();
    run();
    return { kernel, beginUs, endUs: sinceUs() };
  });
}
