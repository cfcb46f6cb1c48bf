/**
 * The adapters of one method that are on a device: a slot each, found by the kernels through a table of records.
 *
 * @module
 */
import { bitsOf, recordWords } from "../../kernels/record.ts";
import type { Device } from "../device/device.ts";
import type { Step } from "../plan.ts";
import type { Tensor } from "../tensor.ts";
import { Arena } from "./arena.ts";
import type { AdapterModule, LinearShape, Method } from "./method.ts";

/** A linear layer that adapters may adapt. */
export interface Linear {
  readonly path: string;
  readonly shape: LinearShape;
}

/** Linears of a bank that share their input: the first's number, and how many, up to three. */
export interface LinearGroup {
  readonly first: number;
  readonly count: number;
}

interface Resident {
  readonly layers: readonly number[];
  readonly ranges: readonly { readonly at: number; readonly count: number }[];
  readonly tableKeys: readonly string[];
}

/** Slots for adapters of one method over a fixed list of linears. */
export class Bank {
  readonly #values: Arena;
  readonly #tables: Arena;
  readonly #records: Tensor;
  readonly #residents = new Map<number, Resident>();
  readonly #sharedTables = new Map<string, { at: number; count: number; users: number }>();
  readonly #layers: ReadonlyMap<string, number>;
  /** For each layer, resident adapters that adapt it. */
  readonly #users: number[];
  #layerChanges = 0;

  constructor(
    private readonly device: Device,
    readonly method: Method,
    private readonly options: { readonly linears: readonly Linear[]; readonly capacity: number },
  ) {
    this.#values = new Arena(device, "float32");
    this.#tables = new Arena(device, "uint32");
    this.#records = device.alloc([options.linears.length, options.capacity, recordWords], "uint32");
    this.#users = options.linears.map(() => 0);
    this.#layers = new Map(options.linears.map(({ path }, i) => [path, i]));
  }

  /** Adapters resident now. */
  get size(): number {
    return this.#residents.size;
  }

  /** Whether any resident adapter adapts any linear of a group. */
  adapts({ first, count }: LinearGroup): boolean {
    return this.#users.slice(first, first + count).some((users) => users > 0);
  }

  /** Changes when steps do: a tensor was replaced, or other layers are adapted. Plans of an older revision are stale. */
  get revision(): number {
    return this.#layerChanges + this.#values.generation + this.#tables.generation;
  }

  /** Puts an adapter into a free slot; undefined when all slots are taken. Its modules must have been checked. */
  load(modules: ReadonlyMap<string, AdapterModule>): number | undefined {
    const slot = Array.from({ length: this.options.capacity }, (_, i) => i).find((i) =>
      !this.#residents.has(i)
    );
    if (slot === undefined) return undefined;
    const ranges: { at: number; count: number }[] = [];
    const tableKeys: string[] = [];
    const layers: number[] = [];
    for (const [path, module] of modules) {
      const layer = this.#layers.get(path)!;
      const packed = module.pack(this.options.linears[layer].shape);
      const at = this.#values.put(packed.values);
      ranges.push({ at, count: packed.values.length });
      let table = 0;
      if (packed.table) {
        table = this.#shareTable(packed.table.key, packed.table.words);
        tableKeys.push(packed.table.key);
      }
      layers.push(layer);
      if (this.#users[layer]++ === 0) this.#layerChanges++;
      this.#writeRecord(layer, slot, [table, at, packed.count, bitsOf(packed.scale)]);
    }
    this.#residents.set(slot, { layers, ranges, tableKeys });
    return slot;
  }

  /** Frees a slot; rows that still name it would compute nonsense, so its last user must be done. */
  unload(slot: number): void {
    const resident = this.#residents.get(slot);
    if (!resident) return;
    this.#residents.delete(slot);
    for (let layer = 0; layer < this.options.linears.length; layer++) {
      this.#writeRecord(layer, slot, [0, 0, 0, 0]);
    }
    for (const { at, count } of resident.ranges) this.#values.free(at, count);
    for (const key of resident.tableKeys) {
      const shared = this.#sharedTables.get(key)!;
      if (--shared.users > 0) continue;
      this.#tables.free(shared.at, shared.count);
      this.#sharedTables.delete(key);
    }
  }

  /**
   * The step that adds each row's adapter to the linears of a group, whose outputs stand side by side in y.
   *
   * @throws RangeError when the linears differ in their input's size, or are more than three.
   */
  step(
    { first, count }: LinearGroup,
    io: { readonly x: Tensor; readonly y: Tensor; readonly slots: Tensor; readonly rows: number },
  ): Step {
    const shapes = this.options.linears.slice(first, first + count).map(({ shape }) => shape);
    const [{ in: inFeatures, out }, second, third] = shapes;
    if (count > 3 || shapes.some((shape) => shape.in !== inFeatures)) {
      throw new RangeError(
        `Cannot adapt linears of inputs ${
          shapes.map((shape) => shape.in)
        } in one step: up to three may share one`,
      );
    }
    return this.method.step({
      ...io,
      layer: first,
      records: this.#records,
      tables: this.#tables.tensor,
      values: this.#values.tensor,
      in: inFeatures,
      outs: [out, second?.out ?? 0, third?.out ?? 0],
      capacity: this.options.capacity,
    });
  }

  release(): void {
    this.#values.release();
    this.#tables.release();
    this.device.release(this.#records);
  }

  #writeRecord(layer: number, slot: number, words: readonly number[]): void {
    this.device.write(
      this.#records,
      Uint32Array.from(words),
      (layer * this.options.capacity + slot) * recordWords,
    );
  }

  #shareTable(key: string, words: () => Uint32Array): number {
    const known = this.#sharedTables.get(key);
    if (known) {
      known.users++;
      return known.at;
    }
    const made = words();
    const at = this.#tables.put(made);
    this.#sharedTables.set(key, { at, count: made.length, users: 1 });
    return at;
  }
}
