/**
 * Tokens that a sequence's constraint allows: a step draws from logits that are masked. The logits themselves stay.
 *
 * @module
 */
import { maskLogits, noMask } from "../../kernels/mask_logits.ts";
import type { Device } from "../device/device.ts";
import { type Plan, type Step, step } from "../plan.ts";
import type { Tensor } from "../tensor.ts";
import type { Output } from "./step_inputs.ts";

/** Words of a mask: a bit a token. */
export const maskWords = (vocabSize: number): number => Math.ceil(vocabSize / 32);

/** A mask without some tokens; the mask as it is where it allows no others. */
export function maskWithout(
  mask: Uint32Array,
  tokens: ReadonlySet<number>,
  vocabSize: number,
): Uint32Array {
  const rest = mask.slice();
  for (const token of tokens) rest[token >>> 5] &= ~(1 << (token & 31));
  const beyond = vocabSize % 32;
  // Bits past the vocabulary are no tokens.
  const last = beyond === 0 ? 0xffffffff : 2 ** beyond - 1;
  const isLeft = rest.some((word, i) => (i === rest.length - 1 ? word & last : word) !== 0);
  return isLeft ? rest : mask;
}

interface Made {
  /** (maxOutputs), uint32. */
  readonly which: Tensor;
  /** (maxOutputs, words), uint32. */
  readonly masks: Tensor;
  /** (maxOutputs, vocab), float32. */
  readonly masked: Tensor;
}

/** See the module's documentation. Its tensors are made when the first mask comes. */
export class Masking {
  #tensors: Made | undefined;

  constructor(
    private readonly device: Device,
    private readonly options: { readonly logits: Tensor; readonly vocabSize: number },
  ) {}

  /** The step that draws, from masked logits. */
  around(draw: Step, { masked, outputs }: { readonly masked: boolean; readonly outputs: number }): Plan {
    if (!masked) return [draw];
    const { logits, vocabSize: vocab } = this.options, made = this.#made();
    return [
      step(maskLogits, { logits, ...made }, { rows: outputs, vocab }),
      { ...draw, buffers: { ...draw.buffers, logits: made.masked } },
    ];
  }

  /** Writes the outputs' masks, in order with runs; of `padded` outputs the others have none. */
  write(outputs: readonly Output[], padded: number): void {
    const masks = [...new Set(outputs.flatMap(({ mask }) => mask ?? []))];
    if (masks.length === 0) return;
    const words = maskWords(this.options.vocabSize), made = this.#made();
    const numbers = new Map(masks.map((mask, number) => [mask, number]));
    const which = new Uint32Array(padded).fill(noMask), all = new Uint32Array(words * masks.length);
    outputs.forEach(({ mask }, output) => {
      if (mask) which[output] = numbers.get(mask)!;
    });
    masks.forEach((mask, number) => all.set(mask, number * words));
    this.device.write(made.which, which);
    this.device.write(made.masks, all);
  }

  #made(): Made {
    const { logits: { shape: [outputs, vocab] }, vocabSize } = this.options;
    return this.#tensors ??= {
      which: this.device.alloc([outputs], "uint32"),
      masks: this.device.alloc([outputs, maskWords(vocabSize)], "uint32"),
      masked: this.device.alloc([outputs, vocab], "float32"),
    };
  }
}
