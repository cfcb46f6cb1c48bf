/**
 * A model's linears as the base of adapters that act on its weights.
 *
 * @module
 */
import { baseLinears } from "../adapters/base.ts";
import type { AdapterModule, BaseLinear, LinearShape, Method } from "../adapters/method.ts";
import { type BaseOf, madeReady } from "../adapters/ready.ts";
import type { Device } from "../device/device.ts";
import type { LoadedModel, Model, Projection } from "../models/model.ts";
import { floatsOf, linearBackwardStep, linearStep, rowSquaresStep, rowsStep } from "../models/weights.ts";

function basesOf(
  device: Device,
  { weight, shape }: Projection,
  shapes: readonly LinearShape[],
): BaseLinear[] {
  return baseLinears(device, {
    shapes,
    dtype: floatsOf(weight)?.dtype,
    product: ({ x, y, rows, accumulate = false }) =>
      linearStep({ weight }, { x, y }, { rows, ...shape, accumulate: Number(accumulate) }),
    productBackward: ({ dy, dx, rows }) =>
      linearBackwardStep(weight, { dy, dx }, { rows, ...shape, accumulate: 1 }),
    rowsStep: (io) => rowsStep(weight, io, shape),
    squaresStep: (squares) => rowSquaresStep(weight, squares, shape),
  });
}

/** The base of each of a model's linears, by path. Nothing is computed before an adapter asks. */
export function modelBase(
  device: Device,
  { projections, linears, ...rest }: LoadedModel & Partial<Pick<Model, "head">>,
): BaseOf {
  const bases = new Map<string, BaseLinear>();
  for (const projection of new Set([...projections, ...rest.head ? [rest.head] : []])) {
    const { first, count } = projection.linears;
    const group = linears.slice(first, first + count);
    const made = basesOf(device, projection, group.map(({ shape }) => shape));
    group.forEach(({ path }, i) => bases.set(path, made[i]));
  }
  return (path) => bases.get(path);
}

/** An adapter made ready with a model's weights; throws as {@linkcode madeReady}. */
export async function readyFor<
  A extends { readonly method: Method; readonly modules: ReadonlyMap<string, AdapterModule> },
>(device: Device, model: LoadedModel, adapter: A): Promise<A> {
  return await madeReady(device, adapter, modelBase(device, model));
}
