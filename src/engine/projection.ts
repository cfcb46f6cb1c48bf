/**
 * A projection in a step's plan: its product, and what its rows' adapters do before, beside and after it.
 *
 * @module
 */
import { add } from "../../kernels/add.ts";
import { addBias } from "../../kernels/add_bias.ts";
import { copy } from "../../kernels/copy.ts";
import { placeColumns } from "../../kernels/place_columns.ts";
import type { Bank, LinearGroup } from "../adapters/bank.ts";
import type { LinearShape, Phase } from "../adapters/method.ts";
import type { Device } from "../device/device.ts";
import type { Projection } from "../models/llama.ts";
import type { ProjectionIo } from "../models/llama_plan.ts";
import { linearStep, type LinearWeights, rowsOf } from "../models/weights.ts";
import { type Plan, step } from "../plan.ts";
import { elements, slice, type Tensor } from "../tensor.ts";

/** Tensors that projections work in, made when an adapter first needs them; steps run one after the other and share them. */
export class ProjectionScratch {
  readonly #made = new Map<string, Tensor>();

  constructor(private readonly device: Pick<Device, "alloc">) {}

  /** A float32 tensor of a shape, the same one for a role and as many elements. */
  of(role: "input" | "product" | "part", shape: readonly number[]): Tensor {
    const key = `${role}:${elements(shape)}`;
    let made = this.#made.get(key);
    if (!made) this.#made.set(key, made = this.device.alloc(shape, "float32"));
    return made;
  }
}

/** The adapters that a step's rows may have. */
export interface StepAdapters {
  readonly banks: readonly Bank[];
  /** (rows), uint32: each row's slot in a bank. */
  readonly slotsOf: (bank: Bank) => Tensor;
  readonly scratch: ProjectionScratch;
}

/** A linear, or several side by side, with the numbers that banks know them by. */
interface Side extends LinearWeights {
  readonly linears: LinearGroup;
  readonly shape: LinearShape;
}

const acting = (banks: readonly Bank[], phase: Phase, linears: LinearGroup): Bank[] =>
  banks.filter((bank) => bank.acts(phase, linears));

/**
 * The product of x as it is, with each row's adapter beside and after it. The residual is added last. The bias is added after
 * the methods that leave it alone (DoRA), and before those that change it, too (IA3).
 */
function sideSteps(
  side: Side,
  { x, y, rows, accumulate }: ProjectionIo,
  { banks, slotsOf, scratch }: StepAdapters,
): Plan {
  const { weight, bias, shape, linears } = side;
  const after = acting(banks, "after", linears);
  const biasLast = after.filter(({ method }) => !method.changesBias);
  const biasFirst = after.filter(({ method }) => method.changesBias);
  const apart = after.length > 0 && accumulate !== 0;
  const t = apart ? scratch.of("product", y.shape) : y;
  const sizes = { rows, ...shape, accumulate: apart ? 0 : accumulate };
  const change = (bank: Bank) => bank.after(linears, { y: t, rows, slots: slotsOf(bank) });
  return [
    linearStep(biasLast.length > 0 ? { weight } : { weight, bias }, { x, y: t }, sizes),
    ...acting(banks, "beside", linears).map((bank) =>
      bank.beside(linears, { x, y: t, rows, slots: slotsOf(bank) })
    ),
    ...biasLast.map(change),
    ...(bias && biasLast.length > 0 ? [step(addBias, { bias, y: t }, { rows, out: shape.out })] : []),
    ...biasFirst.map(change),
    ...(apart ? [step(add, { x: t, y }, { count: rows * shape.out })] : []),
  ];
}

/** The linear number `i` of a projection by itself, and its first column. */
function partOf({ weight, bias, linears, shape }: Projection, outs: readonly number[], i: number) {
  const column = outs.slice(0, i).reduce((sum, out) => sum + out, 0), out = outs[i];
  return {
    column,
    side: {
      weight: rowsOf(weight, { at: column, out }),
      bias: bias && slice(bias, column, out),
      linears: { first: linears.first + i, count: 1 },
      shape: { out, in: shape.in },
    },
  };
}

/** Each linear by itself, for adapters change x differently for each. */
function partSteps(
  projection: Projection,
  { x, y, rows, accumulate }: ProjectionIo,
  adapters: StepAdapters,
): Plan {
  const { banks, slotsOf, scratch } = adapters;
  const { linears, shape } = projection;
  const outs = banks[0].outsOf(linears);
  return outs.flatMap((out, i) => {
    const { column, side } = partOf(projection, outs, i);
    const before = acting(banks, "before", side.linears);
    const input = before.length > 0 ? scratch.of("input", x.shape) : x;
    const only = outs.length === 1;
    const part = only ? y : scratch.of("part", [y.shape[0], out]);
    return [
      ...(before.length > 0 ? [step(copy, { x, y: input }, { count: rows * shape.in })] : []),
      ...before.map((bank) => bank.before(side.linears.first, { x: input, rows, slots: slotsOf(bank) })),
      ...sideSteps(side, { x: input, y: part, rows, accumulate: only ? accumulate : 0 }, adapters),
      ...(only
        ? []
        : [step(placeColumns, { x: part, y }, { rows, out, stride: shape.out, column, accumulate })]),
    ];
  });
}

/** y = or += x W^T + b, with each row's own adapter of the banks. A phase is there only where an adapter needs it. */
export function adaptedProjection(projection: Projection, io: ProjectionIo, adapters: StepAdapters): Plan {
  return acting(adapters.banks, "before", projection.linears).length > 0
    ? partSteps(projection, io, adapters)
    : sideSteps(projection, io, adapters);
}
