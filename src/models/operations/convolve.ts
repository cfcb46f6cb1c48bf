import { causalConv } from "../../../kernels/causal_conv.ts";
import { causalConvStep, noColumns } from "../../../kernels/causal_conv_step.ts";
import { multiply } from "../../../kernels/multiply.ts";
import { type Plan, step } from "../../plan.ts";
import type { Tensor } from "../../tensor.ts";
import type { StepIo, Value, WholeIo, WholeStep } from "../graph.ts";
import { besideIn } from "./beside.ts";

/** What a short convolution multiplies by. */
export interface Convolution {
  /** (columns, width): of each column, those of the rows before it, its own as the last. */
  readonly weight: Tensor;
  /** (columns). */
  readonly bias: Tensor;
}

/** Values that a convolution's input and result are multiplied by. */
export interface Factors {
  readonly before: Value;
  readonly after: Value;
}

/**
 * A causal convolution of each column of x with the last rows of its sequence; with factors, that of x times `before`, times
 * `after`. A sequence's last inputs are its state.
 *
 * @param beside All values that stand in one table with x and its factors, in order.
 */
export function convolve(
  x: Value,
  { weight, bias }: Convolution,
  { beside, factors }: { readonly beside: readonly Value[]; readonly factors?: Factors },
): Value {
  const { graph, width: dim } = x, [, width] = weight.shape;
  const y = graph.value(dim);
  /** In whole plans: x times its factor, and what the convolution makes of it. */
  const [scaled, convolved] = factors ? [graph.value(dim), graph.value(dim)] : [x, y];

  function stepPlan(io: StepIo): Plan {
    const { rows, stateIndex, states, state, inputs: { positions } } = io;
    const columns = besideIn(io, beside), { table, stride, at } = columns(x);
    const of = (factor: Value | undefined): number => factor ? columns(factor).at : noColumns;
    return [
      step(causalConvStep, { x: table, weight, bias, stateIndex, positions, state, y: io.tensor(y) }, {
        ...{ rows, dim, width, stride, at, states },
        before: of(factors?.before),
        after: of(factors?.after),
      }),
    ];
  }

  function wholePlan({ rows, inputs: { first }, last, tensor }: WholeIo): WholeStep[] {
    const product = (a: Value, b: Value, made: Value): WholeStep => ({
      forward: step(multiply, { a: tensor(a), b: tensor(b), y: tensor(made) }, { count: rows * dim }),
    });
    const io = { x: tensor(scaled), weight, bias, first, y: tensor(convolved) };
    return [
      ...factors ? [product(factors.before, x, scaled)] : [],
      { forward: step(causalConv, io, { rows, dim, width }), also: { last } },
      ...factors ? [product(factors.after, convolved, y)] : [],
    ];
  }

  graph.record({
    name: "convolve",
    reads: factors ? [x, factors.before, factors.after] : [x],
    makes: [y],
    keeps: factors ? [scaled, convolved] : [],
    // One number at least: no device has a buffer without any.
    stateWidth: Math.max(1, (width - 1) * dim),
    step: stepPlan,
    whole: wholePlan,
  });
  return y;
}
