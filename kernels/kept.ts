/**
 * What was made lately for a device's limits: all layers of a model ask for the same, and to write a launch takes 0.2 ms.
 *
 * @module
 */
import type { Limits } from "./kernel.ts";

const most = 64;

/** Things by limits and a key that names all else that they depend on. */
export class Kept<T> {
  readonly #made = new WeakMap<Limits, Map<string, T>>();

  /** The thing of a key, made the first time. */
  get(limits: Limits, key: string, make: () => T): T {
    const known = this.#made.get(limits) ?? new Map<string, T>();
    this.#made.set(limits, known);
    const found = known.get(key);
    if (found !== undefined) return found;
    const made = make();
    if (known.size >= most) known.delete(known.keys().next().value!);
    known.set(key, made);
    return made;
  }
}
