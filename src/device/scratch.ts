/**
 * Scratch of calls in a WASM memory. A device runs one call at a time, so that all calls of about a size work in one room.
 *
 * @module
 */
import type { WasmCall } from "../../kernels/kernel.ts";
import type { WasmHeap } from "./wasm_heap.ts";

/** Bytes of a cache line: no two threads write to one. */
const line = 64;

/** Places one after the other: where each begins, and the bytes of all. */
function placed(sizes: Readonly<Record<string, number>>): { places: Map<string, number>; bytes: number } {
  const places = new Map<string, number>();
  let bytes = 0;
  for (const [name, size] of Object.entries(sizes)) {
    places.set(name, bytes);
    bytes += line * Math.ceil(size / line);
  }
  return { places, bytes };
}

/** Where a call's scratch lies. */
export interface Placed {
  /** Offsets in memory by name; those of `each` are the first thread's. */
  readonly offsets: ReadonlyMap<string, number>;
  /** Names of `each`. */
  readonly each: ReadonlySet<string>;
  /** Bytes from a thread's own scratch to the next one's. */
  readonly apart: number;
}

/** Rooms of a device. They stay as long as the memory: a room of each size, and sizes are powers of two. */
export class Scratch {
  readonly #rooms = new Map<number, number>();

  constructor(private readonly heap: WasmHeap, private readonly threads: number) {}

  /** A place for a call's scratch; undefined when the memory has no room for it. */
  place({ scratch = {}, each = {} }: WasmCall): Placed | undefined {
    const shared = placed(scratch), own = placed(each);
    const bytes = shared.bytes + this.threads * own.bytes;
    const room = bytes === 0 ? 0 : this.#room(bytes);
    if (room === undefined) return undefined;
    const offsets = new Map<string, number>();
    for (const [name, at] of shared.places) offsets.set(name, room + at);
    for (const [name, at] of own.places) offsets.set(name, room + shared.bytes + at);
    return { offsets, each: new Set(own.places.keys()), apart: own.bytes };
  }

  #room(bytes: number): number | undefined {
    const size = 2 ** Math.ceil(Math.log2(bytes));
    const room = this.#rooms.get(size) ?? this.heap.alloc(size);
    if (room !== undefined) this.#rooms.set(size, room);
    return room;
  }
}
