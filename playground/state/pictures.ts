/**
 * The pictures of a module, of one adapter or of two beside each other: numbers from the backend, figures of them.
 *
 * @module
 */
import type { Figure } from "fourierft/pictures";
import type { Backend } from "../backend/backend.ts";

/** What is drawn. */
export interface AskedPictures {
  /** One adapter, or two. */
  readonly ids: readonly string[];
  readonly module: string;
}

/** Paths of the modules that all of these adapters adapt. */
export async function sharedModules(backend: Backend, ids: readonly string[]): Promise<readonly string[]> {
  const [first, ...others] = await Promise.all(ids.map((id) => backend.modules(id)));
  return first.filter((path) => others.every((paths) => paths.includes(path)));
}

/** What is drawn so far. */
export interface Drawn {
  readonly rows: readonly (readonly Figure[])[];
  /** What is left out, and why. */
  readonly note?: string;
}

/**
 * Rows of a module's figures, then those with that of all modules.
 *
 * @throws Error that says why an adapter cannot be drawn; the signal's reason.
 */
export async function* picturesOf(
  backend: Backend,
  { ids, module }: AskedPictures,
  signal: AbortSignal,
): AsyncGenerator<Drawn> {
  // The library that draws is loaded when it is first needed.
  const { cosinesFigure, moduleFigures, normsFigure } = await import("fourierft/pictures");
  const data = await Promise.all(ids.map((id) => backend.picture(id, module, signal)));
  const named = data.map((one, i) => ids.length > 1 ? { name: ids[i], data: one } : { data: one });
  const rows = moduleFigures(named);
  signal.throwIfAborted();
  yield { rows };
  const { numbers, leftOut } = await backend.norms(ids[0], ids[1], signal);
  const what = ids.length > 1 ? "cosines" : "norms";
  const why = ids.length > 1 ? "a dW would have to be built, or is zero" : "each dW would have to be built";
  const note = leftOut > 0 ? `No ${what} of ${leftOut} modules: ${why}` : undefined;
  if (numbers.length === 0) return yield { rows, note };
  const all = ids.length > 1 ? cosinesFigure(numbers, [ids[0], ids[1]]) : normsFigure(numbers);
  signal.throwIfAborted();
  yield { rows: [...rows, [all]], note };
}
