/**
 * Trains an adapter: batches in, PEFT tensors out. All arithmetic is on the device; JavaScript only feeds it and reads losses.
 *
 * @module
 */
import type { AdapterModule, Method } from "../adapters/method.ts";
import type { Device, Program } from "../device/device.ts";
import { readyFor } from "../engine/base.ts";
import type { LoadedModel, Model } from "../models/model.ts";
import type { HostTensor, Tensor } from "../tensor.ts";
import { activationsPerRow } from "./activations.ts";
import type { TrainingBatch } from "./batch.ts";
import { placeModules } from "./modules.ts";
import {
  type LearntBatch,
  nextTokenObjective,
  type Objective,
  type ObjectiveIo,
  type OwnNumbers,
  type Purpose,
} from "./objective.ts";
import { Optimizer, type OptimizerOptions, type TrainerNumbers } from "./optimizer.ts";
import type { OwnParameters } from "./own_parameters.ts";
import { sumOfLosses } from "./plans.ts";

export type { OptimizerOptions, TrainerNumbers } from "./optimizer.ts";

/** What is trained: an adapter, and what stands beside its modules. */
interface ToTrain {
  readonly method: Method;
  /** Modules to train, by path; all must be linears of the model's layers. */
  readonly modules: ReadonlyMap<string, AdapterModule>;
  /** A module's name in the adapter's file, by its path; the path unless told. */
  nameOf?(path: string): string;
}

/** How a trainer of the next token is set up. */
export interface TrainerOptions extends ToTrain, OptimizerOptions {
  /** Tokens of one micro-batch. */
  readonly rows: number;
  /** Layers whose activations are kept at once; default: all while they fit in 2 GiB, else sqrt(layers). */
  readonly layersPerSegment?: number;
  /** Norms, embeddings and a head that are trained beside the modules. */
  readonly ownParameters?: OwnParameters;
}

/** How a trainer of any objective is set up. */
export interface ObjectiveOptions<B extends LearntBatch> extends OptimizerOptions {
  /** Absent where only the own numbers are trained. */
  readonly adapter?: ToTrain;
  readonly own?: OwnNumbers;
  objective(io: ObjectiveIo): Objective<B>;
}

/** What one step reports once the device has done it. */
export interface StepReport {
  /** Mean loss over the step's targets, natural logarithm. */
  readonly loss: number;
  readonly targetCount: number;
  /** Norm of all gradients before clipping; NaN where clipping is off. */
  readonly gradientNorm: number;
}

/** Layers whose activations are kept at once, unless told. */
export function defaultSegment(
  { config: { layers }, graph }: Pick<LoadedModel, "config" | "graph">,
  rows: number,
): number {
  return 4 * rows * activationsPerRow(graph) <= 2 ** 31 ? layers : Math.ceil(Math.sqrt(layers));
}

/** What a batch gives when nothing is trained. */
export interface BatchOutcome {
  /** Natural logarithms. */
  readonly losses: Float32Array;
  /** The objective's logits as they are; absent where it has none. */
  readonly logits?: Float32Array;
}

const none: OwnNumbers = { values: new Float32Array(), parameters: 0, tensors: () => new Map() };

function joined(a: Float32Array, b: Float32Array): Float32Array {
  const both = new Float32Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}

