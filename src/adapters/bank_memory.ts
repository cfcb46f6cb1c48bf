/**
 * The tensors of a bank.
 *
 * Adapters' numbers lie in several tensors, so that no buffer's limit is met early: linears of one step have to share theirs,
 * and are neighbours of one input size, so every run of such neighbours has a tensor of its own.
 *
 * @module
 */
import { recordWords } from "../../kernels/record.ts";
import type { Device } from "../device/device.ts";
import type { Tensor } from "../tensor.ts";
import { Arena } from "./arena.ts";
import type { Linear } from "./bank.ts";
import { SharedTables } from "./shared_tables.ts";

/** One arena for each run of linears of one input size, by linear. */
function arenasOf(device: Device, linears: readonly Linear[]): Arena[] {
  const arenas: Arena[] = [];
  linears.forEach(({ shape }, i) => {
    const joins = i > 0 && shape.in === linears[i - 1].shape.in;
    arenas.push(joins ? arenas[i - 1] : new Arena(device, "float32"));
  });
  return arenas;
}

/** Where the tables of each arena's linears lie: together, or apart. */
function tablesOf(device: Device, arenas: readonly Arena[], apart: boolean): Map<Arena, SharedTables> {
  const together = apart ? undefined : new SharedTables(device);
  return new Map([...new Set(arenas)].map((arena) => [arena, together ?? new SharedTables(device)]));
}

/** See the module's documentation. */
export class BankMemory {
  /** Of each linear; some are the same. */
  readonly values: readonly Arena[];
  /** By the arena of a linear's values. */
  readonly tables: ReadonlyMap<Arena, SharedTables>;
  /** (linears, capacity, words of a record), uint32. */
  readonly records: Tensor;
  /** All arenas, each once. */
  readonly #arenas: readonly Arena[];

  constructor(
    private readonly device: Device,
    { linears, capacity, tablesApart }: {
      readonly linears: readonly Linear[];
      readonly capacity: number;
      /** Whether the tables of each run of linears have a tensor of their own. */
      readonly tablesApart: boolean;
    },
  ) {
    this.values = arenasOf(device, linears);
    this.tables = tablesOf(device, this.values, tablesApart);
    this.#arenas = [...new Set([...this.values, ...[...this.tables.values()].map(({ arena }) => arena)])];
    this.records = device.alloc([linears.length, capacity, recordWords], "uint32");
  }

  /** How often tensors were replaced by larger ones. */
  get generations(): number {
    return this.#arenas.reduce((sum, { generation }) => sum + generation, 0);
  }

  release(): void {
    for (const arena of this.#arenas) arena.release();
    this.device.release(this.records);
  }
}
