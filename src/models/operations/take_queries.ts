import { copy } from "../../../kernels/copy.ts";
import { takeQueries as takeQueriesKernel } from "../../../kernels/take_queries.ts";
import { step } from "../../plan.ts";
import type { Value, WholeStep } from "../graph.ts";

/** Queries, keys and values. */
export interface Qkv {
  readonly q: Value;
  readonly k: Value;
  readonly v: Value;
}

/** Attention's values of queries that have a gate behind each head's columns: the queries alone, keys and values beside them. */
export function takeQueries({ q: gated, k, v }: Qkv, headDim: number): Qkv {
  const { graph } = gated, heads = gated.width / (2 * headDim);
  const made = { q: graph.value(heads * headDim), k: graph.value(k.width), v: graph.value(v.width) };
  const makes = [made.q, made.k, made.v];
  graph.record({
    name: "take_queries",
    reads: [gated, k, v],
    makes,
    step: ({ rows, together }) => [
      step(takeQueriesKernel, { x: together([gated, k, v]), y: together(makes) }, {
        ...{ rows, heads, headDim, behind: k.width + v.width },
      }),
    ],
    whole: ({ rows, tensor }) => {
      const same = (x: Value, y: Value): WholeStep => ({
        forward: step(copy, { x: tensor(x), y: tensor(y) }, { count: rows * x.width }),
      });
      return [
        {
          forward: step(takeQueriesKernel, { x: tensor(gated), y: tensor(made.q) }, {
            ...{ rows, heads, headDim, behind: 0 },
          }),
        },
        same(k, made.k),
        same(v, made.v),
      ];
    },
  });
  return made;
}
