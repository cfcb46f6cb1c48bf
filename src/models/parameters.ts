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
  graph: Graph,
  { linears, specOf, head }: {
    readonly linears: readonly Linear[];
    readonly specOf: (t: Tensor) => TensorSpec | undefined;
    /** Absent of encoders. */
    readonly head?: HeadSpec;
  },
): Parameter[] {
  const { operations, projections } = graph;
  const biases: Parameter[] = [];
  for (const projection of [...projections, ...head ? [graph.ending.head] : []]) {
    biasesOf(projection, linears).forEach((bias, i) => biases[projection.linears.first + i] = bias);
  }
  const tensors = new Map(
    operations.flatMap(({ parameters = [] }) => parameters).map(({ tensor, kind }) => [tensor, kind]),
  );
  const others = [...tensors].flatMap(([tensor, kind]): Parameter[] => {
    const spec = specOf(tensor);
    if (!spec) return [];
    const { name, plus } = spec;
    return [{ name, kind, shape: tensor.shape, base: { tensor, at: 0, ...(plus ? { plus } : {}) } }];
  });
  return [...biases, ...others, ...head ? [headParameter(head)] : []];
}

function headParameter({ linear: { path, shape }, embedding, tied }: HeadSpec): Parameter {
  return {
    ...{ name: `${path}.weight`, kind: "head", shape: [shape.out, shape.in] },
    ...(tied ? { tiedTo: embedding.name } : {}),
  };
}
