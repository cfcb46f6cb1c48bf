/**
 * Whether a step merges its adapter into the weights first: y = x (W + dW)^T. All rows must have one adapter. With many
 * rows, making dW costs less than adding x dW^T.
 *
 * The adapter's own step makes dW from unit rows: row i of its result is column i of dW. Making dW costs as many rows as the
 * linear has inputs, so fewer rows never gain. For more rows the device times both ways once for each power of two and
 * shape, and the answer is kept.
 *
 * @module
 */
import { addTransposed } from "../../kernels/add_transposed.ts";
import { fill } from "../../kernels/fill.ts";
import type { Bank } from "../adapters/bank.ts";
import type { LinearShape } from "../adapters/method.ts";
import { Contests, winner } from "../contest.ts";
import type { Device, Program } from "../device/device.ts";
import type { ProjectionIo } from "../models/graph.ts";
import type { Model } from "../models/model.ts";
import type { Projection } from "../models/projection.ts";
import { denseWeight, floatsOf, linearStep } from "../models/weights.ts";
import { type Plan, type Step, step } from "../plan.ts";
import { slice, type Tensor, tensor } from "../tensor.ts";

/** `auto` is as timed; `always` is wherever it can be; results differ in their rounding. */
export type MergingMode = "auto" | "never" | "always";

/** The adapter that all rows of a step have. */
export interface OneAdapter {
  readonly bank: Bank;
  readonly slot: number;
}

/** Projections that take equally long: of one part in their layers, and of one shape. */
export type ProjectionKind = string;

const kindOf = ({ kind, shape }: Projection): ProjectionKind => `${kind} ${shape.out}x${shape.in}`;

/** Most numbers of a weight that is merged: three such matrices are kept. Products of larger ones take nearly all the time. */
const mostNumbers = 2 ** 24;
/** Multiplications of a product that is worth timing: fewer take less than half a millisecond anywhere. */
const leastProducts = 2 ** 22;
const rounds = 3;

/** The adapter's own step after the product, or the product by W + dW. */
type Alternative = "apart" | "merged";

/** What the steps that merge work in; all layers share it. */
interface Scratch {
  /** dW^T (in, out), and W + dW (out, in), of the largest projection that may be merged. */
  readonly delta: Tensor;
  readonly merged: Tensor;
  /** (rows), uint32: the adapter's slot in each. */
  readonly slots: Tensor;
  /** Unit rows (in, in) by `in`. */
  readonly units: Map<number, Tensor>;
}

/** Row i is 1 at i, and 0 elsewhere. */
export function unitRows(size: number): Float32Array {
  const rows = new Float32Array(size * size);
  for (let i = 0; i < size; i++) rows[i * size + i] = 1;
  return rows;
}

/** What the steps of a merge work on: dW^T (in, out), W and W + dW (out, in), and the adapter's step of unit rows onto dW^T. */
export interface Merge {
  readonly shape: LinearShape;
  readonly weight: Tensor;
  readonly delta: Tensor;
  readonly merged: Tensor;
  readonly ofUnits: Step;
}

/** W + dW, made anew. */
export function mergeSteps({ shape: { out, in: inSize }, weight, delta, merged, ofUnits }: Merge): Plan {
  return [
    step(fill, { y: delta }, { count: out * inSize, value: 0 }),
    ofUnits,
    step(addTransposed, { x: weight, t: delta, y: merged }, { rows: out, cols: inSize }),
  ];
}

const numbersOf = ({ shape: { out, in: inSize } }: Projection): number => inSize * Math.max(inSize, out);

/** Fewer rows never gain. */
function fewestRows({ shape: { out, in: inSize } }: Projection, mode: MergingMode): number {
  return mode === "always" ? inSize + 1 : Math.max(inSize + 1, leastProducts / (out * inSize));
}

/** See the module's documentation. */
export class Merging {
  /** Projections that can be merged, by kind; the first of a kind stands for all when it is timed. */
  readonly #mergeable: ReadonlyMap<ProjectionKind, readonly Projection[]>;
  readonly #fewestRows: number;
  /** By method, kind and rows. */
  readonly #contests = new Contests<Alternative>();
  #scratch: Scratch | undefined;
  #slot: number | undefined;

