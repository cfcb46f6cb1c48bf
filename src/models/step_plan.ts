/**
 * One step of a batch as a plan.
 *
 * A step takes rows: each a token of some sequence, with its position, its place in the key-value cache and its adapter.
 * Prompts and new tokens of different sequences stand side by side in one step.
 *
 * @module
 */
import { cacheFormats, type KvCacheDtype } from "../../kernels/caches/mod.ts";
import { copy } from "../../kernels/copy.ts";
import { nextTokens } from "../../kernels/next_tokens.ts";
import { sample } from "../../kernels/sample.ts";
import { softcap as softcapKernel } from "../../kernels/softcap.ts";
import type { Device } from "../device/device.ts";
import { type Plan, type Step, step } from "../plan.ts";
import { type Tensor, tensor } from "../tensor.ts";
import {
  noneOwn,
  type OwnSteps,
  type ProjectionIo,
  type Recorded,
  type Rope,
  type RowsOf,
  type RowTensors,
  type StepIo,
  type Value,
} from "./graph.ts";
import type { Model } from "./model.ts";
import { type Place, placeValues } from "./placing.ts";
import type { Projection } from "./projection.ts";
import { fixedRopeLength } from "./rope.ts";
import type { RopeConfig } from "./rope_config.ts";

/** What a step is fed, for the most rows and outputs it may have. */
export interface StepTensors extends RowTensors {
  /** (maxRows), uint32: outputs of the step before whose tokens are the rows'; see `next_tokens`. */
  readonly from: Tensor;
  /** (maxRows), uint32: cache row to write. A row past the cache's end is not written. */
  readonly cacheIndex: Tensor;
  /**
   * (entries), uint32: blocks of the caches, those of a sequence side by side in the order of its positions. A row's `first`
   * is the entry where the blocks of its sequence begin; past the table's end it has nothing to attend to.
   */
  readonly blockTable: Tensor;
  /** (maxRows), uint32: the state that the row's sequence has, of models with states. A row past the last has none. */
  readonly stateIndex?: Tensor;
  /**
   * (maxRows, headDim / 2, 2): each row's own cosines and sines, where they depend on the length of its sequence; else the
   * model's table has them by position.
   */
  readonly turns?: Tensor;
  /** (maxOutputs), uint32: rows whose logits are wanted. */
  readonly outputs: Tensor;
  /** (maxOutputs, 5), float32: see the `sample` kernel. */
  readonly params: Tensor;
}

/** Caches of an attention: (cacheRows, elements of a row in the caches' format) each. */
interface Caches {
  readonly keys: Tensor;
  readonly values: Tensor;
}

/** Tensors a model's steps work in; made once for the most rows and outputs a step may have. */
export interface StepState {
  readonly inputs: StepTensors;
  readonly maxRows: number;
  readonly maxOutputs: number;
  /** How caches hold keys and values. */
  readonly kvCacheDtype: KvCacheDtype;
  /** Rows of each cache, and of the blocks that it is shared out in. */
  readonly cacheRows: number;
  readonly blockSize: number;
  /** Sequences that have a state at once; 0 of models without states. */
  readonly states: number;
  /** (maxRows), uint32: 0, 1, 2, ...; where inputs have turns. */
  readonly rowNumbers?: Tensor;
  readonly logits: Tensor;
  /** (maxOutputs), uint32. */
  readonly sampled: Tensor;
  /** (maxRows), uint32: tokens, those of the step before in place. */
  readonly ids: Tensor;
  /** (maxRows or maxOutputs, width) each. */
  readonly buffers: readonly Tensor[];
  readonly places: ReadonlyMap<Value, Place>;
  readonly caches: ReadonlyMap<Recorded, Caches>;
  /** (states, stateWidth) of each operation that has states. */
  readonly stateOf: ReadonlyMap<Recorded, Tensor>;
}

/** Allocates the tensors of a model's steps. */
export function stepState(
  device: Device,
  { config, graph }: Model,
  { inputs, maxRows, maxOutputs, kvCacheDtype = "float32", cacheRows, blockSize, states = 0 }: {
    readonly inputs: StepTensors;
    readonly maxRows: number;
    readonly maxOutputs: number;
    /** Default: float32. */
    readonly kvCacheDtype?: KvCacheDtype;
    readonly cacheRows: number;
    readonly blockSize: number;
    /** Sequences that have a state at once; default 0. */
    readonly states?: number;
  },
): StepState {
  const f32 = (...shape: number[]): Tensor => device.alloc(shape, "float32");
  const { buffers, places } = placeValues(graph, "step");
  const cacheOf = (operation: Recorded): [Recorded, Caches][] => {
    if (!operation.cacheHeads) return [];
    const format = cacheFormats[kvCacheDtype], [dtype] = format.buffer.dtypes;
    const shape = [cacheRows, format.rowElements(operation.cacheHeads)];
    return [[operation, { keys: device.alloc(shape, dtype), values: device.alloc(shape, dtype) }]];
  };
  const stateful = graph.operations.filter(({ stateWidth }) => stateWidth !== undefined);
  return {
    inputs,
    maxRows,
    maxOutputs,
    kvCacheDtype,
    cacheRows,
    blockSize,
    states,
    rowNumbers: inputs.turns && device.upload(tensor(Uint32Array.from({ length: maxRows }, (_, r) => r))),
    logits: f32(maxOutputs, config.vocabSize),
    sampled: device.alloc([maxOutputs], "uint32"),
    ids: device.alloc([maxRows], "uint32"),
    buffers: buffers.map(({ width, of }) => f32(of === "rows" ? maxRows : maxOutputs, width)),
    places,
    caches: new Map(graph.operations.flatMap(cacheOf)),
    stateOf: new Map(stateful.map((operation) => [operation, f32(states, operation.stateWidth!)])),
  };
}

