/**
 * Tables on a device that many modules share: each once, by its key, for as long as anyone uses it.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import type { Tensor } from "../tensor.ts";
import { Arena } from "./arena.ts";
import type { Packed } from "./method.ts";

/** See the module's documentation. */
export class SharedTables {
  readonly arena: Arena;
  readonly #tables = new Map<string, { readonly at: number; readonly count: number; users: number }>();

  constructor(device: Device) {
    this.arena = new Arena(device, "uint32");
  }

  /** The tensor that they all lie in. */
  get tensor(): Tensor {
    return this.arena.tensor;
  }

  /** Counts a user of a table; returns where it lies, or undefined when it does not fit any more. */
  take({ key, words }: NonNullable<Packed["table"]>): number | undefined {
    const known = this.#tables.get(key);
    if (known) {
      known.users++;
      return known.at;
    }
    const made = words();
    const at = this.arena.put(made);
    if (at !== undefined) this.#tables.set(key, { at, count: made.length, users: 1 });
    return at;
  }

  /** Counts a user less. */
  leave(key: string): void {
    const table = this.#tables.get(key)!;
    if (--table.users > 0) return;
    this.arena.free(table.at, table.count);
    this.#tables.delete(key);
  }
}
