/**
 * What a kernel is tested and timed with: sizes, and the arrays that a call of them takes.
 *
 * Cases stand apart from kernels, so that the package has none.
 *
 * @module
 */
import { anyKernel, type DType, type Kernel, type TypedArray } from "../kernel.ts";

/** An input for tests and benches: sizes as uniforms, arrays made from a source of uniform random numbers in [0, 1). */
export interface Case<B extends string = string, U extends string = string> {
  readonly name: string;
  readonly uniforms: Readonly<Record<U, number>>;
  /** Element types where they differ from each buffer's usual one. */
  readonly dtypes?: Partial<Record<B, DType>>;
  /** Outputs whose words hold packed numbers: how they are read, to be compared as numbers. */
  readonly numbers?: Partial<Record<B, (words: TypedArray) => Float32Array>>;
  /** Inputs and outputs; write-only outputs are prefilled with NaN, so that a missing store shows. */
  readonly make: (random: () => number) => Record<B, TypedArray>;
}

/** A bench size: a case, and what its launch must at least move and compute. */
export interface Bench<B extends string = string, U extends string = string> extends Case<B, U> {
  /** Bytes that must be read and written once (the memory floor). */
  readonly bytes: number;
  /** Floating-point operations of the dense or transform definition, if arithmetic is the floor. */
  readonly flops?: number;
}

/** What has a kernel's names. */
type Named = Pick<Kernel<never, never>, "buffers" | "uniforms">;

/** A case of a kernel, by its type. */
export type CaseOf<K extends Named> = Case<keyof K["buffers"] & string, keyof K["uniforms"] & string>;

/** A bench size of a kernel, by its type. */
export type BenchOf<K extends Named> = Bench<keyof K["buffers"] & string, keyof K["uniforms"] & string>;

/** Cases and bench sizes to give a kernel. */
export interface GivenCases<B extends string, U extends string> {
  readonly cases: readonly Case<B, U>[];
  /** None where no time of the kernel is asked for. */
  readonly benches?: readonly Bench<B, U>[];
}

/** A kernel with its cases and bench sizes. */
export interface KernelCases {
  readonly kernel: Kernel;
  readonly cases: readonly Case[];
  readonly benches: readonly Bench[];
}

/** Checks cases against the names of a kernel's buffers and uniform words. */
export function casesFor<B extends string, U extends string>(
  kernel: Kernel<B, U>,
  { cases, benches = [] }: GivenCases<B, U>,
): KernelCases {
  return {
    kernel: anyKernel(kernel),
    cases: cases as unknown as readonly Case[],
    benches: benches as unknown as readonly Bench[],
  };
}

/** The numbers below `count`, in any order. */
export function shuffled(count: number, random: () => number): Uint32Array {
  const numbers = Uint32Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const other = Math.floor(random() * (i + 1));
    [numbers[i], numbers[other]] = [numbers[other], numbers[i]];
  }
  return numbers;
}
