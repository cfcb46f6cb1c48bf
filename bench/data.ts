/**
 * Tensors and programs to time: made without waiting for millions of random numbers.
 *
 * @module
 */
import type { Case } from "../kernels/cases/mod.ts";
import { type DType, type Kernel, normals } from "../kernels/kernel.ts";
import { narrow } from "../kernels/half.ts";
import type { Device, Program } from "../src/device/device.ts";
import { uniforms } from "../src/engine/random.ts";
import type { BenchContext } from "./measurement.ts";
import type { Plan } from "../src/plan.ts";
import { elements, type Tensor, tensor } from "../src/tensor.ts";

const block = normals(2 ** 18, uniforms(1));

/** A tensor of normal numbers on the device, a block of them repeated. A CPU holds 16-bit floats as float32. */
export function normalTensor(device: Device, shape: readonly number[], dtype: DType = "float32"): Tensor {
  const held = device.kind === "cpu" ? "float32" : dtype;
  const numbers = narrow(block, held);
  const t = device.alloc(shape, held);
  const count = elements(shape);
  for (let at = 0; at < count; at += numbers.length) {
    device.write(t, numbers.subarray(0, Math.min(numbers.length, count - at)), at);
  }
  return t;
}

/** A tensor of words of any bits on the device, a block of them repeated. */
export function randomWords(device: Device, shape: readonly number[]): Tensor {
  const words = new Uint32Array(block.buffer).map((bits, i) => Math.imul(bits, 0x9e3779b1) ^ i);
  const t = device.alloc(shape, "uint32"), count = elements(shape);
  for (let at = 0; at < count; at += words.length) {
    device.write(t, words.subarray(0, Math.min(words.length, count - at)), at);
  }
  return t;
}

/** Programs over sets of buffers, and what frees both. */
export interface Prepared {
  readonly programs: readonly Program[];
  readonly release: () => void;
}

/** Bytes after which a large GPU's cache (50 to 128 MB) holds nothing of the first ones; a CPU's is smaller. */
export function coldBytes({ device, quick }: BenchContext): number {
  if (quick) return 2 ** 20;
  return device.kind === "cpu" ? 2 ** 26 : 2 ** 28;
}

/**
 * A program for each plan. All are prepared together first. A device that times ways of a kernel then times them on
 * all buffers in turn, as on a model's layers.
 */
export async function prepareInTurn(device: Device, plans: readonly Plan[]): Promise<Program[]> {
  (await device.prepare(plans.flat())).release();
  return await Promise.all(plans.map((plan) => device.prepare(plan)));
}

const maxSets = 64;

/**
 * A kernel's case as programs in turn. Inputs are copied until they exceed {@linkcode coldBytes} (64 copies at most),
 * so that they are read from memory. Outputs are shared, so that a run waits for the run before.
 */
export async function prepareCase(
  context: BenchContext,
  { kernel, testCase }: { readonly kernel: Kernel; readonly testCase: Case },
): Promise<Prepared> {
  const { device } = context;
  const arrays = testCase.make(uniforms(3));
  const made: Tensor[] = [];
  const upload = (name: string): Tensor => {
    const dtype = testCase.dtypes?.[name] ?? kernel.buffers[name].dtypes[0];
    made.push(device.upload(tensor(arrays[name], [arrays[name].length], { dtype })));
    return made.at(-1)!;
  };
  const names = Object.keys(kernel.buffers);
  const inputs = names.filter((name) => kernel.buffers[name].access === "read");
  const inputBytes = inputs.reduce((sum, name) => sum + arrays[name].byteLength, 0);
  const sets = Math.max(1, Math.min(maxSets, Math.ceil(coldBytes(context) / Math.max(1, inputBytes))));
  const release = (): void => made.forEach((t) => device.release(t));
  try {
    const outputs = names.filter((name) => !inputs.includes(name)).map((name) =>
      [name, upload(name)] as const
    );
    const plans = Array.from({ length: sets }, () => {
      const own = inputs.map((name) => [name, upload(name)] as const);
      const buffers = Object.fromEntries([...outputs, ...own]);
      return [{ kernel, buffers, uniforms: testCase.uniforms }];
    });
    const programs = await prepareInTurn(device, plans);
    return {
      programs,
      release() {
        programs.forEach((program) => program.release());
        release();
      },
    };
  } catch (error) {
    release();
    throw error;
  }
}
