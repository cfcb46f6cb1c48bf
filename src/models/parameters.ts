/**
 * The parameters of a model that adapters may have their own of, by its forward.
 *
 * @module
 */
import type { Linear } from "../adapters/bank.ts";
import type { Parameter } from "../adapters/parameters.ts";
import type { Tensor } from "../tensor.ts";
import type { Graph } from "./graph.ts";
import type { Projection } from "./projection.ts";
import type { HeadSpec, TensorSpec } from "./spec.ts";

/** The biases of a projection's linears. */
function biasesOf({ linears, outs, bias }: Projection, all: readonly Linear[]): Parameter[] {
  let at = 0;
  return outs.map((out, i) => {
    const base = bias && { tensor: bias, at };
    at += out;
    return {
      name: `${all[linears.first + i].path}.bias`,
      kind: "bias",
      shape: [out],
      ...(base ? { base } : {}),
    };
  });
}

/**
 * The bias of each linear in the linears' order, then norms, embeddings and heads.
 *
 * @param from `specOf` says what the model's files have a tensor as.
 */
export function parametersOf(
  { operations, ending: { head } }: Graph,
  { linears, specOf, head: { linear, embedding, tied } }: {
    readonly linears: readonly Linear[];
    readonly specOf: (t: Tensor) => TensorSpec;
    readonly head: HeadSpec;
  },
): Parameter[] {
  const biases: Parameter[] = [];
  for (const projection of [...operations.flatMap(({ projection }) => projection ?? []), head]) {
    biasesOf(projection, linears).forEach((bias, i) => biases[projection.linears.first + i] = bias);
  }
  const tensors = new Map(
    operations.flatMap(({ parameters = [] }) => parameters).map(({ tensor, kind }) => [tensor, kind]),
  );
  const { path, shape } = linear;
  return [
    ...biases,
    ...[...tensors].map(([tensor, kind]) => {
      const { name, plus } = specOf(tensor);
      return { name, kind, shape: tensor.shape, base: { tensor, at: 0, ...(plus ? { plus } : {}) } };
    }),
    {
      ...{ name: `${path}.weight`, kind: "head", shape: [shape.out, shape.in] },
      ...(tied ? { tiedTo: embedding.name } : {}),
    },
  ];
}
