/**
 * Kernels that multiply by a weight, of any format.
 *
 * @module
 */
import type { Kernel } from "../kernel.ts";
import { dense } from "./dense.ts";
import type { WeightFormat } from "./format.ts";

/** A kernel by a dense weight, which gives the same by a weight of another format. */
export interface OfFormats<B extends string, U extends string> extends Kernel<B | "weight", U> {
  /** The kernel by a weight of a format, made once; its buffers are those of the format in place of `weight`. */
  of<W extends string>(format: WeightFormat<W>): Kernel<B | W, U>;
}

/** Makes the kernel of a format, under the name given: `name` itself, or `<name>_<format>`. */
export function ofFormats<B extends string, U extends string>(
  name: string,
  make: (format: WeightFormat, name: string) => Kernel<string, U>,
): OfFormats<B, U> {
  const made = new WeakMap<WeightFormat, Kernel<string, U>>();
  function of(format: WeightFormat): Kernel<string, U> {
    const known = made.get(format);
    if (known) return known;
    const kernel = make(format, format === dense ? name : `${name}_${format.name}`);
    made.set(format, kernel);
    return kernel;
  }
  return Object.assign(of(dense), { of }) as unknown as OfFormats<B, U>;
}
