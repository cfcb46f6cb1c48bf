/**
 * Runs an encoder's batches: sequences in, hidden states on the device out; programs for sizes seen before are kept.
 *
 * @module
 */
import type { Bank } from "../adapters/bank.ts";
import type { OwnBank, ResidentTable } from "../adapters/own_bank.ts";
import type { Device, Program } from "../device/device.ts";
import { encodePlan, type EncodeState, encodeState } from "../models/encode_plan.ts";
import type { RowsOf } from "../models/graph.ts";
import type { EncoderModel } from "../models/model.ts";
import type { Project } from "../models/step_plan.ts";
import { EncodeInputs, type EncodeSequence } from "./encode_inputs.ts";
import { type OwnAdapters, ownLinearSteps, ownSteps } from "./own.ts";
import { adaptedProjection, ProjectionScratch } from "./projection.ts";
import { roundedUp } from "./runner.ts";

/** What a program depends on. */
interface Shape {
  readonly rows: number;
  readonly outputs: number;
  readonly banks: readonly Bank[];
  /** Whole tables of the sequences' adapters; undefined where none has parameters of its own. */
  readonly own: readonly ResidentTable[] | undefined;
}

interface Prepared {
  readonly program: Program;
  /** Of the banks whose steps it holds. */
  readonly revisions: readonly number[];
}

/** Most programs kept; each is a list of bindings. */
const maxPrograms = 64;

const keyOf = ({ rows, outputs, banks, own }: Shape): string =>
  `${rows}:${outputs}:${banks.map(({ name }) => name)}:${own?.map(({ serial }) => serial) ?? "none"}`;

/** See the module's documentation. */
export class EncodeRunner {
  readonly state: EncodeState;
  readonly #inputs: EncodeInputs;
  readonly #programs = new Map<string, Prepared>();
  readonly #scratch: ProjectionScratch;

  constructor(
    private readonly device: Device,
    private readonly model: EncoderModel,
    private readonly options: {
      readonly banks: readonly Bank[];
      /** The bank of own parameters. */
      readonly own?: OwnBank;
      readonly maxRows: number;
      readonly maxOutputs: number;
    },
  ) {
    const { image } = model.config.encoder;
    this.#scratch = new ProjectionScratch(device);
    this.#inputs = new EncodeInputs(device, {
      ...options,
      maxBanks: options.banks.length,
      patchWidth: image && image.channels * image.patch ** 2,
    });
    this.state = encodeState(device, model, { ...options, inputs: this.#inputs.tensors });
  }

  /** Submits a batch: its states are in `state` until the next one. */
  async submit(sequences: readonly EncodeSequence[]): Promise<void> {
    const used = new Set(sequences.flatMap(({ adapter }) => adapter ? [adapter.bank] : []));
    const banks = this.options.banks.filter((bank) => used.has(bank));
    const rows = sequences.reduce((sum, { tokens }) => sum + tokens.length, 0);
    const size = this.#size(rows, sequences.length);
    const shapeNow = (): Shape => ({ ...size, banks, own: this.#ownOf(sequences) });
    let shape = shapeNow(), program = this.#prepared(shape);
    // A bank may change while a program is compiled: then it is looked for again.
    for (; !program; shape = shapeNow(), program = this.#prepared(shape)) await this.#prepare(shape);
    this.#inputs.write(sequences, shape);
    this.device.run(program);
  }

  /** What a batch is run as: more rows and outputs where that spares the device new programs. */
  #size(rows: number, outputs: number): Pick<Shape, "rows" | "outputs"> {
    if (!this.device.prefersFewSizes) return { rows, outputs };
    const { maxRows, maxOutputs } = this.options;
    return { rows: Math.min(roundedUp(rows), maxRows), outputs: Math.min(roundedUp(outputs), maxOutputs) };
  }

  #prepared(shape: Shape): Program | undefined {
    const key = keyOf(shape), known = this.#programs.get(key);
    if (!known) return undefined;
    this.#programs.delete(key);
    if (this.#revisions(shape).some((revision, i) => revision !== known.revisions[i])) {
      known.program.release();
      return undefined;
    }
    this.#programs.set(key, known);
    return known.program;
  }

  async #prepare(shape: Shape): Promise<void> {
    const revisions = this.#revisions(shape);
    const program = await this.device.prepare(
      encodePlan(this.model, this.state, {
        ...shape,
        project: this.#project(shape),
        own: shape.own && ownSteps(this.#ownAdapters(shape.own)),
      }),
    );
    this.#programs.set(keyOf(shape), { program, revisions });
    if (this.#programs.size <= maxPrograms) return;
    const [key, oldest] = this.#programs.entries().next().value!;
    oldest.program.release();
    this.#programs.delete(key);
  }

  #revisions({ banks, own }: Shape): number[] {
    return [...banks, ...(own ? [this.options.own!] : [])].map(({ revision }) => revision);
  }

  #ownOf(sequences: readonly EncodeSequence[]): readonly ResidentTable[] | undefined {
    const { own: bank } = this.options;
    const slots = new Set(sequences.flatMap(({ own }) => own ?? []));
    if (slots.size === 0 || !bank) return undefined;
    return [...slots].flatMap((slot) => bank.tablesOf(slot)).sort((a, b) => a.serial - b.serial);
  }

  #ownAdapters(tables: readonly ResidentTable[]): OwnAdapters {
    const slotsOf = (of: RowsOf) => this.#inputs.own[of];
    return { bank: this.options.own!, tables, slotsOf, scratch: this.#scratch };
  }

  #project({ banks, own: tables }: Shape): Project {
    return (projection, { of, ...io }) => {
      const own = tables && ownLinearSteps(this.#ownAdapters(tables), of);
      const slotsOf = (bank: Bank) => this.#inputs.slots[banks.indexOf(bank)][of];
      return adaptedProjection(projection, io, { banks, slotsOf, own, scratch: this.#scratch });
    };
  }

  /** Frees what it works in. */
  release(): void {
    for (const { program } of this.#programs.values()) program.release();
    this.#programs.clear();
    this.#scratch.release();
    this.#inputs.release();
    for (const buffer of this.state.buffers) this.device.release(buffer);
  }
}
