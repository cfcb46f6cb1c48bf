/**
 * Modules at another scale than their own, for methods whose steps multiply by the record's scale.
 *
 * @module
 */
import type { AdapterModule } from "./method.ts";
import { checkReach } from "./numbers.ts";

/** A module with dW times a scale: its numbers as they are, and another scale in its record. */
function scaledModule(module: AdapterModule, scale: number, reach: () => number): AdapterModule {
  const { parameters, summary, shape, phases } = module;
  const made: AdapterModule = {
    ...{ parameters, summary: `${summary}, times ${scale}` },
    ...(shape ? { shape } : {}),
    ...(phases ? { phases } : {}),
    check(path, shape) {
      module.check(path, shape);
      const what = `module "${path}" at scale ${scale}: an element of its dW`;
      checkReach(Math.abs(scale) * reach(), what);
      checkReach(Math.abs(made.pack(shape).scale), what);
    },
    pack(shape) {
      const packed = module.pack(shape);
      return { ...packed, scale: scale * packed.scale };
    },
  };
  return made;
}

/**
 * A module that takes scales by its record's scale, which its method's step multiplies all it adds by.
 *
 * @param reach What no element of dW is greater than.
 */
export function takingScales<M extends AdapterModule>(
  module: M,
  reach: () => number,
): M & Required<Pick<AdapterModule, "times">> {
  return { ...module, times: (scale) => scaledModule(module, scale, reach) };
}
