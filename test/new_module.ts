/**
 * New modules of any method, for tests and benches.
 *
 * @module
 */
import { normals } from "../kernels/kernel.ts";
import type { Linear } from "../src/adapters/bank.ts";
import type { AdapterModule, LinearShape, Method } from "../src/adapters/method.ts";
import { type BaseOf, madeReady } from "../src/adapters/ready.ts";
import type { Device } from "../src/device/device.ts";
import type { HostTensor } from "../src/tensor.ts";

/** A method's options by PEFT's names: those that are given and that it has, the others by default. */
function optionsOf({ training }: Method, given: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(
    Object.entries(training!.options).map(([name, spec]) => [name, given[name] ?? spec.default]),
  );
}

/** A new module of a method, by PEFT's names of options. */
export function newModule(
  method: Method,
  shape: LinearShape,
  given: Readonly<Record<string, number>>,
  random: () => number = () => 0.5,
): AdapterModule {
  return method.training!.create(shape, optionsOf(method, given), random);
}

/** PEFT's config and tensors of an adapter whose numbers are all drawn: a new one would add nothing. */
export async function randomFiles(
  device: Device,
  method: Method,
  { linears, given, random, baseOf }: {
    readonly linears: readonly Linear[];
    readonly given: Readonly<Record<string, number>>;
    readonly random: () => number;
    readonly baseOf: BaseOf;
  },
): Promise<{ readonly config: Record<string, unknown>; readonly tensors: Map<string, HostTensor> }> {
  const fresh = new Map(linears.map(({ path, shape }) => [path, newModule(method, shape, given, random)]));
  const { modules } = await madeReady(device, { method, modules: fresh }, baseOf);
  const tensors = new Map<string, HostTensor>();
  for (const { path, shape } of linears) {
    const trainable = modules.get(path)!.trainable!(shape, (t) => device.upload(t));
    for (const [suffix, t] of trainable.tensors(normals(trainable.values.length, random))) {
      tensors.set(`base_model.model.${path}${suffix}`, t);
    }
  }
  const options = optionsOf(method, given);
  return { config: { peft_type: method.peftType, ...method.training!.configFields(options) }, tensors };
}
