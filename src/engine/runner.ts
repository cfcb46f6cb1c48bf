/**
 * Runs a model's steps: batches in, sampled tokens out; programs for step sizes seen before are kept.
 *
 * @module
 */
import type { KvCacheDtype } from "../../kernels/caches/format.ts";
import type { Bank, Placed } from "../adapters/bank.ts";
import type { OwnBank, ResidentTable } from "../adapters/own_bank.ts";
import type { Device, Program, Trace } from "../device/device.ts";
import type { RowsOf } from "../models/graph.ts";
import type { Model } from "../models/model.ts";
import type { Plan, Step } from "../plan.ts";
import { RopeTurns } from "../models/rope.ts";
import { type Project, stepPlan, type StepState, stepState, turnsOf } from "../models/step_plan.ts";
import { Adjusting } from "./adjusting.ts";
import { Forbidding } from "./forbidding.ts";
import { Masking } from "./masking.ts";
import { Merging, type MergingMode } from "./merging.ts";
import { type OwnAdapters, ownLinearSteps, ownSteps } from "./own.ts";
import { adaptedProjection, ProjectionScratch } from "./projection.ts";
import { type Scores, Scoring } from "./scoring.ts";
import { type Output, type Row, StepInputs } from "./step_inputs.ts";
import { servesMany, type Shape, type Size, StepPrograms } from "./step_programs.ts";

const nothing: ReadonlySet<never> = new Set();

const none: readonly Placed[] = [];

/** Whether two rows have the same adapters. */
function sameAdapters(one: readonly Placed[], other: readonly Placed[]): boolean {
  return one === other ||
    one.length === other.length &&
      one.every(({ bank, slot }, i) => other[i].bank === bank && other[i].slot === slot);
}

/** The adapters that every row has; undefined where rows differ, or have none. */
function commonAdapters(rows: readonly Row[]): readonly Placed[] | undefined {
  const [{ adapters = none } = {}] = rows;
  return adapters.length > 0 && rows.every((row) => sameAdapters(row.adapters ?? none, adapters))
    ? adapters
    : undefined;
}

/**
 * The next size that steps are run in: powers of two, then multiples of 8, then of 64. The dense products take as many
 * rows at once, so that rows that take no part cost them nothing.
 */
export function roundedUp(count: number): number {
  if (count < 8) return count === 0 ? 0 : 2 ** Math.ceil(Math.log2(count));
  const block = count <= 32 ? 8 : 64;
  return block * Math.ceil(count / block);
}

/** See the module's documentation. */
export class Runner {
  readonly state: StepState;
  readonly #inputs: StepInputs;
  readonly #merging: Merging;
  readonly #forbidding: Forbidding;
  readonly #adjusting: Adjusting;
  readonly #masking: Masking;
  readonly #scoring: Scoring;
  readonly #programs = new StepPrograms();
  readonly #scratch: ProjectionScratch;
  #last: Program | undefined;
  /** Whether a program is prepared beside steps. */
  #isPreparing = false;

