/**
 * Biases of tokens, and penalties of those that came before: logits are changed while a step draws, and are themselves again
 * after it. A token that is still in flight counts, too: the device knows it.
 *
 * @module
 */
import { adjustLogits, entryWords, inPrompt } from "../../kernels/adjust_logits.ts";
import { restoreLogits } from "../../kernels/restore_logits.ts";
import type { Device } from "../device/device.ts";
import { type Plan, step } from "../plan.ts";
import type { Tensor } from "../tensor.ts";
import type { GenerateRequest, Sampling } from "./generate.ts";
import type { Output } from "./step_inputs.ts";

/** What an output's logits are changed by. */
export interface Adjustment {
  readonly presence: number;
  readonly frequency: number;
  readonly repetition: number;
  /** (entries, 3): see the `adjust_logits` kernel. */
  readonly entries: Uint32Array;
  /** The output of the step before whose token is one more. */
  readonly from?: number;
}

/** Whether a request's logits are drawn from as they are. */
export const isPlain = (
  { presencePenalty = 0, frequencyPenalty = 0, repetitionPenalty = 1, logitBias }: Sampling,
): boolean => presencePenalty === 0 && frequencyPenalty === 0 && repetitionPenalty === 1 && !logitBias?.size;

/** A sequence's tokens, counted as far as they are known, with their biases. */
export class TokenCounts {
  readonly #at = new Map<number, number>();
  readonly #sampling: Sampling;
  #words = new Uint32Array(64 * entryWords);
  #floats = new Float32Array(this.#words.buffer);
  #counted: number;

  constructor({ sampling, promptTokenIds }: GenerateRequest) {
    this.#sampling = sampling;
    this.#counted = promptTokenIds.length;
    for (const [token, bias] of sampling.logitBias ?? []) this.#floats[this.#entry(token) + 2] = bias;
    if ((sampling.repetitionPenalty ?? 1) === 1) return;
    for (const token of promptTokenIds) this.#words[this.#entry(token) + 1] = inPrompt;
  }

  /** What the next output's logits are changed by, once all of `tokens` are counted. */
  adjustment(tokens: readonly number[], from?: number): Adjustment {
    const { presencePenalty = 0, frequencyPenalty = 0, repetitionPenalty = 1 } = this.#sampling;
    for (; this.#counted < tokens.length; this.#counted++) {
      this.#words[this.#entry(tokens[this.#counted]) + 1]++;
    }
    return {
      ...{ presence: presencePenalty, frequency: frequencyPenalty, repetition: repetitionPenalty },
      entries: this.#words.subarray(0, entryWords * this.#at.size),
      from,
    };
  }

  /** The first word of a token's entry. */
  #entry(token: number): number {
    const known = this.#at.get(token);
    if (known !== undefined) return known;
    const at = entryWords * this.#at.size;
    this.#at.set(token, at);
    if (at === this.#words.length) {
      const words = new Uint32Array(2 * at);
      words.set(this.#words);
      this.#words = words;
      this.#floats = new Float32Array(words.buffer);
    }
    this.#words[at] = token;
    return at;
  }
}

/** Fewest entries of a plan, and how much larger the next plan's are: there are few plans. */
const fewest = 256, growth = 4;

/** Words of a row's strengths, and of its list. */
const strengthWords = 3, listWords = 3;

/** An output that no step has. */
const nowhere = 0xffffffff;

/** Tensors for rows of any number of entries, and for so many entries. */
interface RowTensors {
  readonly strengths: Tensor;
  readonly lists: Tensor;
  readonly extra: Tensor;
}

interface EntryTensors {
  readonly entries: Tensor;
  readonly kept: Tensor;
}

/** See the module's documentation. */
export class Adjusting {
  readonly #bySize = new Map<number, EntryTensors>();
  #madeRows: RowTensors | undefined;

  constructor(
    private readonly device: Device,
    private readonly options: {
      readonly logits: Tensor;
      /** (maxOutputs), uint32: tokens of the step before. */
      readonly sampled: Tensor;
      readonly vocabSize: number;
    },
  ) {}

  /** How many entries a step's plan has room for; 0 where no output's logits are changed. */
  sizeFor(outputs: readonly Output[]): number {
    const lists = outputs.flatMap(({ adjustment }) => adjustment ? [adjustment.entries.length] : []);
    if (lists.length === 0) return 0;
    const count = lists.reduce((sum, length) => sum + length, 0) / entryWords;
    let size = fewest;
    while (size < count) size *= growth;
    return size;
  }

  /** The steps that draw, and what goes before and after them. */
  around(draw: Plan, { size, outputs }: { readonly size: number; readonly outputs: number }): Plan {
    if (size === 0) return draw;
    const { logits, sampled, vocabSize: vocab } = this.options;
    const { strengths, lists, extra } = this.#rows(), { entries, kept } = this.#entries(size);
    const words = { rows: outputs, vocab, size };
    return [
      step(adjustLogits, { logits, strengths, lists, entries, sampled, kept, extra }, {
        ...words,
        outputs: sampled.shape[0],
      }),
      ...draw,
      step(restoreLogits, { logits, lists, entries, kept, extra }, words),
    ];
  }

  /** Writes a step's lists, in order with runs; those of `padded` outputs that take no part are empty. */
  write(
    outputs: readonly Output[],
    { size, padded }: { readonly size: number; readonly padded: number },
  ): void {
    if (size === 0) return;
    const strengths = new Float32Array(strengthWords * padded), lists = new Uint32Array(listWords * padded);
    const all = new Uint32Array(
      outputs.reduce((sum, { adjustment }) => sum + (adjustment?.entries.length ?? 0), 0),
    );
    let end = 0;
    for (let o = 0; o < padded; o++) {
      const { presence = 0, frequency = 0, repetition = 1, entries, from = nowhere } =
        outputs[o]?.adjustment ??
          {};
      const begin = end;
      if (entries) all.set(entries, begin);
      end += entries?.length ?? 0;
      strengths.set([presence, frequency, repetition], strengthWords * o);
      lists.set([begin / entryWords, end / entryWords, from], listWords * o);
    }
    const rows = this.#rows();
    this.device.write(rows.strengths, strengths);
    this.device.write(rows.lists, lists);
    if (end > 0) this.device.write(this.#entries(size).entries, all);
  }

  #rows(): RowTensors {
    const [outputs] = this.options.sampled.shape;
    return this.#madeRows ??= {
      strengths: this.device.alloc([outputs, strengthWords], "float32"),
      lists: this.device.alloc([outputs, listWords], "uint32"),
      extra: this.device.alloc([outputs], "uint32"),
    };
  }

  #entries(size: number): EntryTensors {
    let made = this.#bySize.get(size);
    if (!made) {
      made = {
        entries: this.device.alloc([size, entryWords], "uint32"),
        kept: this.device.alloc([size + this.options.sampled.shape[0]], "float32"),
      };
      this.#bySize.set(size, made);
    }
    return made;
  }
}
