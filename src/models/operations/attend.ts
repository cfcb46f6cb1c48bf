import { attention } from "../../../kernels/attention.ts";
import { causalAttention } from "../../../kernels/causal_attention.ts";
import { kvCache } from "../../../kernels/kv_cache.ts";
import { rope as ropeKernel } from "../../../kernels/rope.ts";
import { ropeCache } from "../../../kernels/rope_cache.ts";
import { type Plan, step } from "../../plan.ts";
import type { Operation, Rope, StepIo, Value, WholeIo, WholeStep } from "../graph.ts";

/** Heads of an attention, and what it does before and within them. */
export interface Attention {
  /** Columns of a head; q has any number of heads, k and v the same number, which divides it. */
  readonly headDim: number;
  /** What dot products are multiplied by. */
  readonly scale: number;
  /** How q and k are turned; absent where positions are no matter of attention. */
  readonly rope?: Rope;
}

/** Causal softmax attention: of each row to itself and the rows before it in its sequence. */
export function attend(
  { q, k, v }: { readonly q: Value; readonly k: Value; readonly v: Value },
  { headDim, scale, rope }: Attention,
): Value {
  const { graph } = q;
  const y = graph.value(q.width);
  const logsumexp = graph.value(q.width / headDim);
  const sizes = { heads: q.width / headDim, kvHeads: k.width / headDim, headDim };

  function stepPlan(io: StepIo): Plan {
    const { rows, cacheRows, keys, values, cacheIndex: index } = io;
    const { first, positions } = io.inputs;
    const qkv = io.together([q, k, v]);
    const words = { rows, ...sizes, cacheRows };
    return [
      rope
        ? step(ropeCache, { qkv, ...io.turns(rope), index, keys, values }, words)
        : step(kvCache, { qkv, index, keys, values }, words),
      step(attention, { q: qkv, keys, values, first, lastKey: positions, y: io.tensor(y) }, {
        ...words,
        qStride: q.width + k.width + v.width,
        scale,
      }),
    ];
  }

  function wholePlan({ rows, inputs, last, tensor }: WholeIo): WholeStep[] {
    const { positions, first } = inputs;
    const turn = (x: Value, { table }: Rope): WholeStep => ({
      forward: step(ropeKernel, { x: tensor(x), table, positions }, {
        ...{ rows, heads: x.width / headDim, headDim },
      }),
    });
    const io = { q: tensor(q), k: tensor(k), v: tensor(v), first };
    return [...rope ? [turn(q, rope), turn(k, rope)] : [], {
      forward: step(causalAttention, { ...io, y: tensor(y), logsumexp: tensor(logsumexp) }, {
        rows,
        ...sizes,
        scale,
      }),
      also: { last },
    }];
  }

  const operation: Operation = {
    name: "attend",
    reads: [q, k, v],
    makes: [y],
    keeps: [logsumexp],
    overwrites: rope ? [q, k] : [],
    cacheWidth: k.width,
    rope,
    step: stepPlan,
    whole: wholePlan,
  };
  graph.record(operation);
  return y;
}
