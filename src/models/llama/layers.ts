/**
 * What a config.json says of single layers: sliding windows, and layers without rotary positions.
 *
 * @module
 */
import { count, fail, type Fields, flag } from "../config_fields.ts";
import type { TypeRules } from "./types.ts";

/** What layers differ in. */
export interface LayerKind {
  /** Tokens that a token attends to, itself among them; absent: all before it. */
  readonly window?: number;
  /** Which rotary settings turn q and k: the model's, those of layers with windows, or none. */
  readonly rope: "global" | "local" | "none";
}

/** Whether each layer has rotary positions. */
function ropeLayers(fields: Fields, { hasNoRopeLayers }: TypeRules, layers: number): readonly boolean[] {
  if (!hasNoRopeLayers) return Array<boolean>(layers).fill(true);
  const { no_rope_layers: listed = null } = fields;
  if (listed === null) {
    const interval = count(fields, "no_rope_layer_interval", 4);
    return Array.from({ length: layers }, (_, i) => (i + 1) % interval !== 0);
  }
  const isList = Array.isArray(listed) && listed.length >= layers &&
    listed.every((value) => value === 0 || value === 1);
  if (!isList) fail("no_rope_layers", listed, `it must be a list of ${layers} numbers, each 0 or 1`);
  return Array.from({ length: layers }, (_, i) => listed[i] === 1);
}

/** The size of windows; undefined where layers have none unless `layer_types` names some. */
function windowSize(fields: Fields, { windowSize: fallback }: TypeRules): number | undefined {
  const field = "sliding_window";
  const { [field]: value = fallback ?? null } = fields;
  return value === null ? undefined : count({ [field]: value }, field);
}

/** `layer_types`: whether each layer has a sliding window. */
function listedWindows(value: unknown, layers: number): readonly boolean[] {
  const names = ["full_attention", "sliding_attention"];
  if (!Array.isArray(value) || value.length !== layers || !value.every((name) => names.includes(name))) {
    fail("layer_types", value, `it must be a list of ${layers} names, each ${names.join(" or ")}`);
  }
  return value.map((name) => name === "sliding_attention");
}

/** Whether each layer has a sliding window, by the fields that stand in for `layer_types`. */
function impliedWindows(
  fields: Fields,
  { window: rule, windowPattern }: TypeRules,
  { size, ropes }: { readonly size: number | undefined; readonly ropes: readonly boolean[] },
): readonly boolean[] {
  const isUsed = size !== undefined &&
    (rule === "every layer" || rule === "pattern" || flag(fields, "use_sliding_window", false));
  if (!isUsed) return ropes.map(() => false);
  switch (rule) {
    case "every layer":
      return ropes.map(() => true);
    case "upper layers": {
      const { max_window_layers: first = 28 } = fields;
      if (typeof first !== "number" || !Number.isSafeInteger(first) || first < 0) {
        fail("max_window_layers", first, "it must be an integer, not below 0");
      }
      return ropes.map((_, i) => i >= first);
    }
    case "layers without rope":
      return ropes.map((hasRope) => !hasRope);
    default: {
      // Gemma 2 has no field of it.
      const pattern = windowPattern === 2 ? 2 : count(fields, "sliding_window_pattern", windowPattern);
      return ropes.map((_, i) => (i + 1) % pattern !== 0);
    }
  }
}

/** Each layer's kind. */
export function layerKinds(fields: Fields, rules: TypeRules, layers: number): readonly LayerKind[] {
  const ropes = ropeLayers(fields, rules, layers);
  const ropeOf = (i: number, isLocal: boolean): LayerKind["rope"] =>
    !ropes[i] ? "none" : isLocal && rules.hasLocalRope ? "local" : "global";
  if (!rules.window) return ropes.map((_, i) => ({ rope: ropeOf(i, false) }));
  const { layer_types: listed = null } = fields;
  const isListed = listed !== null && rules.window !== "every layer";
  const needsFlag = rules.window === "upper layers" && !flag(fields, "use_sliding_window", false);
  const size = needsFlag ? undefined : windowSize(fields, rules);
  const windows = isListed ? listedWindows(listed, layers) : impliedWindows(fields, rules, { size, ropes });
  if (size === undefined && (rules.window === "pattern" || windows.includes(true))) {
    const field = needsFlag ? "use_sliding_window" : "sliding_window";
    fail(field, fields[field], "layers with sliding attention need a window");
  }
  return windows.map((isLocal, i) => ({
    ...(isLocal ? { window: size } : {}),
    rope: ropeOf(i, isLocal),
  }));
}
