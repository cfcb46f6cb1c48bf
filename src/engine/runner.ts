/**
 * Runs a model's steps: batches in, sampled tokens out; programs for step sizes seen before are kept.
 *
 * @module
 */
import { noSlot } from "../../kernels/record.ts";
import type { Bank } from "../adapters/bank.ts";
import type { Device, Program } from "../device/device.ts";
import type { LlamaModel } from "../models/llama.ts";
import { type AdapterSteps, llamaPlan, type LlamaState, llamaState } from "../models/llama_plan.ts";
import type { Tensor } from "../tensor.ts";

/** One row of a step. */
export interface Row {
  readonly token: number;
  readonly position: number;
  /** First cache row of the row's sequence. */
  readonly first: number;
  readonly adapter?: { readonly bank: Bank; readonly slot: number };
}

/** A row whose logits are wanted, and how to choose a token from them (see the `sample` kernel). */
export interface Output {
  readonly row: number;
  readonly temperature: number;
  readonly topP: number;
  readonly topK: number;
  /** A uniform random number in [0, 1). */
  readonly uniform: number;
}

interface BankSlots {
  readonly rows: Tensor;
  readonly outputs: Tensor;
}

interface Prepared {
  readonly program: Program;
  /** Of the banks whose steps it holds. */
  readonly revisions: readonly number[];
}

/** Most programs kept; each is a list of bindings. */
const maxPrograms = 64;

/** See the module's documentation. */
export class Runner {
  readonly state: LlamaState;
  readonly #slots: ReadonlyMap<Bank, BankSlots>;
  readonly #programs = new Map<string, Prepared>();

  constructor(
    private readonly device: Device,
    private readonly model: LlamaModel,
    private readonly options: {
      readonly banks: readonly Bank[];
      readonly maxRows: number;
      readonly maxOutputs: number;
      readonly cacheRows: number;
    },
  ) {
    this.state = llamaState(device, model, options);
    this.#slots = new Map(options.banks.map((bank) => [bank, {
      rows: device.alloc([options.maxRows], "uint32"),
      outputs: device.alloc([options.maxOutputs], "uint32"),
    }]));
  }

  /** Runs one step; returns the sampled token of each output, in order. */
  async step(rows: readonly Row[], outputs: readonly Output[]): Promise<Uint32Array> {
    const banks = this.options.banks.filter((bank) => rows.some(({ adapter }) => adapter?.bank === bank));
    const program = await this.#program(rows.length, outputs.length, banks);
    this.#write(rows, outputs, banks);
    this.device.run(program);
    if (outputs.length === 0) return new Uint32Array();
    return await this.device.read(this.state.sampled, { at: 0, count: outputs.length }) as Uint32Array;
  }

  /** Logits (vocab) of an output of the last step. */
  async logits(output: number): Promise<Float32Array> {
    const { vocabSize } = this.model.config;
    return await this.device.read(this.state.logits, {
      at: output * vocabSize,
      count: vocabSize,
    }) as Float32Array;
  }

  #write(rows: readonly Row[], outputs: readonly Output[], banks: readonly Bank[]): void {
    const { device, state } = this;
    const words = (of: (row: Row) => number): Uint32Array => Uint32Array.from(rows, of);
    device.write(state.tokens, words(({ token }) => token));
    device.write(state.positions, words(({ position }) => position));
    device.write(state.cacheIndex, words(({ first, position }) => first + position));
    device.write(state.first, words(({ first }) => first));
    device.write(state.outputs, Uint32Array.from(outputs, ({ row }) => row));
    device.write(
      state.params,
      Float32Array.from(
        outputs.flatMap(({ temperature, topP, topK, uniform }) => [temperature, topP, topK, uniform]),
      ),
    );
    for (const bank of banks) {
      const slot = ({ adapter }: Row): number => adapter?.bank === bank ? adapter.slot : noSlot;
      const slots = this.#slots.get(bank)!;
      device.write(slots.rows, words(slot));
      device.write(slots.outputs, Uint32Array.from(outputs, ({ row }) => slot(rows[row])));
    }
  }

  async #program(rows: number, outputs: number, banks: readonly Bank[]): Promise<Program> {
    const key = `${rows}:${outputs}:${banks.map(({ method }) => method.peftType)}`;
    for (;;) {
      const known = this.#programs.get(key);
      const revisions = banks.map((bank) => bank.revision);
      if (known && known.revisions.every((revision, i) => revision === revisions[i])) {
        this.#programs.delete(key);
        this.#programs.set(key, known);
        return known.program;
      }
      known?.program.release();
      this.#programs.delete(key);
      const program = await this.device.prepare(
        llamaPlan(this.model, this.state, { rows, outputs, adapters: this.#adapterSteps(banks) }),
      );
      // A bank may have changed while the program was compiled: look again.
      this.#programs.set(key, { program, revisions });
      this.#forgetOldest();
    }
  }

  #forgetOldest(): void {
    if (this.#programs.size <= maxPrograms) return;
    const [key, { program }] = this.#programs.entries().next().value!;
    program.release();
    this.#programs.delete(key);
  }

  #adapterSteps(banks: readonly Bank[]): AdapterSteps {
    return (linears, { x, y, rows, of }) =>
      banks.filter((bank) => bank.adapts(linears)).map((bank) =>
        bank.step(linears, { x, y, rows, slots: this.#slots.get(bank)![of] })
      );
  }
}
