/**
 * Kernels that do what `adapted_linears` and then the kernel that reads its y do: the second's dispatch adds up the two
 * planes of the first as it reads them, where a dispatch for that alone would come between.
 *
 * @module
 */
import {
  type AdaptedBuffer,
  adaptedCase,
  adaptedLaunch,
  adaptedLinears,
  type AdaptedSize,
  adaptedUniforms,
  type AdaptedWords,
  besideShape,
  linearsOf,
} from "../adapted_linears.ts";
import type { Finish } from "../fourier/beside.ts";
import {
  anyKernel,
  type Arrays,
  type Call,
  type Case,
  defineKernel,
  type Join,
  type Kernel,
  type Limits,
  type TypedArray,
} from "../kernel.ts";

type Words = Readonly<Record<string, number>>;

/** What follows, and how. */
export interface Following {
  readonly kernel: Kernel;
  /** Its buffer that is the y of the linears. */
  readonly y: string;
  /** Its other buffers, by the names that they have in the kernel made of both. */
  readonly buffers: Readonly<Record<string, string>>;
  /** Whether its sizes are those of y, and its text takes them. */
  readonly takes: (words: Words, limits: Limits) => boolean;
  readonly finish: (call: Call) => Finish;
}

/** Sizes of a case, and the following call's own words and arrays, by the names of the kernel made of both. */
export interface FollowedSize extends AdaptedSize {
  readonly words: Words;
  readonly others: (random: () => number) => Record<string, TypedArray>;
}

function followedCase({ words, others, ...size }: FollowedSize): Case {
  const { name, uniforms, dtypes, make } = adaptedCase(size);
  return {
    name,
    uniforms: { ...uniforms, ...words },
    dtypes,
    make: (random) => ({ ...make(random), ...others(random) }),
  };
}

/** The kernel made of both, and the join that brings it about. */
export interface Followed {
  readonly kernel: Kernel;
  readonly join: Join;
}

/** Makes the kernel of the linears and what follows them, with cases of the sizes. */
export function follow(following: Following, sizes: readonly FollowedSize[]): Followed {
  const { kernel: next, y, buffers } = following;
  const own = Object.entries(buffers);
  const kernel = defineKernel<string, string>({
    name: `${adaptedLinears.name}_${next.name}`,
    doc: `${adaptedLinears.name}, and ${next.name} of its y, for the one row that it runs side by side`,
    buffers: {
      ...adaptedLinears.buffers,
      ...Object.fromEntries(own.map(([name, of]) => [name, next.buffers[of]])),
    },
    uniforms: { ...adaptedUniforms, ...next.uniforms },
    launch(call, limits) {
      const linears = linearsOf(call.uniforms as AdaptedWords);
      // All that the text may depend on, beside what adaptedLaunch knows.
      const words = Object.keys(next.uniforms).map((word) => call.uniforms[word]);
      const dtypes = own.map(([name]) => call.dtypes[name]);
      const name = `${next.name}:${words}:${dtypes}`;
      const launch = adaptedLaunch(linears, call.dtypes.weight, {
        limits,
        finish: following.finish(call),
        name,
      });
      if (launch && following.takes(call.uniforms, limits)) return launch;
      throw new RangeError(
        `Cannot run ${kernel.name} of ${linears.rows} rows, ${linears.in} to ${linears.outs}`,
      );
    },
    reference(arrays, words) {
      adaptedLinears.reference(arrays as Arrays<AdaptedBuffer>, words as AdaptedWords);
      next.reference(
        { [y]: arrays.y, ...Object.fromEntries(own.map(([name, of]) => [of, arrays[name]])) },
        words,
      );
    },
    tolerance: 1e-5,
    cases: sizes.map(followedCase),
    benches: [],
  });
  const join: Join = {
    first: adaptedLinears.name,
    second: next.name,
    same: [["y", y]],
    kernel: anyKernel(kernel),
    buffers: {
      ...Object.fromEntries(Object.keys(adaptedLinears.buffers).map((name) => [name, [0, name] as const])),
      ...Object.fromEntries(own.map(([name, of]) => [name, [1, of] as const])),
    },
    uniforms(first, second, limits) {
      const words = { ...first.uniforms, ...second.uniforms };
      const beside = besideShape(linearsOf(words as AdaptedWords), limits) !== undefined;
      return beside && first.uniforms.rows === second.uniforms.rows && following.takes(words, limits)
        ? words
        : undefined;
    },
  };
  return { kernel, join };
}
