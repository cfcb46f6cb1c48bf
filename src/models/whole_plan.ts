/**
 * The steps of a forward over whole sequences, without a cache: for scores, and for training.
 *
 * @module
 */
import { copy } from "../../kernels/copy.ts";
import { step } from "../plan.ts";
import type { Tensor } from "../tensor.ts";
import { noneOwn } from "./graph.ts";
import type {
  EncoderTensors,
  OwnSteps,
  ProjectionIo,
  Recorded,
  RowTensors,
  Value,
  WholeIo,
  WholeStep,
} from "./graph.ts";
import type { Projection } from "./projection.ts";

/** What whole plans are fed: `rows` tokens of packed sequences, uint32. */
export interface WholeTensors extends RowTensors, Partial<Pick<EncoderTensors, "types" | "patches">> {
  /** (rows): the row after the row's sequence. */
  readonly last: Tensor;
}

/** What the steps work on. */
export interface WholeOptions<S extends WholeStep> {
  readonly rows: number;
  readonly inputs: WholeTensors;
  /** Where a value is. */
  tensor(value: Value): Tensor;
  /** One linear of a projection, with its adapter. */
  project(projection: Projection, index: number, io: ProjectionIo): readonly S[];
  /** How rows are changed by their adapter's own parameters; not at all unless told. */
  readonly own?: OwnSteps;
}

/** The steps of operations, in order. */
export function wholeSteps<S extends WholeStep>(
  operations: readonly Recorded[],
  { rows, inputs, tensor, project, own = noneOwn }: WholeOptions<S>,
): (S | WholeStep)[] {
  const io: WholeIo<S> = {
    rows,
    inputs,
    last: inputs.last,
    tensor,
    own,
    project: (projection, index, io) => project(projection, index, { ...io, rows }),
  };
  return operations.flatMap(({ whole, makes: [made], onto }) => {
    if (typeof whole !== "function") return [];
    const steps = whole(io);
    if (!onto || tensor(onto) === tensor(made)) return steps;
    const count = rows * made.width;
    return [{ forward: step(copy, { x: tensor(onto), y: tensor(made) }, { count }) }, ...steps];
  });
}
