/**
 * Trains an adapter: batches in, PEFT tensors out. All arithmetic is on the device; JavaScript only feeds it and reads losses.
 *
 * @module
 */
import { adamw, adamwHyper } from "../../kernels/adamw.ts";
import { clipFactor } from "../../kernels/clip_factor.ts";
import { fill } from "../../kernels/fill.ts";
import { scale } from "../../kernels/scale.ts";
import { sumOfSquares } from "../../kernels/sum_of_squares.ts";
import type { AdapterModule, Method } from "../adapters/method.ts";
import type { Device, Program } from "../device/device.ts";
import { readyFor } from "../engine/base.ts";
import type { LoadedModel, Model } from "../models/model.ts";
import { type Step, step } from "../plan.ts";
import { type HostTensor, slice, type Tensor, tensor } from "../tensor.ts";
import { activationsPerRow } from "./activations.ts";
import type { TrainingBatch } from "./batch.ts";
import { placeModules } from "./modules.ts";
import {
  type LearntBatch,
  nextTokenObjective,
  type Objective,
  type ObjectiveIo,
  type OwnNumbers,
} from "./objective.ts";
import { sumOfLosses } from "./plans.ts";

/** AdamW's numbers, by torch's names. */
export interface OptimizerOptions {
  readonly beta1?: number;
  readonly beta2?: number;
  readonly eps?: number;
  /** Default 0. */
  readonly weightDecay?: number;
  /** Gradients are scaled down to this global norm; default 1, 0 for no clipping. */
  readonly maxNorm?: number;
}

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
}

/** How a trainer of any objective is set up. */
export interface ObjectiveOptions<B extends LearntBatch> extends OptimizerOptions {
  /** Absent where only the own numbers are trained. */
  readonly adapter?: ToTrain;
  readonly own?: OwnNumbers;
  objective(io: ObjectiveIo): Objective<B>;
}

/** A trainer's numbers: what a checkpoint keeps. */
export interface TrainerNumbers {
  readonly params: Float32Array;
  readonly m: Float32Array;
  readonly v: Float32Array;
  /** Optimizer steps taken. */
  readonly step: number;
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

/** The programs of batches of one number of rows. */
interface Programs {
  readonly train: Program;
  readonly evaluate: Program;
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
  readonly #params: Tensor;
  readonly #gradients: Tensor;
  readonly #m: Tensor;
  readonly #v: Tensor;
  /** AdamW's words for the adapter's modules, and for the numbers beside them. */
  readonly #hypers: readonly Tensor[];
  readonly #factor: Tensor;
  readonly #clip: Tensor;
  readonly #squares: Tensor;
  readonly #uploads: readonly Tensor[];
  /** Where the numbers start that stand beside the adapter's modules. */
  readonly #ownAt: number;
  readonly #programs = new Map<number, Programs>();
  #optimize!: Program;
  #step = 0;

