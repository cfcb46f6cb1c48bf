/**
 * An adapter's modules made ready to run in plans of whole batches: their numbers one after the other in one tensor.
 *
 * @module
 */
import type { AdapterModule, Method } from "../adapters/method.ts";
import type { Device } from "../device/device.ts";
import { layersLinears, type Model } from "../models/model.ts";
import type { HostTensor, Tensor } from "../tensor.ts";
import type { Trained } from "./projection.ts";

/** An adapter: its method, and its modules by path. */
export interface AdapterToPlace {
  readonly method: Method;
  readonly modules: ReadonlyMap<string, AdapterModule>;
}

/** Where a module's numbers are among all. */
export interface Span {
  readonly path: string;
  readonly at: number;
  readonly count: number;
}

/** Modules by the linears they adapt, and their numbers. */
export interface PlacedModules {
  readonly spans: readonly Span[];
  /** By the linear's number in the model. */
  readonly trained: ReadonlyMap<number, Trained>;
  /** All numbers; each module's start at a multiple of 64. */
  readonly values: Float32Array;
  /** What the modules put on the device, to be freed by the caller. */
  readonly uploads: readonly Tensor[];
}

/** Bound buffers start at multiples of 256 bytes: so do modules' numbers. */
const alignment = 64;

/**
 * Places an adapter's modules in a model; without one there are none.
 *
 * @throws RangeError for a module that is no linear of the model's layers; TypeError for one that has no backward.
 */
export function placeModules(
  device: Device,
  model: Model,
  adapter: AdapterToPlace | undefined,
): PlacedModules {
  const layerOf = new Map(layersLinears(model).map(({ path }, i) => [path, i]));
  const spans: Span[] = [];
  const trained = new Map<number, Trained>();
  const uploads: Tensor[] = [];
  const packs: Float32Array[] = [];
  const upload = (t: HostTensor): Tensor => {
    const uploaded = device.upload(t);
    uploads.push(uploaded);
    return uploaded;
  };
  let size = 0;
  for (const [path, module] of adapter?.modules ?? []) {
    const layer = layerOf.get(path);
    if (layer === undefined) {
      throw new RangeError(
        `Cannot train or evaluate module "${path}": it is no linear of the model's layers`,
      );
    }
    const { shape } = model.linears[layer];
    module.check(path, shape);
    if (!module.trainable) {
      throw new TypeError(
        `Cannot train or evaluate module "${path}": ${adapter!.method.name} has no backward`,
      );
    }
    const trainable = module.trainable(shape, upload), { values } = trainable;
    trained.set(layer, { module: trainable, at: size });
    spans.push({ path, at: size, count: values.length });
    packs.push(values);
    size += Math.ceil(values.length / alignment) * alignment;
  }
  const values = new Float32Array(size);
  spans.forEach(({ at }, i) => values.set(packs[i], at));
  return { spans, trained, values, uploads };
}
