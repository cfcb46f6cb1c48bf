/**
 * Numbers that a config has for all modules, with others for some by name: `r` and `rank_pattern`, `alpha` and `alpha_pattern`.
 *
 * PEFT's pattern keys are regular expressions; literal module names are all that is accepted from a file.
 *
 * @module
 */
import { ConfigError } from "../../errors.ts";
import { numberField, patternField } from "../fields.ts";
import type { LinearShape } from "../method.ts";

/** The number a config has for a module, and the field that says it. */
export interface Setting {
  readonly field: string;
  readonly value: number;
}

/** The names of a number's fields, and the number where neither is there. */
export interface SettingNames {
  readonly field: string;
  readonly pattern: string;
  readonly fallback: number;
}

export const isModuleName = (key: string): boolean => /^[A-Za-z0-9_.]+$/.test(key);
export const fits = (key: string, path: string): boolean => path === key || path.endsWith(`.${key}`);

/**
 * A module's number. All keys are looked at, and the first that fits is taken.
 *
 * @throws ConfigError for a key that is no module's name.
 */
export function settingOf(
  config: Readonly<Record<string, unknown>>,
  { field, pattern, fallback }: SettingNames,
  path: string,
): Setting {
  let found: Setting | undefined;
  for (const [key, value] of patternField(config, pattern)) {
    if (!isModuleName(key)) {
      throw new ConfigError(
        `Cannot read adapter_config.json field "${pattern}" key "${key}": only module names are accepted, not regular expressions`,
      );
    }
    if (fits(key, path)) found ??= { field: `${pattern}.${key}`, value };
  }
  return found ?? { field, value: numberField(config, field, fallback) };
}

/**
 * The tensors say a module's rank. PEFT builds the layer by the first key that fits, and then cannot load other tensors.
 * A regular expression may fit any module: from there on the tensors alone are asked.
 */
export function checkRank(config: Readonly<Record<string, unknown>>, path: string, rank: number): void {
  for (const [key, value] of patternField(config, "rank_pattern")) {
    if (!isModuleName(key)) return;
    if (!fits(key, path)) continue;
    if (value === rank) return;
    throw new ConfigError(
      `Cannot read adapter_config.json field "rank_pattern.${key}" = ${value}: the factors of module "${path}" have rank ${rank}`,
    );
  }
}

/**
 * PEFT's `n_frequency_pattern` of a new adapter: linears of fewer elements than `count` have a coefficient for each
 * element. PEFT makes no layer of more.
 */
export function fewerFrequencies(
  count: number,
  linears: readonly { readonly path: string; readonly shape: LinearShape }[],
): Readonly<Record<string, number>> {
  const most = linears.map(({ path, shape }) => [path, shape.out * shape.in] as const);
  return Object.fromEntries(most.filter(([, elements]) => elements < count));
}