/** See the module's documentation. */
export class Trainer<B extends LearntBatch = TrainingBatch> {
  /** Numbers that are trained. */
  readonly parameters: number;
  readonly #objective: Objective<B>;
  /** The adapter's tensors, of flat numbers. */
  readonly #tensors: (values: Float32Array) => Map<string, HostTensor>;
  readonly #optimizer: Optimizer;
  readonly #uploads: readonly Tensor[];
  readonly #programs: Readonly<Record<Purpose, Map<number, Program>>> = {
    train: new Map(),
    evaluate: new Map(),
  };

  private constructor(
    private readonly device: Device,
    model: LoadedModel,
    options: ObjectiveOptions<B>,
  ) {
    const { adapter, own = none } = options;
    const modules = placeModules(device, model, adapter);
    const ownAt = modules.values.length, values = joined(modules.values, own.values);
    if (values.length === 0) throw new RangeError("Cannot train an adapter of no modules");
    this.parameters = modules.parameters + own.parameters;
    this.#tensors = (values) =>
      new Map([...modules.tensors(values.subarray(0, ownAt)), ...own.tensors(values.subarray(ownAt))]);
    this.#uploads = modules.uploads;
    this.#optimizer = new Optimizer(device, values, { ...options, secondAt: ownAt });
    const { params, gradients } = this.#optimizer;
    this.#objective = options.objective({ trained: modules.trained, params, gradients, ownAt });
  }

  /**
   * Makes everything ready on the device.
   *
   * @throws RangeError for modules that do not fit the model; TypeError for methods that cannot be trained.
   */
  static async open(device: Device, model: Model, options: TrainerOptions): Promise<Trainer> {
    const { rows, layersPerSegment = defaultSegment(model, rows), ownParameters: own, ...rest } = options;
    return await Trainer.openFor(device, model, {
      ...rest,
      adapter: options,
      own,
      objective: (io) => nextTokenObjective(device, model, { ...io, rows, layersPerSegment, own }),
    });
  }

  /** The same for any objective; throws as {@linkcode Trainer.open}. */
  static async openFor<B extends LearntBatch>(
    device: Device,
    model: LoadedModel,
    options: ObjectiveOptions<B>,
  ): Promise<Trainer<B>> {
    const adapter = options.adapter && await readyFor(device, model, options.adapter);
    const trainer = new Trainer(device, model, { ...options, adapter });
    for (const rows of trainer.#objective.sizes) {
      await trainer.#prepare("train", rows);
      await trainer.#prepare("evaluate", rows);
    }
    await trainer.#optimizer.prepare();
    return trainer;
  }

  /** Prepares the program of so many rows, unless it is there. */
  async #prepare(purpose: Purpose, rows: number): Promise<void> {
    const programs = this.#programs[purpose];
    if (!programs.has(rows)) programs.set(rows, await this.device.prepare(this.#objective[purpose](rows)));
  }

  /** Prepares what {@linkcode Trainer.submit} needs for batches; at once where batches of their sizes came before. */
  async ready(batches: readonly B[]): Promise<void> {
    for (const batch of batches) await this.#prepare("train", this.#objective.rowsOf(batch));
  }

  /** Optimizer steps taken. */
  get stepsTaken(): number {
    return this.#optimizer.stepsTaken;
  }

  /** Feeds a batch and runs it; its plan is prepared. */
  #run(batch: B, purpose: Purpose): Promise<unknown> {
    const rows = this.#objective.rowsOf(batch), program = this.#programs[purpose].get(rows);
    if (!program) throw new TypeError(`Cannot run a batch of ${rows} rows: it was not prepared`);
    this.#objective.feed(batch, purpose);
    this.device.run(program);
    const { losses, lossCount } = this.#objective;
    return this.device.read(losses, { at: 0, count: lossCount(batch) });
  }

  /**
   * One optimizer step over micro-batches that are `ready`, at a learning rate. The work is submitted at once; the report
   * arrives when the device has done it, so a caller may submit the next step before.
   *
   * @param ownLr The rate of the numbers beside the adapter's modules; the same unless told.
   */
  submit(batches: readonly B[], lr: number, ownLr: number = lr): Promise<StepReport> {
    const targetCount = batches.reduce((sum, batch) => sum + batch.targetCount, 0);
    if (targetCount === 0) throw new RangeError("Cannot train on batches without a target");
    const losses = batches.map((batch) => this.#run(batch, "train"));
    const norm = this.#optimizer.step([lr, ownLr], targetCount);
    return Promise.all([norm, ...losses]).then(([gradientNorm, ...parts]) => ({
      loss: (parts as Float32Array[]).reduce((sum, part) => sum + sumOfLosses(part), 0) / targetCount,
      targetCount,
      gradientNorm,
    }));
  }

  /** The losses and logits of a batch, nothing trained. */
  async outcome(batch: B): Promise<BatchOutcome> {
    await this.#prepare("evaluate", this.#objective.rowsOf(batch));
    const reading = this.#run(batch, "evaluate"), { logits: scores } = this.#objective;
    // Both are asked for at once: the next batch overwrites them.
    const [losses, logits] = await Promise.all([reading, scores && this.device.read(scores)]);
    return { losses: losses as Float32Array, logits: logits as Float32Array | undefined };
  }

  /** Mean loss over batches' targets, nothing trained. */
  async evaluate(
    batches: Iterable<B>,
  ): Promise<{ readonly loss: number; readonly targetCount: number }> {
    let sum = 0;
    let targetCount = 0;
    for (const batch of batches) {
      sum += sumOfLosses((await this.outcome(batch)).losses);
      targetCount += batch.targetCount;
    }
    return { loss: sum / targetCount, targetCount };
  }

  /** The gradients of a batch's mean loss by module path, in each module's own tensors' layout; for tests. */
  async gradients(
    batch: B,
  ): Promise<{ readonly loss: number; readonly tensors: Map<string, HostTensor> }> {
    await this.ready([batch]);
    const losses = await this.#run(batch, "train") as Float32Array;
    const { gradients } = this.#optimizer, flat = await this.device.read(gradients) as Float32Array;
    this.device.write(gradients, new Float32Array(flat.length));
    const mean = flat.map((g) => g / batch.targetCount);
    return { loss: sumOfLosses(losses) / batch.targetCount, tensors: this.#tensors(mean) };
  }

  /** The adapter as PEFT's tensors. */
  async tensors(): Promise<Map<string, HostTensor>> {
    return this.#tensors(await this.device.read(this.#optimizer.params) as Float32Array);
  }

  /** What a checkpoint keeps. */
  numbers(): Promise<TrainerNumbers> {
    return this.#optimizer.numbers();
  }

  /** Continues from a checkpoint's numbers. Throws RangeError when they are another adapter's. */
  restore(numbers: TrainerNumbers): void {
    this.#optimizer.restore(numbers);
  }

  release(): void {
    for (const programs of Object.values(this.#programs)) {
      for (const program of programs.values()) program.release();
    }
    this.#objective.release();
    this.#optimizer.release();
    for (const t of this.#uploads) this.device.release(t);
  }
}
