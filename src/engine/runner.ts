/**
 * Runs a model's steps: batches in, sampled tokens out; programs for step sizes seen before are kept.
 *
 * @module
 */
import type { Bank } from "../adapters/bank.ts";
import type { Device, Program, Trace } from "../device/device.ts";
import type { LlamaModel } from "../models/llama.ts";
import { type AdapterSteps, llamaPlan, type LlamaState, llamaState } from "../models/llama_plan.ts";
import { type Output, type Row, StepInputs } from "./step_inputs.ts";

/** Rows and outputs of a step. */
interface Size {
  readonly rows: number;
  readonly outputs: number;
}

interface Prepared {
  readonly program: Program;
  /** Of the banks whose steps it holds. */
  readonly revisions: readonly number[];
}

/** Most programs kept; each is a list of bindings. */
const maxPrograms = 64;

/**
 * The next size that steps are run in: powers of two, then multiples of 8, then of 64. The dense products take as many
 * rows at once, so that rows that take no part cost them nothing.
 */
function roundedUp(count: number): number {
  if (count < 8) return count === 0 ? 0 : 2 ** Math.ceil(Math.log2(count));
  const block = count <= 32 ? 8 : 64;
  return block * Math.ceil(count / block);
}

/** See the module's documentation. */
export class Runner {
  readonly state: LlamaState;
  readonly #inputs: StepInputs;
  readonly #programs = new Map<string, Prepared>();
  #last: Program | undefined;

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
    this.#inputs = new StepInputs(device, options);
    this.state = llamaState(device, model, { ...options, inputs: this.#inputs.tensors });
  }

  /** Runs one step; returns the sampled token of each output, in order. */
  async step(rows: readonly Row[], outputs: readonly Output[]): Promise<Uint32Array> {
    const banks = this.options.banks.filter((bank) => rows.some(({ adapter }) => adapter?.bank === bank));
    const size = this.#size(rows.length, outputs.length);
    const program = await this.#program(size, banks);
    this.#inputs.write(rows, outputs, size);
    this.#last = program;
    if (outputs.length === 0) {
      this.device.run(program);
      return new Uint32Array();
    }
    const range = { at: 0, count: outputs.length };
    return await this.device.runAndRead(program, this.state.sampled, range) as Uint32Array;
  }

  /** Logits (vocab) of an output of the last step. */
  async logits(output: number): Promise<Float32Array> {
    const { vocabSize } = this.model.config;
    return await this.device.read(this.state.logits, {
      at: output * vocabSize,
      count: vocabSize,
    }) as Float32Array;
  }

  /** Runs the last step again, on the inputs it had, launch by launch; it leaves the same numbers. */
  async trace(): Promise<Trace> {
    if (!this.#last) throw new RangeError("Cannot trace a step: none was run");
    return await this.device.trace(this.#last);
  }

  /** What a step is run as: more rows and outputs where that spares the device new programs. */
  #size(rows: number, outputs: number): Size {
    if (!this.device.prefersFewSizes) return { rows, outputs };
    const { maxRows, maxOutputs } = this.options;
    return { rows: Math.min(roundedUp(rows), maxRows), outputs: Math.min(roundedUp(outputs), maxOutputs) };
  }

  async #program(size: Size, banks: readonly Bank[]): Promise<Program> {
    const key = `${size.rows}:${size.outputs}:${banks.map(({ method }) => method.peftType)}`;
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
        llamaPlan(this.model, this.state, { ...size, adapters: this.#adapterSteps(banks) }),
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
        bank.step(linears, { x, y, rows, slots: this.#inputs.slots.get(bank)![of] })
      );
  }
}
