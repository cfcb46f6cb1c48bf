/**
 * What a kernel is: a description of work on arrays of numbers, with no device in it.
 *
 * A {@linkcode Kernel} names its buffers and uniform words, says how to launch itself (WGSL text, bindings, grid),
 * and carries its own specification: a plain-loop reference with float64 sums that every device is tested against.
 *
 * @module
 */

import type { Consume, Parts, Produce, Relay, Together } from "./parts.ts";

/** Element types a kernel's buffers may hold. `float16` and `bfloat16` are carried as raw 16-bit patterns. */
export type DType = "float32" | "float16" | "bfloat16" | "uint32" | "int32";

/** The typed array that holds a tensor's elements on the host: `Uint16Array` carries float16 and bfloat16 bits. */
export type TypedArray = Float32Array | Uint16Array | Uint32Array | Int32Array;

/** Whether a dispatch only reads a buffer, or also writes it. */
export type Access = "read" | "read_write";

/** One storage buffer of a kernel. */
export interface BufferSpec {
  /** `read_write` buffers are the kernel's outputs. */
  readonly access: Access;
  /** Element types the kernel accepts here; the first is the usual one. */
  readonly dtypes: readonly DType[];
  /** Shape and meaning, e.g. `(rows, in), row-major`. */
  readonly doc: string;
}

/** The type of one uniform word (4 bytes). */
export type UniformType = "u32" | "f32";

/** What a device offers to a launch; all sizes in the unit their name says. Taken from WebGPU's `GPUSupportedLimits`. */
export interface Limits {
  /** `maxComputeWorkgroupStorageSize` */
  readonly workgroupStorageBytes: number;
  /** `maxComputeInvocationsPerWorkgroup` */
  readonly invocations: number;
  /** `maxComputeWorkgroupsPerDimension` */
  readonly workgroupsPerDimension: number;
  /** `maxStorageBuffersPerShaderStage`: bindings of a dispatch. */
  readonly storageBuffers: number;
  /** WebGPU feature names the device was opened with, e.g. `subgroups`, `shader-f16`. */
  readonly features: ReadonlySet<string>;
}

/** WebGPU's guaranteed limits; every kernel launches within them. */
export const portableLimits: Limits = {
  workgroupStorageBytes: 16384,
  invocations: 256,
  workgroupsPerDimension: 65535,
  storageBuffers: 8,
  features: new Set(),
};

/** The values that a launch depends on: uniform words and the element type of each bound buffer. */
export interface Call<B extends string = string, U extends string = string> {
  readonly uniforms: Readonly<Record<U, number>>;
  readonly dtypes: Readonly<Record<B, DType>>;
}

/** A constant table computed on the host in float64 and rounded once to float32. Equal keys mean equal contents. */
export interface Table {
  readonly key: string;
  readonly make: () => Float32Array;
}

/** One binding of a dispatch, in binding order after the uniforms. */
export interface Binding {
  /** A buffer name of the kernel, or a name of this launch's `scratch` or `tables`. */
  readonly name: string;
  readonly access: Access;
}

/**
 * One dispatch: WGSL whose binding 0 of group 0 is `var<uniform>` (the kernel's uniform words, in their declared
 * order) and whose bindings 1, 2, ... are `bindings`. The entry point is `main`.
 */
export interface Dispatch {
  readonly wgsl: string;
  readonly bindings: readonly Binding[];
  readonly constants?: Readonly<Record<string, number>>;
  readonly grid: readonly [number, number, number];
}

/** Dispatches in order, with the scratch buffers (bytes) and constant tables they share. */
export interface Launch {
  readonly dispatches: readonly Dispatch[];
  readonly scratch?: Readonly<Record<string, number>>;
  readonly tables?: Readonly<Record<string, Table>>;
  /**
   * The same result in parts, where that takes a dispatch less. One part is in the result's own buffer: other calls may add to
   * it before the parts are read.
   */
  readonly sliced?: () => Parts;
}

/** The ways in which a GPU may run a call, where the fastest is a matter of the GPU. */
export interface Choice {
  /** What the fastest way depends on, beside the kernel: calls of equal keys have one answer on a device. */
  readonly key: string;
  /** The ways by name; the first is the usual one. */
  readonly ways: readonly string[];
}

