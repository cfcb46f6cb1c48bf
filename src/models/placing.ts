/**
 * Where values are while a plan runs: a few buffers, each given to the next value once the last one in it was used.
 *
 * @module
 */
import type { Columns, Graph, Operation, RowsOf, Value } from "./graph.ts";

/** A buffer: rows of so many columns. */
export interface BufferSize {
  readonly width: number;
  readonly of: RowsOf;
}

/** Columns of a buffer: `at`, and as many as the value has. */
export interface Place {
  /** Number of the buffer. */
  readonly buffer: number;
  readonly at: number;
}

/** Buffers of a forward, and which value is where. */
export interface Placing {
  readonly buffers: readonly BufferSize[];
  readonly places: ReadonlyMap<Value, Place>;
}

/** The kind of plan. */
export type PlanKind = "step" | "whole";

/** The columns that an operation's results are of its first input, where they are. */
export function columnsOf(operation: Operation, kind: PlanKind): Columns | undefined {
  const bound = operation[kind];
  return typeof bound === "function" ? undefined : bound;
}

/** The value that an operation's one result is all columns of, in a whole plan: there values have tensors of their own. */
export function sameAs({ name, reads: [source], makes }: Operation): Value {
  if (makes.length === 1 && makes[0].width === source.width) return source;
  throw new TypeError(
    `Cannot bind "${name}" in a whole plan: its results are not all columns of what it reads`,
  );
}

/** The number of the last operation that uses each value, by itself or by columns of it; results are read after all. */
export function lastUses({ operations, results }: Graph, kind: PlanKind): ReadonlyMap<Value, number> {
  const last = new Map<Value, number>(results.map((value) => [value, operations.length]));
  const use = (value: Value, at: number): void => {
    last.set(value, Math.max(at, last.get(value) ?? 0));
  };
  for (let i = operations.length - 1; i >= 0; i--) {
    const { reads, makes, onto } = operations[i];
    for (const value of reads) use(value, i);
    if (onto) use(onto, i);
    if (columnsOf(operations[i], kind)) { for (const made of makes) use(reads[0], last.get(made) ?? i); }
  }
  return last;
}

/**
 * Gives the values of a forward their buffers.
 *
 * A value that nobody uses any more leaves its buffer to a later one of its size, but not to the very next operation's: a
 * device may join neighbours into one launch, which must not write what it reads. What a branch is added to keeps its buffer.
 */
export function placeValues(graph: Graph, kind: PlanKind): Placing {
  const last = lastUses(graph, kind);
  const buffers: BufferSize[] = [];
  /** The last use of what is in each buffer now. */
  const usedUntil: number[] = [];
  const places = new Map<Value, Place>();
  /** Whether an operation may write its result over what it adds to: nothing else in that buffer is used, now or later. */
  function isInPlace({ onto, reads }: Operation, at: number): boolean {
    if (!onto) return false;
    const { buffer } = places.get(onto)!;
    return usedUntil[buffer] === at && buffers[buffer].width === onto.width &&
      reads.every((value) => places.get(value)!.buffer !== buffer);
  }

  function place(values: readonly Value[], at: number): void {
    const width = values.reduce((sum, value) => sum + value.width, 0);
    const [{ of }] = values;
    let buffer = buffers.findIndex((size, i) =>
      size.of === of && size.width === width && usedUntil[i] + 1 < at
    );
    if (buffer < 0) buffer = buffers.push({ width, of }) - 1;
    usedUntil[buffer] = Math.max(...values.map((value) => last.get(value) ?? at));
    let column = 0;
    for (const value of values) {
      places.set(value, { buffer, at: column });
      column += value.width;
    }
  }

  graph.operations.forEach((operation, i) => {
    const { reads, makes, keeps = [] } = operation;
    const columns = columnsOf(operation, kind);
    if (columns) {
      if (kind === "whole") sameAs(operation);
      const { buffer, at } = places.get(reads[0])!;
      makes.forEach((made, j) => places.set(made, { buffer, at: at + columns[j] }));
    } else if (isInPlace(operation, i)) {
      const { buffer } = places.get(operation.onto!)!;
      places.set(makes[0], { buffer, at: 0 });
      usedUntil[buffer] = last.get(makes[0]) ?? i;
    } else if (kind === "step") {
      place(makes, i);
    } else {
      for (const made of makes) place([made], i);
    }
    if (kind === "whole") { for (const kept of keeps) place([kept], i); }
  });
  return { buffers, places };
}
