/**
 * Log-probabilities of a step's tokens, worked out on the device beside its draw: the next step need not wait for them.
 *
 * @module
 */
import {
  drawnToken,
  mostLogprobs,
  mostTop,
  nothingWanted,
  tokenLogprobs,
} from "../../kernels/token_logprobs.ts";
import type { Device } from "../device/device.ts";
import { type Plan, step } from "../plan.ts";
import { asFloat32, slice, type Tensor } from "../tensor.ts";
import type { TokenLogprobs } from "./generate.ts";
import type { Output } from "./step_inputs.ts";

/** What an output's log-probabilities are asked for. */
export interface Wanted {
  /** The token; absent: the one that is drawn. */
  readonly token?: number;
  /** How many of the likeliest tokens, 0 to 20. */
  readonly count: number;
}

/** Log-probabilities of an output that wanted them. */
export type Scores = (output: number) => TokenLogprobs;

/** Bound buffers start at multiples of 256 bytes: 64 words. */
const alignment = 64;

interface Made {
  /** (maxOutputs, 2), uint32. */
  readonly wanted: Tensor;
  /** One tensor, so that one read gives both parts. */
  readonly all: Tensor;
  readonly top: Tensor;
  readonly logprobs: Tensor;
}

/** See the module's documentation. Its tensors are made when the first log-probabilities are asked for. */
export class Scoring {
  #tensors: Made | undefined;
  /** The first word of the log-probabilities. */
  readonly #at: number;

  constructor(
    private readonly device: Device,
    private readonly options: {
      readonly logits: Tensor;
      /** (maxOutputs), uint32: tokens that were drawn. */
      readonly sampled: Tensor;
      readonly vocabSize: number;
    },
  ) {
    this.#at = alignment * Math.ceil(options.sampled.shape[0] * mostTop / alignment);
  }

  /** What follows a step's draw, once its logits are themselves again. */
  steps({ scored, outputs }: { readonly scored: boolean; readonly outputs: number }): Plan {
    if (!scored) return [];
    const { logits, sampled, vocabSize: vocab } = this.options, { wanted, top, logprobs } = this.#made();
    return [step(tokenLogprobs, { logits, wanted, sampled, top, logprobs }, { rows: outputs, vocab })];
  }

  /** Writes what a step's outputs want, in order with runs; of `padded` outputs the others want nothing. */
  write(outputs: readonly Output[], padded: number): void {
    const wanted = new Uint32Array(2 * padded).fill(nothingWanted);
    outputs.forEach((output, o) => {
      if (!output.wanted) return;
      wanted[2 * o] = output.wanted.token ?? drawnToken;
      wanted[2 * o + 1] = output.wanted.count;
    });
    this.device.write(this.#made().wanted, wanted);
  }

  /** Reads the results of the step that was submitted last. */
  async read(outputs: readonly Output[]): Promise<Scores> {
    const count = this.#at + mostLogprobs * outputs.length;
    const words = await this.device.read(this.#made().all, { at: 0, count }) as Uint32Array;
    const floats = new Float32Array(words.buffer, words.byteOffset, words.length);
    return (output) => {
      const own = this.#at + mostLogprobs * output, first = mostTop * output;
      const most = Math.min(outputs[output].wanted?.count ?? 0, this.options.vocabSize);
      const top = Array.from({ length: most }, (_, k) => ({
        tokenId: words[first + k],
        logprob: floats[own + 1 + k],
      }));
      return { logprob: floats[own], top };
    };
  }

  #made(): Made {
    if (this.#tensors) return this.#tensors;
    const [outputs] = this.options.sampled.shape;
    const all = this.device.alloc([this.#at + mostLogprobs * outputs], "uint32");
    return this.#tensors = {
      wanted: this.device.alloc([outputs, 2], "uint32"),
      all,
      top: slice(all, 0, [outputs, mostTop]),
      logprobs: asFloat32(slice(all, this.#at, [outputs, mostLogprobs])),
    };
  }
}
