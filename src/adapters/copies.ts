/**
 * Copies of base weights beside an adapter's own tensors: PEFT writes them for adapters on `lm_head`, and when it is asked
 * to save embeddings. One that equals the base's weight changes nothing; PEFT would put any other in the base's place.
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
  const [, path] = /^base_model\.model\.(.+)\.base_layer\.weight$/.exec(tensor) ??
    /^base_model\.model\.((?:.+\.)?(?:embed_tokens|lm_head))\.weight$/.exec(tensor) ?? [];
  return path && `${path}.weight`;
}

/**
 * Compares an adapter's copies with the base model's weights, and gives the adapter without them.
 *
 * @throws ConfigError that names a tensor which is no copy.
 */
export async function withoutCopies<A extends Partial<Pick<LoadedAdapter, "copies">>>(
  adapter: A,
  fault: CopyFault,
): Promise<A> {
  if (!adapter.copies?.size) return adapter;
  for (const [weight, { tensor, data }] of adapter.copies) {
    const why = await fault(weight, data);
    if (why === undefined) continue;
    throw new ConfigError(
      `Cannot use adapter tensor "${tensor}" as a copy of the base model's "${weight}": ${why}`,
    );
  }
  return { ...adapter, copies: new Map() };
}
