/**
 * One growing device tensor cut into ranges: where all adapters of a method keep their words.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import { newArray, type Tensor, type TypedArray } from "../tensor.ts";

interface Range {
  readonly at: number;
  readonly count: number;
}

/** First-fit ranges of a device tensor with a host copy, from which a larger tensor is filled when it is full. */
export class Arena {
  #host: TypedArray;
  #tensor: Tensor;
  /** Free ranges, by position, never touching. */
  #free: Range[];

  constructor(
    private readonly device: Device,
    private readonly dtype: "float32" | "uint32",
    capacity = 1024,
  ) {
    this.#host = newArray(dtype, capacity);
    this.#tensor = device.alloc([capacity], dtype);
    this.#free = [{ at: 0, count: capacity }];
  }

  /** How often the tensor was replaced by a larger one. */
  generation = 0;

  /** The device tensor; a new one after growth. */
  get tensor(): Tensor {
    return this.#tensor;
  }

  /** Stores words; returns where. */
  put(words: TypedArray): number {
    if (words.length === 0) return 0;
    let index = this.#free.findIndex((range) => range.count >= words.length);
    if (index < 0) {
      this.#grow(words.length);
      index = this.#free.length - 1;
    }
    const { at, count } = this.#free[index];
    if (count === words.length) this.#free.splice(index, 1);
    else this.#free[index] = { at: at + words.length, count: count - words.length };
    this.#host.set(words, at);
    this.device.write(this.#tensor, words, at);
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

  #grow(count: number): void {
    const old = this.#host;
    const capacity = Math.max(2 * old.length, old.length + count);
    const tensor = this.device.alloc([capacity], this.dtype);
    this.device.write(tensor, old);
    this.device.release(this.#tensor);
    this.#host = newArray(this.dtype, capacity);
    this.#host.set(old);
    this.#tensor = tensor;
    this.generation++;
    const last = this.#free.at(-1);
    if (last && last.at + last.count === old.length) {
      this.#free[this.#free.length - 1] = { at: last.at, count: last.count + capacity - old.length };
    } else {
      this.#free.push({ at: old.length, count: capacity - old.length });
    }
  }
}
