/**
 * What contracts say of an implementation, as errors that name the broken rule.
 *
 * @module
 */
import type { ReadableFolder } from "../../folder.ts";

/** A test framework's function: `test` of `node:test`, of `bun:test`, of Vitest, or `Deno.test`. */
export type DefineTest = (name: string, run: () => Promise<void>) => unknown;

/** What is opened for one test. */
export interface Opened {
  /** Called at the test's end. */
  release?(): unknown;
}

export function holds(condition: boolean, rule: string): void {
  if (!condition) throw new Error(`Broken: ${rule}`);
}

export function same(found: unknown, expected: unknown, rule: string): void {
  const [is, was] = [found, expected].map((value) => JSON.stringify(value));
  if (is !== was) throw new Error(`Broken: ${rule}; it is ${is}, not ${was}`);
}

export function sameBytes(found: Uint8Array, expected: Uint8Array, rule: string): void {
  same([...found], [...expected], rule);
}

export type ErrorClass = abstract new (...args: never[]) => Error;

export async function refuses(act: () => Promise<unknown>, of: ErrorClass, rule: string): Promise<void> {
  let thrown: unknown;
  try {
    await act();
  } catch (error) {
    thrown = error;
  }
  if (thrown instanceof of) return;
  throw new Error(
    `Broken: ${rule} is a ${of.name}; ${thrown === undefined ? "nothing was thrown" : `it was ${thrown}`}`,
  );
}

/** Opens, runs a test's body, and releases. */
export async function using<T extends Opened>(
  open: () => Promise<T>,
  body: (opened: T) => Promise<void>,
): Promise<void> {
  const opened = await open();
  try {
    await body(opened);
  } finally {
    await opened.release?.();
  }
}

export const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);
export const text = (value: string): Uint8Array => new TextEncoder().encode(value);

/** A file of a folder. */
export async function readWhole(folder: ReadableFolder, name: string): Promise<Uint8Array> {
  const source = await folder.open(name);
  try {
    return await source.read(0, source.sizeBytes);
  } finally {
    await source.close?.();
  }
}
