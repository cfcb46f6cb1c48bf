import { packedAttention } from "../../../kernels/packed_attention.ts";
import { type Step, step } from "../../plan.ts";
import type { Tensor } from "../../tensor.ts";
import { inputOf, type Io, type Value } from "../graph.ts";

/** Softmax attention of each row to all rows of its sequence, as encoders have it; sequences are whole, without a cache. */
export function attendAll(
  { q, k, v }: { readonly q: Value; readonly k: Value; readonly v: Value },
  { headDim, scale }: { readonly headDim: number; readonly scale: number },
): Value {
  const y = q.graph.value(q.width);
  const bound = (
    { rows, inputs, tensor }: Io,
    qkv: Readonly<Record<"q" | "k" | "v", Tensor>>,
    columns: Readonly<Record<"stride" | "qAt" | "kAt" | "vAt", number>>,
  ): Step => {
    const { first } = inputs, last = inputOf(inputs, "last");
    const words = { rows, heads: q.width / headDim, headDim, ...columns, scale };
    return step(packedAttention, { ...qkv, first, last, y: tensor(y) }, words);
  };
  q.graph.record({
    name: "attend_all",
    reads: [q, k, v],
    makes: [y],
    step: (io) => {
      const qkv = io.together([q, k, v]);
      const columns = { qAt: 0, kAt: q.width, vAt: q.width + k.width };
      return [bound(io, { q: qkv, k: qkv, v: qkv }, { stride: q.width + k.width + v.width, ...columns })];
    },
    whole: (io) => {
      const { tensor } = io, columns = { stride: q.width, qAt: 0, kAt: 0, vAt: 0 };
      return [{ forward: bound(io, { q: tensor(q), k: tensor(k), v: tensor(v) }, columns) }];
    },
  });
  return y;
}
