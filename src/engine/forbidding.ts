/**
 * Tokens that may not be drawn in a step: their logits are put aside while it draws, and are there again after it.
 *
 * @module
 */
import { exchange } from "../../kernels/exchange.ts";
import type { Device } from "../device/device.ts";
import { type Plan, step } from "../plan.ts";
import { type Tensor, tensor } from "../tensor.ts";
import type { Output } from "./step_inputs.ts";

/** Finite, for an infinite logit is a failure; at any temperature below {@linkcode maxTemperature} it weighs nothing. */
const lowest = -3.4028234663852886e38;

/** Above it all tokens are as likely as float32 can tell. */
export const maxTemperature = 1e30;

/** A place that no tensor has. */
const nowhere = 0xffffffff;

/** Fewest places of a plan, so that there are few plans. */
const fewest = 64;

/** See the module's documentation. */
export class Forbidding {
  #tensors: { readonly at: Tensor; readonly kept: Tensor } | undefined;

  constructor(
    private readonly device: Device,
    private readonly options: {
      readonly logits: Tensor;
      readonly vocabSize: number;
      /** Forbidden tokens of all outputs of a step at most. */
      readonly most: number;
    },
  ) {}

  /** How many places a step's plan has, for so many or more forbidden tokens; 0 for none. */
  sizeFor(outputs: readonly Output[]): number {
    const count = outputs.reduce((sum, { forbidden }) => sum + (forbidden?.size ?? 0), 0);
    const { most } = this.options;
    if (count > most) {
      throw new RangeError(`Cannot forbid ${count} tokens in a step: it has room for ${most}`);
    }
    return count === 0 ? 0 : Math.min(most, Math.max(fewest, 2 ** Math.ceil(Math.log2(count))));
  }

  /** The steps that draw, and what goes before and after them. */
  around(draw: Plan, size: number): Plan {
    if (size === 0) return draw;
    const { logits } = this.options;
    const { at, kept } = this.#made();
    const exchanged = step(exchange, { at, x: logits, kept }, {
      count: size,
      size: logits.shape[0] * logits.shape[1],
    });
    return [exchanged, ...draw, exchanged];
  }

  /** Writes a step's forbidden tokens; in order with runs. */
  write(outputs: readonly Output[], size: number): void {
    if (size === 0) return;
    const places = new Uint32Array(size).fill(nowhere);
    let count = 0;
    outputs.forEach(({ forbidden }, output) => {
      for (const id of forbidden ?? []) places[count++] = output * this.options.vocabSize + id;
    });
    this.device.write(this.#made().at, places);
  }

  #made(): { readonly at: Tensor; readonly kept: Tensor } {
    const { most } = this.options;
    return this.#tensors ??= {
      at: this.device.alloc([most], "uint32"),
      kept: this.device.upload(tensor(new Float32Array(most).fill(lowest))),
    };
  }
}
