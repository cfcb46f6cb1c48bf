/**
 * Adapters' own parameters on a device: a slot for each adapter that has any, whatever its method.
 *
 * Small ones lie in arenas, found by the kernels through a table of records. Whole embeddings and heads are tensors of their
 * own, and count against a budget of bytes.
 *
 * @module
 */
import { bitsOf, recordWords } from "../../kernels/record.ts";
import type { Device } from "../device/device.ts";
import { bytesPerElement, type HostTensor, type Tensor } from "../tensor.ts";
import { Arena } from "./arena.ts";
import type { OwnChanges, OwnNumbers } from "./own_changes.ts";
import type { Parameter } from "./parameters.ts";
import { type SharedTable, SharedTables } from "./shared_tables.ts";

/** A whole table of an adapter on the device. */
export interface ResidentTable {
  readonly parameter: number;
  readonly tensor: Tensor;
  readonly slot: number;
  /** A number that no other table has or had. */
  readonly serial: number;
}

/** What a kernel is bound to, to change rows by a parameter of their adapters. */
export interface OwnTensors {
  readonly records: Tensor;
  readonly values: Tensor;
  readonly tables: Tensor;
  readonly parameter: number;
  readonly capacity: number;
}

interface Stored {
  readonly arena: Arena;
  readonly at: number;
  readonly count: number;
}

interface Resident {
  readonly slot: number;
  readonly records: number[];
  readonly values: Stored[];
  readonly ids: SharedTable[];
  readonly tables: ResidentTable[];
}

const bytesOf = ({ data, dtype }: HostTensor): number => data.length * bytesPerElement[dtype];

/** See the module's documentation. */
export class OwnBank {
  readonly #arenas: readonly Arena[];
  readonly #ids: SharedTables;
  readonly #records: Tensor;
  readonly #residents = new Map<number, Resident>();
  readonly #freeSlots: number[];
  readonly #numbers: ReadonlyMap<Tensor, number>;
  /** Of linears that are heads, by the linear's number. */
  readonly #heads: ReadonlyMap<number, number>;
  /** The most rows or numbers that an adapter has had so far, by parameter, and those of factors. */
  readonly #most = new Map<number, number>();
  readonly #factors = new Set<number>();
  #tableBytes = 0;
  #serials = 0;

