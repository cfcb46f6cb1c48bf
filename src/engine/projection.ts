/**
 * A projection in a step's plan: its product, and what its rows' adapters do before, beside and after it.
 *
 * @module
 */
import { add } from "../../kernels/add.ts";
import { addBias } from "../../kernels/add_bias.ts";
import { copy } from "../../kernels/copy.ts";
import { placeColumns } from "../../kernels/place_columns.ts";
import { takeColumns } from "../../kernels/take_columns.ts";
import type { Bank, LinearGroup } from "../adapters/bank.ts";
import type { LinearShape, Phase } from "../adapters/method.ts";
import type { Device } from "../device/device.ts";
import type { ProjectionIo } from "../models/graph.ts";
import type { Projection } from "../models/projection.ts";
import { linearStep, partsOf, rowsOf, type Weight } from "../models/weights.ts";
import { type Plan, step } from "../plan.ts";
import { canSlice, elements, slice, type Tensor } from "../tensor.ts";

/** Tensors that projections work in, made when an adapter first needs them; steps run one after the other and share them. */
export class ProjectionScratch {
  readonly #made = new Map<string, Tensor>();

  constructor(private readonly device: Pick<Device, "alloc" | "release">) {}

  /** A float32 tensor of a shape, the same one for a role and as many elements. */
  of(role: "input" | "product" | "part" | "wide" | "own", shape: readonly number[]): Tensor {
    const key = `${role}:${elements(shape)}`;
    let made = this.#made.get(key);
    if (!made) this.#made.set(key, made = this.device.alloc(shape, "float32"));
    return made;
  }

