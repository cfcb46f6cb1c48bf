/**
 * Which method of a list an adapter is of.
 *
 * @module
 */
import { ConfigError } from "../errors.ts";
import type { Method } from "./method.ts";

/**
 * A list of methods, checked.
 *
 * @throws RangeError for two methods of one name.
 */
export function checkedMethods(methods: readonly Method[]): readonly Method[] {
  const names = methods.map(({ name }) => name.toLowerCase());
  const twice = names.find((name, i) => names.indexOf(name) < i);
  if (twice === undefined) return methods;
  throw new RangeError(`Cannot use a list with two adapter methods of the name "${twice}"`);
}

/**
 * The methods of a config's `peft_type`.
 *
 * @throws ConfigError when there is none.
 */
export function candidatesOf(
  methods: readonly Method[],
  { peft_type: type }: Readonly<Record<string, unknown>>,
): readonly Method[] {
  const candidates = methods.filter(({ peftType }) => peftType === type);
  if (candidates.length > 0) return candidates;
  const known = [...new Set(methods.map(({ peftType }) => peftType))].join(", ");
  throw new ConfigError(
    `Cannot read adapter_config.json field "peft_type" = ${JSON.stringify(type)}: supported are ${known}`,
  );
}

/**
 * The method of an adapter: the last of the list that claims it.
 *
 * @param tensors The names of the adapter's tensors.
 * @throws ConfigError when there is none.
 */
export function methodOf(
  methods: readonly Method[],
  config: Readonly<Record<string, unknown>>,
  tensors: readonly string[],
): Method {
  const candidates = candidatesOf(methods, config);
  const method = candidates.findLast(({ claims }) => claims?.(config, tensors) ?? true);
  if (method) return method;
  throw new ConfigError(
    `Cannot read an adapter of peft_type ${JSON.stringify(config.peft_type)}: it is none of ${
      candidates.map(({ name }) => name).join(", ")
    } by its config and tensors`,
  );
}
