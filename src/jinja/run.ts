/**
 * The bounds of one rendering: steps, and characters of text.
 *
 * @module
 */
import type { Library } from "./arguments.ts";
import { fail } from "./errors.ts";

/** Steps of a rendering; each is an expression or a statement, or 64 characters or items that one goes through. */
const mostSteps = 1 << 22;

/** Characters of a text, in UTF-16 units. */
const longestText = 1 << 26;

/** Calls of macros and loops inside one another. */
const deepest = 100;

/** Binary digits of a whole number. */
const longestNumber = 1 << 15;

/** The account of one rendering. */
export class Run {
  #steps = mostSteps;
  #depth = 0;

  /** @param library The filters and tests that `map`, `select` and their like find by name. */
  constructor(readonly library: Library, readonly now: () => Date) {}

  /** Takes steps for going through `size` characters or items. */
  spend(size = 0): void {
    this.#steps -= 1 + size / 64;
    if (this.#steps < 0) fail("the template takes too many steps");
  }
  /** Takes steps for cutting a text or a list of `size` into parts, or for comparing it part by part. */
  spendOnParts(size = 0): void {
    this.spend(8 * size);
  }
  /** Refuses a text that is too long. */
  checkLength(length: number): void {
    if (!(length <= longestText)) fail(`the template makes a text of more than ${longestText} characters`);
  }
  /** Takes the steps of a text of `length` that is about to be made. */
  grow(length: number): void {
    this.checkLength(length);
    this.spend(length);
  }
  /** A text that was made, accounted. */
  made(text: string): string {
    this.grow(text.length);
    return text;
  }
  /** `text`, `count` times. */
  repeat(text: string, count: number): string {
    const times = Math.max(0, count);
    this.grow(text.length * times);
    return text === "" ? "" : text.repeat(times);
  }
  join(parts: readonly string[], separator: string): string {
    this.grow(
      parts.reduce((sum, { length }) => sum + length, 0) + separator.length * Math.max(0, parts.length - 1),
    );
    return parts.join(separator);
  }
  /** Refuses a whole number of more than `bits` binary digits before it is computed. */
  checkBits(bits: number): void {
    if (!(bits <= longestNumber)) fail("the template computes a whole number that is too long");
  }
  /** The result of `work`, one call deeper. */
  nested<T>(work: () => T): T {
    if (++this.#depth > deepest) fail(`the template calls itself more than ${deepest} times deep`);
    try {
      return work();
    } finally {
      this.#depth--;
    }
  }
}
