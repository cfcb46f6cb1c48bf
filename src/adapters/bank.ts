/**
 * The adapters of one method that are on a device: a slot each, found by the kernels through a table of records.
 *
 * @module
 */
import { bitsOf, recordWords } from "../../kernels/record.ts";
import type { Device } from "../device/device.ts";
import type { Step } from "../plan.ts";
import type { Tensor } from "../tensor.ts";
import type { Arena } from "./arena.ts";
import { BankMemory } from "./bank_memory.ts";
import type { AdapterModule, BankTensors, LinearShape, Method, Packed, Phase } from "./method.ts";
import type { ListedMethod } from "./method_list.ts";
import type { SharedTable, SharedTables } from "./shared_tables.ts";

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

/** Where an adapter is on a device. */
export interface Placed {
  readonly bank: Bank;
  readonly slot: number;
}

/** What an adapter has in an arena. */
interface Stored {
  readonly arena: Arena;
  readonly at: number;
  readonly count: number;
}

interface Resident {
  readonly slot: number;
  readonly linears: number[];
  readonly values: Stored[];
  readonly tables: { readonly of: SharedTables; readonly table: SharedTable }[];
}

/** Modules of an adapter whose values share an arena. */
interface Part {
  readonly arena: Arena;
  readonly shared: SharedTables;
  readonly modules: {
    readonly linear: number;
    readonly packed: Packed;
    readonly phases: readonly Phase[];
  }[];
}

/** Modules' values one after the other. */
function joined({ modules }: Part): Float32Array {
  const values = new Float32Array(modules.reduce((sum, { packed }) => sum + packed.values.length, 0));
  let at = 0;
  for (const { packed } of modules) {
    values.set(packed.values, at);
    at += packed.values.length;
  }
  return values;
}

/** The phases of a method, in their order. */
export function phasesOf(method: Method): Phase[] {
  return (["before", "beside", "after"] as const).filter((phase) => method[phase] !== undefined);
}

