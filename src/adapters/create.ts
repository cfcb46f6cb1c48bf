/**
 * New adapters, to be trained from their start.
 *
 * @module
 */
import { ConfigError } from "../errors.ts";
import type { Linear } from "./bank.ts";
import type { AdapterModule, Method } from "./method.ts";
import { candidatesOf, methodOf } from "./method_list.ts";
import { methods as everyMethod } from "./methods/mod.ts";
import { camelCase, optionsOf, type TrainableMethod, trainableMethods } from "./options.ts";
import { checkSaved, type SavedOptions } from "./saved_options.ts";
import type { OptionValue } from "./training.ts";

export type { SavedOptions } from "./saved_options.ts";

/** A method, its modules by path, and the fields of their adapter_config.json. */
export interface Adapter {
  readonly method: Method;
  readonly modules: ReadonlyMap<string, AdapterModule>;
  readonly config: Readonly<Record<string, unknown>>;
}

/** What a FourierFT adapter is made with. */
export interface FourierOptions {
  /** Coefficients a module, or all there are; default 1000. */
  readonly nFrequency?: number;
  /** Default 150. */
  readonly scaling?: number;
  /** Seed of the frequencies; default 777. */
  readonly randomLocSeed?: number;
}

/** What a LoRA or DoRA adapter is made with. */
export interface LoraOptions {
  /** Rank; default 8. */
  readonly r?: number;
  /** Default 16. */
  readonly loraAlpha?: number;
  /** Whether it is DoRA: a magnitude is trained for each output. */
  readonly useDora?: boolean;
}

/** What a VeRA adapter is made with. */
export interface VeraOptions {
  /** Rank of the factors A and B that all modules share; default 256. */
  readonly r?: number;
  /** Seed of A and B, drawn as PyTorch draws them; default 0. */
  readonly projectionPrngKey?: number;
  /** Whether A and B are in the file, as by default; without them a reader draws them again. */
  readonly saveProjection?: boolean;
  /** First value of every number of lambda_d; default 0.1. */
  readonly dInitial?: number;
}

/** What an IA3 adapter is made with. */
export interface Ia3Options {
  /** Endings of target modules whose inputs are scaled, in place of their outputs; default `["down_proj"]`. */
  readonly feedforwardModules?: readonly string[];
}

/** What a VB-LoRA adapter is made with. */
export interface VbLoraOptions {
  /** Rank; default 4. */
  readonly r?: number;
  /** Vectors of the bank that all modules share; default 256. */
  readonly numVectors?: number;
  /** Numbers of a vector; default 256. It must divide every adapted linear's inputs and outputs. */
  readonly vectorLength?: number;
  /** Vectors of a mixture; default 2. */
  readonly topk?: number;
  /** The bank's first numbers are uniform in plus and minus this; default 0.02. */
  readonly initVectorBankBound?: number;
  /** Standard deviation of the first logits; default 0.1. */
  readonly initLogitsStd?: number;
}

/** What an ETHER or ETHER+ adapter is made with, by the authors' names. */
export interface EtherOptions {
  /** Reflections of each block (the default), ETHER+ on one side, or on both. */
  readonly Htype?: "ether" | "etherplus" | "etherplusHH";
  /** Blocks, at most 16; default 1. It must divide the sides that are changed. */
  readonly nb?: number;
  /** Whether `down_proj` is changed on the side of its outputs; not with etherplusHH. */
  readonly flipSide?: boolean;
}

/** What an SVFT adapter is made with. */
export interface SvftOptions {
  /** Diagonals on either side of M's; default 0. */
  readonly offDiag?: number;
  /** Where M has entries: on a band, as by default, or at as many random places. */
  readonly pattern?: "banded" | "random";
}

/** What a C3A adapter is made with. */
export interface C3aOptions {
  /** Elements of a circulant block, which divide the inputs and outputs of every target module; default 256. */
  readonly blockSize?: number;
}

/** What a WaveFT adapter is made with. */
export interface WaveftOptions {
  /** Coefficients a module, or all there are; default 2592. */
  readonly nFrequency?: number;
  /** Default 25. */
  readonly scaling?: number;
  /** Seed of the coefficients' places; default 777. */
  readonly randomLocSeed?: number;
  /** Name of a wavelet, of `waveletNames` in `fourierft/kernels`; default `db1`. */
  readonly waveletFamily?: string;
  /** Whether coefficients are a wavelet's, as by default, or dW's own elements. */
  readonly useIdwt?: boolean;
}

/** A new adapter of a method, maybe one of the caller's own. */
export interface OwnAdapter {
  readonly method: Method;
  /** The method's options, `nFrequency` for PEFT's `n_frequency`; each has a default. */
  readonly options?: Readonly<Record<string, OptionValue | undefined>>;
}

