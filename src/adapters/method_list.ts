/**
 * Which method of a list an adapter is of.
 *
 * @module
 */
import { ConfigError, StoreError } from "../errors.ts";
import type { Method } from "./method.ts";

/** A method of a list that is loaded with the first adapter that may be of it. */
export interface LazyMethod extends Pick<Method, "name" | "peftType"> {
  /** Whether each adapter of a row takes a bank of its own: the method has `takesScale` and no `sum`. */
  readonly hasBanksApart?: boolean;
  load(): Promise<Method>;
}

/** A method of a list, loaded or not. */
export type ListedMethod = Method | LazyMethod;

async function load(method: LazyMethod): Promise<Method> {
  try {
    return await method.load();
  } catch (error) {
    throw new StoreError(`Cannot load what adapters of ${method.name} need: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

/** Whether each adapter of a row takes a bank of its own. */
export function hasBanksApart(method: ListedMethod): boolean {
  if ("load" in method) return method.hasBanksApart ?? false;
  return method.takesScale === true && !method.sum;
}

/** What a list says of a method before it is loaded. */
const saidOf = (method: ListedMethod) => ({
  name: method.name,
  peftType: method.peftType,
  hasBanksApart: hasBanksApart(method),
});

/**
 * The method itself.
 *
 * @throws StoreError where its code cannot be had now: nothing is wrong with the adapter; TypeError where the list says
 * something else of the method than the method does.
 */
async function loadedMethod(method: ListedMethod): Promise<Method> {
  if (!("load" in method)) return method;
  const loaded = await load(method), said = saidOf(method), is = saidOf(loaded);
  const wrong = (["name", "peftType", "hasBanksApart"] as const).find((key) => said[key] !== is[key]);
  if (wrong === undefined) return loaded;
  throw new TypeError(
    `Cannot use the method ${method.name} of a list: its ${wrong} must be ${is[wrong]}, it is ${said[wrong]}`,
  );
}

/**
 * A list of methods, checked.
 *
 * @throws RangeError for two methods of one name.
 */
export function checkedMethods(methods: readonly ListedMethod[]): readonly ListedMethod[] {
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
export function candidatesOf<M extends ListedMethod>(
  methods: readonly M[],
  { peft_type: type }: Readonly<Record<string, unknown>>,
): readonly M[] {
  const candidates = methods.filter(({ peftType }) => peftType === type);
  if (candidates.length > 0) return candidates;
  const known = [...new Set(methods.map(({ peftType }) => peftType))].join(", ");
  throw new ConfigError(
    `Cannot read adapter_config.json field "peft_type" = ${JSON.stringify(type)}: supported are ${known}`,
  );
}

/**
 * The methods of a config's `peft_type`, loaded.
 *
 * @throws as {@linkcode checkedMethods}, {@linkcode candidatesOf} and {@linkcode loadedMethod}.
 */
export async function loadedCandidates(
  methods: readonly ListedMethod[],
  config: Readonly<Record<string, unknown>>,
): Promise<readonly Method[]> {
  return await Promise.all(candidatesOf(checkedMethods(methods), config).map(loadedMethod));
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
