/**
 * One growing device tensor cut into ranges: where adapters of a method keep words that steps bind together.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import { bytesPerElement, type Tensor, type TypedArray } from "../tensor.ts";

interface Range {
  readonly at: number;
  readonly count: number;
}

/** First-fit ranges of a device tensor, which is copied into a larger one when it is full. */
export class Arena {
  /** Most elements that a tensor of the device may have. */
  readonly #most: number;
  #tensor: Tensor;
  #size: number;
  /** Free ranges, by position, never touching. */
  #free: Range[];

  constructor(
    private readonly device: Device,
    private readonly dtype: "float32" | "uint32",
    capacity = 1024,
  ) {
    this.#most = Math.floor(device.maxTensorBytes / bytesPerElement[dtype]);
    this.#size = Math.min(capacity, this.#most);
    this.#tensor = device.alloc([this.#size], dtype);
    this.#free = [{ at: 0, count: this.#size }];
  }

  /** How often the tensor was replaced by a larger one. */
  generation = 0;

  /** The device tensor; a new one after growth. */
  get tensor(): Tensor {
    return this.#tensor;
  }

  /** Whether so many words could be stored if nothing else were. */
  holds(count: number): boolean {
    return count <= this.#most;
  }

  /** Stores words; returns where, or undefined when they do not fit into the largest tensor of the device. */
  put(words: TypedArray): number | undefined {
    if (words.length === 0) return 0;
    const at = this.#reserve(words.length);
    if (at !== undefined) this.device.write(this.#tensor, words, at);
    return at;
  }

  /** Gives a range back. */
  free(at: number, count: number): void {
    if (count === 0) return;
    let index = this.#free.findIndex((range) => range.at > at);
    if (index < 0) index = this.#free.length;
    let range: Range = { at, count };
    const before = this.#free[index - 1];
    const after = this.#free[index];
    if (after && at + count === after.at) {
      range = { at, count: count + after.count };
      this.#free.splice(index, 1);
    }
    if (before && before.at + before.count === at) {
      this.#free[index - 1] = { at: before.at, count: before.count + range.count };
    } else {
      this.#free.splice(index, 0, range);
    }
  }

  release(): void {
    this.device.release(this.#tensor);
  }

  #reserve(words: number): number | undefined {
    let index = this.#free.findIndex((range) => range.count >= words);
    if (index < 0) {
      if (!this.#grow(words)) return undefined;
      index = this.#free.length - 1;
    }
    const { at, count } = this.#free[index];
    if (count === words) this.#free.splice(index, 1);
    else this.#free[index] = { at: at + words, count: count - words };
    return at;
  }

  /** Doubles the tensor, or more, so that `words` fit at its end; false where the device has no such tensor. */
  #grow(words: number): boolean {
    const old = this.#size;
    const last = this.#free.at(-1);
    const spare = last && last.at + last.count === old ? last.count : 0;
    const needed = old - spare + words;
    if (needed > this.#most) return false;
    const size = Math.min(Math.max(2 * old, needed), this.#most);
    const tensor = this.device.alloc([size], this.dtype);
    this.#size = size;
    this.device.copy(this.#tensor, tensor);
    this.device.release(this.#tensor);
    this.#tensor = tensor;
    this.generation++;
    this.free(old, this.#size - old);
    return true;
  }
}
