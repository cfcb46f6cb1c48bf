/**
 * The CPU device: one thread, kernels in WASM where there are any, else each kernel's `cpu` function or its reference.
 *
 * @module
 */
import { portableLimits, type TypedArray } from "../../kernels/kernel.ts";
import { bfloat16ToFloat32, float16ToFloat32 } from "../../kernels/half.ts";
import type { Plan, Step } from "../plan.ts";
import { type DType, elements, type HostTensor, isHost, newArray, type Tensor, tensor } from "../tensor.ts";
import type { Device, Program } from "./device.ts";
import { ownWasm, type ReadyCall, Wasm } from "./wasm.ts";

/** How a CPU device is opened. */
export interface CpuDeviceOptions {
  /**
   * The package's `kernels.wasm`, compiled beforehand: for Workers, where a program may not compile. `false` keeps to
   * TypeScript. Left out, the device compiles the module itself, and keeps to TypeScript where it cannot.
   */
  readonly wasm?: WebAssembly.Module | false;
}

interface Call extends ReadyCall {
  /** Its name, for traces. */
  readonly kernel: string;
}

class CpuProgram implements Program {
  /** Not yet freed. */
  readonly #scratch: number[];

  constructor(readonly calls: readonly Call[], private readonly wasm: Wasm | undefined) {
    this.#scratch = calls.flatMap(({ scratch }) => scratch);
  }

  get launches(): number {
    return this.calls.length;
  }

  release(): void {
    this.wasm?.free(this.#scratch.splice(0));
  }
}

function onHost(t: Tensor): HostTensor {
  if (!isHost(t)) {
    throw new TypeError("Cannot use a GPU tensor on the CPU device: read it from its own device first");
  }
  return t;
}

/** Elements as the device keeps them: 16-bit floats widened, for neither JavaScript nor WASM computes with them. */
function widened({ data, dtype }: HostTensor): TypedArray {
  if (dtype === "float16") return float16ToFloat32(data as Uint16Array);
  if (dtype === "bfloat16") return bfloat16ToFloat32(data as Uint16Array);
  return data;
}

const widenedType = (dtype: DType): DType => dtype === "float16" || dtype === "bfloat16" ? "float32" : dtype;

/** A step by its kernel's `cpu` function or reference. Arrays are asked for at each run: a WASM memory may have grown. */
function scriptCall({ kernel, uniforms }: Step, buffers: Readonly<Record<string, HostTensor>>): ReadyCall {
  const names = Object.keys(buffers);
  const run = kernel.cpu ?? kernel.reference;
  return {
    run: () => run(Object.fromEntries(names.map((name) => [name, buffers[name].data])), uniforms),
    scratch: [],
  };
}

/** Opens the CPU device, for which nothing has to be installed. A program runs to its end inside `run`. */
export function cpuDevice(options: CpuDeviceOptions = {}): Device {
  const wasm = options.wasm === false ? undefined : options.wasm ? new Wasm(options.wasm) : ownWasm();
  const alloc = (shape: readonly number[], dtype: DType): HostTensor =>
    wasm?.alloc(shape, dtype) ?? tensor(newArray(dtype, elements(shape)), shape, { dtype });
  return {
    kind: "cpu",
    description: `CPU (${wasm ? "WASM SIMD" : "TypeScript"}, one thread)`,
    limits: portableLimits,
    // Kernels count elements in 32 bits, and a WASM memory ends there, too.
    maxTensorBytes: 2 ** 32,
    prefersFewSizes: false,
    runsAhead: false,
    upload(source) {
      const made = alloc(source.shape, widenedType(source.dtype));
      made.data.set(widened(source));
      return made;
    },
    alloc,
    write(target, data, at = 0) {
      onHost(target).data.set(data, at);
    },
    copy(source, target) {
      onHost(target).data.set(onHost(source).data);
    },
    prepare(plan: Plan) {
      const calls = plan.map((step) => {
        const buffers = Object.fromEntries(
          Object.entries(step.buffers).map(([name, t]) => [name, onHost(t)]),
        );
        const call = wasm && step.kernel.wasm?.(step.uniforms);
        const ready = (call && wasm.prepare(call, buffers)) ?? scriptCall(step, buffers);
        return { ...ready, kernel: step.kernel.name };
      });
      return Promise.resolve(new CpuProgram(calls, wasm));
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
      const start = performance.now();
      const sinceUs = (): number => 1000 * (performance.now() - start);
      const launches = (program as CpuProgram).calls.map(({ kernel, run }) => {
        const beginUs = sinceUs();
        run();
        return { kernel, beginUs, endUs: sinceUs() };
      });
      return Promise.resolve({ clock: "host", launches, wholeUs: sinceUs() });
    },
    release: (t) => wasm?.release(t),
    destroy() {},
  };
}