/** Slots for adapters of one method over a fixed list of linears. It takes no memory of the device before the first adapter. */
export class Bank {
  /** Its own among the banks of a device. */
  readonly name: string;
  #method: Method | undefined;
  #made: BankMemory | undefined;
  readonly #residents = new Map<number, Resident>();
  readonly #freeSlots: number[];
  readonly #numbers: ReadonlyMap<string, number>;
  /** Linears that any adapter has acted on so far, by phase. */
  readonly #adapted: Readonly<Record<Phase, Set<number>>> = {
    before: new Set(),
    beside: new Set(),
    after: new Set(),
  };

  constructor(
    private readonly device: Device,
    method: ListedMethod,
    private readonly options: {
      readonly linears: readonly Linear[];
      readonly capacity: number;
      /** Which of the method's banks it is; 0 unless told. */
      readonly number?: number;
    },
  ) {
    const { linears, capacity, number = 0 } = options;
    if (!("load" in method)) this.#method = method;
    this.name = number === 0 ? method.name : `${method.name} ${number}`;
    this.#freeSlots = Array.from({ length: capacity }, (_, i) => capacity - 1 - i);
    this.#numbers = new Map(linears.map(({ path }, i) => [path, i]));
  }

  /** The method of its adapters; of one that is loaded later, from the first adapter on. */
  get method(): Method {
    if (this.#method) return this.#method;
    throw new TypeError(`Cannot tell the method of bank "${this.name}": it had no adapter yet`);
  }

  /** The bank itself, for adapters of its method, which is loaded. */
  of(method: Method): this {
    this.#method ??= method;
    return this;
  }

  /** The bank's tensors, made when they are first needed. */
  get #memory(): BankMemory {
    return this.#made ??= new BankMemory(this.device, {
      ...this.options,
      tablesApart: this.method.tablesApart ?? false,
    });
  }

  /** Adapters resident now. */
  get size(): number {
    return this.#residents.size;
  }

  /** Whether any adapter so far acted on a linear of a group in a phase. An unloaded one still counts: plans stay as they are. */
  acts(phase: Phase, { first, count }: LinearGroup): boolean {
    for (let linear = first; linear < first + count; linear++) {
      if (this.#adapted[phase].has(linear)) return true;
    }
    return false;
  }

  /** Whether the adapter in a slot adapts any linear of a group. */
  slotAdapts(slot: number, { first, count }: LinearGroup): boolean {
    return this.#residents.get(slot)?.linears.some((linear) => linear >= first && linear < first + count) ??
      false;
  }

  /** Changes when steps do: a tensor was replaced, or more linears are adapted. Plans of an older revision are stale. */
  get revision(): number {
    const adapted = Object.values(this.#adapted).reduce((sum, { size }) => sum + size, 0);
    return adapted + (this.#made?.generations ?? 0);
  }

  /**
   * Puts an adapter into a free slot; undefined when all slots are taken, or the room. Its modules must have been checked.
   *
   * @throws RangeError when it is too large for the device even alone.
   */
  load(modules: ReadonlyMap<string, AdapterModule>): number | undefined {
    const slot = this.#freeSlots.at(-1);
    if (slot === undefined) return undefined;
    const resident: Resident = { slot, linears: [], values: [], tables: [] };
    try {
      if (!this.#parts(modules).every((part) => this.#store(part, resident))) {
        this.#free(resident);
        if (this.#residents.size > 0) return undefined;
        throw new RangeError(
          `Cannot put an adapter on the device: its shared tables belong in one tensor, which may have ` +
            `${this.device.maxTensorBytes} bytes`,
        );
      }
    } catch (error) {
      this.#free(resident);
      throw error;
    }
    this.#freeSlots.pop();
    this.#residents.set(slot, resident);
    return slot;
  }

  /** Frees a slot; rows that still name it would compute nonsense, so its last user must be done. */
  unload(slot: number): void {
    const resident = this.#residents.get(slot);
    if (!resident) return;
    this.#residents.delete(slot);
    this.#freeSlots.push(slot);
    this.#free(resident);
  }

  /** The step that changes x of each row before the product of one linear. */
  before(linear: number, { x, ...io }: Pick<BankTensors, "slots" | "rows"> & { readonly x: Tensor }): Step {
    return this.method.before!({ ...this.#tensors({ first: linear, count: 1 }, io), x });
  }

  /** The same for the linears of a group: y (count, rows, in) of x (rows, in). Throws as {@linkcode beside}. */
  beforeAll(
    group: LinearGroup,
    { x, y, ...io }: Pick<BankTensors, "slots" | "rows"> & { readonly x: Tensor; readonly y: Tensor },
  ): Step {
    return this.method.beforeAll!({ ...this.#tensors(group, io), x, y });
  }

  /**
   * The step that adds each row's adapter to the linears of a group, whose outputs stand side by side in y.
   *
   * @throws RangeError when the linears differ in their input's size, or are more than three.
   */
  beside(
    group: LinearGroup,
    { x, y, ...io }: Pick<BankTensors, "slots" | "rows"> & { readonly x: Tensor; readonly y: Tensor },
  ): Step {
    return this.method.beside!({ ...this.#tensors(group, io), x, y });
  }

  /** The step that changes each row's outputs, y, of the linears of a group; throws as {@linkcode beside}. */
  after(
    group: LinearGroup,
    { y, ...io }: Pick<BankTensors, "slots" | "rows"> & { readonly y: Tensor },
  ): Step {
    return this.method.after!({ ...this.#tensors(group, io), y });
  }

  release(): void {
    this.#made?.release();
  }

  #tensors({ first, count }: LinearGroup, { slots, rows }: Pick<BankTensors, "slots" | "rows">): BankTensors {
    const shapes = this.options.linears.slice(first, first + count).map(({ shape }) => shape);
    const [{ in: inFeatures, out }, second, third] = shapes;
    if (count > 3 || shapes.some((shape) => shape.in !== inFeatures)) {
      throw new RangeError(
        `Cannot adapt linears of inputs ${
          shapes.map((shape) => shape.in)
        } in one step: up to three may share one`,
      );
    }
    const { records, tables, values } = this.#memory;
    return {
      slots,
      rows,
      records,
      tables: tables.get(values[first])!.tensor,
      values: values[first].tensor,
      in: inFeatures,
      outs: [out, second?.out ?? 0, third?.out ?? 0],
      linear: first,
      capacity: this.options.capacity,
    };
  }

  /** An adapter's modules by arena, packed. */
  #parts(modules: ReadonlyMap<string, AdapterModule>): Part[] {
    const parts = new Map<Arena, Part>();
    for (const [path, module] of modules) {
      const linear = this.#numbers.get(path)!;
      const packed = module.pack(this.options.linears[linear].shape);
      const arena = this.#memory.values[linear];
      const part = parts.get(arena) ?? { arena, shared: this.#memory.tables.get(arena)!, modules: [] };
      part.modules.push({ linear, packed, phases: module.phases ?? phasesOf(this.method) });
      parts.set(arena, part);
    }
    for (const part of parts.values()) this.#checkRoom(part);
    return [...parts.values()];
  }

  /** Throws RangeError for a part that is too large even alone. */
  #checkRoom({ arena, shared, modules }: Part): void {
    const check = (fits: Arena, count: number): void => {
      if (fits.holds(count)) return;
      throw new RangeError(
        `Cannot put an adapter on the device: ${count} numbers of it belong in one tensor, which may have ` +
          `${this.device.maxTensorBytes} bytes`,
      );
    };
    check(arena, modules.reduce((sum, { packed }) => sum + packed.values.length, 0));
    if (!this.method.tablesApart) return;
    const tables = new Map(modules.flatMap(({ packed: { table } }) => table ? [[table.key, table]] : []));
    check(shared.arena, [...tables.values()].reduce((sum, { words }) => sum + words().length, 0));
  }

  /** Stores modules and notes in `resident` what they took; false when there is no room. */
  #store(part: Part, { slot, linears, values, tables }: Resident): boolean {
    const words = joined(part);
    const at = part.arena.put(words);
    if (at === undefined) return false;
    values.push({ arena: part.arena, at, count: words.length });
    let first = at;
    for (const { linear, packed, phases } of part.modules) {
      const table = packed.table && part.shared.take(packed.table);
      if (packed.table && !table) return false;
      if (table) tables.push({ of: part.shared, table });
      for (const phase of phases) this.#adapted[phase].add(linear);
      linears.push(linear);
      this.#writeRecord(linear, slot, [table?.at ?? 0, first, packed.count, bitsOf(packed.scale)]);
      first += packed.values.length;
    }
    return true;
  }

  #free({ slot, linears, values, tables }: Resident): void {
    for (const linear of linears) this.#writeRecord(linear, slot, [0, 0, 0, 0]);
    for (const { arena, at, count } of values) arena.free(at, count);
    for (const { of, table } of tables) of.leave(table);
  }

  #writeRecord(linear: number, slot: number, words: readonly number[]): void {
    const at = (linear * this.options.capacity + slot) * recordWords;
    this.device.write(this.#memory.records, new Uint32Array(words), at);
  }
}
