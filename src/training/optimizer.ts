/**
 * AdamW on all trained numbers, after their gradients were clipped together.
 *
 * @module
 */
import { adamw, adamwHyper } from "../../kernels/adamw.ts";
import { clipFactor } from "../../kernels/clip_factor.ts";
import { fill } from "../../kernels/fill.ts";
import { scale } from "../../kernels/scale.ts";
import { sumOfSquares } from "../../kernels/sum_of_squares.ts";
import type { Device, Program } from "../device/device.ts";
import { type Plan, type Step, step } from "../plan.ts";
import { slice, type Tensor, tensor } from "../tensor.ts";

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

/** A trainer's numbers: what a checkpoint keeps. */
export interface TrainerNumbers {
  readonly params: Float32Array;
  readonly m: Float32Array;
  readonly v: Float32Array;
  /** Optimizer steps taken. */
  readonly step: number;
}

/** See the module's documentation. */
export class Optimizer {
  readonly params: Tensor;
  readonly gradients: Tensor;
  readonly #m: Tensor;
  readonly #v: Tensor;
  /** AdamW's words, for the numbers of each rate. */
  readonly #hypers: readonly Tensor[];
  readonly #factor: Tensor;
  readonly #clip: Tensor;
  readonly #squares: Tensor;
  #program!: Program;
  #step = 0;

  /**
   * @param values Numbers as they are at the start.
   * @param secondAt Where those of the second learning rate begin: a multiple of 64.
   */
  constructor(
    private readonly device: Device,
    values: Float32Array,
    private readonly options: OptimizerOptions & { readonly secondAt: number },
  ) {
    const zeros = (count: number): Tensor => device.alloc([count], "float32");
    this.params = device.upload(tensor(values));
    [this.gradients, this.#m, this.#v] = [1, 2, 3].map(() => zeros(values.length));
    this.#hypers = [zeros(8), zeros(8)];
    [this.#factor, this.#squares] = [zeros(1), zeros(1)];
    this.#clip = device.upload(tensor(Float32Array.of(NaN, 1)));
  }

  /** Makes the step ready on the device. */
  async prepare(): Promise<void> {
    this.#program = await this.device.prepare(this.#plan());
  }

  /** Steps taken. */
  get stepsTaken(): number {
    return this.#step;
  }

  /** AdamW on the numbers of each rate. */
  #adamwSteps(): Step[] {
    const { secondAt } = this.options, count = this.params.shape[0];
    return [[0, secondAt], [secondAt, count]].flatMap(([begin, end], i) => {
      const part = (t: Tensor): Tensor => slice(t, begin, end - begin);
      if (begin === end) return [];
      const state = { m: part(this.#m), v: part(this.#v), hyper: this.#hypers[i], clip: this.#clip };
      return [
        step(adamw, { params: part(this.params), grads: part(this.gradients), ...state }, {
          count: end - begin,
        }),
      ];
    });
  }

  #plan(): Plan {
    const { maxNorm = 1 } = this.options, count = this.params.shape[0], squares = this.#squares;
    const clip = maxNorm > 0
      ? [
        step(sumOfSquares, { x: this.gradients, sum: squares }, { count }),
        step(clipFactor, { sums: squares, clip: this.#clip }, { count: 1, maxNorm }),
      ]
      : [];
    return [
      step(scale, { factor: this.#factor, y: this.gradients }, { count }),
      ...clip,
      ...this.#adamwSteps(),
      step(fill, { y: this.gradients }, { count, value: 0 }),
    ];
  }

  /**
   * Takes a step by the gradients, which are of a sum over so many targets, and zeroes them.
   *
   * @param rates Those of the first numbers, and of the second.
   * @returns The norm of all gradients before clipping; NaN where clipping is off.
   */
  async step(rates: readonly [number, number], targetCount: number): Promise<number> {
    const { beta1, beta2, eps, weightDecay = 0, maxNorm = 1 } = this.options;
    this.#step++;
    this.device.write(this.#factor, Float32Array.of(1 / targetCount));
    rates.forEach((lr, i) => {
      const words = adamwHyper({ step: this.#step, lr, beta1, beta2, eps, weightDecay });
      this.device.write(this.#hypers[i], words);
    });
    this.device.run(this.#program);
    return maxNorm > 0 ? Number((await this.device.read(this.#clip, { at: 0, count: 1 }))[0]) : NaN;
  }

  /** What a checkpoint keeps. */
  async numbers(): Promise<TrainerNumbers> {
    const step = this.#step;
    const [params, m, v] = await Promise.all(
      [this.params, this.#m, this.#v].map(async (t) => await this.device.read(t) as Float32Array),
    );
    return { params, m, v, step };
  }

  /** Continues from a checkpoint's numbers. Throws RangeError when they are another adapter's. */
  restore({ params, m, v, step }: TrainerNumbers): void {
    const count = this.params.shape[0];
    for (const [name, part] of Object.entries({ params, m, v })) {
      if (part.length !== count) {
        throw new RangeError(
          `Cannot resume: the checkpoint's "${name}" has ${part.length} numbers, the adapter ${count}`,
        );
      }
    }
    this.device.write(this.params, params);
    this.device.write(this.#m, m);
    this.device.write(this.#v, v);
    this.#step = step;
  }

  release(): void {
    this.#program?.release();
    const own = [this.params, this.gradients, this.#m, this.#v, this.#factor, this.#clip, this.#squares];
    for (const t of [...own, ...this.#hypers]) this.device.release(t);
  }
}
