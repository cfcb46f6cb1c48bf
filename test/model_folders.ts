/**
 * Tiny model folders in memory, with other fields and tensors than on the disk.
 *
 * @module
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { ReadableFolder } from "../src/folder.ts";
import { fromTensor, parseSafetensors, toTensor, writeSafetensors } from "../src/safetensors/mod.ts";
import type { HostTensor } from "../src/tensor.ts";
import { memoryFolder as folderOf } from "../src/testing/mod.ts";

/** Weights by name. */
export type Weights = Record<string, HostTensor>;

/** Files by name. */
export type Files = Readonly<Record<string, string | Uint8Array>>;

/** The bytes of a fixture's file. */
export function fixtureBytes(path: string): Uint8Array {
  return new Uint8Array(readFileSync(fileURLToPath(new URL(`fixtures/${path}`, import.meta.url))));
}

/** A folder in memory. */
export function memoryFolder(files: Files): ReadableFolder {
  return folderOf(new Map(Object.entries(files)));
}

/** A tiny model's weights. */
export function tinyWeights(name: string): Weights {
  const file = parseSafetensors(fixtureBytes(`tiny/${name}/model.safetensors`));
  return Object.fromEntries([...file.tensors.keys()].map((key) => [key, toTensor(file.read(key))]));
}

/** A tiny model's config.json. */
export function tinyFields(name: string): Record<string, unknown> {
  return JSON.parse(new TextDecoder().decode(fixtureBytes(`tiny/${name}/config.json`)));
}

/** A safetensors file of weights. */
export function weightsFile(weights: Weights): Uint8Array {
  return writeSafetensors(Object.entries(weights).map(([name, t]) => fromTensor(name, t)));
}

/** A tiny model's folder with other fields in its config.json, and other weights or files. */
export function tinyFolder(
  name: string,
  { fields = {}, weights, files = {} }: {
    readonly fields?: Record<string, unknown>;
    readonly weights?: Weights;
    readonly files?: Files;
  } = {},
): ReadableFolder {
  return memoryFolder({
    "config.json": JSON.stringify({ ...tinyFields(name), ...fields }),
    "tokenizer.json": fixtureBytes(`tiny/${name}/tokenizer.json`),
    "model.safetensors": weights ? weightsFile(weights) : fixtureBytes(`tiny/${name}/model.safetensors`),
    ...files,
  });
}
