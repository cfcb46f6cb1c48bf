/**
 * What a step is fed, packed: one host array, one device tensor, one write a step. Each input is a view of both.
 *
 * @module
 */
import { noSlot } from "../../kernels/record.ts";
import type { Adjustment } from "./adjusting.ts";
import type { Wanted } from "./scoring.ts";
import type { Bank, Placed } from "../adapters/bank.ts";
import type { OwnBank } from "../adapters/own_bank.ts";
import type { Device } from "../device/device.ts";
import type { StepTensors } from "../models/step_plan.ts";
import type { RopeTurns } from "../models/rope.ts";
import { asFloat32, slice, type Tensor } from "../tensor.ts";

/** One row of a step: a token, or what an output of the step before sampled. */
export type Row = ({ readonly token: number } | { readonly from: number }) & {
  readonly position: number;
  /** The blocks of the caches that the row's sequence has, one for each `blockSize` positions. */
  readonly blocks: BlockTable;
  /** Tokens of the forward that the row is part of: its prompt's, or position + 1, which is the default. */
  readonly length?: number;
  /** Its adapter, or those whose dW are added: at most one of a bank. */
  readonly adapters?: readonly Placed[];
  /** Its adapter's slot in the bank of own parameters, where it has any. */
  readonly own?: number;
  /** The number of its sequence's state, of models with states. Rows of one sequence stand side by side. */
  readonly state?: number;
};

/** Blocks of the caches in the order of a sequence's positions. Rows of one sequence share the array. */
export type BlockTable = readonly number[];

/** A row whose logits are wanted, and how to choose a token from them (see the `sample` kernel). */
export interface Output {
  readonly row: number;
  readonly temperature: number;
  readonly topP: number;
  readonly topK: number;
  /** A uniform random number in [0, 1). */
  readonly uniform: number;
  /** How far below the largest logit the drawn token's may be; absent: any distance. */
  readonly depth?: number;
  /** Tokens that are not to be drawn; not all of them. */
  readonly forbidden?: ReadonlySet<number>;
  /** What its logits are changed by before it is drawn; absent: by nothing. */
  readonly adjustment?: Adjustment;
  /** Tokens that may be drawn, a bit each: one at least. Absent: all. */
  readonly mask?: Uint32Array;
  /** The log-probabilities that are wanted; absent: none. */
  readonly wanted?: Wanted;
}

/** Slots of one bank: of the rows, and of the outputs' rows. */
export interface BankSlots {
  readonly rows: Tensor;
  readonly outputs: Tensor;
}

/** Bound buffers start at multiples of 256 bytes: 64 words. */
const alignment = 64;

/** Numbers that the `sample` kernel has for each output. */
const paramsOfOutput = 5;

/** A cache row that no cache has, and an entry that no table has: nothing is written there, and nothing found. */
const nowhere = 0xffffffff;

/** An output that no step has: the row has a token of its own. */
const noOutput = 0xffffffff;

/** Inputs of rows and outputs; those of banks, and the table of blocks, come behind them. */
type FixedInput = Exclude<keyof StepTensors, "blockTable">;

/** First words of a place for a bank's slots. */
interface SlotsAt {
  readonly rows: number;
  readonly outputs: number;
}

/** See the module's documentation. */
export class StepInputs {
  readonly tensors: StepTensors;
  /** Places for slots: a step's first bank has the first place, and so on. */
  readonly slots: readonly BankSlots[];
  /** Slots in the bank of own parameters. */
  readonly own: BankSlots | undefined;
  readonly #words: Uint32Array;
  readonly #floats: Float32Array;
  readonly #all: Tensor;
  /** First words of the inputs. */
  readonly #at: Readonly<Record<FixedInput, number>>;
  readonly #ownAt: SlotsAt | undefined;
  readonly #slotsAt: readonly SlotsAt[];
  readonly #turns: RopeTurns | undefined;
  /** States that rows may name. */
  readonly #states: number;
  readonly #blockSize: number;
  /** First word of the table of blocks, and its entries that the device has. */
  readonly #tableAt: number;
  #tableSent = 0;

