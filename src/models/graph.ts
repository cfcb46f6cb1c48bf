/**
 * A model's forward, recorded once as operations on values; planners make plans of it.
 *
 * A value is a table of numbers: a row for each token, so many columns. A family's forward calls functions of
 * `operations/`; each records what it reads and makes, and how its kernels are bound in two kinds of plans:
 *
 * - a *step* plan takes rows of many sequences, whose earlier keys and values are in caches;
 * - a *whole* plan takes whole sequences, and can be followed by its backward.
 *
 * @module
 */
import type { KvCacheDtype } from "../../kernels/caches/format.ts";
import type { ParameterKind } from "../adapters/parameters.ts";
import type { Plan, Step } from "../plan.ts";
import type { Tensor } from "../tensor.ts";
import type { Projection } from "./projection.ts";
import type { RopeConfig } from "./rope_config.ts";

/** Whether a value has a row for each of a step's rows, or for each row whose logits are wanted. */
export type RowsOf = "rows" | "outputs";

/** Numbers that a forward computes: so many columns for each row, float32. */
export class Value {
  constructor(readonly graph: Graph, readonly width: number, readonly of: RowsOf) {}
}

/** A rotary embedding: its settings, and the table of its turns by position. */
export interface Rope {
  readonly config: RopeConfig;
  /** (positions, config.headDim / 2, 2): cosines and sines. */
  readonly table: Tensor;
}

/** Rows of a step, and where their sequences are; see `StepInputs` of the engine. */
export interface RowTensors {
  /** (rows), uint32: the token. */
  readonly tokens: Tensor;
  /** (rows), uint32: its place in its sequence. */
  readonly positions: Tensor;
  /** (rows), uint32: where its sequence starts, in the table of blocks or among the rows. */
  readonly first: Tensor;
}

/** What encoders read of rows, too: their sequences are whole. */
export interface EncoderTensors extends RowTensors {
  /** (rows), uint32: the row after its sequence. */
  readonly last: Tensor;
  /** (rows), uint32: the kind of row, which has an embedding of its own. */
  readonly types: Tensor;
  /** (rows, numbers of a patch), float32: pixels, 0 for rows that are no patch; of models of images. */
  readonly patches?: Tensor;
}

/**
 * An input of the rows.
 *
 * @throws TypeError where the plan has none.
 */
export function inputOf(inputs: Partial<EncoderTensors>, name: keyof EncoderTensors): Tensor {
  const found = inputs[name];
  if (!found) throw new TypeError(`Cannot plan a forward that reads its rows' ${name}: the plan has none`);
  return found;
}

/** What a projection is run on: y = x W^T + b, or y += where `accumulate` is not 0. */
export interface ProjectionIo {
  readonly x: Tensor;
  readonly y: Tensor;
  readonly rows: number;
  readonly accumulate: number;
}

/** What an operation binds its kernels to, in any plan. */
export interface Io {
  /** Rows of what the operation makes. */
  readonly rows: number;
  readonly inputs: RowTensors & Partial<EncoderTensors>;
  /** The tensor of a value that has one of its own. */
  tensor(value: Value): Tensor;
}

/** Where an operation has the rows that adapters change: y, and what it was made of. */
export interface OwnIo {
  readonly y: Tensor;
  readonly rows: number;
  /** Whether they are the step's rows or those of its outputs. */
  readonly of: RowsOf;
}

/**
 * The steps that change rows by parameters which their adapters have in the place of the model's. They come right after the
 * model's own step; none are there where no row's adapter has such a parameter.
 */
export interface OwnSteps {
  /** By a norm's weight. The norm is centred where it takes the mean away. */
  norm(
    weight: Tensor,
    io: OwnIo & { readonly x: Tensor; readonly eps: number; readonly centred: boolean },
  ): Plan;
  /** By a bias (size) that is a tensor of its own. */
  bias(bias: Tensor, io: OwnIo): Plan;
  /** By an embedding (entries, width), looked up by `ids` (rows). */
  embedding(table: Tensor, io: OwnIo & { readonly ids: Tensor }): Plan;
}

/** Rows whose adapters have no parameters of their own. */
export const noneOwn: OwnSteps = { norm: () => [], bias: () => [], embedding: () => [] };

/** What an operation binds its kernels to in a step plan. */
export interface StepIo extends Io {
  /** The tensor in which values stand side by side, in their order, and nothing else does. */
  together(values: readonly Value[]): Tensor;
  /** (rows), uint32: the row of the caches that each row's key and value go to. */
  readonly cacheIndex: Tensor;
  /** (entries), uint32: blocks of the caches that sequences have; a row's `first` is an entry. */
  readonly blockTable: Tensor;
  /** Cache rows of a block. */
  readonly blockSize: number;
  /** (outputs), uint32: rows whose logits are wanted. */
  readonly outputs: Tensor;
  /** Rows that a value of all rows has room for. */
  readonly maxRows: number;
  readonly cacheRows: number;
  /** How the caches hold keys and values. */
  readonly kvCacheDtype: KvCacheDtype;
  /** The operation's own caches. */
  readonly keys: Tensor;
  readonly values: Tensor;
  /** (rows), uint32: the number of the state that each row's sequence has; not below `states` for rows without one. */
  readonly stateIndex: Tensor;
  readonly states: number;
  /** (states, stateWidth): the operation's own states. */
  readonly state: Tensor;
  /** Each row's turn: a table, and where in it. */
  turns(rope: Rope): { readonly table: Tensor; readonly positions: Tensor };
  project(projection: Projection, io: Omit<ProjectionIo, "rows">): Plan;
  readonly own: OwnSteps;
}