  constructor(
    private readonly device: Device,
    readonly parameters: readonly Parameter[],
    private readonly options: { readonly capacity: number; readonly tableBytes: number },
  ) {
    const { capacity } = options;
    const vectors = new Arena(device, "float32");
    this.#arenas = parameters.map(({ kind }) =>
      kind === "embedding" || kind === "head" ? new Arena(device, "float32") : vectors
    );
    this.#ids = new SharedTables(device);
    this.#records = device.alloc([2 * parameters.length, capacity, recordWords], "uint32");
    this.#freeSlots = Array.from({ length: capacity }, (_, i) => capacity - 1 - i);
    this.#numbers = new Map(parameters.flatMap(({ base }, i) => base?.at === 0 ? [[base.tensor, i]] : []));
    const numbers = new Map(parameters.map(({ name }, i) => [name, i]));
    this.#heads = new Map(
      parameters.flatMap(({ name, kind }, i) =>
        kind === "head" ? [[numbers.get(name.replace(/weight$/, "bias"))!, i]] : []
      ),
    );
  }

  /** Adapters resident now. */
  get size(): number {
    return this.#residents.size;
  }

  /** Changes when steps do: a tensor was replaced, or more is changed. Plans of an older revision are stale. */
  get revision(): number {
    const arenas = new Set([...this.#arenas, this.#ids.arena]);
    const grown = [...arenas].reduce((sum, { generation }) => sum + generation, 0);
    return [...this.#most.values()].reduce((sum, most) => sum + most, grown + this.#factors.size);
  }

  /** The number of the weight of a linear that is a head; undefined for other linears. */
  headOf(linear: number): number | undefined {
    return this.#heads.get(linear);
  }

  /** The number of the parameter that is a whole tensor of the model's. */
  numberOf(base: Tensor): number | undefined {
    return this.#numbers.get(base);
  }

  /** The most rows, or numbers of a vector, that an adapter has had so far in a parameter's place; 0 where none had any. */
  most(parameter: number): number {
    return this.#most.get(parameter) ?? 0;
  }

  /** Whether an adapter so far changed a table by factors. */
  hasFactors(parameter: number): boolean {
    return this.#factors.has(parameter);
  }

  /** What kernels that change rows by a parameter are bound to. Factors have records of their own. */
  tensors(parameter: number, use: "numbers" | "factors" = "numbers"): OwnTensors {
    return {
      records: this.#records,
      values: this.#arenas[parameter].tensor,
      tables: this.#ids.tensor,
      parameter: this.#record(parameter, use),
      capacity: this.options.capacity,
    };
  }

  /** The whole tables of the adapter in a slot. */
  tablesOf(slot: number): readonly ResidentTable[] {
    return this.#residents.get(slot)?.tables ?? [];
  }

  /**
   * Puts an adapter's changes into a free slot; undefined when all slots are taken, or the room.
   *
   * @throws RangeError when they are too large for the device, or the budget, even alone.
   */
  load({ numbers, tables }: OwnChanges): number | undefined {
    const slot = this.#freeSlots.at(-1);
    if (slot === undefined || !this.#affords(tables)) return undefined;
    const resident: Resident = { slot, records: [], values: [], ids: [], tables: [] };
    try {
      if (!numbers.every((one) => this.#store(one, resident))) {
        this.#free(resident);
        return undefined;
      }
      for (const { parameter, data } of tables) {
        const tensor = this.device.upload(data);
        this.#tableBytes += bytesOf(data);
        resident.tables.push({ parameter, tensor, slot, serial: this.#serials++ });
      }
    } catch (error) {
      this.#free(resident);
      throw error;
    }
    this.#freeSlots.pop();
    this.#residents.set(slot, resident);
    return slot;
  }

  /** Frees a slot; its last user must be done. */
  unload(slot: number): void {
    const resident = this.#residents.get(slot);
    if (!resident) return;
    this.#residents.delete(slot);
    this.#freeSlots.push(slot);
    this.#free(resident);
  }

  /** Frees everything; nothing may be loaded after it. */
  release(): void {
    for (const slot of [...this.#residents.keys()]) this.unload(slot);
    for (const arena of new Set([...this.#arenas, this.#ids.arena])) arena.release();
    this.device.release(this.#records);
  }

  /** Whether whole tables fit into what is left of the budget. */
  #affords(tables: OwnChanges["tables"]): boolean {
    const { tableBytes: budget } = this.options;
    const wanted = tables.reduce((sum, { data }) => sum + bytesOf(data), 0);
    if (wanted > budget) {
      throw new RangeError(
        `Cannot put an adapter on the device: its own embeddings and heads have ${wanted} bytes, at most ${budget} are kept`,
      );
    }
    return this.#tableBytes + wanted <= budget;
  }

  #store(
    { parameter, values, ids, count, scale }: OwnNumbers,
    { slot, records, values: stored, ids: shared }: Resident,
  ): boolean {
    const arena = this.#arenas[parameter];
    if (!arena.holds(values.length)) {
      throw new RangeError(
        `Cannot put an adapter on the device: its own "${
          this.parameters[parameter].name
        }" has ${values.length} numbers, a ` +
          `tensor may have ${this.device.maxTensorBytes} bytes`,
      );
    }
    const at = arena.put(values);
    if (at === undefined) return false;
    stored.push({ arena, at, count: values.length });
    const table = ids && this.#ids.take({ key: `${ids}`, words: () => ids });
    if (ids && !table) return false;
    if (table) shared.push(table);
    const record = this.#record(parameter, scale === undefined ? "numbers" : "factors");
    records.push(record);
    if (scale === undefined) this.#most.set(parameter, Math.max(count, this.most(parameter)));
    else this.#factors.add(parameter);
    this.#writeRecord(record, slot, [table?.at ?? 0, at, count, bitsOf(scale ?? 0)]);
    return true;
  }

  #free({ slot, records, values, ids, tables }: Resident): void {
    for (const record of records) this.#writeRecord(record, slot, [0, 0, 0, 0]);
    for (const { arena, at, count } of values) arena.free(at, count);
    for (const table of ids) this.#ids.leave(table);
    for (const { tensor } of tables) {
      this.#tableBytes -= tensor.shape.reduce((all, size) => all * size, bytesPerElement[tensor.dtype]);
      this.device.release(tensor);
    }
  }

  /** The number of a parameter's records. */
  #record(parameter: number, use: "numbers" | "factors"): number {
    return use === "numbers" ? parameter : this.parameters.length + parameter;
  }

  #writeRecord(record: number, slot: number, words: readonly number[]): void {
    const at = (record * this.options.capacity + slot) * recordWords;
    this.device.write(this.#records, new Uint32Array(words), at);
  }
}
