/**
 * New modules of any method, for tests and benches.
 *
 * @module
 */
import type { AdapterModule, LinearShape, Method } from "../src/adapters/method.ts";

/** A new module of a method, by PEFT's names of options: those that the method has not are left out. */
export function newModule(
  { training }: Method,
  shape: LinearShape,
  given: Readonly<Record<string, number>>,
  random: () => number = () => 0.5,
): AdapterModule {
  const options = Object.entries(training!.options).map((
    [name, spec],
  ) => [name, given[name] ?? spec.default]);
  return training!.create(shape, Object.fromEntries(options), random);
}