/** A new adapter as a caller describes one: by PEFT's names, or by its method. */
export type NewAdapter =
  & SavedOptions
  & {
    /**
     * Linears by PEFT's rule: a whole path, or the end of one from a dot on. By default those that PEFT adapts in a model
     * of its type; all of the layers where PEFT asks for them.
     */
    readonly targetModules?: readonly string[];
  }
  & (
    | { readonly peftType: "FOURIERFT" } & FourierOptions
    | { readonly peftType: "LORA" } & LoraOptions
    | { readonly peftType: "VERA" } & VeraOptions
    | { readonly peftType: "IA3" } & Ia3Options
    | { readonly peftType: "VBLORA" } & VbLoraOptions
    | { readonly peftType: "ETHER" } & EtherOptions
    | { readonly peftType: "SVFT" } & SvftOptions
    | { readonly peftType: "C3A" } & C3aOptions
    | { readonly peftType: "WAVEFT" } & WaveftOptions
    | OwnAdapter
  );

/** What a new adapter is made of, checked. */
export interface AdapterPlan {
  readonly method: TrainableMethod;
  /** By PEFT's names, each with a value. */
  readonly options: Readonly<Record<string, OptionValue>>;
  /** Names of linears as PEFT takes them: a whole path, or the end of one from a dot on; by default every linear's last. */
  readonly targetModules?: readonly string[];
  /** What is trained beside the linears. */
  readonly saved?: SavedOptions;
}

const snakeCase = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** The method that PEFT's names ask for, and its options: a flag that is none of them (`useDora`) tells the method. */
function namedMethod({ peftType, ...given }: Readonly<Record<string, unknown>>): Required<OwnAdapter> {
  const fields = Object.entries(given).map(([name, value]) => [snakeCase(name), value]);
  const config = { peft_type: peftType, ...Object.fromEntries(fields) };
  const trainable = trainableMethods(everyMethod);
  if (!trainable.some((method) => method.peftType === peftType)) {
    throw new RangeError(
      `Cannot train an adapter of peftType "${peftType}": it must be ${
        [...new Set(trainable.map((method) => method.peftType))].join(" or ")
      }`,
    );
  }
  const method = methodOf(candidatesOf(trainable, config), config, []);
  const own = new Set(Object.keys(method.training!.options).map(camelCase));
  const options = Object.entries(given).filter(([name, value]) =>
    typeof value !== "boolean" || own.has(name)
  );
  return { method, options: Object.fromEntries(options) as OwnAdapter["options"] & object };
}

/**
 * A new adapter's method and options.
 *
 * @throws RangeError for a method that cannot be trained from its start, and for an option, by its name and rule.
 */
export function adapterPlan(
  { targetModules, modulesToSave, trainableTokenIndices, ...asked }: NewAdapter,
): AdapterPlan {
  const { method, options = {} } = "method" in asked ? asked : namedMethod({ ...asked });
  if (!method.training) {
    throw new RangeError(`Cannot train a new adapter of ${method.name}: the method makes none`);
  }
  const trainable = method as TrainableMethod;
  const saved = { modulesToSave, trainableTokenIndices };
  checkSaved(saved, trainable);
  return { method: trainable, options: optionsOf(trainable, options), targetModules, saved };
}

/** The last names of linears, e.g. `q_proj`, each once. */
const lastNames = (linears: readonly Linear[]): string[] => [
  ...new Set(linears.map(({ path }) => path.slice(path.lastIndexOf(".") + 1))),
];

const isNamed = (name: string) => ({ path }: Linear): boolean => path === name || path.endsWith(`.${name}`);

/** New modules of one adapter, for each of some linears, by path. */
export function newModules(
  linears: readonly Linear[],
  { method: { training }, options, targetModules }: Required<Omit<AdapterPlan, "saved">>,
  random: () => number,
): Map<string, AdapterModule> {
  const made: unknown[] = [], shapes = linears.map(({ shape }) => shape);
  const shared = <T>(make: () => T): T => {
    if (made.length === 0) made.push(make());
    return made[0] as T;
  };
  return new Map(
    linears.map(({ path, shape }) => [
      path,
      training.create(shape, options, { path, targetModules, shapes, random, shared }),
    ]),
  );
}

/**
 * Makes an adapter that adds nothing yet, for the linears that `targetModules` names.
 *
 * @param random Uniform random numbers in [0, 1) for first values.
 * @throws ConfigError for a name that no linear has.
 */
export function createAdapter(
  linears: readonly Linear[],
  { method, options, targetModules = lastNames(linears) }: AdapterPlan,
  random: () => number,
): Adapter {
  for (const name of targetModules) {
    if (linears.some(isNamed(name))) continue;
    throw new ConfigError(
      `Cannot train target module "${name}": no linear of the model's layers has that name`,
    );
  }
  const chosen = linears.filter((linear) => targetModules.some((name) => isNamed(name)(linear)));
  return {
    method,
    modules: newModules(chosen, { method, options, targetModules }, random),
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
      ...method.training.configFields(options, targetModules, chosen),
    },
  };
}
