/**
 * Copies of base weights beside an adapter's own tensors: PEFT writes them for adapters on `lm_head` and on embeddings, and when
 * it is asked to save embeddings. One that equals the base's weight changes nothing.
 *
 * @module
 */
import { ConfigError } from "../errors.ts";
import type { HostTensor } from "../tensor.ts";
import type { LoadedAdapter } from "./peft.ts";

/** Why a tensor is no copy of the base model's weight of that name; undefined where it is one. */
export type CopyFault = (weight: string, copy: HostTensor) => Promise<string | undefined>;

/** The base's weight whose copy a tensor of that name is; undefined where it is none. */
export function copiedWeight(tensor: string): string | undefined {
  const [, path] = /^base_model\.model\.(.+)\.base_layer\.weight$/.exec(tensor) ?? [];
  return path && `${path}.weight`;
}

/**
 * Compares an adapter's copies with the base model's weights, and gives the adapter without them. A whole embedding or head that
 * equals the base's is such a copy, too; another one replaces the base's.
 *
 * @param fault Without it nothing is compared: copies are taken for what they are named, and whole tables replace the base's.
 * @throws ConfigError that names a tensor which is no copy.
 */
export async function withoutCopies<A extends Partial<Pick<LoadedAdapter, "copies" | "replacements">>>(
  adapter: A,
  fault: CopyFault | undefined,
): Promise<A> {
  const { copies, replacements } = adapter;
  for (const [weight, { tensor, data }] of copies ?? []) {
    const why = await fault?.(weight, data);
    if (why === undefined) continue;
    throw new ConfigError(
      `Cannot use adapter tensor "${tensor}" as a copy of the base model's "${weight}": ${why}`,
    );
  }
  const kept = new Map(replacements);
  for (const [name, replacement] of replacements ?? []) {
    if (!fault || replacement.kind !== "whole" || replacement.data.shape.length < 2) continue;
    if (await fault(name, replacement.data) === undefined) kept.delete(name);
  }
  return {
    ...adapter,
    ...(copies ? { copies: new Map() } : {}),
    ...(replacements ? { replacements: kept } : {}),
  };
}

/**
 * Refuses an adapter that changes more than linears' weights.
 *
 * @param doing What only linears can be used for, e.g. `train`.
 * @throws ConfigError that names a tensor, or a module.
 */
export function linearsAlone<A extends Partial<Pick<LoadedAdapter, "modules" | "replacements">>>(
  adapter: A,
  doing: string,
): A {
  for (const [path, { bias }] of adapter.modules ?? []) {
    if (!bias) continue;
    throw new ConfigError(
      `Cannot ${doing} an adapter whose module "${path}" has a bias: only adapters without biases can be used so`,
    );
  }
  const [first] = adapter.replacements ?? [];
  if (!first) return adapter;
  throw new ConfigError(
    `Cannot ${doing} an adapter with tensor "${first[1].tensor}", which changes the base model's "${
      first[0]
    }": only adapters ` +
      "of linears can be used so",
  );
}
