/**
 * The names that a model gives the tensors of a GGUF file.
 *
 * @module
 */
import type { Architecture } from "./architecture.ts";

/** Divisors of rotary frequencies, which the config has: Llama 3's, and those of longrope. */
export const ropeFactorsNames = {
  all: "rope_freqs.weight",
  short: "rope_factors_short.weight",
  long: "rope_factors_long.weight",
} as const;

/** Numbers of these tensors, where a file has them. */
export type RopeFactors = Readonly<Partial<Record<keyof typeof ropeFactorsNames, readonly number[]>>>;

/** A tensor's name as the model has it; a name that is not known stays, and whoever loads weights refuses it. */
export function modelName(name: string, { tensors, layers, layerTensors }: Architecture): string {
  const [, layer, module, kind] = /^(?:blk\.(\d+)\.)?(\w+)\.(weight|bias)$/.exec(name) ?? [];
  const known = layer === undefined ? tensors : layerTensors;
  if (module === undefined || !Object.hasOwn(known, module)) return name;
  return layer === undefined ? `${known[module]}.${kind}` : `${layers}${layer}.${known[module]}.${kind}`;
}

/** The key of the number of heads whose rows are interleaved in a weight or bias of the model; undefined where none are. */
export function interleavedBy(name: string, { layers, interleaved = {} }: Architecture): string | undefined {
  if (!name.startsWith(layers)) return undefined;
  const [, path] = /^\d+\.(.+)\.(?:weight|bias)$/.exec(name.slice(layers.length)) ?? [];
  return path !== undefined && Object.hasOwn(interleaved, path) ? interleaved[path] : undefined;
}