  constructor(
    private readonly device: Device,
    private readonly model: Model,
    private readonly options: {
      readonly banks: readonly Bank[];
      /** The bank of own parameters; without it no row may have any. */
      readonly own?: OwnBank;
      readonly maxRows: number;
      readonly maxOutputs: number;
      /** How the caches hold keys and values; default float32. */
      readonly kvCacheDtype?: KvCacheDtype;
      readonly cacheRows: number;
      /** Rows of a block of the caches. */
      readonly blockSize: number;
      /** States of sequences; default: as many as rows, of a model that has states. */
      readonly states?: number;
      /** Blocks of all sequences of a step at most; default: whatever sequences the rows are of. */
      readonly maxBlocks?: number;
      /** Tokens that a step may forbid, of all outputs together; default 1024. */
      readonly maxForbidden?: number;
      /** Default `auto`. */
      readonly merging?: MergingMode;
    },
  ) {
    this.#scratch = new ProjectionScratch(device);
    const rope = turnsOf(model);
    const { maxRows, cacheRows, blockSize } = options;
    const isStateful = model.graph.operations.some(({ stateWidth }) => stateWidth !== undefined);
    const { states = isStateful ? maxRows : 0 } = options;
    this.#inputs = new StepInputs(device, {
      maxBlocks: maxRows * Math.ceil(cacheRows / blockSize),
      ...options,
      maxBanks: options.banks.length,
      turns: rope && new RopeTurns(rope),
      states,
    });
    this.state = stepState(device, model, { ...options, states, inputs: this.#inputs.tensors });
    this.#merging = new Merging(device, model, { maxRows: options.maxRows, mode: options.merging ?? "auto" });
    const { logits, sampled } = this.state;
    const { vocabSize } = model.config;
    this.#adjusting = new Adjusting(device, { logits, sampled, vocabSize });
    this.#masking = new Masking(device, { logits, vocabSize });
    this.#scoring = new Scoring(device, { logits, sampled, vocabSize });
    this.#forbidding = new Forbidding(device, {
      logits,
      vocabSize,
      most: options.maxForbidden ?? 1024,
    });
  }

  /**
   * Submits one step. Steps run in the order they are submitted; a row may have its token from the step before.
   *
   * @throws RangeError for a row with own parameters where the runner has no bank of them.
   * @returns once the step is submitted, the promise of each output's sampled token, in order; and that of the
   * log-probabilities, where an output wants some.
   */
  async submit(
    rows: readonly Row[],
    outputs: readonly Output[],
  ): Promise<{ readonly sampled: Promise<Uint32Array>; readonly scores?: Promise<Scores> }> {
    const used = new Set<Bank>();
    for (const { adapters = none } of rows) for (const { bank } of adapters) used.add(bank);
    const banks = this.options.banks.filter((bank) => used.has(bank));
    const common = this.#merging.mayPay(rows.length) ? commonAdapters(rows) : undefined;
    const merged = common ? await this.#merging.kindsFor(rows.length, common) : nothing;
    const forbidden = this.#forbidding.sizeFor(outputs), adjusted = this.#adjusting.sizeFor(outputs);
    const masked = outputs.some(({ mask }) => mask), scored = outputs.some(({ wanted }) => wanted);
    const size = this.#size(rows.length, outputs.length);
    const changes = { forbidden, adjusted, masked, scored };
    const shapeNow = (): Shape => ({ ...size, banks, own: this.#ownOf(rows), merged, ...changes });
    const exact = shapeNow();
    let shape = this.device.prefersFewSizes ? this.#standIn(exact) : exact;
    let program = this.#prepared(shape);
    // A bank may change while a program is compiled: then it is looked for again.
    for (; !program; program = this.#prepared(shape)) {
      shape = this.device.prefersFewSizes ? this.#widened(shapeNow()) : shapeNow();
      await this.#prepare(shape);
    }
    this.#inputs.write(rows, outputs, shape);
    this.#forbidding.write(outputs, forbidden);
    this.#adjusting.write(outputs, { size: adjusted, padded: shape.outputs });
    if (masked) this.#masking.write(outputs, shape.outputs);
    if (scored) this.#scoring.write(outputs, shape.outputs);
    if (common && merged.size > 0) this.#merging.use(common);
    this.#last = program;
    if (outputs.length === 0) {
      this.device.run(program);
      return { sampled: Promise.resolve(new Uint32Array()) };
    }
    const range = { at: 0, count: outputs.length };
    const sampled = this.device.runAndRead(program, this.state.sampled, range) as Promise<Uint32Array>;
    // At once: a step that is submitted later overwrites them.
    const scores = scored ? this.#scoring.read(outputs) : undefined;
    // Whoever awaits them hears of a failure; until then it must not count as unhandled.
    sampled.catch(() => {});
    scores?.catch(() => {});
    return { sampled, scores };
  }

  /**
   * Prepares programs of the base model for steps of each class of sizes, where a device times kernels when it meets one: so
   * that no request waits for that.
   */
  async warm(): Promise<void> {
    if (!this.device.tunes) return;
    const { maxRows, maxOutputs } = this.options;
    const none = { banks: [], own: undefined, merged: nothing, masked: false, scored: false };
    const room = { forbidden: this.#forbidding.sizeFor([]), adjusted: this.#adjusting.sizeFor([]) };
    // The class of a size ends at a power of two.
    for (let rows = 1, last = false; !last; rows *= 2) {
      last = rows >= maxRows;
      const shape = { ...this.#size(Math.min(rows, maxRows), Math.min(rows, maxOutputs)), ...none, ...room };
      if (!this.#prepared(shape)) await this.#prepare(shape);
    }
  }

  /** Runs one step; returns the sampled token of each output, in order. */
  async step(rows: readonly Row[], outputs: readonly Output[]): Promise<Uint32Array> {
    return await (await this.submit(rows, outputs)).sampled;
  }

  /** Logits (vocab) of an output of the last step. */
  async logits(output: number): Promise<Float32Array> {
    const { vocabSize } = this.model.config;
    return await this.device.read(this.state.logits, {
      at: output * vocabSize,
      count: vocabSize,
    }) as Float32Array;
  }

  /**
   * Runs the last step again, launch by launch. For its times alone: where it had tokens from the step before, it now has
   * its own.
   */
  async trace(): Promise<Trace> {
    if (!this.#last) throw new RangeError("Cannot trace a step: none was run");
    return await this.device.trace(this.#last);
  }

  /** What a step is run as: more rows and outputs where that spares the device new programs. */
  #size(rows: number, outputs: number): Size {
    if (!this.device.prefersFewSizes) return { rows, outputs };
    const { maxRows, maxOutputs } = this.options;
    return { rows: Math.min(roundedUp(rows), maxRows), outputs: Math.min(roundedUp(outputs), maxOutputs) };
  }

  /** What a step runs as. Where another program stands in, the step's own is prepared beside the steps that run. */
  #standIn(exact: Shape): Shape {
    const { shape, wanted } = this.#programs.standIn(exact);
    if (wanted && !this.#isPreparing) {
      this.#isPreparing = true;
      // What fails here is asked for again later; a lost device is told by the step that runs.
      this.#prepare(exact).catch(() => {}).finally(() => this.#isPreparing = false);
    }
    return shape;
  }

  /** A shape whose program can stand in for the steps to come: as many outputs as rows, and every bank with adapters. */
  #widened(shape: Shape): Shape {
    if (!servesMany(shape) || shape.merged.size > 0) return shape;
    const banks = this.options.banks.filter((bank) => bank.size > 0 || shape.banks.includes(bank));
    return {
      ...shape,
      outputs: Math.max(shape.outputs, Math.min(shape.rows, this.options.maxOutputs)),
      banks,
    };
  }

  /** The program of a shape, if there is one for the banks as they are. */
  #prepared(shape: Shape): Program | undefined {
    return this.#programs.get(shape, this.#revisions(shape));
  }

  async #prepare(shape: Shape): Promise<void> {
    const revisions = this.#revisions(shape);
    const program = await this.device.prepare(
      stepPlan(this.model, this.state, {
        ...shape,
        project: this.#project(shape),
        own: shape.own && ownSteps(this.#ownAdapters(shape.own)),
        around: (draw) => this.#around(draw, shape),
      }),
    );
    // One that is prepared beside steps must not take the place of a newer one.
    const now = this.#revisions(shape);
    if (now.every((revision, i) => revision === revisions[i])) {
      this.#programs.keep(shape, { program, revisions });
    } else program.release();
  }

  /** The step that draws, and all that goes with it. */
  #around(draw: Step, shape: Shape): Plan {
    const masked = this.#masking.around(draw, shape);
    const allowed = this.#forbidding.around(masked, shape.forbidden);
    const adjusted = this.#adjusting.around(allowed, { size: shape.adjusted, outputs: shape.outputs });
    return [...adjusted, ...this.#scoring.steps(shape)];
  }

  /** Revisions of the banks whose steps a program holds. */
  #revisions({ banks, own }: Shape): number[] {
    return [...banks, ...(own ? [this.options.own!] : [])].map(({ revision }) => revision);
  }

  /** The whole tables of rows' adapters, in the order of their serial numbers; undefined where no adapter has its own. */
  #ownOf(rows: readonly Row[]): readonly ResidentTable[] | undefined {
    const { own: bank } = this.options;
    const slots = new Set<number>();
    for (const { own } of rows) if (own !== undefined) slots.add(own);
    if (slots.size === 0) return undefined;
    if (!bank) {
      throw new RangeError("Cannot run rows whose adapters have parameters of their own without their bank");
    }
    return [...slots].flatMap((slot) => bank.tablesOf(slot)).sort((a, b) => a.serial - b.serial);
  }

  #ownAdapters(tables: readonly ResidentTable[]): OwnAdapters {
    const slotsOf = (of: RowsOf) => this.#inputs.own![of];
    return { bank: this.options.own!, tables, slotsOf, scratch: this.#scratch };
  }

  #project({ banks, own: tables, merged }: Shape): Project {
    return (projection, { of, ...io }) => {
      const own = tables && ownLinearSteps(this.#ownAdapters(tables), of);
      const biases = own?.biases(projection.linears, { ...io, outs: projection.outs }) ?? [];
      const changesBiases = banks.some((bank) =>
        bank.method.changesBias && bank.acts("after", projection.linears)
      );
      // A method that changes biases changes own ones, too: they have to be there before its step.
      const mayMerge = biases.length === 0 || !changesBiases;
      const whole = mayMerge ? this.#merging.steps(projection, io, { kinds: merged, banks }) : undefined;
      if (whole) return [...whole, ...biases];
      const slotsOf = (bank: Bank) => this.#inputs.slots[banks.indexOf(bank)][of];
      return adaptedProjection(projection, io, { banks, slotsOf, own, scratch: this.#scratch });
    };
  }
}
