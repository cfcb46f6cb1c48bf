/**
 * The plan of an encoder's forward over whole sequences that stand side by side: none is filled up to another's length.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import type { Plan } from "../plan.ts";
import type { Tensor } from "../tensor.ts";
import {
  type EncoderTensors,
  noneOwn,
  type OwnSteps,
  type Recorded,
  type StepIo,
  type Value,
} from "./graph.ts";
import type { EncoderModel } from "./model.ts";
import { type Place, placeValues } from "./placing.ts";
import { type Project, stepsOf, togetherIn } from "./step_plan.ts";

/** What the plan is fed, for the most rows and sequences that it may have. */
export interface EncodeTensors extends EncoderTensors {
  /** (maxOutputs), uint32: the first row of each sequence. */
  readonly outputs: Tensor;
}

/** Tensors that an encoder works in. */
export interface EncodeState {
  readonly inputs: EncodeTensors;
  readonly maxRows: number;
  readonly maxOutputs: number;
  /** (maxRows or maxOutputs, width) each. */
  readonly buffers: readonly Tensor[];
  readonly places: ReadonlyMap<Value, Place>;
  /** (maxRows, hiddenSize): the last hidden states. */
  readonly hidden: Tensor;
  /** (maxOutputs, hiddenSize): what classifiers read. */
  readonly pooled: Tensor;
}

/** Allocates the tensors of an encoder. */
export function encodeState(
  device: Device,
  { graph }: EncoderModel,
  { inputs, maxRows, maxOutputs }: Pick<EncodeState, "inputs" | "maxRows" | "maxOutputs">,
): EncodeState {
  const placing = placeValues(graph, "step");
  const buffers = placing.buffers.map(({ width, of }) =>
    device.alloc([of === "rows" ? maxRows : maxOutputs, width], "float32")
  );
  const made = { inputs, maxRows, maxOutputs, buffers, places: placing.places };
  const { hidden, pooled } = graph.states;
  return { ...made, hidden: togetherIn(made, [hidden]), pooled: togetherIn(made, [pooled]) };
}

/** Rows and sequences of a plan, and how what is not the model's own is run. */
export interface EncodeOptions {
  readonly rows: number;
  readonly outputs: number;
  readonly project: Project;
  /** How rows are changed by their adapters' own parameters; not at all unless told. */
  readonly own?: OwnSteps;
}

const noCache = (): never => {
  throw new TypeError(
    "Cannot plan attention over a cache, or a state, for an encoder: its sequences are whole",
  );
};

function ioOf(
  operation: Recorded,
  s: EncodeState,
  { rows, outputs, project, own = noneOwn }: EncodeOptions,
): StepIo {
  const { of } = operation.makes[0], count = of === "rows" ? rows : outputs;
  return {
    rows: count,
    inputs: s.inputs,
    outputs: s.inputs.outputs,
    maxRows: s.maxRows,
    tensor: (value) => togetherIn(s, [value]),
    together: (values) => togetherIn(s, values),
    project: (projection, io) => project(projection, { ...io, rows: count, of }),
    own,
    turns: noCache,
    get cacheRows() {
      return noCache();
    },
    get cacheIndex() {
      return noCache();
    },
    get blockTable() {
      return noCache();
    },
    get blockSize() {
      return noCache();
    },
    get kvCacheDtype() {
      return noCache();
    },
    get keys() {
      return noCache();
    },
    get values() {
      return noCache();
    },
    get stateIndex() {
      return noCache();
    },
    get states() {
      return noCache();
    },
    get state() {
      return noCache();
    },
  };
}

/** The plan: `rows` rows of `outputs` sequences to hidden states, and to what classifiers read. */
export function encodePlan({ graph }: EncoderModel, s: EncodeState, options: EncodeOptions): Plan {
  return graph.operations.flatMap((operation) => stepsOf(operation, ioOf(operation, s, options)));
}