/** A step of a whole plan. */
export interface WholeStep {
  readonly forward: Step;
  /** Tensors the backward reads under names that the forward does not bind. */
  readonly also?: Readonly<Record<string, Tensor>>;
}

/** What an operation binds its kernels to in a whole plan; `S` is what the planner makes of a linear. */
export interface WholeIo<S extends WholeStep = WholeStep> extends Io {
  /** (rows), uint32: the row after the row's sequence. */
  readonly last: Tensor;
  /** One linear of a projection. */
  project(projection: Projection, index: number, io: Omit<ProjectionIo, "rows">): readonly S[];
  readonly own: OwnSteps;
}

/** Outputs that are columns of the first input, from these on: no kernel runs. */
export type Columns = readonly number[];

/** One operation of a forward. */
export interface Operation {
  readonly name: string;
  readonly reads: readonly Value[];
  /** What it makes. In step plans all stand side by side in one tensor, in whole plans each has its own. */
  readonly makes: readonly Value[];
  /** What whole plans keep beside it, for the backward. */
  readonly keeps?: readonly Value[];
  /** What its one result is added to. The planner has it copied to the result's tensor, where that is another. */
  readonly onto?: Value;
  /** Values it writes over: nothing may read them after it. */
  readonly overwrites?: readonly Value[];
  /** The projection that it multiplies by. */
  readonly projection?: Projection;
  /** Heads of a row of the caches of keys and of values that step plans have for it. */
  readonly cacheHeads?: { readonly kvHeads: number; readonly headDim: number };
  /** Numbers that step plans keep of each sequence for it, from one step to the next. */
  readonly stateWidth?: number;
  readonly rope?: Rope;
  /** The model's tensors that adapters may have their own of. */
  readonly parameters?: readonly { readonly tensor: Tensor; readonly kind: ParameterKind }[];
  readonly step: Columns | ((io: StepIo) => Plan);
  readonly whole: Columns | (<S extends WholeStep>(io: WholeIo<S>) => readonly (S | WholeStep)[]);
}

/** An operation, and the layer it is in: -1 before the first, `layers` after the last. */
export interface Recorded extends Operation {
  readonly layer: number;
}

/** How a forward ends: logits = head(hidden). */
export interface Ending {
  /** A row for each output. */
  readonly hidden: Value;
  readonly head: Projection;
  /** What logits are capped to by tanh; absent: not at all. */
  readonly softcap?: number;
}

/** How an encoder's forward ends. */
export interface States {
  /** The last hidden states, a row for each token or patch. */
  readonly hidden: Value;
  /** What heads read: a row for each sequence. */
  readonly pooled: Value;
}

/** See the module's documentation. */
export class Graph {
  readonly operations: Recorded[] = [];
  #layer = -1;
  #ending: Ending | undefined;
  #states: States | undefined;
  readonly #overwritten = new Set<Value>();
  /** What values that are columns of another one are columns of. */
  readonly #sources = new Map<Value, Value>();

  /** A new value, for an operation to make. */
  value(width: number, of: RowsOf = "rows"): Value {
    return new Value(this, width, of);
  }

  /** Goes through a model's layers: what is recorded meanwhile belongs to the layer. */
  *layers<T>(layers: readonly T[]): Generator<T> {
    for (const layer of layers) {
      this.#layer++;
      yield layer;
    }
    this.#layer++;
  }

  /**
   * Adds an operation.
   *
   * @throws TypeError where it reads a value that is no longer there, or of another graph.
   */
  record(operation: Operation): void {
    for (const value of [...operation.reads, ...operation.onto ? [operation.onto] : []]) {
      if (value.graph !== this) {
        throw new TypeError(`Cannot record "${operation.name}": it reads a value of another graph`);
      }
      if (this.#overwritten.has(value)) {
        throw new TypeError(`Cannot record "${operation.name}": it reads a value that was written over`);
      }
    }
    if (Array.isArray(operation.step)) {
      for (const made of operation.makes) this.#sources.set(made, operation.reads[0]);
    }
    for (const value of operation.overwrites ?? []) {
      for (let at: Value | undefined = value; at; at = this.#sources.get(at)) this.#overwritten.add(at);
    }
    this.operations.push({ ...operation, layer: this.#layer });
  }

  /** Says how the forward ends; nothing is recorded after it. */
  end(ending: Ending): void {
    this.#ending = ending;
  }

  /** How it ends. */
  get ending(): Ending {
    if (!this.#ending) throw new TypeError("Cannot plan a forward that does not end in logits");
    return this.#ending;
  }

  /** Says how an encoder's forward ends; nothing is recorded after it. */
  endInStates(states: States): void {
    this.#states = states;
  }

  /** How an encoder's forward ends. */
  get states(): States {
    if (!this.#states) throw new TypeError("Cannot plan a forward that does not end in hidden states");
    return this.#states;
  }

  /** The values that are read after all operations. */
  get results(): readonly Value[] {
    return this.#states ? [this.#states.hidden, this.#states.pooled] : [this.ending.hidden];
  }

  /** The projections of the layers, in order. */
  get projections(): readonly Projection[] {
    return this.operations.flatMap(({ projection }) => projection ?? []);
  }
}
