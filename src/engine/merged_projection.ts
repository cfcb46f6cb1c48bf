/**
 * A projection by a weight that its rows' adapters are merged into, made anew in each step.
 *
 * The adapters' own steps make the change from unit rows. Row i of their result is column i of dW where all of them add to
 * the product, and column i of the whole weight where one of them acts before or after it.
 *
 * @module
 */
import { addTransposed } from "../../kernels/add_transposed.ts";
import { copy } from "../../kernels/copy.ts";
import { fill } from "../../kernels/fill.ts";
import type { Bank, Placed } from "../adapters/bank.ts";
import type { LinearShape, Phase } from "../adapters/method.ts";
import type { Device } from "../device/device.ts";
import type { ProjectionIo } from "../models/graph.ts";
import type { Projection } from "../models/projection.ts";
import { denseWeight, floatsOf, linearStep } from "../models/weights.ts";
import { type Plan, type Step, step } from "../plan.ts";
import { slice, type Tensor, tensor } from "../tensor.ts";
import { adaptedProjection, ProjectionScratch, type StepAdapters } from "./projection.ts";

/** Row i is 1 at i, and 0 elsewhere. */
export function unitRows(size: number): Float32Array {
  const rows = new Float32Array(size * size);
  for (let i = 0; i < size; i++) rows[i * size + i] = 1;
  return rows;
}

/** What the steps of a merge work on: dW^T (in, out), W and W + dW (out, in), and the adapters' steps of unit rows onto dW^T. */
export interface Merge {
  readonly shape: LinearShape;
  readonly weight: Tensor;
  readonly delta: Tensor;
  readonly merged: Tensor;
  readonly ofUnits: Plan;
}

/** W + dW, made anew. */
export function mergeSteps({ shape: { out, in: inSize }, weight, delta, merged, ofUnits }: Merge): Plan {
  return [
    step(fill, { y: delta }, { count: out * inSize, value: 0 }),
    ...ofUnits,
    step(addTransposed, { x: weight, t: delta, y: merged }, { rows: out, cols: inSize }),
  ];
}

/** The largest sizes that merged projections are made for. */
export interface MergedSizes {
  /** Of a weight. */
  readonly numbers: number;
  /** Of a step, or of a weight's inputs. */
  readonly rows: number;
  /** Outputs of a projection. */
  readonly outputs: number;
}

/** What the steps work in; all layers share it. */
interface Working {
  /** dW^T (in, out), and W + dW (out, in). */
  readonly delta: Tensor;
  readonly merged: Tensor;
  /** Unit rows (in, in) by `in`. */
  readonly units: Map<number, Tensor>;
}

const acts = (banks: readonly Bank[], phase: Phase, { linears }: Projection): boolean =>
  banks.some((bank) => bank.acts(phase, linears));

/** See the module's documentation. Nothing is allocated before a projection is merged. */
export class MergedProjections {
  readonly #slots = new Map<Bank, { readonly tensor: Tensor; slot?: number }>();
  readonly #scratch: ProjectionScratch;
  #made: Working | undefined;
  #zeros: Tensor | undefined;
  #bias: Tensor | undefined;

  constructor(private readonly device: Device, private readonly sizes: MergedSizes) {
    this.#scratch = new ProjectionScratch(device);
  }

  /** Readies what the steps read for the adapters of all rows; in order with runs. */
  use(adapters: readonly Placed[]): void {
    for (const { bank, slot } of adapters) {
      const known = this.#slotsOf(bank);
      if (known.slot === slot) continue;
      known.slot = slot;
      this.device.write(known.tensor, new Uint32Array(this.sizes.rows).fill(slot));
    }
  }

  /** (rows), uint32: the bank's adapter that {@linkcode use} named, in each. */
  slots(bank: Bank): Tensor {
    return this.#slotsOf(bank).tensor;
  }

  /** y = or += x W'^T + b, with W' and b as the adapters of the banks make them. */
  plan(projection: Projection, { x, y, ...sizes }: ProjectionIo, banks: readonly Bank[]): Plan {
    const { shape, weight } = projection, { out, in: inSize } = shape;
    const working = this.#working();
    const delta = slice(working.delta, 0, [inSize, out]), merged = slice(working.merged, 0, [out, inSize]);
    const adds = !acts(banks, "before", projection) && !acts(banks, "after", projection);
    const { bias, steps } = this.#biasOf(projection, banks);
    const io = { x: this.#units(inSize), y: delta, rows: inSize };
    return [
      ...(adds
        ? mergeSteps({
          ...{ shape, weight: floatsOf(weight)!, delta, merged },
          ofUnits: this.#besides(projection, io, banks),
        })
        : this.#whole(projection, { ...io, merged }, banks)),
      ...steps,
      linearStep({ weight: denseWeight(merged), bias }, { x, y }, { ...sizes, ...shape }),
    ];
  }

  #besides({ linears }: Projection, io: Omit<ProjectionIo, "accumulate">, banks: readonly Bank[]): Step[] {
    const acting = banks.filter((bank) => bank.acts("beside", linears));
    return acting.map((bank) => bank.beside(linears, { ...io, slots: this.slots(bank) }));
  }

  /** The whole weight: what the product and its phases make of unit rows, turned. */
  #whole(
    projection: Projection,
    { merged, ...io }: Omit<ProjectionIo, "accumulate"> & { readonly merged: Tensor },
    banks: readonly Bank[],
  ): Plan {
    const { out, in: inSize } = projection.shape;
    const zeros = slice(this.#zeros ??= this.device.alloc([this.sizes.numbers], "float32"), 0, [out, inSize]);
    return [
      ...adaptedProjection(
        { ...projection, bias: undefined },
        { ...io, accumulate: 0 },
        this.#adapters(banks),
      ),
      step(addTransposed, { x: zeros, t: io.y, y: merged }, { rows: out, cols: inSize }),
    ];
  }

  #adapters(banks: readonly Bank[]): StepAdapters {
    return { banks, slotsOf: (bank) => this.slots(bank), scratch: this.#scratch };
  }

  /** The bias, and the steps that make it where a method changes it. */
  #biasOf(
    { bias, linears, shape: { out } }: Projection,
    banks: readonly Bank[],
  ): { readonly bias?: Tensor; readonly steps: Plan } {
    const changing = banks.filter((bank) => bank.method.changesBias && bank.acts("after", linears));
    if (!bias || changing.length === 0) return { bias, steps: [] };
    this.#bias ??= this.device.alloc([this.sizes.outputs], "float32");
    const changed = slice(this.#bias, 0, [1, out]);
    return {
      bias: slice(this.#bias, 0, out),
      steps: [
        step(copy, { x: bias, y: changed }, { count: out }),
        ...changing.map((bank) => bank.after(linears, { y: changed, rows: 1, slots: this.slots(bank) })),
      ],
    };
  }

  #slotsOf(bank: Bank): { readonly tensor: Tensor; slot?: number } {
    let known = this.#slots.get(bank);
    if (!known) {
      this.#slots.set(bank, known = { tensor: this.device.alloc([this.sizes.rows], "uint32") });
    }
    return known;
  }

  #working(): Working {
    const { numbers } = this.sizes;
    return this.#made ??= {
      delta: this.device.alloc([numbers], "float32"),
      merged: this.device.alloc([numbers], "float32"),
      units: new Map(),
    };
  }

  #units(size: number): Tensor {
    const { units } = this.#working();
    const known = units.get(size);
    if (known) return known;
    const made = this.device.upload(tensor(unitRows(size), [size, size]));
    units.set(size, made);
    return made;
  }
}
