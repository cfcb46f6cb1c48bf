/**
 * Objects that were read and checked, by their digests: least recently used ones leave when bytes are needed.
 *
 * @module
 */

/** See the module's documentation. */
export class ObjectCache {
  /** Least recently used first. */
  readonly #objects = new Map<string, Uint8Array>();
  #bytes = 0;

  /** @param maxBytes Bytes of all objects together at most. */
  constructor(private readonly maxBytes: number) {}

  /** Bytes that are kept. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The object of a digest, which now is the last to leave; undefined when it is not kept. */
  get(sha256: string): Uint8Array | undefined {
    const found = this.#objects.get(sha256);
    if (!found) return undefined;
    this.#objects.delete(sha256);
    this.#objects.set(sha256, found);
    return found;
  }

  /** Keeps an object, unless it is larger than all the room. */
  set(sha256: string, object: Uint8Array): void {
    if (object.length > this.maxBytes || this.#objects.has(sha256)) return;
    this.#objects.set(sha256, object);
    this.#bytes += object.length;
    for (const [oldest, { length }] of this.#objects) {
      if (this.#bytes <= this.maxBytes) return;
      this.#objects.delete(oldest);
      this.#bytes -= length;
    }
  }
}
