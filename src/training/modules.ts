/**
 * An adapter's modules made ready to run in plans of whole batches: their numbers one after the other in one tensor.
 *
 * @module
 */
import type { AdapterModule, LinearShape, Method } from "../adapters/method.ts";
import type { SharedNumbers } from "../adapters/training.ts";
import type { Device } from "../device/device.ts";
import { type LoadedModel, trainableLinears } from "../models/model.ts";
import type { HostTensor, Tensor } from "../tensor.ts";
import type { Trained } from "./projection.ts";

/** An adapter: its method, and its modules by path. */
export interface AdapterToPlace {
  readonly method: Method;
  readonly modules: ReadonlyMap<string, AdapterModule>;
  /** A module's name in the adapter's file, by its path; the path unless told. */
  nameOf?(path: string): string;
}

/** Modules by the linears they adapt, and their numbers. */
export interface PlacedModules {
  /** By the linear's number in the model. */
  readonly trained: ReadonlyMap<number, Trained>;
  /** Numbers that are trained, those that modules share counted once. */
  readonly parameters: number;
  /** All numbers; each module's start at a multiple of 64. */
  readonly values: Float32Array;
  /** What the modules put on the device, to be freed by the caller. */
  readonly uploads: readonly Tensor[];
  /** The adapter's tensors by their names in its file, of numbers laid out as `values`. */
  tensors(values: Float32Array): Map<string, HostTensor>;
}

/** Bound buffers start at multiples of 256 bytes: so do modules' numbers. */
const alignment = 64;

/** Numbers one after the other: each part's begin at a multiple of 64. */
class Packing {
  readonly #parts: { readonly at: number; readonly part: Float32Array }[] = [];
  #size = 0;

  /** Where a part starts. */
  add(part: Float32Array): number {
    const at = this.#size;
    this.#parts.push({ at, part });
    this.#size += Math.ceil(part.length / alignment) * alignment;
    return at;
  }

  /** Numbers of all parts. */
  get count(): number {
    return this.#parts.reduce((sum, { part }) => sum + part.length, 0);
  }

  values(): Float32Array {
    const values = new Float32Array(this.#size);
    for (const { at, part } of this.#parts) values.set(part, at);
    return values;
  }
}

/** Copies host tensors to a device, each once; modules may still do so when their steps are made. */
function uploader(device: Device): { upload(t: HostTensor): Tensor; readonly uploads: readonly Tensor[] } {
  const known = new Map<HostTensor, Tensor>(), uploads: Tensor[] = [];
  return {
    uploads,
    upload(t) {
      const uploaded = known.get(t) ?? device.upload(t);
      if (!known.has(t)) uploads.push(uploaded);
      known.set(t, uploaded);
      return uploaded;
    },
  };
}

/** A module that is trained, by its path. */
interface Placed {
  readonly path: string;
  readonly trained: Trained;
}

/** The names and tensors of an adapter's file. */
function tensorsOf(
  placed: readonly Placed[],
  { prefix, values, nameOf }: {
    readonly prefix: string;
    readonly values: Float32Array;
    readonly nameOf: (path: string) => string;
  },
): Map<string, HostTensor> {
  const named = new Map<string, HostTensor>(), shared = new Map<SharedNumbers, number>();
  const part = (at: number, { length }: Float32Array): Float32Array => values.subarray(at, at + length);
  for (const { path, trained: { module, at, sharedAt } } of placed) {
    if (module.shared) shared.set(module.shared, sharedAt);
    for (const [suffix, t] of module.tensors(part(at, module.values))) {
      named.set(`${prefix}${nameOf(path)}${suffix}`, t);
    }
  }
  for (const [numbers, at] of shared) {
    for (const [name, t] of numbers.tensors(part(at, numbers.values))) named.set(name, t);
  }
  return named;
}

/**
 * Places modules of an adapter, by their paths and the shapes of their linears.
 *
 * @throws RangeError for a module of another shape; TypeError for one that has no backward.
 */
export function placed(
  device: Device,
  { method, modules, nameOf = (path) => path }: AdapterToPlace,
  shapeOf: (path: string) => LinearShape,
): Omit<PlacedModules, "trained"> & { readonly byPath: ReadonlyMap<string, Trained> } {
  const packing = new Packing(), { upload, uploads } = uploader(device);
  const shared = new Map<SharedNumbers, number>();
  const found: Placed[] = [];
  for (const [path, module] of modules) {
    const shape = shapeOf(path);
    module.check(path, shape);
    if (!module.trainable) {
      throw new TypeError(`Cannot train or evaluate module "${path}": ${method.name} has no backward`);
    }
    const trainable = module.trainable(shape, upload), common = trainable.shared;
    if (common && !shared.has(common)) shared.set(common, packing.add(common.values));
    found.push({
      path,
      trained: {
        module: trainable,
        at: packing.add(trainable.values),
        sharedAt: common ? shared.get(common)! : 0,
        changesBias: method.changesBias ?? false,
      },
    });
  }
  const prefix = method.prefix ?? "base_model.model.";
  return {
    byPath: new Map(found.map(({ path, trained }) => [path, trained])),
    parameters: packing.count,
    values: packing.values(),
    uploads,
    tensors: (values) => tensorsOf(found, { prefix, values, nameOf }),
  };
}

/**
 * Places an adapter's modules in a model; without one there are none.
 *
 * @throws RangeError for a module that is no linear of the model's layers; TypeError for one that has no backward.
 */
export function placeModules(
  device: Device,
  model: Pick<LoadedModel, "linears" | "graph">,
  adapter: AdapterToPlace | undefined,
): PlacedModules {
  if (!adapter) {
    return {
      trained: new Map(),
      parameters: 0,
      values: new Float32Array(),
      uploads: [],
      tensors: () => new Map(),
    };
  }
  const numberOf = trainableLinears(model), { linears } = model;
  const { byPath, ...rest } = placed(device, adapter, (path) => {
    const number = numberOf.get(path);
    if (number !== undefined) return linears[number].shape;
    throw new RangeError(
      `Cannot train or evaluate module "${path}": it is no linear of the model's layers`,
    );
  });
  return { ...rest, trained: new Map([...byPath].map(([path, one]) => [numberOf.get(path)!, one])) };
}
