/**
 * What a model's weights are called in a file, and their shapes: a tree, which the loader gives back with tensors in place
 * of the leaves.
 *
 * @module
 */
import type { Linear } from "../adapters/bank.ts";
import { elements, type HostTensor, type Tensor, tensor } from "../tensor.ts";
import type { Projection } from "./projection.ts";
import type { Weight } from "./weights.ts";

/** A tensor as a file has it. */
export interface TensorSpec {
  readonly kind: "tensor";
  readonly name: string;
  readonly shape: readonly number[];
  /** Its shape in the file, where that has other dimensions of the same numbers. */
  readonly fileShape?: readonly number[];
  /** What the forward's numbers have more than the file's; then they are float32. */
  readonly plus?: number;
}

/** The token embedding: a table of a row for each token, in any format that the file has it in. */
export interface EmbeddingSpec {
  readonly kind: "embedding";
  readonly name: string;
  readonly shape: readonly [vocab: number, width: number];
}

/** A linear: weight `path.weight` (out, in), and bias `path.bias` (out). */
export interface LinearSpec extends Linear {
  readonly bias: boolean;
  /** The weight's shape in the file, where that has other dimensions of the same numbers. */
  readonly fileShape?: readonly number[];
}

/** Linears of one input, loaded as one product. */
export interface ProjectionSpec {
  readonly kind: "projection";
  /** See {@linkcode Projection}. */
  readonly name: string;
  readonly linears: readonly LinearSpec[];
}

/** The linear that makes logits. */
export interface HeadSpec {
  readonly kind: "head";
  readonly linear: LinearSpec;
  /** The embedding whose weight it has, where they are tied and the file has none of its own. */
  readonly embedding: EmbeddingSpec;
  readonly tied: boolean;
}

/** A table that no file has. */
export interface TableSpec {
  readonly kind: "table";
  /** For sequences of up to so many tokens. */
  make(maxModelLen: number): HostTensor;
}

/** A table of zeros, float32. */
export const zeros = (shape: readonly number[]): TableSpec => ({
  kind: "table",
  make: () => tensor(new Float32Array(elements(shape)), shape),
});

/** A table whose rows a file has as tensors of their own. */
export interface RowsSpec {
  readonly kind: "rows";
  /** Each of one row. */
  readonly rows: readonly TensorSpec[];
}

/** A leaf of a tree of weights. */
export type Spec = TensorSpec | EmbeddingSpec | ProjectionSpec | HeadSpec | TableSpec | RowsSpec;

/** All weights of a model; a part that it lacks is undefined, or absent. */
export type SpecTree = Spec | readonly SpecTree[] | { readonly [name: string]: SpecTree | undefined };

/** A tree of weights with what was loaded in place of its leaves. */
export type Loaded<T> = T extends TensorSpec | TableSpec | RowsSpec ? Tensor
  : T extends EmbeddingSpec ? Weight
  : T extends ProjectionSpec | HeadSpec ? Projection
  : T extends readonly (infer Each)[] ? readonly Loaded<Each>[]
  : { readonly [Name in keyof T]: Loaded<T[Name]> };

const isSpec = (tree: SpecTree): tree is Spec => "kind" in tree && typeof tree.kind === "string";

/** The leaves of a tree, in order. */
export function leavesOf(tree: SpecTree): Spec[] {
  if (isSpec(tree)) return [tree];
  return Object.values<SpecTree | undefined>(tree).flatMap((part) =>
    part === undefined ? [] : leavesOf(part)
  );
}

/** The tree with `load` of each leaf, one after the other. */
export async function loadTree<T extends SpecTree>(
  tree: T,
  load: (spec: Spec) => Promise<Tensor | Weight | Projection>,
): Promise<Loaded<T>> {
  if (isSpec(tree)) return await load(tree) as Loaded<T>;
  const loaded: [string, unknown][] = [];
  for (const [name, part] of Object.entries<SpecTree | undefined>(tree)) {
    if (part !== undefined) loaded.push([name, await loadTree(part, load)]);
  }
  return (Array.isArray(tree) ? loaded.map(([, part]) => part) : Object.fromEntries(loaded)) as Loaded<T>;
}

/** The linears of the layers, in the order plans number them. */
export function layerLinears(tree: SpecTree): LinearSpec[] {
  return leavesOf(tree).flatMap((leaf) => leaf.kind === "projection" ? leaf.linears : []);
}

/** The head of a tree; undefined of an encoder's. */
export function headOf(tree: SpecTree): HeadSpec | undefined {
  return leavesOf(tree).find((leaf) => leaf.kind === "head");
}

/** All linears that adapters may adapt, in the order plans number them: those of the layers, then the head. */
export function linearsOf(tree: SpecTree): Linear[] {
  const head = headOf(tree);
  return [...layerLinears(tree), ...head ? [head.linear] : []].map(({ path, shape }) => ({ path, shape }));
}