  /** Frees the tensors; no plan that has them may be run again. */
  release(): void {
    for (const made of this.#made.values()) this.device.release(made);
    this.#made.clear();
  }
}

/** Rows of a projection's result: y (rows, stride), in which the projection's linears stand side by side. */
export interface OwnLinearIo {
  readonly x: Tensor;
  readonly y: Tensor;
  readonly rows: number;
  readonly outs: readonly number[];
}

/** The steps that change a projection's result. */
export interface OwnLinearSteps {
  /** Outputs of a head by weights of the rows' adapters, in the place of the model's; before anything is added to them. */
  weights(linears: LinearGroup, io: OwnLinearIo): Plan;
  /** Biases, as differences from the model's. */
  biases(linears: LinearGroup, io: OwnLinearIo): Plan;
}

/** The adapters that a step's rows may have. */
export interface StepAdapters {
  readonly banks: readonly Bank[];
  /** (rows), uint32: each row's slot in a bank. */
  readonly slotsOf: (bank: Bank) => Tensor;
  readonly scratch: ProjectionScratch;
  /** Of rows whose adapters have biases or heads of their own. */
  readonly own?: OwnLinearSteps;
}

/** A linear, or several side by side, with the numbers that banks know them by. */
interface Side {
  readonly linears: LinearGroup;
  readonly shape: LinearShape;
  readonly outs: readonly number[];
  /** The projection's, and where the side's own begins. */
  readonly bias?: Tensor;
  readonly column: number;
  /** y = or += x W^T. */
  product(io: ProjectionIo): Plan;
  /** The same with the bias in one step; left out where there is no such step. */
  productAndBias?(io: ProjectionIo): Plan;
}

const acting = (banks: readonly Bank[], phase: Phase, linears: LinearGroup): Bank[] =>
  banks.filter((bank) => bank.acts(phase, linears));

/** A side's product of x as it is, and what rows' adapters add to it; the bias, too, where it is `biased`. */
function productSteps(
  side: Side,
  { biased, ...io }: ProjectionIo & { readonly biased: boolean },
  { banks, slotsOf, own }: StepAdapters,
): Plan {
  const { linears, outs } = side, { x, y, rows } = io;
  const begins = biased && side.productAndBias
    ? side.productAndBias(io)
    : [...side.product(io), ...(biased ? biasSteps(side, io) : [])];
  return [
    ...begins,
    ...(own?.weights(linears, { x, y, rows, outs }) ?? []),
    ...acting(banks, "beside", linears).map((bank) =>
      bank.beside(linears, { x, y, rows, slots: slotsOf(bank) })
    ),
  ];
}

const biasSteps = (
  { bias, column, shape: { out } }: Side,
  { y, rows }: Pick<ProjectionIo, "y" | "rows">,
): Plan => bias ? [step(addBias, { bias, y }, { rows, out, column })] : [];

/**
 * A side's products, then what changes them. The residual is added last. The bias is added after the methods that leave it
 * alone (DoRA), and before those that change it, too (IA3).
 *
 * @param products The steps that write to y, with the bias where they can take it along.
 */
function sideSteps(
  side: Side,
  { x, y, rows, accumulate }: ProjectionIo,
  adapters: StepAdapters,
  products: (io: ProjectionIo & { readonly biased: boolean }) => Plan,
): Plan {
  const { banks, slotsOf, scratch, own } = adapters, { linears, outs, shape: { out } } = side;
  const after = acting(banks, "after", linears);
  const biasLast = after.filter(({ method }) => !method.changesBias);
  const biasFirst = after.filter(({ method }) => method.changesBias);
  const apart = after.length > 0 && accumulate !== 0;
  const t = apart ? scratch.of("product", y.shape) : y;
  const change = (bank: Bank) => bank.after(linears, { y: t, rows, slots: slotsOf(bank) });
  return [
    ...products({ x, y: t, rows, accumulate: apart ? 0 : accumulate, biased: biasLast.length === 0 }),
    ...biasLast.map(change),
    ...(biasLast.length > 0 ? biasSteps(side, { y: t, rows }) : []),
    ...(own?.biases(linears, { x, y: t, rows, outs }) ?? []),
    ...biasFirst.map(change),
    ...(apart ? [step(add, { x: t, y }, { count: rows * out })] : []),
  ];
}

/** All linears of a projection. */
function wholeOf(projection: Projection, scratch: ProjectionScratch): Side {
  const { weight, bias, shape, linears, outs } = projection;
  if (weight.parts) {
    const product = (io: ProjectionIo): Plan => productByParts(projection, io, scratch);
    return { linears, shape, outs, bias, column: 0, product };
  }
  const sizes = ({ rows, accumulate }: ProjectionIo) => ({ rows, ...shape, accumulate });
  return {
    ...{ linears, shape, outs, bias, column: 0 },
    product: (io) => [linearStep({ weight }, io, sizes(io))],
    productAndBias: (io) => [linearStep({ weight, bias }, io, sizes(io))],
  };
}

/** The product by a weight whose rows are in parts: columns of y by each. */
function productByParts(
  { weight, shape: { in: inSize, out: stride } }: Projection,
  { x, y, rows, accumulate }: ProjectionIo,
  scratch: ProjectionScratch,
): Plan {
  return partsOf(weight).flatMap(({ at: column, part: weight }) => {
    const { out } = weight.shape;
    // The outputs of one row stand one after the other in y already.
    const inPlace = rows === 1 && accumulate === 0 && canSlice(y, column);
    const part = inPlace ? slice(y, column, [1, out]) : scratch.of("part", [y.shape[0], out]);
    return [
      linearStep({ weight }, { x, y: part }, { rows, in: inSize, out, accumulate: 0 }),
      ...inPlace ? [] : [step(placeColumns, { x: part, y }, { rows, out, stride, column, accumulate })],
    ];
  });
}

/** Rows of a weight, not copied; undefined where a GPU cannot bind a tensor that begins there. */
function boundRows(weight: Weight, place: { readonly at: number; readonly out: number }): Weight | undefined {
  try {
    return rowsOf(weight, place);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

/** The linear number `i` of a projection by itself: by its own rows of the weight, or, as a last resort, by all of them. */
function partOf(
  { weight, bias, linears, shape, outs }: Projection,
  { i, scratch }: { readonly i: number; readonly scratch: ProjectionScratch },
): Side {
  const column = outs.slice(0, i).reduce((sum, out) => sum + out, 0), out = outs[i];
  const own = boundRows(weight, { at: column, out });
  return {
    ...{
      linears: { first: linears.first + i, count: 1 },
      shape: { out, in: shape.in },
      outs: [out],
      bias,
      column,
    },
    // Nothing is added to what a part's tensor held.
    product({ x, y, rows }) {
      if (own) return [linearStep({ weight: own }, { x, y }, { rows, out, in: shape.in, accumulate: 0 })];
      const wide = scratch.of("wide", [x.shape[0], shape.out]);
      return [
        linearStep({ weight }, { x, y: wide }, { rows, ...shape, accumulate: 0 }),
        step(takeColumns, { x: wide, y }, { rows, dim: out, stride: shape.out, at: column }),
      ];
    },
  };
}

/** A linear's own input, and the steps that make it. */
interface OwnInput {
  readonly x: Tensor;
  readonly steps: Plan;
}

/** The input of each linear of a projection, as adapters change x: all made in one step where the method has such a step. */
function ownInputs(
  { linears, outs, shape: { in: inSize } }: Projection,
  { x, rows }: Pick<ProjectionIo, "x" | "rows">,
  { banks, slotsOf, scratch }: StepAdapters,
): OwnInput[] {
  const [bank, ...others] = acting(banks, "before", linears), count = rows * inSize;
  if (others.length === 0 && bank.method.beforeAll) {
    const all = scratch.of("input", [outs.length * rows, inSize]);
    if (canSlice(all, count)) {
      const made = bank.beforeAll(linears, { x, y: all, rows, slots: slotsOf(bank) });
      return outs.map((_, i) => ({ x: slice(all, i * count, [rows, inSize]), steps: i === 0 ? [made] : [] }));
    }
  }
  return outs.map((_, i) => {
    const first = linears.first + i, before = acting(banks, "before", { first, count: 1 });
    if (before.length === 0) return { x, steps: [] };
    const input = scratch.of("input", x.shape);
    const changed = before.map((bank) => bank.before(first, { x: input, rows, slots: slotsOf(bank) }));
    return { x: input, steps: [step(copy, { x, y: input }, { count }), ...changed] };
  });
}

/** The products of each linear by itself, for adapters change x differently for each. */
function partSteps(
  projection: Projection,
  { x, y, rows, accumulate, biased }: ProjectionIo & { readonly biased: boolean },
  adapters: StepAdapters,
): Plan {
  const { scratch } = adapters, { outs, shape: { out: stride } } = projection;
  const inputs = ownInputs(projection, { x, rows }, adapters), whole = wholeOf(projection, scratch);
  if (outs.length === 1) {
    const [{ x: input, steps }] = inputs;
    return [...steps, ...productSteps(whole, { x: input, y, rows, accumulate, biased }, adapters)];
  }
  const parts = outs.flatMap((out, i) => {
    const side = partOf(projection, { i, scratch }), { column } = side, { x: input, steps } = inputs[i];
    // The outputs of one row stand one after the other in y already.
    const inPlace = rows === 1 && accumulate === 0 && canSlice(y, column);
    const part = inPlace ? slice(y, column, [1, out]) : scratch.of("part", [y.shape[0], out]);
    const words = { rows, out, stride, column, accumulate };
    return [
      ...steps,
      ...productSteps(side, { x: input, y: part, rows, accumulate: 0, biased: false }, adapters),
      ...(inPlace ? [] : [step(placeColumns, { x: part, y }, words)]),
    ];
  });
  return [...parts, ...(biased ? biasSteps(whole, { y, rows }) : [])];
}

/** y = or += x W^T + b, with each row's own adapter of the banks. A phase is there only where an adapter needs it. */
export function adaptedProjection(projection: Projection, io: ProjectionIo, adapters: StepAdapters): Plan {
  const whole = wholeOf(projection, adapters.scratch);
  return sideSteps(
    whole,
    io,
    adapters,
    (io) =>
      acting(adapters.banks, "before", projection.linears).length > 0
        ? partSteps(projection, io, adapters)
        : productSteps(whole, io, adapters),
  );
}
