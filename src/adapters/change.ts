/**
 * What servers tell each other of adapters.
 *
 * @module
 */
import { isAdapterName } from "./names.ts";

/** A name of a store, or of a server, that stands for something else now. */
export type AdapterChange =
  /** The store's name has another adapter, or none: what is known of the name is old. */
  | { readonly kind: "published"; readonly name: string }
  /** An operator serves the store's adapter `source` by this name. */
  | { readonly kind: "loaded"; readonly name: string; readonly source: string }
  /** An operator serves nothing by this name any more. */
  | { readonly kind: "unloaded"; readonly name: string };

/** The change that somebody's words say; undefined for anything else. */
export function changeOf(
  { kind, name, source }: Readonly<Record<string, string>>,
): AdapterChange | undefined {
  if (name === undefined || !isAdapterName(name)) return undefined;
  if (kind === "published" || kind === "unloaded") return { kind, name };
  if (kind !== "loaded" || source === undefined || !isAdapterName(source)) return undefined;
  return { kind, name, source };
}
