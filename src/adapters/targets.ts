/**
 * The modules that a config lets PEFT adapt. Tensors of others may be in a file, and PEFT leaves them out: such a file is
 * refused, since its adapter would be another one here.
 *
 * Regular expressions are not run: a file from outside could make one take for ever.
 *
 * @module
 */
import { ConfigError } from "../errors.ts";
import { fits, isModuleName } from "./methods/patterns.ts";

type Config = Readonly<Record<string, unknown>>;

/** The names in a list; undefined where a field is no list, or has other entries. */
function namesOf(value: unknown): readonly string[] | undefined {
  return Array.isArray(value) && value.every((one) => typeof one === "string") ? value : undefined;
}

/**
 * The numbers in a module's path that may be its layer's: those after one of these names, or after any but the path's first
 * where there are none. PEFT's releases differ in which of several they take.
 */
function numbersOf(path: string, names: readonly string[]): number[] {
  const parts = path.split("."), first = names.length === 0 ? 2 : 1;
  return parts.flatMap((part, i) => {
    const isNumber = i >= first && i < parts.length - 1 && /^\d+$/.test(part);
    return isNumber && (names.length === 0 || names.includes(parts[i - 1])) ? [Number(part)] : [];
  });
}

/** The names that come before layers' numbers; undefined where one is a regular expression. */
function layerNames({ layers_pattern: pattern }: Config): readonly string[] | undefined {
  const names = typeof pattern === "string" ? [pattern].filter(Boolean) : namesOf(pattern ?? []);
  return names?.every(isModuleName) ? names : undefined;
}

/** The numbers of the layers that are adapted; undefined where all are. */
function layersOf({ layers_to_transform: layers }: Config): readonly unknown[] | undefined {
  if (layers === undefined || layers === null) return undefined;
  const list = Array.isArray(layers) ? layers : [layers];
  return list.length > 0 ? list : undefined;
}

/** The field by which PEFT leaves a module out; undefined where none does, or only a regular expression can tell. */
function leftOutBy(config: Config, path: string): string | undefined {
  const excluded = namesOf(config.exclude_modules), targets = namesOf(config.target_modules);
  if (excluded?.some((name) => fits(name, path))) return "exclude_modules";
  if (!targets) return undefined;
  if (!targets.some((name) => fits(name, path))) return "target_modules";
  // PEFT takes a whole path in any layer.
  if (targets.includes(path)) return undefined;
  const layers = layersOf(config), names = layerNames(config);
  if (!layers || !names) return undefined;
  return numbersOf(path, names).some((number) => layers.includes(number)) ? undefined : "layers_to_transform";
}

/**
 * Checks that PEFT would adapt every module of a file.
 *
 * @param paths As the file names them.
 * @throws ConfigError that names a module and the field that leaves it out.
 */
export function checkTargets(config: Config, paths: Iterable<string>): void {
  // Then PEFT adapts the head, too, without its name.
  if (config.ensure_weight_tying === true) return;
  for (const path of paths) {
    const field = leftOutBy(config, path);
    if (field === undefined) continue;
    throw new ConfigError(
      `Cannot use adapter module "${path}": PEFT leaves it out by "${field}" of adapter_config.json`,
    );
  }
}
