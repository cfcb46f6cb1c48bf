/**
 * The losses of a run, few enough to be drawn and sent often.
 *
 * @module
 */
import type { LossCurve, LossPoint } from "./protocol.ts";

/** Points of a line at most; more are thinned to every second one. */
const mostPoints = 1000;

/** See the module's documentation. */
export class Losses {
  #training: LossPoint[];
  #heldOut: LossPoint[];
  /** Every so many steps have a point. */
  #stride: number;

  constructor({ training, heldOut, stride }: LossCurve = { training: [], heldOut: [], stride: 1 }) {
    this.#training = [...training];
    this.#heldOut = [...heldOut];
    this.#stride = stride;
  }

  step(step: number, loss: number): void {
    if (step > 1 && step % this.#stride !== 0) return;
    this.#training.push([step, loss]);
    while (this.#training.length > mostPoints) {
      this.#stride *= 2;
      this.#training = this.#training.filter(([at]) => at === 1 || at % this.#stride === 0);
    }
  }

  evaluation(step: number, loss: number): void {
    // A run that goes on may evaluate a step again.
    this.#heldOut = [...this.#heldOut.filter(([at]) => at < step), [step, loss]];
  }

  get curve(): LossCurve {
    return { training: [...this.#training], heldOut: [...this.#heldOut], stride: this.#stride };
  }
}
