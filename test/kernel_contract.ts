/**
 * What every device must do with every kernel: the reference's numbers, from outputs that held NaN or old values.
 *
 * @module
 */
import assert from "node:assert/strict";
import {
  type ByteProducts,
  type Call,
  type DType,
  inWay,
  type Kernel,
  type Limits,
  type TypedArray,
  type WasmCall,
} from "../kernels/kernel.ts";
import { widen } from "../kernels/half.ts";
import { type Case, casesOf, type KernelCases } from "../kernels/cases/mod.ts";
import { cpuDevice } from "../src/device/cpu.ts";
import type { Device, TensorUse } from "../src/device/device.ts";
import type { Step } from "../src/plan.ts";
import { type HostTensor, type Tensor, tensor } from "../src/tensor.ts";

/** Uniform random numbers in [0, 1) from a 32-bit seed (mulberry32). */
export function randomSource(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 15), z | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return ((z ^ (z >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Relative distance of two arrays in the Frobenius norm; infinite when either holds a NaN. */
export function distance(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  assert.equal(actual.length, expected.length);
  let error = 0;
  let norm = 0;
  for (let i = 0; i < expected.length; i++) {
    error += (actual[i] - expected[i]) ** 2;
    norm += expected[i] ** 2;
  }
  const result = error === 0 ? 0 : Math.sqrt(error / norm);
  return Number.isNaN(result) ? Infinity : result;
}

/** A case's arrays as the kernel's buffers hold them. */
export function prepared(kernel: Kernel, testCase: Case, seed: number): Record<string, HostTensor> {
  const arrays = testCase.make(randomSource(seed));
  const bound: Record<string, HostTensor> = {};
  for (const name in kernel.buffers) {
    const dtype: DType = testCase.dtypes?.[name] ?? kernel.buffers[name].dtypes[0];
    bound[name] = tensor(arrays[name], [arrays[name].length], { dtype });
  }
  return bound;
}

/** Names of what a kernel writes. */
const outputsOf = ({ buffers }: Kernel): string[] =>
  Object.keys(buffers).filter((name) => buffers[name].access === "read_write");

type Outputs = Readonly<Record<string, TypedArray>>;

/** The outputs by the reference of the kernel that was checked last: each device gives it the same cases in turn. */
let latest: Kernel["reference"] | undefined;
const known = new Map<Case, { readonly seed: number; readonly outputs: Outputs }>();

/** What the reference makes of a case's arrays, 16-bit floats widened. */
function expectedOf(
  kernel: Kernel,
  { testCase, seed, bound }: {
    readonly testCase: Case;
    readonly seed: number;
    readonly bound: Readonly<Record<string, HostTensor>>;
  },
): Outputs {
  if (latest !== kernel.reference) known.clear();
  latest = kernel.reference;
  const before = known.get(testCase);
  if (before?.seed === seed) return before.outputs;
  const wide = Object.fromEntries(
    Object.entries(bound).map(([name, { data, dtype }]) => [
      name,
      dtype === "float16" || dtype === "bfloat16" ? widen(data, dtype) : data.slice(),
    ]),
  );
  kernel.reference(wide, testCase.uniforms);
  const outputs = Object.fromEntries(outputsOf(kernel).map((name) => [name, wide[name]]));
  known.set(testCase, { seed, outputs });
  return outputs;
}

/** A case's uniforms, and the element types of the buffers that it binds. */
export function callOf(kernel: Kernel, { uniforms, dtypes }: Case): Call {
  const bound = Object.entries(kernel.buffers).map((
    [name, spec],
  ) => [name, dtypes?.[name] ?? spec.dtypes[0]]);
  return { uniforms, dtypes: Object.fromEntries(bound) };
}

/** What a buffer is uploaded for: kernels name the matrix that they multiply by, or look up in, `weight`. */
export const useOf = (buffer: string): TensorUse | undefined => buffer === "weight" ? "weight" : undefined;

/** A case's tensors on a device; those of weights stay in 16 bits where the device reads them so. */
export function uploadedTo(
  device: Device,
  bound: Readonly<Record<string, HostTensor>>,
): Record<string, Tensor> {
  return Object.fromEntries(
    Object.entries(bound).map(([name, t]) => [name, device.upload(t, useOf(name))]),
  );
}

/** A case's call of the WASM module, with the element types that the CPU device holds its tensors in. */
export function wasmOf(kernel: Kernel, testCase: Case, bytes?: ByteProducts): WasmCall | undefined {
  const { uniforms, dtypes } = callOf(kernel, testCase), { heldType } = cpuDevice();
  const held = Object.entries(dtypes).map(([name, dtype]) => [name, heldType!(dtype, useOf(name))]);
  return kernel.wasm?.(uniforms, Object.fromEntries(held), bytes);
}

/** The kernel in every way in which a device within limits may run a case; itself where there is one. */
export function inEveryWay(kernel: Kernel, testCase: Case, limits: Limits): Kernel[] {
  const ways = kernel.ways?.(callOf(kernel, testCase), limits).ways;
  return ways?.map((way) => ({ ...inWay(kernel, way), name: `${kernel.name} in the way "${way}"` })) ??
    [kernel];
}

/** How a CPU device multiplies with x of 8 bits, by its description. */
function byteProductsOf(description: string): ByteProducts | undefined {
  if (!description.includes("8-bit products")) return undefined;
  return description.includes("of 4-bit weights") ? {} : { offset: 128 };
}

/** What a device may be off by: WASM's functions may have a tolerance of their own. */
function toleranceOn({ description }: Device, kernel: Kernel, testCase: Case): number {
  const wasm = description.includes("WASM")
    ? wasmOf(kernel, testCase, byteProductsOf(description))
    : undefined;
  return wasm?.tolerance ?? kernel.tolerance;
}

/** Runs one case of a kernel on a device and compares every output with the reference. Returns the largest distance. */
export async function checkCase(
  device: Device,
  { kernel, testCase, seed }: { kernel: Kernel; testCase: Case; seed: number },
): Promise<number> {
  const bound = prepared(kernel, testCase, seed);
  const outputs = expectedOf(kernel, { testCase, seed, bound });
  const buffers = uploadedTo(device, bound);
  const step: Step = { kernel, buffers, uniforms: testCase.uniforms };
  const program = await device.prepare([step]);
  device.run(program);
  const tolerance = toleranceOn(device, kernel, testCase);
  let worst = 0;
  for (const [name, expected] of Object.entries(outputs)) {
    const actual = await device.read(buffers[name]);
    const where =
      `${kernel.name} on ${device.description}, case "${testCase.name}", seed ${seed}, output "${name}"`;
    const read = testCase.numbers?.[name] ?? ((array: TypedArray) => array);
    if (read(expected) instanceof Float32Array) {
      const d = distance(read(actual), read(expected));
      assert.ok(d <= tolerance, `${where}: relative distance ${d} is above ${tolerance}`);
      worst = Math.max(worst, d);
    } else {
      assert.deepEqual(actual, expected, where);
    }
  }
  program.release();
  for (const t of Object.values(buffers)) device.release(t);
  return worst;
}

/** The last case of each combination of element types: what a GPU is given where compiling every text takes too long. */
export function lastCases({ cases }: Pick<KernelCases, "cases">): Case[] {
  return [...new Map(cases.map((testCase) => [JSON.stringify(testCase.dtypes ?? {}), testCase])).values()];
}

/** Throws by a text of any case in any way that a GPU's compiler refuses; its driver does not see it yet. */
export async function checkTexts(
  gpu: GPUDevice,
  { kernel, limits }: { readonly kernel: Kernel; readonly limits: Limits },
): Promise<void> {
  for (const testCase of casesOf(kernel).cases) {
    for (const way of inEveryWay(kernel, testCase, limits)) {
      for (const { wgsl } of way.launch(callOf(kernel, testCase), limits).dispatches) {
        gpu.pushErrorScope("validation");
        gpu.createShaderModule({ code: wgsl });
        const error = await gpu.popErrorScope();
        assert.equal(error?.message, undefined, `${way.name}, ${testCase.name}`);
      }
    }
  }
}
