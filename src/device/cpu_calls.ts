/**
 * Steps of a plan as a CPU runs them: a function of the WASM module, or a kernel in TypeScript.
 *
 * @module
 */
import type { ByteProducts } from "../../kernels/kernel.ts";
import { bfloat16ToFloat32, float16ToFloat32 } from "../../kernels/half.ts";
import type { Step } from "../plan.ts";
import { type DType, type HostTensor, isHost, type Tensor, type TypedArray } from "../tensor.ts";
import type { TimedCall } from "./cpu_commands.ts";
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

/** Elements as the device keeps them: 16-bit floats widened, for neither JavaScript nor WASM computes with them. */
export function widened({ data, dtype }: HostTensor): TypedArray {
  if (dtype === "float16") return float16ToFloat32(data as Uint16Array);
  if (dtype === "bfloat16") return bfloat16ToFloat32(data as Uint16Array);
  return data;
}

/** The element type that the device keeps. */
export const widenedType = (dtype: DType): DType =>
  dtype === "float16" || dtype === "bfloat16" ? "float32" : dtype;

/** A step by its kernel's `cpu` function or reference. Arrays are asked for at each run: a WASM memory may have grown. */
function scriptCall({ kernel, uniforms }: Step, buffers: CpuBuffers): ReadyCall {
  const names = Object.keys(buffers);
  const run = kernel.cpu ?? kernel.reference;
  return {
    run: () => run(Object.fromEntries(names.map((name) => [name, buffers[name].data])), uniforms),
  };
}

/** A step's tensors. */
export function hostBuffers({ buffers }: Step): CpuBuffers {
  return Object.fromEntries(Object.entries(buffers).map(([name, t]) => [name, onHost(t)]));
}

/** A step made ready: by WASM where its kernel has a function and its tensors lie in the memory. */
export function readyCall(step: Step, wasm: Wasm | undefined, bytes?: ByteProducts): CpuCall {
  const buffers = hostBuffers(step);
  const call = wasm && step.kernel.wasm?.(step.uniforms, bytes);
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
