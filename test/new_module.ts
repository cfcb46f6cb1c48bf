/**
 * New modules of any method, for tests and benches.
 *
 * @module
 */
import { normals } from "../kernels/kernel.ts";
import type { Linear } from "../src/adapters/bank.ts";
import { newModules } from "../src/adapters/create.ts";
import type { AdapterModule, LinearShape, Method } from "../src/adapters/method.ts";
import type { TrainableMethod } from "../src/adapters/options.ts";
import type { OptionValue } from "../src/adapters/training.ts";
import { type BaseOf, madeReady } from "../src/adapters/ready.ts";
import type { Device } from "../src/device/device.ts";
import type { HostTensor } from "../src/tensor.ts";
import { placed } from "../src/training/modules.ts";

/** A method's options by PEFT's names: those that are given and that it has, the others by default. */
function optionsOf(
  { training }: Method,
  given: Readonly<Record<string, OptionValue>>,
): Record<string, OptionValue> {
  return Object.fromEntries(
    Object.entries(training!.options).map(([name, spec]) => [name, given[name] ?? spec.default]),
  );
}

/** New modules of one adapter, for each of some linears. */
function modulesOf(
  method: Method,
  { linears, given, random }: {
    readonly linears: readonly Linear[];
    readonly given: Readonly<Record<string, OptionValue>>;
    readonly random: () => number;
  },
): Map<string, AdapterModule> {
  const targetModules = linears.map(({ path }) => path);
  return newModules(
    linears,
    { method: method as TrainableMethod, options: optionsOf(method, given), targetModules },
    random,
  );
}

/** A new module of a method, by PEFT's names of options. */
export function newModule(
  method: Method,
  shape: LinearShape,
  given: Readonly<Record<string, OptionValue>>,
  random: () => number = () => 0.5,
): AdapterModule {
  return modulesOf(method, { linears: [{ path: "linear", shape }], given, random }).get("linear")!;
}

/** PEFT's config and tensors of an adapter whose numbers are all drawn: a new one would add nothing. */
export async function randomFiles(
  device: Device,
  method: Method,
  { linears, given, random, baseOf }: {
    readonly linears: readonly Linear[];
    readonly given: Readonly<Record<string, OptionValue>>;
    readonly random: () => number;
    readonly baseOf: BaseOf;
  },
): Promise<{ readonly config: Record<string, unknown>; readonly tensors: Map<string, HostTensor> }> {
  const fresh = modulesOf(method, { linears, given, random });
  const adapter = await madeReady(device, { method, modules: fresh }, baseOf);
  const { values, tensors } = placed(
    device,
    adapter,
    (path) => linears.find((one) => one.path === path)!.shape,
  );
  const options = optionsOf(method, given), targets = linears.map(({ path }) => path);
  return {
    config: { peft_type: method.peftType, ...method.training!.configFields(options, targets, linears) },
    tensors: tensors(normals(values.length, random)),
  };
}
