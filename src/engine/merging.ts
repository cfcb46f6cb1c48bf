/**
 * Whether a step merges its adapters into the weights first: y = x (W + dW)^T. All rows must have the same adapters. With
 * many rows, making dW costs less than adding x dW^T.
 *
 * The adapters' own steps make dW from unit rows. Making dW costs as many rows as the linear has inputs, so fewer rows never
 * gain. For more rows the device times both ways once for each power of two and shape, and the answer is kept.
 *
 * @module
 */
import type { Bank, Placed } from "../adapters/bank.ts";
import { Contests, winner } from "../contest.ts";
import type { Device, Program } from "../device/device.ts";
import type { ProjectionIo } from "../models/graph.ts";
import type { Model } from "../models/model.ts";
import type { Projection } from "../models/projection.ts";
import { floatsOf } from "../models/weights.ts";
import type { Plan } from "../plan.ts";
import { MergedProjections } from "./merged_projection.ts";
import { adaptedProjection, ProjectionScratch } from "./projection.ts";

/** `auto` is as timed; `always` is wherever it can be; results differ in their rounding. */
export type MergingMode = "auto" | "never" | "always";

/** Projections that take equally long: of one part in their layers, and of one shape. */
export type ProjectionKind = string;

const kindOf = ({ kind, shape }: Projection): ProjectionKind => `${kind} ${shape.out}x${shape.in}`;

/** Most numbers of a weight that is merged: a few such matrices are kept. Products of larger ones take nearly all the time. */
const mostNumbers = 2 ** 24;
/** Multiplications of a product that is worth timing: fewer take less than half a millisecond anywhere. */
const leastProducts = 2 ** 22;
const rounds = 3;

/** The adapter's own step after the product, or the product by W + dW. */
type Alternative = "apart" | "merged";

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
  readonly #merged: MergedProjections;

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
    const shapes = mergeable.map(({ shape }) => shape);
    this.#merged = new MergedProjections(device, {
      numbers: Math.max(...shapes.map((shape) => shape.out * shape.in)),
      rows: Math.max(options.maxRows, ...shapes.map((shape) => shape.in)),
      outputs: Math.max(...shapes.map(({ out }) => out)),
    });
  }

  /** Whether so many rows of one adapter may be worth it; false of every small step. */
  mayPay(rows: number): boolean {
    return rows >= this.#fewestRows;
  }

  /** The kinds of projections that a step of so many rows merges. Kinds without an answer are timed first. */
  async kindsFor(rows: number, adapters: readonly Placed[]): Promise<ReadonlySet<ProjectionKind>> {
    const { mode } = this.options;
    const power = 2 ** Math.floor(Math.log2(rows));
    const chosen = new Set<ProjectionKind>();
    for (const [kind, [projection]] of this.#mergeable) {
      const counted = mode === "always" ? rows : power;
      if (counted < fewestRows(projection, mode) || !this.#adaptsAll(kind, adapters)) continue;
      if (mode === "always" || await this.#wins(kind, power, adapters)) chosen.add(kind);
    }
    return chosen;
  }

  /** Readies what merged steps read for the adapters of all rows; in order with runs. */
  use(adapters: readonly Placed[]): void {
    this.#merged.use(adapters);
  }

  /** y = or += x W'^T + b, of a projection of one of the kinds, with the banks' adapters in W'; undefined of another. */
  steps(
    projection: Projection,
    io: ProjectionIo,
    { kinds, banks }: { readonly kinds: ReadonlySet<ProjectionKind>; readonly banks: readonly Bank[] },
  ): Plan | undefined {
    return kinds.has(kindOf(projection)) ? this.#merged.plan(projection, io, banks) : undefined;
  }

  /** Whether adapters change every projection of the kind: where they do not, their own steps cost nothing. */
  #adaptsAll(kind: ProjectionKind, adapters: readonly Placed[]): boolean {
    return this.#mergeable.get(kind)!.every(({ linears }) =>
      adapters.some(({ bank, slot }) => bank.slotAdapts(slot, linears))
    );
  }

  /**
   * Whether merging is clearly faster with so many rows. Failing to time fails no step: whatever is wrong shows where the step
   * itself is run.
   */
  async #wins(kind: ProjectionKind, rows: number, adapters: readonly Placed[]): Promise<boolean> {
    const names = adapters.map(({ bank }) => bank.name);
    const answer = await this.#contests.answer(`${names}:${kind}:${rows}`, {
      usual: "apart",
      hold: () => this.#compare(kind, rows, adapters),
      revision: () => adapters.reduce((sum, { bank }) => sum + bank.revision, 0),
    });
    return answer === "merged";
  }

  /** Runs both on the first projection of the kind, of zeros. */
  async #compare(
    kind: ProjectionKind,
    rows: number,
    adapters: readonly Placed[],
  ): Promise<Alternative> {
    const [projection] = this.#mergeable.get(kind)!;
    const { shape } = projection, banks = adapters.map(({ bank }) => bank);
    this.use(adapters);
    const x = this.device.alloc([rows, shape.in], "float32"),
      y = this.device.alloc([rows, shape.out], "float32");
    const io = { x, y, rows, accumulate: 0 }, scratch = new ProjectionScratch(this.device);
    try {
      const times = await this.#times([
        adaptedProjection(projection, io, { banks, slotsOf: (bank) => this.#merged.slots(bank), scratch }),
        this.#merged.plan(projection, io, banks),
      ]);
      return winner<Alternative>(["apart", "merged"], times);
    } finally {
      scratch.release();
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
