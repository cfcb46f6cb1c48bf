/**
 * Tables on a device that many modules share: each once, by its key, for as long as anyone uses it.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import type { Tensor } from "../tensor.ts";
import { Arena } from "./arena.ts";
import type { Packed } from "./method.ts";

/** A table, and how many use it. */
export interface SharedTable {
  readonly key: string;
  /** Its first word in the tensor. */
  readonly at: number;
  readonly count: number;
  users: number;
}

/** See the module's documentation. */
export class SharedTables {
  readonly arena: Arena;
  readonly #tables = new Map<string, SharedTable>();

  constructor(device: Device) {
    this.arena = new Arena(device, "uint32");
  }

  /** The tensor that they all lie in. */
  get tensor(): Tensor {
    return this.arena.tensor;
  }

  /** The table of a key, with a user more; undefined when it does not fit any more. */
  take({ key, words }: NonNullable<Packed["table"]>): SharedTable | undefined {
    const table = this.#tables.get(key) ?? this.#make(key, words());
    if (table) table.users++;
    return table;
  }

  /** Takes a user away. */
  leave(table: SharedTable): void {
    if (--table.users > 0) return;
    this.arena.free(table.at, table.count);
    this.#tables.delete(table.key);
  }

  #make(key: string, words: Uint32Array): SharedTable | undefined {
    const at = this.arena.put(words);
    if (at === undefined) return undefined;
    const table = { key, at, count: words.length, users: 0 };
    this.#tables.set(key, table);
    return table;
  }
}
