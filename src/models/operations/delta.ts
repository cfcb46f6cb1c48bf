import { deltaRule as deltaRuleKernel } from "../../../kernels/delta_rule.ts";
import { deltaRuleStep } from "../../../kernels/delta_rule_step.ts";
import { step } from "../../plan.ts";
import type { Tensor } from "../../tensor.ts";
import type { Value } from "../graph.ts";
import { apartIn, besideIn, type Columns } from "./beside.ts";

/** Heads of a delta rule. */
export interface DeltaHeads {
  /** Heads of queries and keys; those of values are a multiple of them. */
  readonly keyHeads: number;
  readonly heads: number;
  readonly keyDim: number;
  readonly valueDim: number;
  /** (2 heads): A_log of each head, then dt_bias of each. */
  readonly decay: Tensor;
}

/**
 * The gated delta rule: linear attention whose state forgets, and is corrected by what it is told.
 *
 * @param qkv Queries, keys and values of each head.
 * @param gates How much a token corrects, and how much the state forgets, one number a head; `beside` are all values that
 * stand in one table with the two, in order.
 */
export function deltaRule(
  qkv: Value,
  { beta, dt, beside }: { readonly beta: Value; readonly dt: Value; readonly beside: readonly Value[] },
  { decay, ...sizes }: DeltaHeads,
): Value {
  const { heads, keyDim, valueDim } = sizes;
  const y = qkv.graph.value(heads * valueDim);
  const gates = (of: (value: Value) => Columns) => {
    const b = of(beta), t = of(dt);
    return {
      io: { beta: b.table, dt: t.table },
      words: { betaStride: b.stride, betaAt: b.at, dtStride: t.stride, dtAt: t.at },
    };
  };
  qkv.graph.record({
    name: "delta_rule",
    reads: [qkv, beta, dt],
    makes: [y],
    stateWidth: heads * keyDim * valueDim,
    step: (plan) => {
      const { rows, states, stateIndex, state, inputs: { positions }, tensor } = plan;
      const { io, words } = gates(besideIn(plan, beside));
      return [
        step(
          deltaRuleStep,
          { qkv: tensor(qkv), ...io, decay, stateIndex, positions, state, y: tensor(y) },
          { rows, ...sizes, ...words, states },
        ),
      ];
    },
    whole: (plan) => {
      const { rows, inputs: { first }, tensor } = plan, { io, words } = gates(apartIn(plan));
      return [{
        forward: step(deltaRuleKernel, { qkv: tensor(qkv), ...io, decay, first, y: tensor(y) }, {
          ...{ rows, ...sizes, ...words },
        }),
      }];
    },
  });
  return y;
}
