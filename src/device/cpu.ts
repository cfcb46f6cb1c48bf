/**
 * The CPU device: one thread, kernels in WASM where there are any, else each kernel's `cpu` function or its reference.
 *
 * @module
 */
import { portableLimits } from "../../kernels/kernel.ts";
import type { Plan } from "../plan.ts";
import { type DType, elements, type HostTensor, newArray, tensor } from "../tensor.ts";
import { type CpuCall, heldType, onHost, readyCall, timedCalls, uploaded } from "./cpu_calls.ts";
import type { Device, Program } from "./device.ts";
import { type CpuProducts, ownWasm, productsOf, Wasm } from "./wasm.ts";

/** How a CPU device is opened. */
export interface CpuDeviceOptions {
  /**
   * The package's `kernels.wasm`, compiled beforehand: for Workers, where a program may not compile. `false` keeps to
   * TypeScript. Left out, the device compiles the module itself, and keeps to TypeScript where it cannot.
   */
  readonly wasm?: WebAssembly.Module | false;
  /** Of `openCpuDevice`: whether the device may have threads of its own. Default true. */
  readonly worker?: boolean;
  /**
   * Of `openCpuDevice`: threads that compute, 1 to 64. Default: the machine's physical cores, at most 16; half of
   * `navigator.hardwareConcurrency` where they are unknown. Results are equal for every number, bit for bit.
   */
  readonly threads?: number;
  /**
   * `int8` rounds x to 8 bits by blocks of 32 in products by weights of `q8_32` and `q4_32`: faster, and off by about half a
   * percent. Left out, x has 16 bits. It takes WebAssembly with relaxed SIMD.
   */
  readonly products?: CpuProducts;
}

class CpuProgram implements Program {
  constructor(readonly calls: readonly CpuCall[]) {}

  get launches(): number {
    return this.calls.length;
  }

  release(): void {}
}

/**
 * Opens the CPU device, for which nothing has to be installed. A program runs to its end inside `run`, on the calling thread.
 *
 * @throws RangeError for `threads` other than 1: `openCpuDevice` has more.
 * @throws DeviceError for `products` where there is no relaxed SIMD.
 */
export function cpuDevice(options: CpuDeviceOptions = {}): Device {
  if ((options.threads ?? 1) !== 1) {
    throw new RangeError(
      `Cannot use "threads" = ${options.threads} on the calling thread: open the device by ` +
        `openCpuDevice({ threads: ${options.threads} }), without "worker" and "wasm" = false`,
    );
  }
  const wasm = options.wasm === false ? undefined : options.wasm ? new Wasm(options.wasm) : ownWasm();
  const { bytes, description } = productsOf(wasm, options.products);
  const alloc = (shape: readonly number[], dtype: DType): HostTensor =>
    wasm?.alloc(shape, dtype) ?? tensor(newArray(dtype, elements(shape)), shape, { dtype });
  return {
    kind: "cpu",
    description: `CPU (${wasm?.description ?? "TypeScript"}${description}, one thread)`,
    limits: portableLimits,
    // Kernels count elements in 32 bits, and a WASM memory ends there, too.
    maxTensorBytes: 2 ** 32,
    heldType: (dtype, use) => heldType(dtype, { use, wasm }),
    ...(wasm ? { roomFor: (bytes: number) => Promise.resolve(Math.min(bytes, wasm.room!)) } : {}),
    prefersFewSizes: false,
    runsAhead: false,
    upload: (source, use) => uploaded(source, { use, wasm, alloc }),
    alloc,
    write(target, data, at = 0) {
      onHost(target).data.set(data, at);
    },
    copy(source, target) {
      onHost(target).data.set(onHost(source).data);
    },
    prepare(plan: Plan) {
      const calls = plan.map((step) => readyCall(step, wasm, bytes));
      return Promise.resolve(new CpuProgram(calls));
    },
    run(program) {
      for (const { run } of (program as CpuProgram).calls) run();
    },
    read(source, range) {
      const { data } = onHost(source);
      return Promise.resolve(range ? data.slice(range.at, range.at + range.count) : data.slice());
    },
    runAndRead(program, source, range) {
      this.run(program);
      return this.read(source, range);
    },
    trace(program) {
      const begin = performance.now();
      const launches = timedCalls((program as CpuProgram).calls);
      return Promise.resolve({ clock: "host", launches, wholeUs: 1000 * (performance.now() - begin) });
    },
    release: (t) => wasm?.release(t),
    destroy() {},
  };
}
