/**
 * A module of an adapter on a linear of the caller's, whose inputs and outputs are on a GPU.
 *
 * @module
 */
import { add } from "../../kernels/add.ts";
import { addBias } from "../../kernels/add_bias.ts";
import { copy } from "../../kernels/copy.ts";
import { scale } from "../../kernels/scale.ts";
import type { Device } from "../device/device.ts";
import { ConfigError } from "../errors.ts";
import { type Plan, step } from "../plan.ts";
import { type DeviceBuffer, isHost, type Tensor } from "../tensor.ts";
import { changeSteps, isSum } from "./alone.ts";
import type { Bank } from "./bank.ts";
import { baseLinear } from "./base.ts";
import type { AdapterModule, BaseLinear, LinearShape } from "./method.ts";
import type { LoadedAdapter } from "./peft.ts";
import { readyModule } from "./ready.ts";

/** A linear of the caller's: the sizes of its weight W (out, in). */
export interface OwnLinear extends LinearShape {
  /**
   * W (out, in) on the GPU: float32, float16 or bfloat16. Methods that act on the product need it (DoRA, OFT), and read it
   * whenever they are applied.
   */
  readonly weight?: Tensor;
}

/** A module on the GPU: its number in the bank, its linear, and its addition to each row. */
export interface Resident {
  readonly linear: number;
  readonly shape: LinearShape;
  readonly module: AdapterModule;
  readonly base?: BaseLinear;
  readonly bias?: Tensor;
}

function moduleAt(adapter: LoadedAdapter, path: string): AdapterModule {
  const { modules, replacements, copies } = adapter, module = modules.get(path);
  if (!module) {
    const there = [...modules.keys()].join(", ") || "none";
    throw new RangeError(`Cannot apply module "${path}": the adapter has ${there}`);
  }
  const whole = [`${path}.weight`, `${path}.bias`].find((name) => replacements.has(name) || copies.has(name));
  if (whole === undefined) return module;
  throw new ConfigError(`Cannot apply module "${path}" by itself: the adapter has a "${whole}" of its own`);
}

/** A module that can be packed, with its base where its method needs it. */
export async function readied(
  device: Device,
  adapter: LoadedAdapter,
  { path, linear: { weight, ...shape } }: { readonly path: string; readonly linear: OwnLinear },
): Promise<Pick<Resident, "shape" | "module" | "base">> {
  const { method } = adapter, module = moduleAt(adapter, path);
  module.check(path, shape);
  if (!weight) {
    if (isSum(method)) return { shape, module: await readyModule(device, { path, module, method }) };
    throw new ConfigError(
      `Cannot apply module "${path}" without its weight: ${method.name} acts on the product`,
    );
  }
  if (isHost(weight)) {
    throw new TypeError(`Cannot use a weight of the host for "${path}": it must be on the GPU`);
  }
  if (weight.shape.join() !== `${shape.out},${shape.in}`) {
    throw new RangeError(
      `Cannot use a weight of shape [${weight.shape}] for "${path}": it must be (${shape.out}, ${shape.in})`,
    );
  }
  const base = baseLinear(device, weight);
  return { shape, base, module: await readyModule(device, { path, module, method, base }) };
}

function checkRows(name: string, t: Tensor, features: number): number {
  if (isHost(t)) throw new TypeError(`Cannot use "${name}" of the host: it must be on the GPU, see tensorOf`);
  if (t.dtype !== "float32") throw new TypeError(`Cannot use "${name}" as ${t.dtype}: it must be float32`);
  if (t.shape.length !== 2 || t.shape[1] !== features) {
    throw new RangeError(`Cannot use "${name}" of shape [${t.shape}]: it must be (rows, ${features})`);
  }
  return t.shape[0];
}

/** How many rows x and y of a linear have; throws RangeError and TypeError where they do not fit. */
export function rowsOf({ out, in: inSize }: LinearShape, x: Tensor, y: Tensor): number {
  const rows = checkRows("x", x, inSize);
  if (checkRows("y", y, out) !== rows) {
    throw new RangeError(`Cannot add to "y" of ${y.shape[0]} rows: "x" has ${rows}`);
  }
  if ((x.data as DeviceBuffer).buffer === (y.data as DeviceBuffer).buffer) {
    throw new RangeError(
      'Cannot use one buffer for "x" and "y": a GPU does not read a buffer that it writes',
    );
  }
  return rows;
}

/** Tensors that an adapter's steps need beside the caller's. */
export interface OntoWorkspace {
  readonly alloc: (shape: readonly number[]) => Tensor;
  /** (rows), zeros: each row has the adapter in slot 0. */
  readonly slots: Tensor;
  /** (1): -1. */
  readonly minusOne: Tensor;
}

/** `y += x dW^T`, and the bias, of rows of a linear. */
export function planOf(
  bank: Bank,
  { linear, shape: { out, in: inSize }, base, bias }: Resident,
  { x, y, rows, work: { alloc, slots, minusOne } }: {
    readonly x: Tensor;
    readonly y: Tensor;
    readonly rows: number;
    readonly work: OntoWorkspace;
  },
): Plan {
  const group = { first: linear, count: 1 };
  const biased = bias ? [step(addBias, { bias, y }, { rows, out, column: 0 })] : [];
  if (isSum(bank.method)) {
    const beside = bank.acts("beside", group) ? [bank.beside(group, { x, y, slots, rows })] : [];
    return [...beside, ...biased];
  }
  const turned = alloc([rows, inSize]), minus = alloc([rows, inSize]), change = alloc([rows, out]);
  const count = rows * inSize;
  return [
    step(copy, { x, y: minus }, { count }),
    step(scale, { factor: minusOne, y: minus }, { count }),
    ...changeSteps({ bank, linear, group, base: base! }, { x, turned, minus, y: change, slots, rows }),
    step(add, { x: change, y }, { count: rows * out }),
    ...biased,
  ];
}
