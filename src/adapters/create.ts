/**
 * New adapters, to be trained from their start.
 *
 * @module
 */
import { ConfigError } from "../errors.ts";
import type { Linear } from "./bank.ts";
import type { AdapterModule, Method, TrainingConfig } from "./method.ts";
import { methods } from "./methods/mod.ts";

/** A method, its modules by path, and the fields of their adapter_config.json. */
export interface Adapter {
  readonly method: Method;
  readonly modules: ReadonlyMap<string, AdapterModule>;
  readonly config: Readonly<Record<string, unknown>>;
}

/** A new adapter by PEFT's names, as a caller asks for it. */
export type NewAdapter =
  & {
    /** Linears by PEFT's rule: a whole path, or the end of one from a dot on; by default all of the layers. */
    readonly targetModules?: readonly string[];
  }
  & (
    | { readonly peftType: "FOURIERFT" } & Pick<TrainingConfig, "nFrequency" | "scaling" | "randomLocSeed">
    | { readonly peftType: "LORA" } & Pick<TrainingConfig, "r" | "loraAlpha">
  );

/** What a new adapter is made of. */
export interface CreateOptions extends TrainingConfig {
  readonly peftType: string;
  /** Names of linears as PEFT takes them: a whole path, or the end of one from a dot on. */
  readonly targetModules: readonly string[];
}

type TrainableMethod = Method & Required<Pick<Method, "create" | "configFields">>;

const isTrainable = (method: Method): method is TrainableMethod => method.create !== undefined;

/** PEFT's names of the methods that can be trained from their start. */
export function trainableTypes(): string[] {
  return methods.filter(isTrainable).map(({ peftType }) => peftType);
}

/**
 * The method of a new adapter.
 *
 * @throws RangeError when there is none of that name, or it cannot be trained from its start.
 */
export function methodToTrain(peftType: string): TrainableMethod {
  const method = methods.filter(isTrainable).find((one) => one.peftType === peftType);
  if (method) return method;
  throw new RangeError(
    `Cannot train an adapter of peftType "${peftType}": it must be ${trainableTypes().join(" or ")}`,
  );
}

const isNamed = (name: string) => ({ path }: Linear): boolean => path === name || path.endsWith(`.${name}`);

/**
 * Makes an adapter that adds nothing yet, for the linears that `targetModules` names.
 *
 * @throws RangeError for a method that cannot be trained; ConfigError for a name that no linear has.
 */
export function createAdapter(linears: readonly Linear[], options: CreateOptions): Adapter {
  const { peftType, targetModules } = options;
  const method = methodToTrain(peftType);
  for (const name of targetModules) {
    if (linears.some(isNamed(name))) continue;
    throw new ConfigError(
      `Cannot train target module "${name}": no linear of the model's layers has that name`,
    );
  }
  const chosen = linears.filter((linear) => targetModules.some((name) => isNamed(name)(linear)));
  return {
    method,
    modules: new Map(chosen.map(({ path, shape }) => [path, method.create(shape, options)])),
    config: {
      peft_type: method.peftType,
      task_type: "CAUSAL_LM",
      base_model_name_or_path: null,
      inference_mode: true,
      target_modules: targetModules,
      modules_to_save: null,
      layers_to_transform: null,
      layers_pattern: null,
      exclude_modules: null,
      ...method.configFields(options),
    },
  };
}
