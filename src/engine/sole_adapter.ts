/**
 * One adapter for every row of plans that are not a server's: a bank of its own, made ready with the model.
 *
 * @module
 */
import { widen } from "../../kernels/half.ts";
import { Bank } from "../adapters/bank.ts";
import { mergedParameter } from "../adapters/merged_parameter.ts";
import { OwnBank } from "../adapters/own_bank.ts";
import { ownChanges, type OwnParts, withTiedHeads } from "../adapters/own_changes.ts";
import type { LoadedAdapter } from "../adapters/peft.ts";
import type { Device } from "../device/device.ts";
import { ConfigError } from "../errors.ts";
import { noneOwn, type OwnSteps, type ProjectionIo } from "../models/graph.ts";
import { layersLinears, type Model } from "../models/model.ts";
import { partOf, type Projection } from "../models/projection.ts";
import { denseWeight, type Weight } from "../models/weights.ts";
import type { Plan } from "../plan.ts";
import { type Tensor, tensor } from "../tensor.ts";
import { modelBase, readyFor } from "./base.ts";
import { ownLinearSteps, ownSteps } from "./own.ts";
import { adaptedProjection, ProjectionScratch } from "./projection.ts";

/** An adapter's method, and its modules by path; its own parameters, where it has any. */
export interface AdapterAlone
  extends
    Pick<LoadedAdapter, "method" | "modules">,
    Partial<Pick<LoadedAdapter, "config" | "replacements">> {}

/** The linears of a model's layers, all rows of which have one adapter, or none. */
export interface SoleAdapter {
  /** One linear of a projection: y = or += x W^T + b, with the adapter. */
  project(projection: Projection, index: number, io: ProjectionIo): Plan;
  /** Its own norms, embeddings and biases of those. */
  readonly own: OwnSteps;
  /** Its own head; the model's where it has none. */
  readonly head: Weight;
  /** Frees the adapter; no plan that has it may be run again. */
  release(): void;
}

/** Throws as {@linkcode soleAdapter}. */
async function bankOf(device: Device, model: Model, adapter: AdapterAlone): Promise<Bank> {
  const linears = layersLinears(model), shapes = new Map(linears.map(({ path, shape }) => [path, shape]));
  for (const [path, module] of adapter.modules) {
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

/** The adapter's own parameters but the head, in the one slot of a bank; undefined where it has none. */
async function ownBankOf(device: Device, model: Model, adapter: OwnParts): Promise<OwnBank | undefined> {
  const { parameters } = model;
  const read = async (t: Tensor): Promise<Float32Array> => widen(await device.read(t), t.dtype);
  const changes = await ownChanges(adapter, { parameters, read });
  const isOther = ({ parameter }: { readonly parameter: number }): boolean =>
    parameters[parameter].kind !== "head";
  const numbers = changes?.numbers.filter(isOther) ?? [], tables = changes?.tables.filter(isOther) ?? [];
  if (numbers.length + tables.length === 0) return undefined;
  const bank = new OwnBank(device, parameters, { capacity: 1, tableBytes: Infinity });
  try {
    bank.load({ numbers, tables });
  } catch (error) {
    bank.release();
    throw error;
  }
  return bank;
}

/** The adapter's own head; undefined where it has none. */
async function headOf(device: Device, model: Model, adapter: OwnParts): Promise<Weight | undefined> {
  const { head: { linears: { first } }, linears, parameters } = model, { path, shape } = linears[first];
  const replacement = withTiedHeads(adapter, parameters).get(`${path}.weight`);
  if (!replacement) return undefined;
  if (replacement.kind === "whole") return denseWeight(device.upload(replacement.data));
  const stored = tensor(await modelBase(device, model)(path)!.weight(), [shape.out, shape.in]);
  return denseWeight(device.upload(mergedParameter(stored, replacement)));
}

/** One linear of a projection, as a projection of its own. */
function linearOf(projection: Projection, index: number): Projection {
  const { kind, outs, linears: { first }, shape } = projection, out = outs[index];
  return {
    ...{ kind, linears: { first: first + index, count: 1 }, outs: [out], shape: { out, in: shape.in } },
    ...partOf(projection, index),
  };
}

/** A bias of the head is no part of losses. */
function checkHead({ parameters, head: { linears: { first } } }: Model, bank: OwnBank | undefined): void {
  if (!bank || bank.most(first) === 0) return;
  throw new ConfigError(`Cannot evaluate an adapter with its own "${parameters[first].name}"`);
}

/**
 * Puts an adapter on a device for plans of so many rows; without one the linears are the model's.
 *
 * @throws RangeError for a module that is no linear of the model's layers, or does not fit the device; ConfigError for one
 * that does not go with its base, and for parameters of its own that do not fit the model's.
 */
export async function soleAdapter(
  device: Device,
  model: Model,
  { adapter, rows }: { readonly adapter?: AdapterAlone; readonly rows: number },
): Promise<SoleAdapter> {
  const made: { release(): void }[] = [];
  const release = (): void => made.splice(0).forEach((one) => one.release());
  const kept = <T extends { release(): void }>(one: T | undefined): T | undefined => {
    if (one) made.push(one);
    return one;
  };
  try {
    const parts = adapter && { config: {}, replacements: new Map(), ...adapter };
    const bank = kept(adapter && await bankOf(device, model, adapter));
    const ownBank = kept(parts && await ownBankOf(device, model, parts));
    checkHead(model, ownBank);
    const head = parts && await headOf(device, model, parts);
    if (head) made.push({ release: () => Object.values(head.tensors).forEach((t) => device.release(t)) });
    const slots = device.upload(tensor(new Uint32Array(rows))), scratch = new ProjectionScratch(device);
    made.push(scratch, { release: () => device.release(slots) });
    const own = ownBank && { bank: ownBank, tables: ownBank.tablesOf(0), slotsOf: () => slots, scratch };
    const adapters = {
      ...{ banks: bank ? [bank] : [], slotsOf: () => slots, scratch },
      ...(own ? { own: ownLinearSteps(own, "rows") } : {}),
    };
    return {
      project: (projection, index, io) => adaptedProjection(linearOf(projection, index), io, adapters),
      own: own ? ownSteps(own) : noneOwn,
      head: head ?? model.head.weight,
      release,
    };
  } catch (error) {
    release();
    throw error;
  }
}
