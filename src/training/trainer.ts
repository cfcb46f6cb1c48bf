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
import type { Model } from "../models/model.ts";
import { step } from "../plan.ts";
import { type HostTensor, type Tensor, tensor } from "../tensor.ts";
import { activationsPerRow } from "./activations.ts";
import type { TrainingBatch } from "./batch.ts";
import { placeModules } from "./modules.ts";
import { feed, sumOfLosses, type TrainingPlans, trainingPlans } from "./plans.ts";

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

/** How a trainer is set up. */
export interface TrainerOptions extends OptimizerOptions {
  readonly method: Method;
  /** Modules to train, by path; all must be linears of the model's layers. */
  readonly modules: ReadonlyMap<string, AdapterModule>;
  /** Tokens of one micro-batch. */
  readonly rows: number;
  /** Layers whose activations are kept at once; default: all while they fit in 2 GiB, else sqrt(layers). */
  readonly layersPerSegment?: number;
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

function defaultSegment({ config: { layers }, graph }: Model, rows: number): number {
  return 4 * rows * activationsPerRow(graph) <= 2 ** 31 ? layers : Math.ceil(Math.sqrt(layers));
}

/** See the module's documentation. */
export class Trainer {
  /** Numbers that are trained. */
  readonly parameters: number;
  readonly #plans: TrainingPlans;
  /** The adapter's tensors, of flat numbers. */
  readonly #tensors: (values: Float32Array) => Map<string, HostTensor>;
  readonly #params: Tensor;
  readonly #gradients: Tensor;
  readonly #m: Tensor;
  readonly #v: Tensor;
  readonly #hyper: Tensor;
  readonly #factor: Tensor;
  readonly #clip: Tensor;
  readonly #squares: Tensor;
  readonly #uploads: readonly Tensor[];
  #train!: Program;
  #evaluate!: Program;
  #optimize!: Program;
  #step = 0;

  private constructor(
    private readonly device: Device,
    model: Model,
    private readonly options: TrainerOptions,
  ) {
    const { trained, parameters, values, uploads, tensors } = placeModules(device, model, options);
    if (values.length === 0) throw new RangeError("Cannot train an adapter of no modules");
    const size = values.length;
    this.parameters = parameters;
    this.#tensors = tensors;
    this.#uploads = uploads;
    this.#params = device.upload(tensor(values));
    this.#gradients = device.alloc([size], "float32");
    this.#m = device.alloc([size], "float32");
    this.#v = device.alloc([size], "float32");
    this.#hyper = device.alloc([8], "float32");
    this.#factor = device.alloc([1], "float32");
    this.#squares = device.alloc([1], "float32");
    this.#clip = device.upload(tensor(Float32Array.of(NaN, 1)));
    this.#plans = trainingPlans({
      device,
      model,
      trained,
      params: this.#params,
      gradients: this.#gradients,
      rows: options.rows,
      layersPerSegment: options.layersPerSegment ?? defaultSegment(model, options.rows),
    });
  }

  /**
   * Makes everything ready on the device.
   *
   * @throws RangeError for modules that do not fit the model; TypeError for methods that cannot be trained.
   */
  static async open(device: Device, model: Model, options: TrainerOptions): Promise<Trainer> {
    const trainer = new Trainer(device, model, await readyFor(device, model, options));
    trainer.#train = await device.prepare(trainer.#plans.train());
    trainer.#evaluate = await device.prepare(trainer.#plans.evaluate);
    trainer.#optimize = await device.prepare(trainer.#optimizePlan());
    return trainer;
  }

  /** Optimizer steps taken. */
  get stepsTaken(): number {
    return this.#step;
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
      step(adamw, {
        params: this.#params,
        grads: this.#gradients,
        m: this.#m,
        v: this.#v,
        hyper: this.#hyper,
        clip: this.#clip,
      }, { count }),
      step(fill, { y: this.#gradients }, { count, value: 0 }),
    ];
  }

  /**
   * One optimizer step over micro-batches, at a learning rate. The work is submitted at once; the report arrives when the
   * device has done it, so a caller may submit the next step before.
   */
  submit(batches: readonly TrainingBatch[], lr: number): Promise<StepReport> {
    const { beta1, beta2, eps, weightDecay = 0, maxNorm = 1 } = this.options;
    const targetCount = batches.reduce((sum, batch) => sum + batch.targetCount, 0);
    if (targetCount === 0) throw new RangeError("Cannot train on batches without a target");
    const losses: Promise<unknown>[] = [];
    for (const batch of batches) {
      feed(this.device, this.#plans.state, batch);
      this.device.run(this.#train);
      losses.push(this.device.read(this.#plans.state.losses));
    }
    this.#step++;
    this.device.write(this.#factor, Float32Array.of(1 / targetCount));
    this.device.write(this.#hyper, adamwHyper({ step: this.#step, lr, beta1, beta2, eps, weightDecay }));
    this.device.run(this.#optimize);
    const norm = maxNorm > 0 ? this.device.read(this.#clip, { at: 0, count: 1 }) : Promise.resolve([NaN]);
    return Promise.all([norm, ...losses]).then(([[gradientNorm], ...parts]) => ({
      loss: (parts as Float32Array[]).reduce((sum, part) => sum + sumOfLosses(part), 0) / targetCount,
      targetCount,
      gradientNorm: Number(gradientNorm),
    })) as Promise<StepReport>;
  }

  /** Mean loss over batches' targets, nothing trained. */
  async evaluate(
    batches: Iterable<TrainingBatch>,
  ): Promise<{ readonly loss: number; readonly targetCount: number }> {
    let sum = 0;
    let targetCount = 0;
    for (const batch of batches) {
      feed(this.device, this.#plans.state, batch);
      this.device.run(this.#evaluate);
      sum += sumOfLosses(await this.device.read(this.#plans.state.losses) as Float32Array);
      targetCount += batch.targetCount;
    }
    return { loss: sum / targetCount, targetCount };
  }

  /** The gradients of a batch's mean loss by module path, in each module's own tensors' layout; for tests. */
  async gradients(
    batch: TrainingBatch,
  ): Promise<{ readonly loss: number; readonly tensors: Map<string, HostTensor> }> {
    feed(this.device, this.#plans.state, batch);
    this.device.run(this.#train);
    const losses = await this.device.read(this.#plans.state.losses) as Float32Array;
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
    for (const program of [this.#train, this.#evaluate, this.#optimize]) program?.release();
    this.#plans.release();
    for (
      const t of [
        this.#params,
        this.#gradients,
        this.#m,
        this.#v,
        this.#hyper,
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