/**
 * The rotary settings of a model whose rows need turns of their own: sequences may be so long that turns depend on their
 * lengths.
 *
 * @throws TypeError where its layers have several such settings.
 */
export function turnsOf(
  { graph, maxModelLen }: Pick<Model, "graph" | "maxModelLen">,
): RopeConfig | undefined {
  const configs = graph.operations.flatMap(({ rope }) => rope ? [rope.config] : []);
  const [first, ...others] = new Set(configs.filter((config) => maxModelLen > fixedRopeLength(config)));
  if (others.length > 0) {
    throw new TypeError(
      "Cannot run a model whose layers have several rotary scalings that depend on the length",
    );
  }
  return first;
}

/** How a projection is run with its rows' adapters; `of` says whether they are the step's rows or those of its outputs. */
export type Project = (projection: Projection, io: ProjectionIo & { readonly of: RowsOf }) => Plan;

/** Rows and outputs of a step, and how what is not the model's own is run. */
export interface StepOptions {
  readonly rows: number;
  readonly outputs: number;
  readonly project: Project;
  /** How rows are changed by their adapters' own parameters; not at all unless told. */
  readonly own?: OwnSteps;
  /** The step that draws tokens from logits, with what goes before and after it. */
  readonly around?: (draw: Step) => Plan;
}

/** The tensor in which values stand side by side, and nothing else does. */
export function togetherIn(
  { buffers, places }: Pick<StepState, "buffers" | "places">,
  values: readonly Value[],
): Tensor {
  const buffer = buffers[places.get(values[0])!.buffer];
  let column = 0;
  for (const value of values) {
    const { buffer: number, at } = places.get(value)!;
    if (buffers[number] !== buffer || at !== column) {
      throw new TypeError(
        "Cannot bind values side by side: they are not the results of one projection, in order",
      );
    }
    column += value.width;
  }
  if (column !== buffer.shape[1]) {
    throw new TypeError(`Cannot bind ${column} columns of a tensor of ${buffer.shape[1]} alone`);
  }
  return buffer;
}

/** What an operation's kernels are bound to. */
function ioOf(
  operation: Recorded,
  s: StepState,
  { rows, outputs, project, own = noneOwn }: StepOptions,
): StepIo {
  const { of } = operation.makes[0];
  const count = of === "rows" ? rows : outputs;
  const { inputs: { positions, first, turns, cacheIndex, blockTable }, rowNumbers } = s;
  return {
    rows: count,
    inputs: { tokens: s.ids, positions, first },
    outputs: s.inputs.outputs,
    maxRows: s.maxRows,
    cacheRows: s.cacheRows,
    kvCacheDtype: s.kvCacheDtype,
    cacheIndex,
    blockTable,
    blockSize: s.blockSize,
    get keys() {
      return s.caches.get(operation)!.keys;
    },
    get values() {
      return s.caches.get(operation)!.values;
    },
    get stateIndex() {
      return s.inputs.stateIndex!;
    },
    states: s.states,
    get state() {
      return s.stateOf.get(operation)!;
    },
    tensor: (value) => togetherIn(s, [value]),
    together: (values) => togetherIn(s, values),
    turns: ({ config, table }: Rope) =>
      turns && rowNumbers && fixedRopeLength(config) < Infinity
        ? { table: turns, positions: rowNumbers }
        : { table, positions },
    project: (projection, io) => project(projection, { ...io, rows: count, of }),
    own,
  };
}

/** The steps of an operation; what its result is added to comes first, where it stands elsewhere. */
export function stepsOf(operation: Recorded, io: StepIo): Plan {
  const { makes: [made], onto } = operation;
  if (typeof operation.step !== "function") return [];
  const steps = operation.step(io);
  if (!onto || io.tensor(onto) === io.tensor(made)) return steps;
  const count = io.rows * made.width;
  return [step(copy, { x: io.tensor(onto), y: io.tensor(made) }, { count }), ...steps];
}

/** The plan of one step: `rows` tokens through the layers, then logits and a sampled token for `outputs` of them. */
export function stepPlan({ config, graph }: Model, s: StepState, options: StepOptions): Plan {
  const { rows, outputs, project, around = (draw) => [draw] } = options;
  const { tokens, from, params } = s.inputs;
  const steps: Step[] = [
    step(nextTokens, { tokens, from, sampled: s.sampled, ids: s.ids }, { rows, outputs: s.maxOutputs }),
  ];
  for (const operation of graph.operations) {
    if (outputs === 0 && operation.makes[0].of === "outputs") continue;
    steps.push(...stepsOf(operation, ioOf(operation, s, options)));
  }
  if (outputs === 0) return steps;
  const { hidden, head, softcap: cap } = graph.ending, vocab = config.vocabSize;
  steps.push(
    ...project(head, {
      ...{ x: togetherIn(s, [hidden]), y: s.logits },
      rows: outputs,
      accumulate: 0,
      of: "outputs",
    }),
    ...cap === undefined ? [] : [step(softcapKernel, { y: s.logits }, { count: outputs * vocab, cap })],
    ...around(step(sample, { logits: s.logits, params, tokens: s.sampled }, { rows: outputs, vocab })),
  );
  return steps;
}
