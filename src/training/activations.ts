/**
 * Where a forward's values are while it is trained: those of one segment of layers at a time, and what passes between them.
 *
 * @module
 */
import type { Graph, Recorded, Value } from "../models/graph.ts";
import { columnsOf } from "../models/placing.ts";
import type { Tensor } from "../tensor.ts";

/** Operations whose values are kept at once. */
export type Segment = readonly Recorded[];

/** A forward cut up: what is before the layers and has no gradient, then segments of layers, the last with what follows. */
export interface Segments {
  readonly before: Segment;
  readonly segments: readonly Segment[];
}

/** Cuts a forward into segments of so many layers. */
export function segmentsOf({ operations }: Graph, layersPerSegment: number): Segments {
  const layers = Math.max(...operations.map(({ layer }) => layer));
  const count = Math.ceil(layers / layersPerSegment);
  const segmentOf = ({ layer }: Recorded): number =>
    Math.min(Math.floor(layer / layersPerSegment), count - 1);
  return {
    before: operations.filter(({ layer }) => layer < 0),
    segments: Array.from(
      { length: count },
      (_, s) => operations.filter((operation) => operation.layer >= 0 && segmentOf(operation) === s),
    ),
  };
}

/** Values that an operation makes and that need a tensor. */
const madeBy = (operation: Recorded): Value[] =>
  columnsOf(operation, "whole") ? [] : [...operation.makes, ...operation.keeps ?? []];

/** Numbers of a row that are kept of all layers. */
export function activationsPerRow({ operations }: Graph): number {
  return operations.filter(({ layer }) => layer >= 0).flatMap(madeBy).reduce(
    (sum, { width }) => sum + width,
    0,
  );
}

/** Tensors of values; segments share those of what does not leave them. */
export function placeActivations(
  { before, segments }: Segments,
  alloc: (width: number) => Tensor,
): ReadonlyMap<Value, Tensor> {
  const tensors = new Map<Value, Tensor>();
  const parts = [before, ...segments];
  const leaving = new Set(
    parts.flatMap((part) => {
      const own = new Set(part.flatMap(({ makes }) => makes));
      return part.flatMap(({ reads, onto }) => [...reads, ...onto ? [onto] : []]).filter((value) =>
        !own.has(value)
      );
    }),
  );
  const shared = new Map<number, Tensor[]>();
  for (const part of parts) {
    const taken = new Map<number, number>();
    for (const operation of part) {
      const columns = columnsOf(operation, "whole");
      if (columns) {
        tensors.set(operation.makes[0], onlyAll(operation, tensors));
        continue;
      }
      for (const value of madeBy(operation)) {
        tensors.set(value, leaving.has(value) ? alloc(value.width) : next(value.width, taken));
      }
    }
  }
  return tensors;

  function next(width: number, taken: Map<number, number>): Tensor {
    const at = taken.get(width) ?? 0;
    taken.set(width, at + 1);
    const known = shared.get(width) ?? [];
    shared.set(width, known);
    return known[at] ??= alloc(width);
  }
}

/** The tensor of a value that is all columns of another. */
function onlyAll({ name, reads: [whole], makes }: Recorded, tensors: ReadonlyMap<Value, Tensor>): Tensor {
  if (makes.length === 1 && makes[0].width === whole.width) return tensors.get(whole)!;
  throw new TypeError(
    `Cannot bind "${name}" in a whole plan: its results are not all columns of what it reads`,
  );
}
