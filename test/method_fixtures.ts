/**
 * PEFT's adapters of the fixtures, as their goldens were computed.
 *
 * @module
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { AdapterStore } from "../src/adapters/store.ts";
import type { ReadableFolder } from "../src/folder.ts";
import { openAdapterStore } from "../src/runtime/adapter_store.ts";
import { openFolder } from "../src/runtime/file.ts";
import { bytesSource, parseSafetensors, writeSafetensors } from "../src/safetensors/mod.ts";

const path = (name: string): string => fileURLToPath(new URL(`fixtures/methods/${name}`, import.meta.url));
const weightsFile = "adapter_model.safetensors";

/** SVFT's adapters whose files leave out `u`, `v` and `s_pre`: they are those of `svft-banded`, number by number. */
const withoutVectors = ["svft-plain", "svft-random", "svft-topk"];

/** The safetensors file of an adapter, whole. */
export function adapterBytes(name: string): Uint8Array {
  const read = (one: string): Uint8Array => new Uint8Array(readFileSync(path(`${one}/${weightsFile}`)));
  if (!withoutVectors.includes(name)) return read(name);
  const own = parseSafetensors(read(name)), whole = parseSafetensors(read("svft-banded"));
  const shared = [...whole.tensors.keys()].filter((one) => /\.(u|v|s_pre)$/.test(one));
  return writeSafetensors([
    ...[...own.tensors.keys()].map((one) => own.read(one)),
    ...shared.map((one) => whole.read(one)),
  ]);
}

/** An adapter's folder with its file whole. */
function completed(name: string, folder: ReadableFolder): ReadableFolder {
  if (!withoutVectors.includes(name)) return folder;
  const bytes = adapterBytes(name);
  return {
    open: (file) => file === weightsFile ? Promise.resolve(bytesSource(bytes)) : folder.open(file),
    readText: (file, options) => folder.readText(file, options),
    exists: (file) => folder.exists(file),
  };
}

/** The folder of an adapter, or of the model `base`. */
export async function methodFixture(name: string): Promise<ReadableFolder> {
  return completed(name, await openFolder(path(name)));
}

/** All of them by their names. */
export async function methodStore(): Promise<AdapterStore> {
  const store = await openAdapterStore(path(""));
  return {
    list: () => store.list(),
    async open(name) {
      const stored = await store.open(name);
      return stored && { ...stored, folder: completed(name, stored.folder) };
    },
  };
}
