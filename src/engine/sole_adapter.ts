/**
 * One adapter for every row of plans that are not a server's: a bank of its own, made ready with the model.
 *
 * @module
 */
import { Bank } from "../adapters/bank.ts";
import { linearsAlone } from "../adapters/copies.ts";
import type { AdapterModule, Method } from "../adapters/method.ts";
import type { Device } from "../device/device.ts";
import { layersLinears, type Model } from "../models/model.ts";
import type { ProjectionIo } from "../models/graph.ts";
import { partOf, type Projection } from "../models/projection.ts";
import type { Plan } from "../plan.ts";
import { tensor } from "../tensor.ts";
import { readyFor } from "./base.ts";
import { adaptedProjection, ProjectionScratch } from "./projection.ts";

/** An adapter's method, and its modules by path. */
interface Adapter {
  readonly method: Method;
  readonly modules: ReadonlyMap<string, AdapterModule>;
}

/** The linears of a model's layers, all rows of which have one adapter, or none. */
export interface SoleAdapter {
  /** One linear of a projection: y = or += x W^T + b, with the adapter. */
  project(projection: Projection, index: number, io: ProjectionIo): Plan;
  /** Frees the adapter; no plan that has it may be run again. */
  release(): void;
}

/** Throws as {@linkcode soleAdapter}. */
async function bankOf(device: Device, model: Model, adapter: Adapter): Promise<Bank> {
  const linears = layersLinears(model), shapes = new Map(linears.map(({ path, shape }) => [path, shape]));
  for (const [path, module] of linearsAlone(adapter, "evaluate").modules) {
    const shape = shapes.get(path);
    if (!shape) {
      throw new RangeError(`Cannot evaluate module "${path}": it is no linear of the model's layers`);
    }
    module.check(path, shape);
  }
  const { method, modules } = await readyFor(device, model, adapter);
  const bank = new Bank(device, method, { linears, capacity: 1 });
  try {
    bank.load(modules);
  } catch (error) {
    bank.release();
    throw error;
  }
  return bank;
}

/** One linear of a projection, as a projection of its own. */
function linearOf(projection: Projection, index: number): Projection {
  const { kind, outs, linears: { first }, shape } = projection, out = outs[index];
  return {
    ...{ kind, linears: { first: first + index, count: 1 }, outs: [out], shape: { out, in: shape.in } },
    ...partOf(projection, index),
  };
}

/**
 * Puts an adapter on a device for plans of so many rows; without one the linears are the model's.
 *
 * @throws RangeError for a module that is no linear of the model's layers, or does not fit the device; ConfigError for one
 * that does not go with its base, and for an adapter with parameters of its own.
 */
export async function soleAdapter(
  device: Device,
  model: Model,
  { adapter, rows }: { readonly adapter?: Adapter; readonly rows: number },
): Promise<SoleAdapter> {
  const bank = adapter && await bankOf(device, model, adapter);
  const slots = device.upload(tensor(new Uint32Array(rows))), scratch = new ProjectionScratch(device);
  const adapters = { banks: bank ? [bank] : [], slotsOf: () => slots, scratch };
  return {
    project: (projection, index, io) => adaptedProjection(linearOf(projection, index), io, adapters),
    release() {
      scratch.release();
      bank?.release();
      device.release(slots);
    },
  };
}