/**
 * A call of a function of the WASM module (`kernels/assembly/`), which threads may share: the function does items of its
 * work, from its last but one argument to its last.
 */
export interface WasmStep {
  readonly function: string;
  /**
   * All but the last two. A number is passed as it is; a name (of a buffer, or of the call's `scratch`, `each` or `tables`)
   * as its byte offset.
   */
  readonly args: readonly (number | string)[];
  /** Items that may be done in any order, and side by side. The result is the same bit for bit. */
  readonly items: number;
  /** Multiply-adds of all items, about: little work stays on one thread. */
  readonly work: number;
}

/** Products of the WASM module by weights in blocks, with x rounded to 8 bits in place of 16. */
export interface ByteProducts {
  /**
   * How far a weight's numbers of 8 bits are moved to be multiplied so: 128 or 0, by how the runtime takes bytes. Left out where
   * it takes 7 bits alone: products by 8 bits then have x of 16 bits.
   */
  readonly offset?: number;
}

/** A kernel's call as functions of the WASM module, with the scratch (bytes) and tables it needs. */
export interface WasmCall extends WasmStep {
  /** What is done first, in order: each step begins when all items of the step before are done. */
  readonly before?: readonly WasmStep[];
  readonly scratch?: Readonly<Record<string, number>>;
  /** Scratch that each thread has for itself. */
  readonly each?: Readonly<Record<string, number>>;
  readonly tables?: Readonly<Record<string, Table>>;
  /** In place of the kernel's, where the function rounds more than sums of float32 do. */
  readonly tolerance?: number;
  /** Buffers that the function takes as the 16-bit floats that they are; others must be float32, or integers. */
  readonly halves?: readonly string[];
}

/** Host arrays of a call, one for each buffer of the kernel. */
export type Arrays<B extends string = string> = Readonly<Record<B, TypedArray>>;

/**
 * Where a backward step puts a gradient: of which forward buffer, and whether the kernel overwrites it, adds to it, or
 * does as its uniform `accumulate` says.
 */
export interface GradientTarget {
  readonly of: string;
  readonly mode: "write" | "add" | "accumulate";
}

/** One kernel call of a backward; its buffers are given by names of the forward call. */
export interface BackwardStep {
  readonly kernel: Kernel;
  /** Forward buffers as they are. */
  readonly values: Readonly<Record<string, string>>;
  /** Gradients of forward outputs, only read. */
  readonly gradients: Readonly<Record<string, string>>;
  /** Gradients of forward inputs, written. */
  readonly targets: Readonly<Record<string, GradientTarget>>;
  readonly uniforms: Readonly<Record<string, number>>;
}

/** A forward call's backward: what to run, and which outputs the call overwrote (their gradients end with it). */
export interface Backward {
  readonly steps: readonly BackwardStep[];
  readonly overwritten: readonly string[];
}

