/**
 * The CPU device: typed arrays and each kernel's `cpu` function, or its reference.
 *
 * @module
 */
import { type Kernel, portableLimits, type TypedArray } from "../../kernels/kernel.ts";
import { bfloat16ToFloat32, float16ToFloat32 } from "../../kernels/half.ts";
import type { Plan } from "../plan.ts";
import { elements, type HostTensor, isHost, newArray, type Tensor, tensor } from "../tensor.ts";
import type { Device, Program } from "./device.ts";

interface Call {
  readonly kernel: Kernel;
  readonly arrays: Readonly<Record<string, TypedArray>>;
  readonly uniforms: Readonly<Record<string, number>>;
}

class CpuProgram implements Program {
  constructor(readonly calls: readonly Call[]) {}

  get launches(): number {
    return this.calls.length;
  }

  release(): void {}
}

function hostArray(t: Tensor): TypedArray {
  if (!isHost(t)) {
    throw new TypeError("Cannot use a GPU tensor on the CPU device: read it from its own device first");
  }
  return t.data;
}

/** Copies a host tensor, with 16-bit floats widened to float32: JavaScript computes in 32 and 64 bits. */
function widened({ data, dtype, shape }: HostTensor): HostTensor {
  if (dtype === "float16") return tensor(float16ToFloat32(data as Uint16Array), shape);
  if (dtype === "bfloat16") return tensor(bfloat16ToFloat32(data as Uint16Array), shape);
  return tensor(data.slice(), shape);
}

/**
 * Opens the CPU device: plain TypeScript, one thread, no dependency. A program runs to its end inside `run`.
 */
export function cpuDevice(): Device {
  return {
    kind: "cpu",
    description: "CPU (TypeScript, one thread)",
    limits: portableLimits,
    prefersFewSizes: false,
    runsAhead: false,
    upload: widened,
    alloc: (shape, dtype) => tensor(newArray(dtype, elements(shape)), shape, { dtype }),
    write(target, data, at = 0) {
      hostArray(target).set(data, at);
    },
    prepare(plan: Plan) {
      const calls = plan.map(({ kernel, buffers, uniforms }) => ({
        kernel,
        arrays: Object.fromEntries(Object.entries(buffers).map(([name, t]) => [name, hostArray(t)])),
        uniforms,
      }));
      return Promise.resolve(new CpuProgram(calls));
    },
    run(program) {
      for (const { kernel, arrays, uniforms } of (program as CpuProgram).calls) {
        if (kernel.cpu) kernel.cpu(arrays, uniforms);
        else kernel.reference(arrays, uniforms);
      }
    },
    read(source, range) {
      const data = hostArray(source);
      return Promise.resolve(range ? data.slice(range.at, range.at + range.count) : data.slice());
    },
    runAndRead(program, source, range) {
      this.run(program);
      return this.read(source, range);
    },
    trace(program) {
      const start = performance.now();
      const sinceUs = (): number => 1000 * (performance.now() - start);
      const launches = (program as CpuProgram).calls.map((call) => {
        const beginUs = sinceUs();
        this.run(new CpuProgram([call]));
        return { kernel: call.kernel.name, beginUs, endUs: sinceUs() };
      });
      return Promise.resolve({ clock: "host", launches, wholeUs: sinceUs() });
    },
    release() {},
    destroy() {},
  };
}
