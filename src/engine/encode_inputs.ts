/**
 * What an encoder is fed, packed: one host array, one device tensor, one write a batch; pixels have a tensor of their own.
 *
 * @module
 */
import { noSlot } from "../../kernels/record.ts";
import type { Bank, Placed } from "../adapters/bank.ts";
import type { Device } from "../device/device.ts";
import type { EncodeTensors } from "../models/encode_plan.ts";
import { slice, type Tensor } from "../tensor.ts";
import type { BankSlots } from "./step_inputs.ts";

/** A whole sequence: its rows, and its adapter. */
export interface EncodeSequence {
  /** Of each row; 0 where rows are patches. */
  readonly tokens: ArrayLike<number>;
  readonly positions: ArrayLike<number>;
  readonly types: ArrayLike<number>;
  /** (rows, numbers of a patch), row-major; of models of images. */
  readonly patches?: Float32Array;
  readonly adapter?: Placed;
  /** Its slot in the bank of own parameters. */
  readonly own?: number;
}

/** Bound buffers start at multiples of 256 bytes: 64 words. */
const alignment = 64;

/** First words of a place for a bank's slots. */
interface SlotsAt {
  readonly rows: number;
  readonly outputs: number;
}

const names = ["tokens", "positions", "types", "first", "last"] as const;

/** See the module's documentation. */
export class EncodeInputs {
  readonly tensors: EncodeTensors;
  /** Places for slots: a batch's first bank has the first place, and so on. */
  readonly slots: readonly BankSlots[];
  /** Slots in the bank of own parameters. */
  readonly own: BankSlots;
  readonly #words: Uint32Array;
  readonly #all: Tensor;
  readonly #at: Readonly<Record<typeof names[number] | "outputs", number>>;
  readonly #ownAt: SlotsAt;
  readonly #slotsAt: readonly SlotsAt[];
  readonly #patches: { readonly tensor: Tensor; readonly width: number } | undefined;

  constructor(
    private readonly device: Device,
    { maxBanks, maxRows, maxOutputs, patchWidth }: {
      /** Banks that the sequences of a batch may have adapters of. */
      readonly maxBanks: number;
      readonly maxRows: number;
      readonly maxOutputs: number;
      /** Numbers of a patch, where rows are patches. */
      readonly patchWidth?: number;
    },
  ) {
    let size = 0;
    const reserve = (words: number): number => {
      const at = size;
      size += alignment * Math.ceil(words / alignment);
      return at;
    };
    const [tokens, positions, types, first, last] = names.map(() => reserve(maxRows));
    const reserveSlots = (): SlotsAt => ({ rows: reserve(maxRows), outputs: reserve(maxOutputs) });
    this.#at = { tokens, positions, types, first, last, outputs: reserve(maxOutputs) };
    this.#ownAt = reserveSlots();
    this.#slotsAt = Array.from({ length: maxBanks }, reserveSlots);
    this.#words = new Uint32Array(size);
    this.#all = device.alloc([size], "uint32");
    const part = (at: number, count: number): Tensor => slice(this.#all, at, count);
    if (patchWidth) {
      this.#patches = { tensor: device.alloc([maxRows, patchWidth], "float32"), width: patchWidth };
    }
    this.tensors = {
      tokens: part(tokens, maxRows),
      positions: part(positions, maxRows),
      types: part(types, maxRows),
      first: part(first, maxRows),
      last: part(last, maxRows),
      patches: this.#patches?.tensor,
      outputs: part(this.#at.outputs, maxOutputs),
    };
    const slots = (at: SlotsAt): BankSlots => ({
      rows: part(at.rows, maxRows),
      outputs: part(at.outputs, maxOutputs),
    });
    this.slots = this.#slotsAt.map(slots);
    this.own = slots(this.#ownAt);
  }

  /**
   * Writes a batch. Up to `padded` rows and outputs follow that take no part: each row is a sequence of its own.
   *
   * @param padded.banks Those of the sequences' adapters; the places of others are neither filled nor sent.
   */
  write(
    sequences: readonly EncodeSequence[],
    padded: { readonly rows: number; readonly outputs: number; readonly banks: readonly Bank[] },
  ): void {
    const words = this.#words, at = this.#at, { banks } = padded;
    let row = 0;
    sequences.forEach((sequence, s) => {
      const { tokens, positions, types, patches } = sequence, count = tokens.length;
      words.set(tokens, at.tokens + row);
      words.set(positions, at.positions + row);
      words.set(types, at.types + row);
      words.fill(row, at.first + row, at.first + row + count);
      words.fill(row + count, at.last + row, at.last + row + count);
      words[at.outputs + s] = row;
      this.#writeSlots(sequence, s, { banks, row, count });
      if (patches && this.#patches) {
        this.device.write(this.#patches.tensor, patches, row * this.#patches.width);
      }
      row += count;
    });
    for (let r = row; r < padded.rows; r++) {
      for (const name of ["tokens", "positions", "types"] as const) words[at[name] + r] = 0;
      words[at.first + r] = r;
      words[at.last + r] = r + 1;
    }
    words.fill(0, at.outputs + sequences.length, at.outputs + padded.outputs);
    for (const slots of [this.#ownAt, ...this.#slotsAt.slice(0, banks.length)]) {
      words.fill(noSlot, slots.rows + row, slots.rows + padded.rows);
      words.fill(noSlot, slots.outputs + sequences.length, slots.outputs + padded.outputs);
    }
    const end = banks.length < this.#slotsAt.length ? this.#slotsAt[banks.length].rows : words.length;
    this.device.write(this.#all, words.subarray(0, end));
  }

  #writeSlots(
    { adapter, own }: EncodeSequence,
    sequence: number,
    { banks, row, count }: { readonly banks: readonly Bank[]; readonly row: number; readonly count: number },
  ): void {
    const fill = (at: SlotsAt, slot: number | undefined): void => {
      this.#words.fill(slot ?? noSlot, at.rows + row, at.rows + row + count);
      this.#words[at.outputs + sequence] = slot ?? noSlot;
    };
    fill(this.#ownAt, own);
    banks.forEach((bank, i) => fill(this.#slotsAt[i], adapter?.bank === bank ? adapter.slot : undefined));
  }

  /** Frees the tensors. */
  release(): void {
    this.device.release(this.#all);
    if (this.#patches) this.device.release(this.#patches.tensor);
  }
}