/** A kernel: numbers in, numbers out. See the module's documentation. */
export interface Kernel<B extends string = string, U extends string = string> {
  readonly name: string;
  /** What is computed, with shapes. */
  readonly doc: string;
  /** Storage buffers in binding order. */
  readonly buffers: Readonly<Record<B, BufferSpec>>;
  /** Uniform words in order. */
  readonly uniforms: Readonly<Record<U, UniformType>>;
  /** How a GPU runs it, in one of its ways. Throws `RangeError` when sizes break a rule. */
  launch(call: Call<B, U>, limits: Limits, way?: string): Launch;
  /** The ways to run a call within limits; left out where there is one. A device that can time them takes the fastest. */
  ways?(call: Call<B, U>, limits: Limits): Choice;
  /**
   * The specification: plain loops, float64 sums, results rounded once. Writes the outputs in place. Arrays have 16-bit
   * floats widened to float32, as those of `cpu` have.
   */
  reference(arrays: Arrays<B>, uniforms: Readonly<Record<U, number>>): void;
  /** The same on a CPU at speed, where the reference is too slow to serve. */
  cpu?(arrays: Arrays<B>, uniforms: Readonly<Record<U, number>>): void;
  /**
   * The same by the WASM module; undefined for sizes or element types that it does not take. Arrays have 16-bit floats
   * widened to float32, those of the call's `halves` excepted. Left out where no speed is asked for.
   *
   * @param bytes Given where products may have x of 8 bits.
   */
  wasm?(
    uniforms: Readonly<Record<U, number>>,
    dtypes: Readonly<Record<B, DType>>,
    bytes?: ByteProducts,
  ): WasmCall | undefined;
  /** How a GPU joins a call with the one before it. */
  readonly produce?: Produce<B, U>;
  /** The buffer that a call does nothing with but add to its elements, where there is one: others may do so before it or after. */
  readonly adds?: string;
  /** How a GPU joins calls that follow each other, and whose tensors do. */
  readonly together?: Together<B, U>;
  /** How a GPU joins a call with those whose result it reads. */
  readonly consume?: Consume<B, U>;
  /** How a GPU joins a call with those whose result it changes element by element, and with the reader. */
  readonly relay?: Relay<B, U>;
  /** How gradients pass a call, where they do; a frozen weight gets none. */
  backward?(uniforms: Readonly<Record<U, number>>): Backward;
  /** Largest accepted relative (Frobenius) distance of a float output from the reference; integers must be equal. */
  readonly tolerance: number;
}

/** A kernel as lists and steps hold it, its buffer and uniform names forgotten. */
export function anyKernel<B extends string, U extends string>(kernel: Kernel<B, U>): Kernel {
  return kernel as unknown as Kernel;
}

/** Checks a kernel's literal against its own buffer and uniform names; returns it unchanged. */
export function defineKernel<B extends string, U extends string>(kernel: Kernel<B, U>): Kernel<B, U> {
  return kernel;
}

/** A kernel that always runs in one of its ways. */
export function inWay({ ways: _, ...kernel }: Kernel, way: string): Kernel {
  return { ...kernel, launch: (call, limits) => kernel.launch(call, limits, way) };
}

/** Grid for `count` workgroups, folded to two dimensions where one is too short; see {@linkcode workgroupIndex}. */
export function grid(count: number, limits: Limits): [number, number, number] {
  const x = Math.max(1, Math.min(count, limits.workgroupsPerDimension));
  const y = Math.max(1, Math.ceil(count / x));
  if (y > limits.workgroupsPerDimension) {
    throw new RangeError(
      `Cannot launch ${count} workgroups: the device allows ${limits.workgroupsPerDimension}^2`,
    );
  }
  return [x, y, 1];
}

/** WGSL expression for the linear workgroup index of a {@linkcode grid}; needs `group` and `groups` builtins. */
export const workgroupIndex = "group.x + group.y * groups.x";

/** WGSL parameter list that {@linkcode workgroupIndex} and a one-dimensional workgroup need. */
export const workgroupBuiltins =
  "@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32";

/** WGSL `struct Uniforms` and its binding for a kernel's uniform words, in declared order. */
export function uniformStruct(uniforms: Readonly<Record<string, UniformType>>): string {
  const fields = Object.entries(uniforms).map(([name, type]) => `${name}: ${type}`).join(", ");
  return `struct Uniforms { ${fields} }\n@group(0) @binding(0) var<uniform> uniforms: Uniforms;`;
}

/** WGSL declarations of a dispatch's bindings from number `from` on, with each array's element type by name. */
export function declareBindings(
  bindings: readonly Binding[],
  types: Readonly<Record<string, string>>,
  from = 1,
): string {
  return bindings.map(({ name, access }, i) =>
    `@group(0) @binding(${i + from}) var<storage, ${access}> ${name}: array<${types[name]}>;`
  ).join("\n");
}

/** `n` standard normal float32 numbers (Box-Muller) from a source of uniform ones. */
export function normals(n: number, random: () => number, scale = 1): Float32Array {
  return Float32Array.from(
    { length: n },
    () => scale * Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random()),
  );
}

/** `n` float32 NaNs: what a write-only output holds before a kernel runs. */
export function nans(n: number): Float32Array {
  return new Float32Array(n).fill(NaN);
}
