/**
 * Cases of elementwise kernels, which follow from how they use their buffers.
 *
 * @module
 */
import {
  type ElementAccess,
  type ElementwiseKernel,
  isElementwise,
  type SharedBuffer,
} from "../elementwise.ts";
import { anyKernel, type Kernel, nans, normals, type TypedArray } from "../kernel.ts";
import type { Case, KernelCases } from "./case.ts";

/** A size to test: so many elements, with other uniform words and inputs where they matter. */
export interface ElementwiseCase<B extends string = string, U extends string = string> {
  readonly count: number;
  readonly uniforms?: Readonly<Record<Exclude<U, "count">, number>>;
  /** Inputs that standard normal numbers do not serve as. */
  readonly inputs?: (random: () => number) => Partial<Record<B, TypedArray>>;
}

/** What to give an elementwise kernel in place of the usual sizes. */
export interface ElementwiseSizes<B extends string, U extends string> {
  readonly cases?: readonly ElementwiseCase<B, U>[];
  readonly bench?: ElementwiseCase<B, U>;
}

/** One element, an odd count, a workgroup's count, one more, and one in words of 16 bytes. */
const usualCounts = [1, 251, 256, 257, 1028];
const usualBench = 2 ** 22;

type Uses = readonly (readonly [name: string, use: ElementAccess | SharedBuffer])[];

const usesOf = ({ uses }: ElementwiseKernel): Uses => Object.entries(uses);

function caseOf(uses: Uses, { count, uniforms, inputs }: ElementwiseCase): Case {
  const others = Object.entries(uniforms ?? {}).map(([name, value]) => `, ${name} ${value}`);
  return {
    name: `${count}${others.join("")}`,
    uniforms: { count, ...uniforms },
    make: (random) => {
      const made = uses.map(([name, use]) =>
        [name, use === "write" ? nans(count) : normals(typeof use === "object" ? 1 : count, random)] as const
      );
      return { ...Object.fromEntries(made), ...inputs?.(random) } as Record<string, TypedArray>;
    },
  };
}

/** Bytes that a call of `count` elements must move. */
function bytesOf(uses: Uses, count: number): number {
  const words = { read: 1, write: 1, update: 2 };
  return uses.reduce((sum, [, use]) => sum + (typeof use === "object" ? 0 : 4 * count * words[use]), 0);
}

/**
 * The cases of an elementwise kernel: the usual ones where none are given.
 *
 * @throws TypeError for a kernel of another kind.
 */
export function elementwiseCases<B extends string, U extends string>(
  kernel: Kernel<B, U>,
  sizes: ElementwiseSizes<B, U> = {},
): KernelCases {
  const plain = anyKernel(kernel);
  if (!isElementwise(plain)) {
    throw new TypeError(`Cannot make cases of ${kernel.name}: it is not elementwise`);
  }
  const uses = usesOf(plain),
    { cases = usualCounts.map((count) => ({ count })), bench = { count: usualBench } } =
      sizes as ElementwiseSizes<string, string>;
  return {
    kernel: plain,
    cases: cases.map((one) => caseOf(uses, one)),
    benches: [{ ...caseOf(uses, bench), bytes: bytesOf(uses, bench.count) }],
  };
}
