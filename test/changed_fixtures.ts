/**
 * PEFT's adapters of the fixtures with something changed in their files.
 *
 * @module
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type BaseOptions, baseOptions } from "../src/adapters/base_options.ts";
import { loadAdapter, type LoadedAdapter, type LoadOptions } from "../src/adapters/peft.ts";
import { modelLinears, parseConfig } from "../src/models/families.ts";
import type { ReadableFolder } from "../src/folder.ts";
import { parseSafetensors, type TensorView, writeSafetensors } from "../src/safetensors/mod.ts";
import { memoryFolder } from "../src/testing/mod.ts";
import { adapterBytes } from "./method_fixtures.ts";

/** Where names of tensors of the fixtures' first query projection begin. */
export const q = "base_model.model.model.layers.0.self_attn.q_proj";

/** What the fixtures' base model tells. */
export const fixtureBase: BaseOptions = baseOptions(
  modelLinears(parseConfig(JSON.parse(readFileSync(
    fileURLToPath(new URL("fixtures/methods/base/config.json", import.meta.url)),
    "utf8",
  )))),
);

/** A file of a fixture, changed: other fields, and other tensors by name; undefined takes one away. */
export interface Change {
  readonly config?: Readonly<Record<string, unknown>>;
  readonly tensors?: Readonly<Record<string, Partial<TensorView> | undefined>>;
}

/** Reads a fixture with a change. */
export async function load(
  name: string,
  change: Change = {},
  options?: LoadOptions,
): Promise<LoadedAdapter> {
  return await loadAdapter(changed(name, change), options);
}

/** The folder of a fixture with a change. */
export function changed(name: string, { config = {}, tensors = {} }: Change = {}): ReadableFolder {
  const text = readFileSync(
    fileURLToPath(new URL(`fixtures/methods/${name}/adapter_config.json`, import.meta.url)),
    "utf8",
  );
  const fields = { ...JSON.parse(text), ...config };
  const file = parseSafetensors(adapterBytes(name));
  const views = new Map([...file.tensors.keys()].map((one) => [one, file.read(one)]));
  for (const [one, change] of Object.entries(tensors)) {
    if (change) {
      views.set(one, {
        name: one,
        dtype: "F32",
        shape: [],
        bytes: new Uint8Array(),
        ...views.get(one),
        ...change,
      });
    } else assert.ok(views.delete(one), one);
  }
  return memoryFolder(
    new Map([
      ["adapter_config.json", new TextEncoder().encode(JSON.stringify(fields))],
      ["adapter_model.safetensors", writeSafetensors([...views.values()])],
    ]),
  );
}

/** A tensor of one number. */
export const floats = (shape: readonly number[], fill = 0.5): Partial<TensorView> => {
  const values = new Float32Array(shape.reduce((size, one) => size * one, 1)).fill(fill);
  return { dtype: "F32", shape, bytes: new Uint8Array(values.buffer) };
};

/** Indices of a fixture's shape (4, 8, 2), 0 and 1 for each vector but the last. */
export function indices(
  values: Uint8Array | Int16Array | Int32Array,
  last: readonly number[],
): Partial<TensorView> {
  for (let i = 1; i < values.length; i += 2) values[i] = 1;
  values.set(last, 62);
  const dtype = ({ 1: "U8", 2: "I16", 4: "I32" } as const)[values.BYTES_PER_ELEMENT as 1 | 2 | 4];
  return { dtype, bytes: new Uint8Array(values.buffer) };
}

/** The same as I64. */
export function wideIndices(last: readonly bigint[]): Partial<TensorView> {
  const values = BigInt64Array.from({ length: 64 }, (_, i) => BigInt(i % 2));
  values.set(last, 62);
  return { dtype: "I64", bytes: new Uint8Array(values.buffer) };
}
