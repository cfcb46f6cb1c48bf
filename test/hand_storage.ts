/**
 * A storage of objects in memory whose calls a test lets fail, change and wait; and small adapters to keep in it.
 *
 * @module
 */
import { normals } from "../kernels/kernel.ts";
import { type ObjectStorage, tensor } from "../mod.ts";
import { fromTensor, writeSafetensors } from "../src/safetensors/mod.ts";
import { memoryFolder } from "../src/testing/mod.ts";
import { randomSource } from "./kernel_contract.ts";

/** The linears that {@linkcode smallAdapter} adapts. */
export const linears = ["a", "b"].map((path) => ({ path, shape: { out: 6, in: 4 } }));

const config = JSON.stringify({ peft_type: "FOURIERFT", n_frequency: 5, random_loc_seed: 3, scaling: 9 });

/** The folder of an adapter whose numbers come of a seed, of linears by their paths. */
export function smallAdapter(seed: number, paths = linears.map(({ path }) => path)) {
  const weights = writeSafetensors(paths.map((path, i) =>
    fromTensor(
      `base_model.model.${path}.fourierft_spectrum`,
      tensor(normals(5, randomSource(100 * seed + i + 1))),
    )
  ));
  return memoryFolder(
    new Map<string, Uint8Array | string>([
      ["adapter_config.json", config],
      ["adapter_model.safetensors", weights],
    ]),
  );
}

/** What is done to a key. */
export type Call = "get" | "set" | "remove" | "keys";

/** See the module's documentation. */
export class HandStorage implements ObjectStorage {
  readonly items = new Map<string, Uint8Array | string>();
  readonly calls: string[] = [];
  /** Called before each call; what it throws is thrown, and what it gives is waited for. */
  before: (call: Call, key: string) => Promise<void> | void = () => {};
  /** What a reader gets in place of an object's bytes. */
  garble: (bytes: Uint8Array) => unknown = (bytes) => bytes;

  async #call(call: Call, key: string): Promise<void> {
    this.calls.push(`${call} ${key}`);
    await this.before(call, key);
  }

  /** How often a key was read. */
  reads(key: string): number {
    return this.calls.filter((call) => call === `get ${key}`).length;
  }

  /** Keys of objects, in the order in which they were written. */
  get objects(): string[] {
    return [...this.items.keys()].filter((key) => key.startsWith("objects:"));
  }

  async getItem(key: string): Promise<unknown> {
    await this.#call("get", key);
    return this.items.get(key) ?? null;
  }

  async getItemRaw(key: string): Promise<unknown> {
    await this.#call("get", key);
    const found = this.items.get(key);
    return found === undefined ? null : this.garble(found as Uint8Array);
  }

  async setItem(key: string, value: string): Promise<void> {
    await this.#call("set", key);
    this.items.set(key, value);
  }

  async setItemRaw(key: string, value: Uint8Array): Promise<void> {
    await this.#call("set", key);
    this.items.set(key, value.slice());
  }

  async removeItem(key: string): Promise<void> {
    await this.#call("remove", key);
    this.items.delete(key);
  }

  async getKeys(base = ""): Promise<string[]> {
    await this.#call("keys", base);
    return [...this.items.keys()].filter((key) => key.startsWith(base));
  }
}

/** A promise that a test settles. */
export function gate(): { readonly opened: Promise<void>; open(): void } {
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => open = resolve);
  return { opened, open };
}