  private constructor(
    private readonly device: Device,
    model: LoadedModel,
    private readonly options: ObjectiveOptions<B>,
  ) {
    const { adapter, own = none } = options;
    const modules = placeModules(device, model, adapter);
    this.#ownAt = modules.values.length;
    const values = joined(modules.values, own.values), size = values.length;
    if (size === 0) throw new RangeError("Cannot train an adapter of no modules");
    this.parameters = modules.parameters + own.parameters;
    this.#tensors = (values) =>
      new Map([
        ...modules.tensors(values.subarray(0, this.#ownAt)),
        ...own.tensors(values.subarray(this.#ownAt)),
      ]);
    this.#uploads = modules.uploads;
    this.#params = device.upload(tensor(values));
    this.#gradients = device.alloc([size], "float32");
    this.#m = device.alloc([size], "float32");
    this.#v = device.alloc([size], "float32");
    this.#hypers = [0, 1].map(() => device.alloc([8], "float32"));
    this.#factor = device.alloc([1], "float32");
    this.#squares = device.alloc([1], "float32");
    this.#clip = device.upload(tensor(Float32Array.of(NaN, 1)));
    this.#objective = options.objective({
      trained: modules.trained,
      params: this.#params,
      gradients: this.#gradients,
      ownAt: this.#ownAt,
    });
  }

  /**
   * Makes everything ready on the device.
   *
   * @throws RangeError for modules that do not fit the model; TypeError for methods that cannot be trained.
   */
  static async open(device: Device, model: Model, options: TrainerOptions): Promise<Trainer> {
    const { rows, layersPerSegment = defaultSegment(model, rows), ...rest } = options;
    return await Trainer.openFor(device, model, {
      ...rest,
      adapter: options,
      objective: (io) => nextTokenObjective(device, model, { ...io, rows, layersPerSegment }),
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
    for (const rows of trainer.#objective.sizes) await trainer.#prepare(rows);
    trainer.#optimize = await device.prepare(trainer.#optimizePlan());
    return trainer;
  }

  /** The programs of so many rows. */
  async #prepare(rows: number): Promise<Programs> {
    const known = this.#programs.get(rows);
    if (known) return known;
    const made = {
      train: await this.device.prepare(this.#objective.train(rows)),
      evaluate: await this.device.prepare(this.#objective.evaluate(rows)),
    };
    this.#programs.set(rows, made);
    return made;
  }

  /** Prepares what {@linkcode Trainer.submit} needs for batches; at once where batches of their sizes came before. */
  async ready(batches: readonly B[]): Promise<void> {
    for (const batch of batches) await this.#prepare(this.#objective.rowsOf(batch));
  }

  /** Optimizer steps taken. */
  get stepsTaken(): number {
    return this.#step;
  }

  /** AdamW on the numbers of the adapter's modules, and on those beside them. */
  #adamwSteps(): Step[] {
    const count = this.#params.shape[0], [modules, beside] = this.#hypers;
    return [[0, this.#ownAt, modules] as const, [this.#ownAt, count, beside] as const].flatMap(
      ([begin, end, hyper]) => {
        const part = (t: Tensor): Tensor => slice(t, begin, end - begin);
        if (begin === end) return [];
        return [
          step(adamw, {
            params: part(this.#params),
            grads: part(this.#gradients),
            m: part(this.#m),
            v: part(this.#v),
            hyper,
            clip: this.#clip,
          }, { count: end - begin }),
        ];
      },
    );
  }

  #optimizePlan() {
    const { maxNorm = 1 } = this.options;
    const count = this.#params.shape[0];
    const squares = this.#squares;
    const clip = maxNorm > 0
      ? [
        step(sumOfSquares, { x: this.#gradients, sum: squares }, { count }),
        step(clipFactor, { sums: squares, clip: this.#clip }, { count: 1, maxNorm }),
      ]
      : [];
    return [
      step(scale, { factor: this.#factor, y: this.#gradients }, { count }),
      ...clip,
      ...this.#adamwSteps(),
      step(fill, { y: this.#gradients }, { count, value: 0 }),
    ];
  }

  /** Feeds a batch and runs it; its plan is prepared. */
  #run(batch: B, name: keyof Programs): Promise<unknown> {
    const rows = this.#objective.rowsOf(batch), programs = this.#programs.get(rows);
    if (!programs) throw new TypeError(`Cannot run a batch of ${rows} rows: it was not prepared`);
    this.#objective.feed(batch);
    this.device.run(programs[name]);
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
    const { beta1, beta2, eps, weightDecay = 0, maxNorm = 1 } = this.options;
    const targetCount = batches.reduce((sum, batch) => sum + batch.targetCount, 0);
    if (targetCount === 0) throw new RangeError("Cannot train on batches without a target");
    const losses = batches.map((batch) => this.#run(batch, "train"));
    this.#step++;
    this.device.write(this.#factor, Float32Array.of(1 / targetCount));
    [lr, ownLr].forEach((lr, i) => {
      this.device.write(
        this.#hypers[i],
        adamwHyper({ step: this.#step, lr, beta1, beta2, eps, weightDecay }),
      );
    });
    this.device.run(this.#optimize);
    const norm = maxNorm > 0 ? this.device.read(this.#clip, { at: 0, count: 1 }) : Promise.resolve([NaN]);
    return Promise.all([norm, ...losses]).then(([[gradientNorm], ...parts]) => ({
      loss: (parts as Float32Array[]).reduce((sum, part) => sum + sumOfLosses(part), 0) / targetCount,
      targetCount,
      gradientNorm: Number(gradientNorm),
    })) as Promise<StepReport>;
  }

  /** The losses and logits of a batch, nothing trained. */
  async outcome(batch: B): Promise<BatchOutcome> {
    await this.ready([batch]);
    const losses = this.#run(batch, "evaluate"), { logits } = this.#objective;
    return {
      losses: await losses as Float32Array,
      logits: logits && await this.device.read(logits) as Float32Array,
    };
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
    const flat = await this.device.read(this.#gradients) as Float32Array;
    this.device.write(this.#gradients, new Float32Array(flat.length));
    const mean = flat.map((g) => g / batch.targetCount);
    return { loss: sumOfLosses(losses) / batch.targetCount, tensors: this.#tensors(mean) };
  }

  /** The adapter as PEFT's tensors. */
  async tensors(): Promise<Map<string, HostTensor>> {
    return this.#tensors(await this.device.read(this.#params) as Float32Array);
  }

  /** What a checkpoint keeps. */
  async numbers(): Promise<TrainerNumbers> {
    const [params, m, v] = await Promise.all(
      [this.#params, this.#m, this.#v].map(async (t) => await this.device.read(t) as Float32Array),
    );
    return { params, m, v, step: this.#step };
  }

  /** Continues from a checkpoint's numbers. Throws RangeError when they are another adapter's. */
  restore({ params, m, v, step }: TrainerNumbers): void {
    const count = this.#params.shape[0];
    for (const [name, part] of Object.entries({ params, m, v })) {
      if (part.length !== count) {
        throw new RangeError(
          `Cannot resume: the checkpoint's "${name}" has ${part.length} numbers, the adapter ${count}`,
        );
      }
    }
    this.device.write(this.#params, params);
    this.device.write(this.#m, m);
    this.device.write(this.#v, v);
    this.#step = step;
  }

  release(): void {
    for (const { train, evaluate } of this.#programs.values()) {
      train.release();
      evaluate.release();
    }
    this.#optimize?.release();
    this.#objective.release();
    for (
      const t of [
        this.#params,
        this.#gradients,
        this.#m,
        this.#v,
        ...this.#hypers,
        this.#factor,
        this.#clip,
        this.#squares,
        ...this.#uploads,
      ]
    ) {
      this.device.release(t);
    }
  }
}
