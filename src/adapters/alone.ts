/**
 * One adapted linear on a device, by its method's phases.
 *
 * @module
 */
import { copy } from "../../kernels/copy.ts";
import type { Device } from "../device/device.ts";
import { ConfigError } from "../errors.ts";
import { type Plan, step } from "../plan.ts";
import { type Tensor, tensor, type TypedArray } from "../tensor.ts";
import { Bank, type LinearGroup } from "./bank.ts";
import type { AdapterModule, BaseLinear, LinearShape, Method } from "./method.ts";
import { readyModule } from "./ready.ts";
import { inWorkspace } from "./workspace.ts";

/** A module, the method that knows it, and the shape of its linear's weight. */
export interface AdaptedLinear {
  /** The module's path, for errors. */
  readonly path?: string;
  readonly method: Method;
  readonly module: AdapterModule;
  readonly shape: LinearShape;
  /** The weight that is adapted ({@linkcode baseLinear}): needed by methods that act before or after the product (DoRA). */
  readonly base?: BaseLinear;
}

/** A module that is ready for the device, its method, and the shape of its linear. */
export type LinearModule = Pick<AdaptedLinear, "method" | "module" | "shape">;

/** Whether dW depends on the module's own numbers alone. */
export const isSum = ({ before, after }: Method): boolean => !before && !after;

/** Whether dW depends on the base's weight, or is made with work that only `ready` does. */
export const needsBase = ({ method, module }: Pick<AdaptedLinear, "method" | "module">): boolean =>
  !isSum(method) || module.ready !== undefined;

/** A module on a device, alone in a bank of its linear and those that share the linear's input. */
export interface Alone {
  /** x dW^T (rows, out) of x (rows, in), added to y if there is one; no bias. */
  change(x: TypedArray, rows: number, y?: TypedArray): Promise<Float32Array>;
  /** What a method that changes the bias makes of it (out). */
  bias(bias: Float32Array): Promise<Float32Array>;
  release(): void;
}

/** Where a module stands among the linears of a product: alone where dW is the module's own. */
function placeOf({ method, shape, base }: AdaptedLinear) {
  const [shapes, index] = base && !isSum(method) ? [base.shapes, base.index] : [[shape], 0];
  const outs = shapes.map(({ out }) => out);
  const sum = (parts: readonly number[]): number => parts.reduce((all, out) => all + out, 0);
  return { shapes, index, width: sum(outs), column: sum(outs.slice(0, index)) };
}

/** A linear of a bank, and the product that it is part of: all linears of its group. */
export interface BankLinear {
  readonly bank: Bank;
  readonly linear: number;
  readonly group: LinearGroup;
  readonly base: BaseLinear;
}

/**
 * The steps that write to y the change of products of x: W x with every phase, less W x. `minus` is -x, and `turned` is a
 * place for x as the linear's adapter changes it.
 */
export function changeSteps(
  { bank, linear, group, base }: BankLinear,
  { x, turned, minus, y, slots, rows }: Readonly<Record<"x" | "turned" | "minus" | "y" | "slots", Tensor>> & {
    readonly rows: number;
  },
): Plan {
  const io = { slots, rows };
  const before = bank.acts("before", group)
    ? [
      step(copy, { x, y: turned }, { count: rows * base.shapes[base.index].in }),
      bank.before(linear, { ...io, x: turned }),
    ]
    : [];
  const input = before.length > 0 ? turned : x;
  return [
    ...before,
    base.product({ x: input, y, rows }),
    ...(bank.acts("beside", group) ? [bank.beside(group, { ...io, x: input, y })] : []),
    ...(bank.acts("after", group) ? [bank.after(group, { ...io, y })] : []),
    base.product({ x: minus, y, rows, accumulate: true }),
  ];
}

/**
 * Puts a module on a device.
 *
 * @throws ConfigError without the base's weight, where the method needs it.
 */
export async function alone(device: Device, linear: AdaptedLinear): Promise<Alone> {
  const { path = "linear", method, module, shape: { out, in: inSize }, base } = linear;
  if (!isSum(method) && !base) {
    throw new ConfigError(
      `Cannot tell what an adapter of ${method.name} adds to a weight without that weight: the method acts on the product`,
    );
  }
  const ready = await readyModule(device, { path, module, method, base });
  const { shapes, index, width, column } = placeOf(linear);
  const linears = shapes.map((shape, i) => ({ path: i === index ? "linear" : `beside ${i}`, shape }));
  const bank = new Bank(device, method, { linears, capacity: 1 });
  bank.load(new Map([["linear", ready]]));
  const group = { first: 0, count: shapes.length };
  return {
    release: () => bank.release(),
    bias: (bias) =>
      inWorkspace(device, async ({ upload, read }) => {
        if (!bank.acts("after", group)) return bias;
        const y = new Float32Array(width);
        y.set(bias, column);
        const io = { y: upload(tensor(y, [1, width])), slots: upload(tensor(new Uint32Array(1))), rows: 1 };
        return (await read([bank.after(group, io)], io.y)).slice(column, column + out);
      }),
    change: (x, rows, y) =>
      inWorkspace(device, async ({ upload, alloc, read }) => {
        const given = upload(tensor(x, [rows, inSize])), slots = upload(tensor(new Uint32Array(rows)));
        if (isSum(method)) {
          const sum = y ? upload(tensor(y, [rows, out])) : alloc([rows, out]);
          return await read([bank.beside({ first: 0, count: 1 }, { x: given, y: sum, slots, rows })], sum);
        }
        const wide = alloc([rows, width]), turned = alloc([rows, inSize]);
        const minus = upload(tensor(x.map((value) => -value), [rows, inSize]));
        const all = await read(
          changeSteps({ bank, linear: index, group, base: base! }, {
            x: given,
            turned,
            minus,
            y: wide,
            slots,
            rows,
          }),
          wide,
        );
        const sum = y ? Float32Array.from(y) : new Float32Array(rows * out);
        for (let r = 0; r < rows; r++) {
          for (let o = 0; o < out; o++) sum[r * out + o] += all[r * width + column + o];
        }
        return sum;
      }),
  };
}
