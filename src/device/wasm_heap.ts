/**
 * Room in a WASM memory: ranges of bytes, first fit, growing until the memory cannot.
 *
 * @module
 */

/** Bytes that ranges start at multiples of: a cache line. */
const alignment = 64;

const pageBytes = 65536;

interface Range {
  readonly at: number;
  readonly bytes: number;
}

/** Ranges of a memory. Offset 0 is never given out, so that functions can take it for "none". */
export class WasmHeap {
  /** Free ranges below `#top`, by position, never touching. */
  readonly #free: Range[] = [];
  readonly #sizes = new Map<number, number>();
  /** Everything from here on was never given out, and so is zero. */
  #top = alignment;

  /** @param mostBytes What the memory may grow to. */
  constructor(private readonly memory: WebAssembly.Memory, private readonly mostBytes = 2 ** 32) {}

  /** Bytes that may be given out, in one range and in others. */
  get room(): number {
    return this.#free.reduce((sum, { bytes }) => sum + bytes, this.mostBytes - this.#top);
  }

  /** A zeroed range of bytes; undefined when the memory cannot grow that far (it ends at 4 GiB). */
  alloc(count: number): number | undefined {
    const bytes = Math.max(alignment, Math.ceil(count / alignment) * alignment);
    const at = this.#reuse(bytes) ?? this.#extend(bytes);
    if (at !== undefined) this.#sizes.set(at, bytes);
    return at;
  }

  /** Gives a range back. */
  free(at: number): void {
    const bytes = this.#sizes.get(at);
    if (bytes === undefined) return;
    this.#sizes.delete(at);
    const found = this.#free.findIndex((range) => range.at > at);
    const index = found < 0 ? this.#free.length : found;
    const before = this.#free[index - 1], after = this.#free[index];
    const joinsBefore = before !== undefined && before.at + before.bytes === at;
    const joinsAfter = after !== undefined && at + bytes === after.at;
    const start = joinsBefore ? before.at : at;
    const end = joinsAfter ? after.at + after.bytes : at + bytes;
    this.#free.splice(index - Number(joinsBefore), Number(joinsBefore) + Number(joinsAfter), {
      at: start,
      bytes: end - start,
    });
  }

  #reuse(bytes: number): number | undefined {
    const index = this.#free.findIndex((range) => range.bytes >= bytes);
    if (index < 0) return undefined;
    const range = this.#free[index];
    if (range.bytes === bytes) this.#free.splice(index, 1);
    else this.#free[index] = { at: range.at + bytes, bytes: range.bytes - bytes };
    new Uint8Array(this.memory.buffer, range.at, bytes).fill(0);
    return range.at;
  }

  #extend(bytes: number): number | undefined {
    const at = this.#top;
    const missing = at + bytes - this.memory.buffer.byteLength;
    // An eighth more than what is needed, so that many small ranges do not cost a growth each.
    const ample = Math.max(missing, this.memory.buffer.byteLength / 8);
    if (missing > 0 && !this.#grow(ample) && !this.#grow(missing)) return undefined;
    this.#top = at + bytes;
    return at;
  }

  #grow(bytes: number): boolean {
    try {
      this.memory.grow(Math.ceil(bytes / pageBytes));
      return true;
    } catch {
      return false; // a RangeError: the memory, or the machine, ends here
    }
  }
}