  constructor(
    private readonly device: Device,
    { maxBanks, own, maxRows, maxOutputs, blockSize, maxBlocks, turns, states = 0 }: {
      /** Banks that the rows of a step may have adapters of. */
      readonly maxBanks: number;
      /** The bank of own parameters; without it rows have none. */
      readonly own?: OwnBank;
      readonly maxRows: number;
      readonly maxOutputs: number;
      /** Cache rows of a block. */
      readonly blockSize: number;
      /** Blocks that all sequences of a step have together, at most. */
      readonly maxBlocks: number;
      /** Where rotary turns depend on a sequence's length. */
      readonly turns?: RopeTurns;
      /** States that rows may name; 0 of models without states. */
      readonly states?: number;
    },
  ) {
    let size = 0;
    const reserve = (words: number): number => {
      const at = size;
      size += alignment * Math.ceil(words / alignment);
      return at;
    };
    this.#at = {
      tokens: reserve(maxRows),
      from: reserve(maxRows),
      positions: reserve(maxRows),
      cacheIndex: reserve(maxRows),
      first: reserve(maxRows),
      outputs: reserve(maxOutputs),
      params: reserve(paramsOfOutput * maxOutputs),
      turns: reserve(turns ? maxRows * turns.size : 0),
      stateIndex: reserve(states > 0 ? maxRows : 0),
    };
    this.#turns = turns;
    this.#states = states;
    this.#blockSize = blockSize;
    const reserveSlots = (): SlotsAt => ({ rows: reserve(maxRows), outputs: reserve(maxOutputs) });
    this.#ownAt = own && reserveSlots();
    // Places of banks come last: those that a step does not need are not sent.
    this.#slotsAt = Array.from({ length: maxBanks }, reserveSlots);
    this.#tableAt = reserve(maxBlocks);
    this.#words = new Uint32Array(size);
    this.#floats = new Float32Array(this.#words.buffer);
    this.#all = device.alloc([size], "uint32");
    const part = (at: number, count: number): Tensor => slice(this.#all, at, count);
    const { tokens, from, positions, cacheIndex, first, outputs, params } = this.#at;
    this.tensors = {
      tokens: part(tokens, maxRows),
      from: part(from, maxRows),
      positions: part(positions, maxRows),
      cacheIndex: part(cacheIndex, maxRows),
      first: part(first, maxRows),
      outputs: part(outputs, maxOutputs),
      params: asFloat32(part(params, paramsOfOutput * maxOutputs)),
      blockTable: part(this.#tableAt, maxBlocks),
      turns: turns && asFloat32(part(this.#at.turns, maxRows * turns.size)),
      stateIndex: states > 0 ? part(this.#at.stateIndex, maxRows) : undefined,
    };
    const slots = (at: SlotsAt): BankSlots => ({
      rows: part(at.rows, maxRows),
      outputs: part(at.outputs, maxOutputs),
    });
    this.slots = this.#slotsAt.map(slots);
    this.own = this.#ownAt && slots(this.#ownAt);
  }

  /**
   * Writes a step's inputs. Up to `padded` rows and outputs follow that take no part: no cache row, no adapter.
   *
   * @throws RangeError where the rows' sequences have more blocks than the table has entries, and for a row without a state
   * where the model has states.
   * @param padded.banks Those of the rows' adapters; the places of others are neither filled nor sent.
   */
  write(
    rows: readonly Row[],
    outputs: readonly Output[],
    padded: { readonly rows: number; readonly outputs: number; readonly banks: readonly Bank[] },
  ): void {
    this.#writeRows(rows, padded.rows);
    this.#writeBlocks(rows);
    this.#writeOutputs(outputs, padded.outputs);
    const { banks } = padded, step = { rows, outputs, padded };
    if (this.#ownAt) this.#writeSlots(this.#ownAt, step, (row) => row.own);
    banks.forEach((bank, i) =>
      this.#writeSlots(
        this.#slotsAt[i],
        step,
        (row) => row.adapters?.find((one) => one.bank === bank)?.slot,
      )
    );
    const end = banks.length < this.#slotsAt.length ? this.#slotsAt[banks.length].rows : this.#tableAt;
    this.device.write(this.#all, this.#words.subarray(0, end));
  }

  #writeSlots(
    at: SlotsAt,
    { rows, outputs, padded }: {
      readonly rows: readonly Row[];
      readonly outputs: readonly Output[];
      readonly padded: { readonly rows: number; readonly outputs: number };
    },
    slotOf: (row: Row) => number | undefined,
  ): void {
    const words = this.#words;
    for (let r = 0; r < padded.rows; r++) {
      words[at.rows + r] = (r < rows.length ? slotOf(rows[r]) : undefined) ?? noSlot;
    }
    for (let o = 0; o < padded.outputs; o++) {
      words[at.outputs + o] = o < outputs.length ? words[at.rows + outputs[o].row] : noSlot;
    }
  }

  #writeRows(rows: readonly Row[], padded: number): void {
    const { tokens, from, positions, cacheIndex, first, stateIndex } = this.#at;
    const words = this.#words, size = this.#blockSize;
    for (let r = 0; r < padded; r++) {
      const row = rows[r];
      words[tokens + r] = row && "token" in row ? row.token : 0;
      words[from + r] = row && "from" in row ? row.from : noOutput;
      words[positions + r] = row?.position ?? 0;
      words[cacheIndex + r] = row
        ? row.blocks[Math.floor(row.position / size)] * size + row.position % size
        : nowhere;
      words[first + r] = nowhere;
      if (this.#states > 0) words[stateIndex + r] = row ? this.#stateOf(row) : nowhere;
      if (row) this.#writeTurn(r, row);
    }
  }

  #stateOf({ state }: Row): number {
    if (state !== undefined && state < this.#states) return state;
    throw new RangeError(
      `Cannot run a row with state ${state}: the model's layers have states, which are numbered below ${this.#states}`,
    );
  }

  /** Neighbouring rows of one sequence share entries of the table. It is sent where it is not what the device has. */
  #writeBlocks(rows: readonly Row[]): void {
    const words = this.#words, most = this.tensors.blockTable.shape[0];
    let begin = 0, end = 0, changed = false, last: BlockTable | undefined;
    for (let r = 0; r < rows.length; r++) {
      const { blocks, position } = rows[r];
      if (blocks !== last) begin = end;
      last = blocks;
      words[this.#at.first + r] = begin;
      const needed = begin + Math.floor(position / this.#blockSize) + 1;
      if (needed > most) {
        this.#tableSent = 0;
        throw new RangeError(
          `Cannot run a step whose sequences have ${needed} blocks: its table holds ${most}`,
        );
      }
      for (; end < needed; end++) {
        changed ||= end >= this.#tableSent || words[this.#tableAt + end] !== blocks[end - begin];
        words[this.#tableAt + end] = blocks[end - begin];
      }
    }
    if (!changed) return;
    this.#tableSent = Math.max(this.#tableSent, end);
    this.device.write(this.#all, words.subarray(this.#tableAt, this.#tableAt + end), this.#tableAt);
  }

  #writeTurn(r: number, { position, length = position + 1 }: Row): void {
    if (!this.#turns) return;
    this.#turns.write(this.#floats, this.#at.turns + r * this.#turns.size, { position, length });
  }

  #writeOutputs(outputs: readonly Output[], padded: number): void {
    for (let o = 0; o < padded; o++) {
      const output = outputs[o];
      const at = this.#at.params + paramsOfOutput * o;
      this.#words[this.#at.outputs + o] = output?.row ?? 0;
      this.#floats[at] = output?.temperature ?? 0;
      this.#floats[at + 1] = output?.topP ?? 1;
      this.#floats[at + 2] = output?.topK ?? 0;
      this.#floats[at + 3] = output?.uniform ?? 0;
      this.#floats[at + 4] = output?.depth ?? -1;
    }
  }
}
