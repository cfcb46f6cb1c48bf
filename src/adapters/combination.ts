/**
 * Adapters that are added up: dW is the sum of theirs, each times its scale.
 *
 * Adapters of different methods stand in different banks, and a row takes a slot in each. Of adapters of one method a sum is
 * made on the host, and is put on the device like any adapter. Methods that take scales need no sum: the second adapter of a
 * row stands in the method's second bank, and so on.
 *
 * @module
 */
import { breathe } from "../breathe.ts";
import { CombinationError, ConfigError } from "../errors.ts";
import { isSum } from "./alone.ts";
import type { AdapterModule, LinearShape, Method, Term } from "./method.ts";
import { normalName } from "./names.ts";
import type { Placeable } from "./residents.ts";

/** An adapter of a combination. */
export interface AdapterTerm {
  readonly id: string;
  /** What its dW is multiplied by: -1000 to 1000, default 1. */
  readonly scale?: number;
}

/** Adapters that one combination names at most. */
export const maxTerms = 8;

/** The largest scale, either way: beyond, float32 has no digits left for the weight itself. */
export const maxScale = 1000;

/** A part of a combination: an adapter as it is or scaled, or the sum of adapters of one method. */
export interface Group<T> {
  readonly method: Method;
  /** Which of the method's banks it stands in. */
  readonly bankNumber: number;
  /** Says the files and scales; of an adapter as it is, its own. */
  readonly digest: string;
  readonly terms: readonly T[];
}

/** What is known of an adapter of a combination. */
export interface KnownTerm {
  readonly id: string;
  readonly scale: number;
  readonly method: Method;
  readonly digest: string;
  /** Whether it has biases, norms, embeddings or heads of its own. */
  readonly hasOwn: boolean;
}

/** An adapter of a combination, read. */
export interface ReadTerm extends KnownTerm {
  readonly modules: ReadonlyMap<string, AdapterModule>;
}

/**
 * A combination's adapters, each once: the scales of one that is named again are added up.
 *
 * @throws CombinationError for too many, and for a scale that is no number in its range.
 */
export function checkedTerms(terms: readonly AdapterTerm[]): Required<AdapterTerm>[] {
  if (terms.length > maxTerms) {
    throw new CombinationError(
      `Cannot add up ${terms.length} adapters: at most ${maxTerms} are added at once`,
    );
  }
  const scales = new Map<string, number>();
  for (const { id, scale = 1 } of terms) {
    if (!(typeof scale === "number" && Math.abs(scale) <= maxScale)) {
      throw new CombinationError(
        `Cannot use adapter "${id}" at scale ${scale}: it must be a number from -${maxScale} to ${maxScale}`,
      );
    }
    const name = normalName(id);
    scales.set(name, (scales.get(name) ?? 0) + scale);
  }
  return [...scales].map(([id, scale]) => ({ id, scale }));
}

/**
 * Checks that adapters can be added up.
 *
 * @throws CombinationError that names the first that cannot.
 */
export function checkAdds(terms: readonly Pick<KnownTerm, "id" | "method" | "hasOwn">[]): void {
  for (const { id, method, hasOwn } of terms) {
    if (isSum(method) && !hasOwn) continue;
    const why = hasOwn
      ? "it has biases, norms, embeddings or heads of its own"
      : `${method.name} changes what the product reads or makes`;
    throw new CombinationError(
      `Cannot scale adapter "${id}", or add it to others: ${why}. Such an adapter is used alone, at scale 1`,
    );
  }
}

/** The parts of a combination, in an order of their own. What has scale 0 takes no part. */
export function groupsOf<T extends KnownTerm>(terms: readonly T[]): Group<T>[] {
  const byMethod = new Map<Method, T[]>();
  for (const term of terms) {
    if (term.scale === 0) continue;
    const own = byMethod.get(term.method);
    if (own) own.push(term);
    else byMethod.set(term.method, [term]);
  }
  return [...byMethod]
    .sort(([one], [other]) => one.name < other.name ? -1 : 1)
    .flatMap(([method, own]) => method.takesScale && !method.sum ? apart(own) : [summedUp(own)]);
}

function summedUp<T extends KnownTerm>(terms: readonly T[]): Group<T> {
  const [first] = terms, isItself = terms.length === 1 && first.scale === 1;
  const sum = terms.map(({ digest, scale }) => `${digest}*${scale}`).sort().join("+");
  return { method: first.method, bankNumber: 0, terms, digest: isItself ? first.digest : sum };
}

/** Each adapter in a bank of its own. One at scale 1 comes first: there it is the adapter itself. */
function apart<T extends KnownTerm>(terms: readonly T[]): Group<T>[] {
  const key = ({ digest, scale }: KnownTerm): string => `${digest}*${scale}`;
  const rank = (term: KnownTerm): number => Number(term.scale !== 1);
  const ordered = [...terms].sort((one, other) =>
    rank(one) - rank(other) || (key(one) < key(other) ? -1 : 1)
  );
  return ordered.map((term, bankNumber) => ({
    ...{ method: term.method, bankNumber, terms: [term] },
    digest: bankNumber === 0 ? summedUp([term]).digest : `${key(term)} in bank ${bankNumber}`,
  }));
}

/** The sum of modules that adapt one linear; a module as it is where nothing is added or scaled. */
function sumOf(
  method: Method,
  { path, terms, shape }: {
    readonly path: string;
    readonly terms: readonly Term[];
    readonly shape: LinearShape;
  },
): AdapterModule {
  const [{ module, scale }] = terms;
  if (terms.length === 1 && scale === 1) return module;
  try {
    const sum = method.sum ? method.sum(terms, shape) : module.times!(scale);
    sum.check(path, shape);
    return sum;
  } catch (error) {
    if (!(error instanceof RangeError || error instanceof ConfigError)) throw error;
    throw new CombinationError(error.message, { cause: error });
  }
}

/**
 * A part of a combination, to be put on a device.
 *
 * @param shapeOf The shape of the base model's linear at a path.
 * @throws CombinationError where the method has no sums, or the sum's numbers are past float32.
 */
export async function summed(
  { method, digest, bankNumber, terms }: Group<ReadTerm>,
  shapeOf: (path: string) => LinearShape,
): Promise<Placeable> {
  const [{ id, modules: own, scale }] = terms;
  if (terms.length === 1 && scale === 1) return { method, digest, bankNumber, modules: own };
  if (!method.sum && !method.takesScale) {
    throw new CombinationError(
      `Cannot scale adapter "${id}", or add another of its method to it: ${method.name} has no sums`,
    );
  }
  const modules = new Map<string, AdapterModule>();
  for (const path of new Set(terms.flatMap(({ modules }) => [...modules.keys()]))) {
    const adapting = terms.flatMap(({ modules, scale }) => {
      const module = modules.get(path);
      return module ? [{ module, scale }] : [];
    });
    modules.set(path, sumOf(method, { path, terms: adapting, shape: shapeOf(path) }));
    await breathe();
  }
  return { method, digest, bankNumber, modules };
}
