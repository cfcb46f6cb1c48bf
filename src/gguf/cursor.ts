/**
 * Reads the values of a GGUF header one after the other: little-endian numbers, and texts with their lengths.
 *
 * @module
 */
import { ConfigError } from "../errors.ts";

/** Thrown where the bytes at hand end inside a value, and the file does not. */
export class NeedsMore extends Error {
  override readonly name = "NeedsMore";
}

/** A name from a file as it may stand in a message. */
export function quoted(name: string): string {
  return JSON.stringify(name.length > 100 ? `${name.slice(0, 97)}...` : name);
}

/** The error for bytes that break a rule of the format. */
export function broken(why: string): ConfigError {
  return new ConfigError(`Cannot read GGUF: ${why}`);
}

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Shorter texts are made without a decoder where they are ASCII: a vocabulary has a hundred thousand. */
const shortText = 64;

/** A place in the first bytes of a file. */
export class Cursor {
  readonly #view: DataView;
  #at = 0;

  /** @param fileBytes Bytes of the whole file. */
  constructor(private readonly bytes: Uint8Array, private readonly fileBytes: number) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get at(): number {
    return this.#at;
  }

  /** Bytes of the file from here on. */
  get left(): number {
    return this.fileBytes - this.#at;
  }

  /** The place before `count` more bytes, which are there. */
  #take(count: number, what: string): number {
    if (count > this.left) {
      throw broken(
        `${what} takes ${count} bytes at byte ${this.#at}, and the file ends at ${this.fileBytes}`,
      );
    }
    if (this.#at + count > this.bytes.length) throw new NeedsMore();
    const at = this.#at;
    this.#at += count;
    return at;
  }

  uint8(what: string): number {
    return this.#view.getUint8(this.#take(1, what));
  }

  int8(what: string): number {
    return this.#view.getInt8(this.#take(1, what));
  }

  uint16(what: string): number {
    return this.#view.getUint16(this.#take(2, what), true);
  }

  int16(what: string): number {
    return this.#view.getInt16(this.#take(2, what), true);
  }

  uint32(what: string): number {
    return this.#view.getUint32(this.#take(4, what), true);
  }

  int32(what: string): number {
    return this.#view.getInt32(this.#take(4, what), true);
  }

  float32(what: string): number {
    return this.#view.getFloat32(this.#take(4, what), true);
  }

  float64(what: string): number {
    return this.#view.getFloat64(this.#take(8, what), true);
  }

  uint64(what: string): bigint {
    return this.#view.getBigUint64(this.#take(8, what), true);
  }

  int64(what: string): bigint {
    return this.#view.getBigInt64(this.#take(8, what), true);
  }

  /** A count of things that take `bytes` each at least: no more than the rest of the file has room for. */
  count(what: string, bytes: number): number {
    const count = this.uint64(what);
    if (count * BigInt(bytes) > BigInt(this.left)) {
      throw broken(`${what} is ${count}, and only ${this.left} bytes follow`);
    }
    return Number(count);
  }

  /** A UTF-8 text. */
  text(what: string): string {
    const length = this.count(`the length of ${what}`, 1);
    const at = this.#take(length, what), bytes = this.bytes.subarray(at, at + length);
    if (length <= shortText && bytes.every((byte) => byte < 0x80)) return String.fromCharCode(...bytes);
    try {
      // The slice is for shared memory, which browsers' decoders refuse.
      return decoder.decode(bytes.slice());
    } catch {
      throw broken(`${what} is not UTF-8`);
    }
  }
}
