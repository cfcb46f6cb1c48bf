import { attention } from "../../../kernels/attention.ts";
import { cacheFormats } from "../../../kernels/caches/mod.ts";
import { causalAttention } from "../../../kernels/causal_attention.ts";
import { kvCache } from "../../../kernels/kv_cache.ts";
import { qkNorm as qkNormKernel } from "../../../kernels/qk_norm.ts";
import { rmsNorm } from "../../../kernels/rms_norm.ts";
import { rope as ropeKernel } from "../../../kernels/rope.ts";
import { ropeCache } from "../../../kernels/rope_cache.ts";
import { type Plan, step } from "../../plan.ts";
import type { Tensor } from "../../tensor.ts";
import type { Operation, Rope, StepIo, Value, WholeIo, WholeStep } from "../graph.ts";

/** Root-mean-square normalisation of q and k: weights of a head's columns, or of all columns. */
export interface QkNorm {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly eps: number;
}

/** Heads of an attention, and what it does before and within them. */
export interface Attention {
  /** Columns of a head; q has any number of heads, k and v the same number, which divides it. */
  readonly headDim: number;
  /** What dot products are multiplied by. */
  readonly scale: number;
  /** How q and k are normalised, before they are turned; absent where they are not. */
  readonly norm?: QkNorm;
  /** How q and k are turned; absent where positions are no matter of attention. */
  readonly rope?: Rope;
  /** Tokens that a token attends to, itself among them; absent: all before it. The caches hold all tokens even so. */
  readonly window?: number;
  /** What dot products are capped to by tanh; absent: not at all. */
  readonly softcap?: number;
}

/** Causal softmax attention: of each row to itself and the rows before it in its sequence. */
export function attend(
  { q, k, v }: { readonly q: Value; readonly k: Value; readonly v: Value },
  { headDim, scale, norm, rope, window = 0, softcap = 0 }: Attention,
): Value {
  const { graph } = q;
  const y = graph.value(q.width);
  const logsumexp = graph.value(q.width / headDim);
  /** What attention reads in whole plans: q and k, or those normalised. */
  const [readQ, readK] = norm ? [graph.value(q.width), graph.value(k.width)] : [q, k];
  const sizes = { heads: q.width / headDim, kvHeads: k.width / headDim, headDim };
  const qStride = q.width + k.width + v.width;

  function stepPlan(io: StepIo): Plan {
    const { rows, cacheRows, keys, values, cacheIndex: index, blockTable, blockSize } = io;
    const format = cacheFormats[io.kvCacheDtype];
    const { first, positions } = io.inputs;
    const qkv = io.together([q, k, v]);
    const words = { rows, ...sizes, cacheRows };
    return [
      ...norm ? [normStep(qkv, norm, rows)] : [],
      rope
        ? step(ropeCache.of(format), { qkv, ...io.turns(rope), index, keys, values }, {
          ...words,
          rotaryDim: rope.config.headDim,
        })
        : step(kvCache.of(format), { qkv, index, keys, values }, words),
      step(attention.of(format), {
        ...{ q: qkv, keys, values, blockTable, first, lastKey: positions, y: io.tensor(y) },
      }, {
        ...words,
        ...{ blockSize, tableSize: blockTable.shape[0], qStride, window, scale, softcap },
      }),
    ];
  }

  function normStep(x: Tensor, { q: qWeight, k: kWeight, eps }: QkNorm, rows: number): Plan[number] {
    const [qDim] = qWeight.shape, [kDim] = kWeight.shape;
    const heads = { qHeads: q.width / qDim, qDim, kHeads: k.width / kDim, kDim };
    return step(qkNormKernel, { x, qWeight, kWeight }, { rows, stride: qStride, ...heads, eps });
  }

  function wholePlan({ rows, inputs, last, tensor }: WholeIo): WholeStep[] {
    const { positions, first } = inputs;
    const normed = (x: Value, made: Value, weight: Tensor): WholeStep => {
      const [dim] = weight.shape, words = { rows: rows * x.width / dim, dim, eps: norm!.eps };
      return { forward: step(rmsNorm, { x: tensor(x), weight, y: tensor(made) }, words) };
    };
    const turned = (x: Value, { config, table }: Rope): WholeStep => ({
      forward: step(ropeKernel, { x: tensor(x), table, positions }, {
        ...{ rows, heads: x.width / headDim, headDim, rotaryDim: config.headDim },
      }),
    });
    const io = { q: tensor(readQ), k: tensor(readK), v: tensor(v), first };
    return [
      ...norm ? [normed(q, readQ, norm.q), normed(k, readK, norm.k)] : [],
      ...rope ? [turned(readQ, rope), turned(readK, rope)] : [],
      {
        forward: step(causalAttention, { ...io, y: tensor(y), logsumexp: tensor(logsumexp) }, {
          ...{ rows, ...sizes, window, scale, softcap },
        }),
        also: { last },
      },
    ];
  }

  const operation: Operation = {
    name: "attend",
    reads: [q, k, v],
    makes: [y],
    keeps: norm ? [logsumexp, readQ, readK] : [logsumexp],
    overwrites: rope || norm ? [q, k] : [],
    cacheHeads: { kvHeads: sizes.kvHeads, headDim },
    rope,
    step: stepPlan,
    whole: wholePlan,
  };
  graph.record(operation);
  return y;
}
