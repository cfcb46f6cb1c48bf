/**
 * Where adapters are found.
 *
 * @module
 */
import type { ReadableFolder } from "../folder.ts";

/** An adapter's folder, and a text that changes when its files do. */
export interface StoredAdapter {
  readonly folder: ReadableFolder;
  readonly version: string;
  readonly modifiedUnixSeconds: number;
  /** What a list says of the adapter, where the store knows that without its files. */
  readonly described?: { readonly peftType: string; readonly sizeBytes: number };
  /** What messages call an adapter that is tried by a name of no other use, before it is served. */
  readonly triedAs?: string;
}

/** Something in a store that is no adapter, and why. */
export interface LeftOut {
  readonly name: string;
  readonly reason: string;
}

/** How an adapter is looked up. */
export interface OpenStoredOptions {
  /** Whether a store that remembers its looks must look again, now. */
  readonly anew?: boolean;
}

/** Where adapters are found by name: a folder of folders, a bucket, a map. */
export interface AdapterStore {
  /** Names of everything that may be an adapter. */
  list(): Promise<readonly string[]>;
  /** What the last list left out; a registry tells it once. */
  leftOut?(): readonly LeftOut[];
  /** The adapter of that name; undefined when there is none. */
  open(id: string, options?: OpenStoredOptions): Promise<StoredAdapter | undefined>;
  /** Told that a name stands for something else now: what the store remembers of the name is old. */
  changed?(id: string): void;
}
