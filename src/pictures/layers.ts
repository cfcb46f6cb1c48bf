/**
 * Modules by layer and kind, from their paths.
 *
 * @module
 */

/** A module's place in a model. */
export interface LayerPlace {
  /** The first number in the path; undefined where there is none. */
  readonly layer?: number;
  /** What comes after that number: `self_attn.q_proj`; the path itself where there is no number. */
  readonly kind: string;
}

/** The layer and kind of a path such as `model.layers.3.self_attn.q_proj`. */
export function layerPlace(path: string): LayerPlace {
  const found = /(?:^|\.)(\d+)\.(.+)$/.exec(path);
  return found ? { layer: Number(found[1]), kind: found[2] } : { kind: path };
}

/** A number that a module has: a norm, a cosine. */
export interface ModuleNumber {
  readonly path: string;
  readonly value: number;
}
