/**
 * Which runtime this is. Only this folder asks.
 *
 * @module
 */

/** A JavaScript runtime; `browser` stands for every other one with web APIs only (pages, Workers at the edge). */
export type RuntimeName = "deno" | "bun" | "node" | "browser";

/** The runtimes' own globals that this folder uses; each is absent elsewhere. */
interface RuntimeGlobals {
  readonly Deno?: { readonly version?: { readonly deno: string } };
  readonly Bun?: { readonly version: string };
  readonly process?: {
    readonly versions?: { readonly node?: string };
    readonly platform?: string;
    readonly env?: Readonly<Record<string, string | undefined>>;
    readonly release?: { readonly name?: string };
  };
}

/** The runtimes' globals, seen without assuming any. */
export const runtimeGlobals = globalThis as unknown as RuntimeGlobals;

/** The runtime that runs this code. */
export function runtimeName(): RuntimeName {
  const { Deno, Bun, process } = runtimeGlobals;
  if (Deno?.version) return "deno";
  if (Bun) return "bun";
  // Edge runtimes imitate `process.versions`, but do not call themselves node; pages have no process.
  return process?.release?.name === "node" && process.versions?.node && !("WebSocketPair" in globalThis)
    ? "node"
    : "browser";
}

/**
 * Imports a module that may be absent where the code runs.
 *
 * A specifier held in a variable is one that bundlers leave alone, so that a bundle for browsers has no trace of it.
 */
export function importOptional<T>(specifier: string): Promise<T> {
  return import(/* @vite-ignore */ /* webpackIgnore: true */ specifier);
}