  constructor(
    private readonly device: Device,
    { projections }: Pick<Model, "projections">,
    private readonly options: { readonly maxRows: number; readonly mode: MergingMode },
  ) {
    const mergeable = projections.filter((projection) =>
      options.mode !== "never" && floatsOf(projection.weight) && numbersOf(projection) <= mostNumbers
    );
    this.#mergeable = new Map(
      mergeable.map(kindOf).map((kind) => [kind, mergeable.filter((other) => kindOf(other) === kind)]),
    );
    const fewest = mergeable.map((projection) => fewestRows(projection, options.mode));
    this.#fewestRows = Math.min(...fewest);
  }

  /** Whether so many rows of one adapter may be worth it; false of every small step. */
  mayPay(rows: number): boolean {
    return rows >= this.#fewestRows;
  }

  /** The kinds of projections that a step of so many rows merges. Kinds without an answer are timed first. */
  async kindsFor(rows: number, adapter: OneAdapter): Promise<ReadonlySet<ProjectionKind>> {
    const { mode } = this.options;
    const power = 2 ** Math.floor(Math.log2(rows));
    const chosen = new Set<ProjectionKind>();
    for (const [kind, [projection]] of this.#mergeable) {
      const counted = mode === "always" ? rows : power;
      if (counted < fewestRows(projection, mode) || !this.#adaptsAll(kind, adapter)) continue;
      if (mode === "always" || await this.#wins(kind, power, adapter)) chosen.add(kind);
    }
    return chosen;
  }

  /** Readies what merged steps read for an adapter; in order with runs. */
  use({ slot }: OneAdapter): void {
    const { slots } = this.#working();
    if (this.#slot === slot) return;
    this.#slot = slot;
    this.device.write(slots, new Uint32Array(slots.shape[0]).fill(slot));
  }

  /** y = or += x (W + dW)^T + b, of a projection of one of the kinds; undefined of another. */
  steps(
    projection: Projection,
    io: ProjectionIo,
    { kinds, bank }: { readonly kinds: ReadonlySet<ProjectionKind>; readonly bank: Bank },
  ): Plan | undefined {
    return kinds.has(kindOf(projection)) ? this.#merged(projection, io, bank) : undefined;
  }

  #merged(projection: Projection, { x, y, ...sizes }: ProjectionIo, bank: Bank): Plan {
    const { shape, linears, weight, bias } = projection;
    const { out, in: inSize } = shape;
    const { slots, ...scratch } = this.#working();
    const delta = slice(scratch.delta, 0, [inSize, out]), merged = slice(scratch.merged, 0, [out, inSize]);
    const ofUnits = bank.beside(linears, { x: this.#units(inSize), y: delta, slots, rows: inSize });
    return [
      ...mergeSteps({ shape, weight: floatsOf(weight)!, delta, merged, ofUnits }),
      linearStep({ weight: denseWeight(merged), bias }, { x, y }, { ...sizes, ...shape }),
    ];
  }

  #working(): Scratch {
    if (this.#scratch) return this.#scratch;
    const shapes = [...this.#mergeable.values()].map(([{ shape }]) => shape);
    const most = Math.max(...shapes.map((shape) => shape.out * shape.in));
    const rows = Math.max(this.options.maxRows, ...shapes.map((shape) => shape.in));
    return this.#scratch = {
      delta: this.device.alloc([most], "float32"),
      merged: this.device.alloc([most], "float32"),
      slots: this.device.alloc([rows], "uint32"),
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

  /**
   * Whether an adapter adds to every projection of the kind: where it adds nothing, its own step costs nothing. Methods that
   * act before or after the product are not merged: what they do to unit rows is no sum with W.
   */
  #adaptsAll(kind: ProjectionKind, { bank, slot }: OneAdapter): boolean {
    return !bank.method.before && !bank.method.after &&
      this.#mergeable.get(kind)!.every(({ linears }) => bank.slotAdapts(slot, linears));
  }

  /**
   * Whether merging is clearly faster with so many rows. Failing to time fails no step: whatever is wrong shows where the step
   * itself is run.
   */
  async #wins(kind: ProjectionKind, rows: number, adapter: OneAdapter): Promise<boolean> {
    const { bank } = adapter;
    const answer = await this.#contests.answer(`${bank.method.name}:${kind}:${rows}`, {
      usual: "apart",
      hold: () => this.#compare(kind, rows, adapter),
      revision: () => bank.revision,
    });
    return answer === "merged";
  }

  /** Runs both on the first projection of the kind, of zeros. */
  async #compare(kind: ProjectionKind, rows: number, adapter: OneAdapter): Promise<Alternative> {
    const [projection] = this.#mergeable.get(kind)!;
    const { shape, linears } = projection;
    const { slots } = this.#working();
    this.use(adapter);
    const x = this.device.alloc([rows, shape.in], "float32"),
      y = this.device.alloc([rows, shape.out], "float32");
    const sizes = { rows, accumulate: 0 };
    try {
      const times = await this.#times([
        [
          linearStep(projection, { x, y }, { ...sizes, ...shape }),
          adapter.bank.beside(linears, { x, y, rows, slots }),
        ],
        this.#merged(projection, { x, y, ...sizes }, adapter.bank),
      ]);
      return winner<Alternative>(["apart", "merged"], times);
    } finally {
      this.device.release(x);
      this.device.release(y);
    }
  }

  /** Microseconds of plans, run in turn. */
  async #times(plans: readonly Plan[]): Promise<number[]> {
    const programs: Program[] = [];
    const least = plans.map(() => Infinity);
    try {
      for (const plan of plans) programs.push(await this.device.prepare(plan));
      for (let round = 0; round < rounds; round++) {
        for (const [i, program] of programs.entries()) {
          least[i] = Math.min(least[i], (await this.device.trace(program)).wholeUs);
        }
      }
    } finally {
      programs.forEach((program) => program.release());
    }
    return least;
  }
}
